"""ComBat of regional SUVr over sites, measured and synthetic PET each on its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from relad_bids.core.columns import COLUMNS
from relad_bids.core.combat import COMBAT_COLUMNS, learn
from relad_bids.errors import DataError, NothingSelectedError, UsageError
from relad_bids.group.people import People
from relad_bids.group.scans import REGION, first_sessions
from relad_bids.group.settings import GroupSettings
from relad_bids.group.written import Table

SOURCES = frozenset({"real", "synthetic", "measured", "synth"})
KEPT = ("age", "female", "diagnosis")

VALUE_COLUMNS: Mapping[str, dict[str, Any]] = {
    **{
        name: dict(COLUMNS[name])
        for name in ("participant_id", "session_id", "run", "tracer", "source", *REGION)
    },
    "site": {"Description": "Site, from the column named with --combat"},
    "suvr_mean": dict(COLUMNS["suvr_mean"]),
    "suvr_combat": {
        "Description": "suvr_mean without the effects of its site; n/a where site, a covariate, "
        "or the region of somebody learnt from is missing",
        "Units": "unitless",
    },
    "learnt_from": {
        "Description": "Whether the effects were learnt from this participant",
        "Levels": {"yes": "not to be used as held-out data of a later model", "no": "held out"},
    },
}


def combat_tables(
    primary: pd.DataFrame, people: People, settings: GroupSettings, notes: list[str]
) -> tuple[Table, Table]:
    """Harmonise each tracer and source over the sites of a column of participants.tsv.

    Learnt from one scan of each participant, or of those that ``--combat-train`` names; age, sex
    and diagnosis are kept where known. Measured and synthetic PET are never two sites of one
    fit: that would force them to agree.

    Raises
    ------
    UsageError
        The column tells measured from synthetic PET, or is not there.
    DataError
        No tracer can be harmonised.
    """
    assert settings.combat is not None
    sites = people.column(settings.combat, "--combat").dropna().astype(str).str.strip()
    if settings.combat.lower() == "source" or set(sites.str.lower()) & SOURCES:
        raise UsageError(
            f"--combat names the column {settings.combat!r}, whose levels are "
            f"{', '.join(sorted(set(sites))[:6])}: measured and synthetic PET as two sites would "
            "be forced to agree. Name a column of scanners or sites."
        )
    rows = primary[primary["participant_id"].isin(sites.index)]
    found, effects, refused = [], [], []
    for key, images in rows.groupby(["tracer", "source"], observed=True):
        try:
            values, learnt = _harmonised(images, sites, people, settings.combat_train)
        except DataError as error:
            refused.append(f"{key[0]} ({key[1]}): {error}")
            continue
        found.append(values)
        effects.append(learnt.assign(tracer=str(key[0]), source=str(key[1])))
    if not found:
        raise DataError(
            f"--combat {settings.combat} could harmonise nothing. " + " ".join(refused)
        )
    notes += [f"ComBat left out {text}" for text in refused]
    kept = [name for name in KEPT if people.has(name)]
    facts = {
        "Method": "ComBat, parametric empirical Bayes (Johnson 2007; Fortin 2018)",
        "SiteColumn": settings.combat,
        "CovariatesKept": kept,
        "LearntFrom": "participants of --combat-train" if settings.combat_train else
        "all participants: not to be used for a model that is tested on some of them",
    }  # fmt: skip
    columns = {
        **{name: COLUMNS[name] for name in ("tracer", "source", *REGION)},
        **{name: entry for name, entry in COMBAT_COLUMNS.items() if name != "voi"},
    }
    table = pd.concat(effects, ignore_index=True)[list(columns)]
    return (
        Table("combat", pd.concat(found, ignore_index=True), VALUE_COLUMNS, facts),
        Table("combat_effects", table, columns, facts),
    )


def _harmonised(
    images: pd.DataFrame, sites: pd.Series, people: People, train: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of one tracer and source with harmonised values, and the effects."""
    # A scan that missed its window has rows and no value: it would take all regions with it.
    images = images[images["suvr_mean"].notna().groupby(images["scan"]).transform("any")]
    kinds = images[REGION].astype(str).agg("|".join, axis=1)
    matrix = images.assign(kind=kinds).pivot_table(
        "suvr_mean", "scan", "kind", sort=False, dropna=False, observed=True
    )
    scans = images.drop_duplicates("scan").set_index("scan").loc[matrix.index]
    site = scans["participant_id"].astype(str).map(sites)
    covariates = _covariates(scans, people)
    usable = site.notna() & covariates.notna().all(axis=1)
    teaching = usable & scans.index.isin(first_sessions(images)["scan"])
    if train:
        wanted = {f"sub-{label}" for label in train}
        teaching &= scans["participant_id"].astype(str).isin(wanted)
        if not teaching.any():
            raise NothingSelectedError(
                "--combat-train names nobody who has site, covariates and PET of this tracer."
            )
    regions = matrix.columns[matrix[teaching].notna().all().to_numpy() if teaching.any() else []]
    model = learn(matrix.loc[teaching, regions], site[teaching], covariates[teaching])
    known = usable & site.isin(model.sites)
    clean = pd.DataFrame(np.nan, index=matrix.index, columns=matrix.columns)
    clean.loc[known, regions] = model.apply(
        matrix.loc[known, regions], list(site[known]), covariates[known]
    )
    at = (matrix.index.get_indexer(images["scan"]), matrix.columns.get_indexer(kinds))
    rows = images.assign(
        site=images["participant_id"].astype(str).map(sites),
        suvr_combat=clean.to_numpy()[at],
        learnt_from=np.where(teaching.to_numpy()[at[0]], "yes", "no"),
    )
    return rows[list(VALUE_COLUMNS)].astype({"participant_id": object}), _named(
        model.effects([str(region) for region in regions])
    )


def _named(effects: pd.DataFrame) -> pd.DataFrame:
    """Give the regions their three columns back."""
    parts = effects["voi"].str.split("|", expand=True).set_axis(REGION, axis=1)
    return pd.concat([effects.drop(columns="voi"), parts], axis=1)


def _covariates(scans: pd.DataFrame, people: People) -> pd.DataFrame:
    """Age, sex and diagnosis as numbers; NaN of who has none."""
    parts = [people.of(scans, [name]) for name in ("age", "female") if people.has(name)]
    if people.has("diagnosis"):
        word = people.of(scans, ["diagnosis"])["diagnosis"]
        dummies = pd.get_dummies(word, prefix="diagnosis", dtype=float).iloc[:, 1:]
        parts.append(dummies.where(word.notna(), axis=0))
    return pd.concat(parts, axis=1) if parts else pd.DataFrame(index=scans.index)
