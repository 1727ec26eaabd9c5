"""How far two scans of one person lie apart when nothing has changed: test and retest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from relad_bids.core.agreement import LIMITS_Z, agreement
from relad_bids.core.bootstrap import CONFIDENCE, N_DRAWS, Values, bootstrap_interval
from relad_bids.core.evaluation import MIN_FOR_CORRELATION, TABLE_COLUMNS, require_columns
from relad_bids.errors import DataError

RETEST_METRICS: Mapping[str, str] = {
    "icc_a1": "ICC(A,1) of test and retest: two-way, absolute agreement, single measure; McGraw & "
    "Wong 1996",
    "abs_diff_percent": "mean of 100 |retest - test| / mean of both",
    "bias_percent": "mean of 100 (retest - test) / mean of both",
    "within_sd": "within-participant standard deviation: root of the mean of "
    "(retest - test)^2 / 2",
    "within_cov_percent": "100 within_sd / mean of all values",
    "repeatability": "repeatability coefficient, 1.96 sqrt(2) within_sd: 95 % of two scans lie "
    "nearer together; Bland & Altman 1999",
}
"""Metric -> its definition, for the dictionary beside a table."""

RETEST_COLUMNS: Mapping[str, dict[str, object]] = {
    "tracer": TABLE_COLUMNS["tracer"],
    "source": {"Description": "real: of the scanner; synthetic: of the synthesis"},
    "voi": TABLE_COLUMNS["voi"],
    "metric": {"Description": "Measure of repeatability", "Levels": RETEST_METRICS},
    "value": {"Description": "The measure"},
    "low": TABLE_COLUMNS["low"],
    "high": TABLE_COLUMNS["high"],
    "n": {"Description": "Participants, one pair of sessions each"},
}


def retest_table(
    pairs: pd.DataFrame,
    *,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Repeatability per tracer, source and VOI, with BCa intervals over participants.

    Parameters
    ----------
    pairs
        ``participant_id tracer source voi test retest``; one pair per participant.

    Returns
    -------
    DataFrame
        The columns of :data:`RETEST_COLUMNS`; ICC is NaN below
        :data:`relad_bids.core.evaluation.MIN_FOR_CORRELATION` participants.

    Raises
    ------
    DataError
        A participant has two pairs.
    """
    keys = ["tracer", "source", "voi"]
    require_columns(pairs, ["participant_id", *keys, "test", "retest"])
    known = pairs.dropna(subset=["test", "retest"])
    if known.duplicated(["participant_id", *keys]).any():
        raise DataError(
            "a participant has two pairs of test and retest of one VOI; repeatability counts "
            "participants. Keep one pair of each."
        )
    rows = []
    for key, group in known.groupby(keys, sort=False, observed=True):
        test, retest = (group[name].to_numpy(dtype=np.float64) for name in ("test", "retest"))

        def statistic(weight: Values, a: Values = test, b: Values = retest) -> Values:
            return _measures(a, b, weight)

        found = bootstrap_interval(
            statistic, len(group), rng=rng, n_draws=n_draws, confidence=confidence
        )
        for i, metric in enumerate(RETEST_METRICS):
            shown = metric != "icc_a1" or len(group) >= MIN_FOR_CORRELATION
            bounds = (found.value[i], found.low[i], found.high[i])
            values = bounds if shown else (np.nan,) * 3
            rows.append([*key, metric, *values, len(group)])
    return pd.DataFrame(rows, columns=[*RETEST_COLUMNS])


def _measures(test: Values, retest: Values, weight: Values) -> Values:
    """All of :data:`RETEST_METRICS` (M, ...)."""
    n = weight.sum(-1)
    difference, middle = retest - test, (test + retest) / 2
    within = np.sqrt(weight @ difference**2 / n / 2)
    return np.stack(
        [
            agreement(retest, test, weight).icc_a1,
            weight @ (100 * np.abs(difference) / middle) / n,
            weight @ (100 * difference / middle) / n,
            within,
            100 * within * n / (weight @ middle),
            LIMITS_Z * np.sqrt(2) * within,
        ]
    )
