"""Lines through pairs of values that both have error: method comparison.

Least squares takes the truth as free of error and finds too flat a line where it is not. Deming
regression knows how the errors compare, Passing-Bablok regression needs to know nothing of them
and does not mind outliers. Both need independent pairs: of a participant with several scans the
first counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student_t
from scipy.stats import theilslopes

from relad_bids.core.agreement import agreement, each_left_out
from relad_bids.core.bootstrap import CONFIDENCE
from relad_bids.core.evaluation import MIN_FOR_CORRELATION, TABLE_COLUMNS, require_columns

Values = NDArray[np.float64]

EVERYWHERE = 500
"""Most participants with whom Passing-Bablok lines are drawn in every VOI: their cost grows with
the square of the participants (2,000: 0.05 s a VOI)."""

METHOD_METRICS: Mapping[str, str] = {
    "deming_slope": "slope of the estimate on the truth where both have error (Deming; Linnet "
    "1993); ideal 1; one scan of each participant; jackknife interval",
    "deming_intercept": "its intercept; ideal 0",
    "deming_error_ratio": "error variance of the estimate over that of the truth which the line "
    "supposes: of test and retest where both are known, else 1",
    "passing_bablok_slope": "slope of the estimate on the truth by ranks of the slopes of all "
    "pairs (Passing & Bablok 1983); ideal 1; one scan of each participant; above "
    f"{EVERYWHERE} participants in the primary VOI alone",
    "passing_bablok_intercept": "its intercept; ideal 0",
}
"""Metric -> its definition, for the dictionary beside a table."""


class Line(NamedTuple):
    """Slope and intercept of the estimate on the truth, each value, low, high."""

    slope: tuple[float, float, float]
    intercept: tuple[float, float, float]


def deming(
    estimate: Values, truth: Values, *, error_ratio: float, confidence: float = CONFIDENCE
) -> Line:
    """Deming regression with jackknife t intervals, n - 2 degrees of freedom.

    Linnet 1990, Stat Med 9:1463; line of :meth:`relad_bids.core.agreement.Agreement.deming`.

    Parameters
    ----------
    estimate, truth : (N,) float
        One value per participant, in one VOI.
    error_ratio
        Error variance of the estimate over that of the truth, above 0.
    """
    n = truth.size
    whole = agreement(estimate, truth).deming(error_ratio=error_ratio)
    without = each_left_out(estimate, truth).deming(error_ratio=error_ratio)
    quantile = float(student_t.ppf((1 + confidence) / 2, n - 2))
    found = []
    for value, left in zip(whole, without, strict=True):
        pseudo = n * value - (n - 1) * left
        reach = quantile * float(pseudo.std(ddof=1)) / np.sqrt(n)
        found.append((float(value), float(value) - reach, float(value) + reach))
    return Line(*found)


def passing_bablok(estimate: Values, truth: Values, *, confidence: float = CONFIDENCE) -> Line:
    r"""Passing-Bablok regression with its rank intervals; 1983, J Clin Chem Clin Biochem 21:709.

    Its order of slopes begins and ends at -1, so that neither axis goes before the other. Turned
    by 45 degrees that is the usual order: with the Theil-Sen slope m of the difference on the sum
    (a Bland-Altman plot), the slope is :math:`(1 + m) / (1 - m)`.

    Parameters
    ----------
    estimate, truth : (N,) float
        One value per participant, in one VOI; positively associated.

    Returns
    -------
    Line
        NaN for a line, or a bound, that is vertical or falls more steeply than -1.
    """
    turned = theilslopes(estimate - truth, estimate + truth, alpha=confidence)
    slopes = [_back(float(m)) for m in (turned.slope, turned.low_slope, turned.high_slope)]
    value, high, low = (float(np.median(estimate - slope * truth)) for slope in slopes)
    return Line((slopes[0], slopes[1], slopes[2]), (value, low, high))


def _back(m: float) -> float:
    """A slope of the turned axes as one of the axes themselves."""
    return (1 + m) / (1 - m) if m < 1 else float("nan")


def method_table(
    pairs: pd.DataFrame,
    *,
    error_ratios: Mapping[tuple[str, str], float],
    primary: Collection[tuple[str, str]],
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Deming and Passing-Bablok lines per tracer and VOI.

    Parameters
    ----------
    pairs
        ``participant_id tracer voi estimate truth``; of a participant the first row counts.
    error_ratios
        (tracer, VOI) -> error variance of the estimate over that of the truth; 1 elsewhere.
    primary
        (tracer, VOI) that were declared before looking.

    Returns
    -------
    DataFrame
        The columns of :data:`relad_bids.core.evaluation.TABLE_COLUMNS`, the metrics of
        :data:`METHOD_METRICS`; nothing of a VOI with fewer than
        :data:`relad_bids.core.evaluation.MIN_FOR_CORRELATION` participants.
    """
    keys = ["tracer", "voi"]
    require_columns(pairs, ["participant_id", *keys, "estimate", "truth"])
    known = pairs.dropna(subset=["estimate", "truth"])
    once = known.drop_duplicates(["participant_id", *keys])
    rows = []
    for (tracer, voi), scans in once.groupby(keys, sort=False, observed=True):
        if len(scans) < MIN_FOR_CORRELATION:
            continue
        told, real = (scans[name].to_numpy(dtype=np.float64) for name in ("estimate", "truth"))
        ratio = error_ratios.get((tracer, voi), 1.0)
        line = deming(told, real, error_ratio=ratio, confidence=confidence)
        found = {
            "deming_slope": line.slope,
            "deming_intercept": line.intercept,
            "deming_error_ratio": (ratio, np.nan, np.nan),
        }
        if len(scans) <= EVERYWHERE or (tracer, voi) in primary:
            ranked = passing_bablok(told, real, confidence=confidence)
            found["passing_bablok_slope"] = ranked.slope
            found["passing_bablok_intercept"] = ranked.intercept
        rows += [
            [tracer, voi, metric, *values, len(scans), len(scans)]
            for metric, values in found.items()
        ]
    return pd.DataFrame(rows, columns=[*TABLE_COLUMNS])
