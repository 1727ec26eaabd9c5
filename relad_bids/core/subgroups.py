"""Whether synthetic PET errs more in some people than in others (pet-quantification 5.9)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import alexandergovern
from statsmodels.stats.multitest import multipletests

from relad_bids.core.agreement import METRICS, Agreement, agreement, each_left_out
from relad_bids.core.bootstrap import CONFIDENCE, N_DRAWS, Values, bootstrap_interval
from relad_bids.core.evaluation import TABLE_COLUMNS, require_columns

MIN_PER_CELL = 10
"""Fewest participants of a subgroup of whom figures are shown."""
SHOWN = ("bias", "mae", "ccc", "sd_ratio")

SUBGROUP_COLUMNS: Mapping[str, dict[str, object]] = {
    "tracer": TABLE_COLUMNS["tracer"],
    "voi": TABLE_COLUMNS["voi"],
    "variable": {"Description": "What the participants are grouped by"},
    "level": {"Description": "Group; tertiles of age from young to old"},
    "metric": {"Description": "Measure", "Levels": {name: METRICS[name] for name in SHOWN}},
    "value": {"Description": f"The measure; n/a below {MIN_PER_CELL} participants"},
    "low": TABLE_COLUMNS["low"],
    "high": TABLE_COLUMNS["high"],
    "n": TABLE_COLUMNS["n"],
    "p_bias": {
        "Description": "Two-sided: whether the bias differs among the groups shown; Alexander & "
        "Govern 1994, unequal variances allowed"
    },
    "p_bias_fdr": {
        "Description": "p_bias, by Benjamini & Hochberg 1995 over tracers and variables"
    },
}


def tertiles(values: pd.Series) -> pd.Series:
    """Name each value's third by its bounds, such as ``61 to 68``; NaN stays missing.

    Values at a bound belong to the lower third.
    """
    known = values.dropna()
    found = pd.Series(np.nan, index=values.index, dtype=object)
    if known.nunique() < 3:
        return found
    ends = known.quantile([1 / 3, 2 / 3]).to_numpy()
    third = np.searchsorted(ends, known.to_numpy(dtype=np.float64), side="left")
    for one in range(3):
        mine = known[third == one]
        if len(mine):
            found[mine.index] = f"{mine.min():g} to {mine.max():g}"
    return found


def subgroup_table(
    pairs: pd.DataFrame,
    variables: Sequence[str],
    *,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Agreement in each level of each variable, per tracer and VOI.

    Parameters
    ----------
    pairs
        ``participant_id tracer voi estimate truth`` and the variables, as words. The scans of a
        participant are averaged first.

    Returns
    -------
    DataFrame
        The columns of :data:`SUBGROUP_COLUMNS`.
    """
    require_columns(pairs, ["participant_id", "tracer", "voi", "estimate", "truth", *variables])
    rows: list[dict[str, object]] = []
    known = pairs.dropna(subset=["estimate", "truth"])
    for (tracer, voi), scans in known.groupby(["tracer", "voi"], sort=False, observed=True):
        for variable in variables:
            each = _people(scans, variable)
            p = _differ(each)
            for level, group in each.groupby("level", sort=True):
                found = _measures(group, rng, n_draws, confidence)
                head = {"tracer": tracer, "voi": voi, "variable": variable, "level": level}
                rows += [{**head, **row, "p_bias": p} for row in found]
    table = pd.DataFrame(rows, columns=[name for name in SUBGROUP_COLUMNS if name != "p_bias_fdr"])
    return table.assign(p_bias_fdr=_adjusted(table))[[*SUBGROUP_COLUMNS]]


def _people(scans: pd.DataFrame, variable: str) -> pd.DataFrame:
    known = scans.dropna(subset=[variable])
    by_person = known.groupby("participant_id", observed=True)
    each = by_person[["estimate", "truth"]].mean()
    return each.assign(level=by_person[variable].first().astype(str))


def _measures(
    group: pd.DataFrame, rng: np.random.Generator, n_draws: int, confidence: float
) -> list[dict[str, object]]:
    n = len(group)
    if n < MIN_PER_CELL:
        return [{"metric": name, "n": n} for name in SHOWN]
    x, y = (group[name].to_numpy(dtype=np.float64) for name in ("estimate", "truth"))

    def shown(found: Agreement) -> Values:
        return np.stack([getattr(found, name) for name in SHOWN])

    found = bootstrap_interval(
        lambda weight: shown(agreement(x, y, weight)),
        n, rng=rng, n_draws=n_draws, confidence=confidence,
        left_out=lambda: shown(each_left_out(x, y)),
    )  # fmt: skip
    columns = zip(SHOWN, found.value, found.low, found.high, strict=True)
    return [
        {"metric": name, "value": value, "low": low, "high": high, "n": n}
        for name, value, low, high in columns
    ]


def _differ(each: pd.DataFrame) -> float:
    difference = each["estimate"] - each["truth"]
    groups = [group.to_numpy(dtype=np.float64) for _, group in difference.groupby(each["level"])]
    large = [group for group in groups if group.size >= MIN_PER_CELL and np.ptp(group) > 0]
    if len(large) < 2:
        return np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(alexandergovern(*large).pvalue)


def _adjusted(table: pd.DataFrame) -> pd.Series:
    tests = table.drop_duplicates(["tracer", "voi", "variable"])
    tests = tests[tests["p_bias"].notna()]
    if tests.empty:
        return pd.Series(np.nan, index=table.index)
    adjusted = multipletests(tests["p_bias"], method="fdr_bh")[1]
    keys = ["tracer", "voi", "variable"]
    by_key = pd.Series(adjusted, index=pd.MultiIndex.from_frame(tests[keys]))
    wanted = pd.MultiIndex.from_frame(table[keys])
    return pd.Series(by_key.reindex(wanted).to_numpy(), index=table.index)
