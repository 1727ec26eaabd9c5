"""Whether a model is better than its floors, and the words for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from relad_bids.core.bootstrap import CONFIDENCE, N_DRAWS, fewest_participants
from relad_bids.core.evaluation import TABLE_COLUMNS, swapped_ps

SKILL_COLUMNS: Mapping[str, dict[str, object]] = {
    "tracer": TABLE_COLUMNS["tracer"],
    "voi": TABLE_COLUMNS["voi"],
    "primary": {"Description": "Whether this VOI of the tracer was declared before looking"},
    "floor": {"Description": "What the model is held against"},
    "skill": {"Description": "1 - MSE / MSE of the floor on the same scans"},
    "low": TABLE_COLUMNS["low"],
    "high": TABLE_COLUMNS["high"],
    "n": TABLE_COLUMNS["n"],
    "difference": {
        "Description": "Mean over participants of |error| - |error of the floor|, SUVr; below "
        "0: the model is better"
    },
    "effect": {"Description": "Mean / standard deviation of these differences (Cohen's d_z)"},
    "p": {"Description": "Two-sided, from swapping model and floor within participants"},
    "p_fdr": {
        "Description": "p, by Benjamini & Hochberg 1995 over the VOIs of this tracer and floor "
        "that are not primary; n/a for the primary one"
    },
    "verdict": {
        "Description": "By the interval of the skill: better where it lies above 0, worse where "
        "it lies below 0, no better where it holds 0"
    },
}
"""Columns of :func:`skill_table`."""


def skill_table(
    agreement: pd.DataFrame,
    pairs: pd.DataFrame,
    *,
    floors: Sequence[str],
    primary: Mapping[str, str],
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    words: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Hold one model against each floor, per tracer and VOI.

    Parameters
    ----------
    agreement
        :func:`relad_bids.core.evaluation.evaluate` of ``pairs`` and ``floors``.
    primary
        Tracer -> the VOI that was declared before looking.
    words
        Floor -> what the verdict calls it; :data:`WORDS` by default.

    Returns
    -------
    DataFrame
        The columns of :data:`SKILL_COLUMNS`; a row for each floor of each tracer and VOI.
    """
    scans = dict(list(pairs.groupby(["tracer", "voi"], sort=False)))
    told = list(_skills(agreement, floors))
    differences = [_differences(scans[row.tracer, row.voi], floor) for row, floor in told]
    p = _together([row.tracer for row, _ in told], differences, rng, n_draws)
    rows = [
        {
            "tracer": row.tracer,
            "voi": row.voi,
            "primary": row.voi == primary.get(row.tracer),
            "floor": floor,
            "skill": row.value,
            "low": row.low,
            "high": row.high,
            "n": row.n,
            **_summed_up(each.to_numpy(dtype=np.float64)),
        }
        for (row, floor), each in zip(told, differences, strict=True)
    ]
    table = pd.DataFrame(rows, columns=[name for name in SKILL_COLUMNS if name != "verdict"])
    table["p"] = p
    table["p_fdr"] = _adjusted(table)
    names = WORDS if words is None else words
    found = [
        verdict(row.skill, row.low, row.high, row.n, names[row.floor])
        for row in table.itertuples()
    ]
    return table.assign(verdict=found)


WORDS: Mapping[str, str] = {
    "mean": "the training mean",
    "ridge": "the ridge regression",
    "permuted": "its answer about somebody else",
    "age_sex": "demographics (age and sex)",
}


def verdict(skill: float, low: float, high: float, n: int, floor: str) -> str:
    """Put a skill over ``floor``, such as "the training mean", and its interval into words.

    An interval is missing where there are too few participants, and where the skill does not
    vary over the draws, as that of a model which is its own floor.
    """
    than = f"than {floor}"
    if np.isnan(skill):
        return f"not known: there is no {floor.removeprefix('the ')} for these scans"
    if np.isnan(low):
        if n < (fewest := fewest_participants(CONFIDENCE)):
            return f"not known: {n} participants, an interval needs {fewest}"
        low = high = skill
    return f"better {than}" if low > 0 else f"worse {than}" if high < 0 else f"no better {than}"


def _skills(agreement: pd.DataFrame, floors: Sequence[str]) -> Iterator[tuple]:
    by_metric = {f"skill_{floor}": floor for floor in floors}
    for row in agreement.itertuples():
        if row.metric in by_metric:
            yield row, by_metric[row.metric]


def _differences(scans: pd.DataFrame, floor: str) -> pd.Series:
    """|error| - |error of the floor| of each participant, whose scans are averaged first."""
    known = scans.dropna(subset=["estimate", "truth"])
    errors = pd.DataFrame(
        {name: (known[name] - known["truth"]).abs() for name in ("estimate", floor)}
    )
    each = errors.groupby(known["participant_id"]).mean()
    return each["estimate"] - each[floor]


def _summed_up(between: NDArray[np.float64]) -> dict[str, float]:
    mean = float(between.mean()) if between.size else np.nan
    sd = float(between.std(ddof=1)) if between.size > 1 else np.nan
    return {"difference": mean, "effect": mean / sd if sd else np.nan}


def _together(
    tracers: Sequence[str],
    differences: Sequence[pd.Series],
    rng: np.random.Generator,
    n_draws: int,
) -> NDArray[np.float64]:
    """The p of each; the regions and floors of a tracer in the same people are swapped at once."""
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for index, (tracer, each) in enumerate(zip(tracers, differences, strict=True)):
        groups.setdefault((tracer, tuple(each.index)), []).append(index)
    found = np.full(len(differences), np.nan)
    for places in groups.values():
        each = np.stack([differences[at].to_numpy(dtype=np.float64) for at in places], axis=1)
        found[places] = swapped_ps(each, rng=rng, n_draws=n_draws)
    return found


def _adjusted(table: pd.DataFrame) -> pd.Series:
    """Benjamini-Hochberg over the VOIs that were not declared before looking."""
    found = pd.Series(np.nan, index=table.index)
    others = table[~table["primary"].astype(bool) & table["p"].notna()]
    for _, group in others.groupby(["tracer", "floor"]):
        found[group.index] = multipletests(group["p"], method="fdr_bh")[1]
    return found
