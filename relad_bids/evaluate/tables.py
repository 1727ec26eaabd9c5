"""From the rows of all participants to the tables of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from relad_bids.core import evaluation, positivity
from relad_bids.core.bootstrap import N_DRAWS
from relad_bids.core.calibration import (
    CRPS_METRICS,
    RANK_COLUMNS,
    conformal_factors,
    rank_histogram,
    spread_calibration,
)
from relad_bids.core.comparison import COMPARISON_COLUMNS, compare_models
from relad_bids.core.evaluation import TABLE_COLUMNS, evaluate, mean_scores
from relad_bids.core.image_metrics import BRAIN
from relad_bids.core.positivity import positivity_table
from relad_bids.core.skill import SKILL_COLUMNS, skill_table
from relad_bids.core.texture import TEXTURE_METRICS
from relad_bids.cutoffs import cutoffs
from relad_bids.evaluate.score import ESTIMATE, FLOORS, NEITHER, OWN, REAL, SAMPLE
from relad_bids.evaluate.walk import Rows

Columns = Mapping[str, dict[str, Any]]

LEVEL = 0.9
"""Of the conformal factors."""

PER_SPREAD, SUVR = "spread", "SUVr"
"""What a conformal factor multiplies: the spread of the samples, or nothing."""

_MODEL: Columns = {"model": {"Description": "Checkpoint: name-version+hash of weights"}}
_WHO: Columns = {
    "participant_id": {"Description": "Participant, with sub- prefix"},
    "session_id": {"Description": "Session, with ses- prefix"},
}
_PRIMARY: Columns = {
    "primary": {"Description": "Whether this VOI of the tracer was declared before looking"}
}
_DIVIDED_BY: Columns = {
    "divided_by": {
        "Description": "Reference region whose mean divides the images",
        "Levels": {
            OWN: "each image by its own: a gain of the estimate cancels",
            REAL: "both by that of the real PET: the gain is kept",
            NEITHER: "neither: each image is rescaled by its own extremes",
        },
    }
}
_ANSWER: Columns = {
    "answer": {
        "Description": "Whose texture",
        "Levels": {
            ESTIMATE: "the mean of the samples, or the only answer",
            SAMPLE: "the first of several samples",
        },
    }
}
_OF: Columns = {
    "of": {
        "Description": "Whose mean absolute error is compared, SUVr; each image divided by its "
        "own reference region",
        "Levels": {
            "primary": "the primary VOI",
            "all-vois": "the mean over all VOIs",
            BRAIN: "the mean over the voxels of the brain",
        },
    }
}
_VALUES: Columns = {
    "estimate": {"Description": "Synthetic SUVr of the VOI: estimated from MRI"},
    "truth": {"Description": "SUVr of the VOI in the PET it is held to"},
    "spread": {"Description": "Standard deviation of the VOI's SUVr over the samples, with M - 1"},
    "crps": {"Description": "Fair continuous ranked probability score of the samples, SUVr"},
    "rank": {"Description": "Samples below the truth"},
}
_CONFORMAL: Columns = {
    "level": {"Description": "Probability with which the next participant lies inside"},
    "factor": {
        "Description": "Half-width of the interval around the estimate, in `times`; infinite "
        "where there are too few participants to say"
    },
    "times": {
        "Description": "What the factor multiplies",
        "Levels": {PER_SPREAD: "the SD of the samples", SUVR: "1 SUVr: one width for all"},
    },
}

_UNUSUAL: Columns = {
    "ood_score": {"Description": "How far the MRI lies from those the model was trained on"},
    "ood_flag": {"Description": "Whether that is farther than nearly all of those lie apart"},
    "ood_reasons": {"Description": "In words"},
}


@dataclass(frozen=True, eq=False)
class Table:
    """One table and what its columns mean."""

    rows: pd.DataFrame
    columns: Columns


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the tables need to know beside the rows."""

    primary: Mapping[str, str]
    """Tracer -> the VOI that was declared before looking."""
    n_samples: Mapping[str, int]
    """Model -> samples behind each of its estimates."""
    seed: int
    n_draws: int = N_DRAWS

    @property
    def chance(self) -> dict[str, Any]:
        """Arguments of every table: the same draws of the same participants."""
        return {"rng": np.random.default_rng(self.seed), "n_draws": self.n_draws}


def all_tables(rows: Rows, terms: Terms) -> dict[str, Table]:
    """Every table of an evaluation that has rows, by the stem of its file.

    Where one participant has several scans, agreement and means use all of them, drawn together;
    positivity, calibration and conformal factors, which count participants, the first.

    Parameters
    ----------
    rows
        From :func:`relad_bids.evaluate.walk.walk`; ``voi`` may have the floor ``age_sex``.
    """
    pairs = _pairs(rows["voi"], terms)
    agreement = _agreement(pairs, terms)
    found = {
        "desc-voi_pairs": Table(pairs, {**_KEYS, **_floors(pairs)}),
        "desc-voi_agreement": agreement,
        "desc-voi_skill": _skill(pairs, agreement.rows, terms),
        "desc-voi_positivity": _positivity(pairs, terms),
        "desc-voi_calibration": _calibration(pairs, terms),
        "desc-voi_ranks": _ranks(pairs, terms),
        "desc-voi_conformal": _conformal(pairs, terms),
        "desc-image_scores": Table(rows["image"], _of_metrics(rows["image"])),
        "desc-image_agreement": _means(rows["image"], ["model", "divided_by"], terms),
        "desc-image_texture": _means(rows["texture"], ["model", "answer"], terms),
        "desc-model_comparison": _comparison(pairs, rows["image"], terms),
        "desc-mri_ood": Table(rows["input"], {**_KEYS, **_UNUSUAL}),
    }
    return {name: _described(table) for name, table in found.items() if len(table.rows)}


def _pairs(voi: pd.DataFrame, terms: Terms) -> pd.DataFrame:
    """The regional rows, with the primary VOI marked and the columns in the order of reading."""
    marked = voi.assign(primary=voi["voi"] == voi["tracer"].map(terms.primary))
    first = [*_MODEL, *_WHO, "tracer", "voi", *_PRIMARY, *_DIVIDED_BY, "estimate", "truth"]
    return marked[[*first, *(name for name in marked if name not in first)]]


def _agreement(pairs: pd.DataFrame, terms: Terms) -> Table:
    floors = _present(pairs)
    found = _each(
        pairs, ["model", "divided_by"], lambda own: evaluate(own, floors=floors, **terms.chance)
    )
    primary = found["voi"] == found["tracer"].map(terms.primary)
    found.insert(found.columns.get_loc("metric"), "primary", primary)
    return Table(found, _of_metrics(found, floors))


def _skill(pairs: pd.DataFrame, agreement: pd.DataFrame, terms: Terms) -> Table:
    own, floors = pairs[pairs["divided_by"] == OWN], _present(pairs)
    agreed = agreement[agreement["divided_by"] == OWN]

    def make(of_model: pd.DataFrame) -> pd.DataFrame:
        model = of_model["model"].iloc[0]
        return skill_table(
            agreed[agreed["model"] == model], of_model,
            floors=floors, primary=terms.primary, **terms.chance,
        )  # fmt: skip

    return Table(_each(own, ["model"], make), {**_MODEL, **SKILL_COLUMNS})


def _positivity(pairs: pd.DataFrame, terms: Terms) -> Table:
    floors = _present(pairs)
    found = _each(
        _one_scan(pairs), ["model"],
        lambda own: positivity_table(own, cutoffs(), floors=floors, **terms.chance),
    )  # fmt: skip
    return Table(found, {**_MODEL, **positivity.dictionary(floors)})


def _calibration(pairs: pd.DataFrame, terms: Terms) -> Table:
    """Coverage and spread of the models that draw, and their CRPS beside the floors' error."""
    floors = _present(pairs)

    def make(own: pd.DataFrame) -> pd.DataFrame:
        n_samples = terms.n_samples[own["model"].iloc[0]]
        errors = {name: (own[name] - own["truth"]).abs() for name in floors}
        scores = own.assign(metric="crps", value=own["crps"], **errors)
        return pd.concat(
            [
                spread_calibration(own, n_samples=n_samples, **terms.chance),
                mean_scores(scores, floors=floors, **terms.chance),
            ],
            ignore_index=True,
        )

    found = _each(_drawn(pairs), ["model"], make)
    return Table(found, _of_metrics(found, floors))


def _ranks(pairs: pd.DataFrame, terms: Terms) -> Table:
    found = _each(
        _drawn(pairs), ["model"],
        lambda own: rank_histogram(own, n_samples=terms.n_samples[own["model"].iloc[0]]),
    )  # fmt: skip
    return Table(found, {**_MODEL, **RANK_COLUMNS})


def _conformal(pairs: pd.DataFrame, terms: Terms) -> Table:
    def make(own: pd.DataFrame) -> pd.DataFrame:
        draws = terms.n_samples[own["model"].iloc[0]] > 1
        factors = conformal_factors(own if draws else own.assign(spread=1.0), level=LEVEL)
        factors.insert(4, "times", PER_SPREAD if draws else SUVR)
        return factors

    return Table(_each(_one_scan(pairs), ["model"], make), {**_KEYS, **_CONFORMAL})


def _means(scores: pd.DataFrame, keys: list[str], terms: Terms) -> Table:
    floors = _present(scores)
    found = _each(scores, keys, lambda own: mean_scores(own, floors=floors, **terms.chance))
    return Table(found, _of_metrics(found, floors))


def _comparison(pairs: pd.DataFrame, image: pd.DataFrame, terms: Terms) -> Table:
    """Compare models by what each participant's error is: of regions, and of voxels."""
    own = pairs[pairs["divided_by"] == OWN]
    regional = own.assign(error=(own["estimate"] - own["truth"]).abs())
    brain = image.query("divided_by == @OWN and voi == @BRAIN and metric == 'voxel_mae'")
    errors = {
        "primary": regional[regional["primary"]],
        "all-vois": regional,
        BRAIN: brain.assign(error=brain["value"]),
    }
    found = [
        compare_models(rows, **terms.chance).assign(of=of)
        for of, rows in errors.items()
        if len(pairs["model"].unique()) > 1
    ]
    joined = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    columns = {**_OF, **COMPARISON_COLUMNS}
    return Table(joined.reindex(columns=list(columns)), columns)


_KEYS: Columns = {
    **_MODEL,
    **_WHO,
    **{name: TABLE_COLUMNS[name] for name in ("tracer", "voi", "n")},
    **_PRIMARY,
    **_DIVIDED_BY,
    **_ANSWER,
    **_VALUES,
    "n_voxels": {"Description": "Voxels that were compared"},
}
"""Columns that say whom and what a row is about."""


def _of_metrics(rows: pd.DataFrame, floors: Sequence[str] | None = None) -> Columns:
    """Columns of a table of metrics, with the definition of each metric in it."""
    floors = _present(rows) if floors is None else floors
    known = evaluation.dictionary(floors)
    levels = {**known["metric"]["Levels"], **CRPS_METRICS, **TEXTURE_METRICS}  # type: ignore[dict-item]
    here = {name: levels[name] for name in rows["metric"].unique()} if len(rows) else {}
    return {**_KEYS, **known, **_floors(rows), "metric": {**known["metric"], "Levels": here}}


def _floors(rows: pd.DataFrame) -> Columns:
    return {name: {"Description": f"Floor: {FLOORS[name]}"} for name in _present(rows)}


def _present(rows: pd.DataFrame) -> list[str]:
    return [name for name in FLOORS if name in rows]


def _each(
    rows: pd.DataFrame, keys: list[str], make: Callable[[pd.DataFrame], pd.DataFrame]
) -> pd.DataFrame:
    """Make a table for each group of rows; the keys of the group become its first columns."""
    found = [
        make(group).assign(**dict(zip(keys, key, strict=True)))
        for key, group in rows.groupby(keys, sort=False)
    ]
    if not found:
        return pd.DataFrame(columns=[*keys, "voi", "tracer", "metric"])
    joined = pd.concat(found, ignore_index=True)
    return joined[[*keys, *(name for name in joined if name not in keys)]]


def _one_scan(pairs: pd.DataFrame) -> pd.DataFrame:
    """The first scan of each participant, each image divided by its own reference region."""
    own = pairs[pairs["divided_by"] == OWN]
    return own.drop_duplicates(["model", "participant_id", "tracer", "voi"])


def _drawn(pairs: pd.DataFrame) -> pd.DataFrame:
    if "spread" not in pairs:
        return pairs.iloc[:0]
    return _one_scan(pairs).dropna(subset=["spread"])


def _described(table: Table) -> Table:
    """Keep the descriptions of the columns that are there, in their order."""
    return Table(table.rows, {name: dict(table.columns[name]) for name in table.rows})
