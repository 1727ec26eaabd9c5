"""Which rows are a statistician's: primary values, one per scan and region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from relad_bids.bids.outputs import ATLAS
from relad_bids.core.rows import SECOND_REFERENCE
from relad_bids.core.scales import NO_CORRECTION
from relad_bids.tables import tracers
from relad_bids.vois import COMPARED

SCAN = ["participant_id", "session_id", "run", "tracer", "source"]
"""Columns that name an image; the run of a synthetic one is missing."""
REGION = ["family", "voi", "hemi"]


@dataclass(frozen=True, eq=False)
class Scans:
    """The rows of all scans, told apart."""

    primary: pd.DataFrame
    """Of the main parcellation, uncorrected, divided by the tracer's reference region; one per
    scan and region. The column ``scan`` numbers the images."""
    secondary: pd.DataFrame
    """Of the main parcellation: corrected for partial volume, or of another reference region."""
    atlas: str
    notes: tuple[str, ...]


def sort_scans(rows: pd.DataFrame) -> Scans:
    """Tell primary rows from all others.

    Primary is what has no partial volume correction and no flag ``second_reference``, of the
    parcellation that most participants have.
    """
    notes: list[str] = []
    atlas, mine = _main_atlas(rows, notes)
    images = mine.groupby(SCAN, observed=True, dropna=False, sort=False)
    mine = mine.assign(scan=images.ngroup().to_numpy())
    plain = mine["pvc"].isna() | (mine["pvc"] == NO_CORRECTION)
    flags = mine["qc_flags"].cat
    second = [c for c in flags.categories if SECOND_REFERENCE in str(c).split(";")]
    own = ~mine["qc_flags"].isin(second)
    primary, secondary = mine[plain & own], mine[~(plain & own)]
    repeated = primary.duplicated(["scan", *REGION])
    if repeated.any():
        who = sorted(primary.loc[repeated, "participant_id"].astype(str).unique())
        notes.append(
            f"Several reconstructions of one scan of {len(who)} participants (first {who[0]}): "
            "the first is used. Choose with --rec-label at the participant level."
        )
        primary = primary[~repeated]
    if len(secondary):
        kinds = secondary[["pvc", "ref_region"]].drop_duplicates().astype(str)
        named = "; ".join(f"pvc {a}, reference {b}" for a, b in kinds.to_numpy()[:6])
        notes.append(
            "Corrected rows and rows of a second reference region are in the long tables and in "
            f"columns of their own in the wide table, and in no statistic: {named}."
        )
    _note_references(primary, notes)
    _note_sources(primary, notes)
    return Scans(primary, secondary, atlas, tuple(notes))


def compared(rows: pd.DataFrame, keys: Sequence[str] = ("scan",)) -> pd.DataFrame:
    """Bilateral regions of the families that belong to the tracer's target, each once.

    Parameters
    ----------
    keys
        Columns that name an image, or a pair of images.
    """
    target = {name: tracer.target for name, tracer in tracers().items()}
    wanted = {
        (name, family)
        for name in rows["tracer"].cat.categories
        if name in target
        for family in COMPARED[target[name]]
    }
    pair = pd.MultiIndex.from_arrays([rows["tracer"], rows["family"]])
    kept = rows[pair.isin(wanted) & (rows["hemi"] == "B").to_numpy()]
    # A structure may stand in several families: hippocampus, striatum.
    return kept[~kept.duplicated([*keys, "voi"])]


def primary_voi(tracer: str, vois: pd.Series) -> str | None:
    """The VOI of a tracer that was declared before looking, of those there are."""
    known = set(vois.astype(str))
    declared = tracers()[tracer].primary_vois if tracer in tracers() else ()
    return next((voi for voi in declared if voi in known), None)


def first_sessions(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep one scan of each participant, tracer and source: the first session, the first run."""
    images = rows.drop_duplicates("scan")
    order = images.sort_values(["session_id", "run"], kind="stable", na_position="first")
    first = order.drop_duplicates(["participant_id", "tracer", "source"])
    return rows[rows["scan"].isin(first["scan"])]


def _main_atlas(rows: pd.DataFrame, notes: list[str]) -> tuple[str, pd.DataFrame]:
    people = rows.groupby("atlas", observed=True)["participant_id"].nunique()
    if people.empty:  # tables that do not name their parcellation
        return ATLAS, rows
    ranked = people.sort_values(ascending=False, kind="stable")
    best = ranked[ranked == ranked.iloc[0]].index.astype(str)
    atlas = ATLAS if ATLAS in best else str(best[0])
    if len(ranked) > 1:
        others = ", ".join(f"{name} ({n} participants)" for name, n in ranked.items()
                           if str(name) != atlas)  # fmt: skip
        notes.append(
            f"Statistics are of the parcellation {atlas}; tables of {others} are joined, too, and "
            "not mixed with it."
        )
    return atlas, rows[rows["atlas"] == atlas]


def _note_references(primary: pd.DataFrame, notes: list[str]) -> None:
    """Tell of a tracer whose regions are divided by another region than its default.

    By what most of its rows say: masks of a template have a reference of their own.
    """
    for name, regions in primary.groupby("tracer", observed=True)["ref_region"]:
        known, most = tracers().get(str(name)), regions.mode()
        if known and len(most) and str(most.iloc[0]) != known.reference:
            notes.append(
                f"{name}: divided by {most.iloc[0]}, not by the tracer's default "
                f"{known.reference}; preset cut-offs do not apply to it."
            )


def _note_sources(primary: pd.DataFrame, notes: list[str]) -> None:
    sources = sorted(primary["voi_source"].dropna().astype(str).unique())
    if len(sources) > 1:
        notes.append(
            f"Labels come from {', '.join(sources)}: their regions differ in size and border. The "
            "column voi_source of the long tables tells which; model it, or choose one."
        )


def reference_regions(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Tracer -> the regions that its values were divided by; that of most rows first."""
    found = {
        str(tracer): regions.value_counts()
        for tracer, regions in rows.groupby("tracer", observed=True)["ref_region"]
    }
    return {
        tracer: [str(region) for region, n in counts.items() if n] for tracer, counts in
        found.items()
    }  # fmt: skip


def default_reference(rows: pd.DataFrame) -> pd.Series:
    """Whether each row was divided by its tracer's default reference region."""
    default = (
        rows["tracer"]
        .astype(object)
        .map(lambda name: tracers()[name].reference if name in tracers() else np.nan)
    )
    return rows["ref_region"].astype(object) == default
