"""Whether a stated spread is true, and the factor that makes it so.

Frames of pairs are those of :mod:`relad_bids.core.evaluation`, with the column ``spread``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, norm

from relad_bids.core.bootstrap import CONFIDENCE, N_DRAWS
from relad_bids.core.evaluation import (
    COVERAGE_LEVELS,
    TABLE_COLUMNS,
    Item,
    interval_table,
    require_columns,
)
from relad_bids.errors import DataError

CRPS_METRICS: Mapping[str, str] = {
    "crps": "mean over participants of the fair continuous ranked probability score of the "
    "samples, SUVr; of a floor, which has one answer, it is the absolute error",
}

RANK_COLUMNS: Mapping[str, dict[str, object]] = {
    "tracer": TABLE_COLUMNS["tracer"],
    "voi": TABLE_COLUMNS["voi"],
    "rank": {
        "Description": "Samples below the truth, 0 to M: the PIT of an ensemble. Even counts: "
        "the samples are like the truth; a U: too sure; a hill: too unsure; a slope: biased"
    },
    "count": {"Description": "Participants whose truth has this rank"},
    "expected": {"Description": "Participants in each rank, were the samples like the truth"},
    "n": {"Description": "Participants"},
}
"""Columns of :func:`rank_histogram`."""


def spread_calibration(
    pairs: pd.DataFrame,
    *,
    n_samples: int,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    r"""Whether the spread of a network's samples is the size of its error, per tracer and VOI.

    Coverage of estimate -/+ z spread at 50, 80, 90 and 95 %, and the spread-skill ratio
    :math:`\sqrt{(1 + 1/M)\,\overline{s^2}} / \mathrm{RMSE}`; Fortin et al. 2014,
    J Hydrometeorol 15:1708.

    Parameters
    ----------
    pairs
        ``participant_id tracer voi estimate truth spread``, one scan per participant; ``spread``
        is the standard deviation of the VOI's SUVr over the samples, with M - 1.
    n_samples
        M, of which ``estimate`` is the mean.

    Returns
    -------
    DataFrame
        As :func:`relad_bids.core.evaluation.evaluate`, with the metrics of
        :data:`relad_bids.core.evaluation.SPREAD_METRICS`.
    """
    complete = _scans_with_spread(pairs)
    groups = list(complete.groupby(["tracer", "voi"], sort=False))
    coverage = pd.DataFrame(
        [row for (t, v), scans in groups for row in _coverage_rows(t, v, scans, confidence)]
    )
    items = [_spread_item(t, v, scans, n_samples) for (t, v), scans in groups]
    ratios = interval_table(items, (), rng, n_draws, confidence)
    return pd.concat([coverage, ratios])[list(TABLE_COLUMNS)].reset_index(drop=True)


def fair_crps(samples: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    r"""Fair continuous ranked probability score of M samples; Ferro 2014, QJRMS 140:1917.

    .. math:: \frac1M \sum_i |x_i - y| - \frac{1}{2 M (M - 1)} \sum_{i,j} |x_i - x_j|

    Its expectation does not depend on M, so that models with few and with many samples can be
    compared; that of one participant may be negative. Samples that are all alike give the
    absolute error.

    Parameters
    ----------
    samples : (M, ...) float
        2 or more.
    truth : (...) float
        Same unit.

    Returns
    -------
    (...) float64
    """
    x = np.sort(np.asarray(samples, dtype=np.float64), axis=0)
    m = len(x)
    # |x_i - x_j| over the pairs i < j, from the order statistics.
    place = (2 * np.arange(m) - m + 1).reshape(-1, *[1] * (x.ndim - 1))
    apart = (place * x).sum(0)
    error = np.abs(x - np.asarray(truth, dtype=np.float64)).mean(0)
    return np.asarray(error - apart / (m * (m - 1)))


def rank_of(samples: ArrayLike, truth: ArrayLike) -> NDArray[np.intp]:
    """How many of M samples (M, ...) lie below the truth (...): 0 to M."""
    return np.asarray((np.asarray(samples) < np.asarray(truth)).sum(0))


def rank_histogram(pairs: pd.DataFrame, *, n_samples: int) -> pd.DataFrame:
    """Count the ranks of the truth among the samples, per tracer and VOI.

    Parameters
    ----------
    pairs
        As in :func:`spread_calibration`, with the column ``rank`` of :func:`rank_of`.
    n_samples
        M: there are M + 1 ranks.

    Returns
    -------
    DataFrame
        The columns of :data:`RANK_COLUMNS`, M + 1 rows per tracer and VOI.
    """
    complete = _scans_with_spread(pairs, "rank")
    rows = [
        {
            "tracer": tracer,
            "voi": voi,
            "rank": rank,
            "count": count,
            "expected": len(scans) / (n_samples + 1),
            "n": len(scans),
        }
        for (tracer, voi), scans in complete.groupby(["tracer", "voi"], sort=False)
        for rank, count in enumerate(
            np.bincount(scans["rank"].astype(int), minlength=n_samples + 1)
        )
    ]
    return pd.DataFrame(rows, columns=list(RANK_COLUMNS))


def conformal_factors(pairs: pd.DataFrame, *, level: float = 0.9) -> pd.DataFrame:
    """Factor per tracer and VOI, so that estimate -/+ factor * spread holds the truth.

    Parameters
    ----------
    pairs
        As in :func:`spread_calibration`, of participants that were neither trained on nor will
        be reported.

    Returns
    -------
    DataFrame
        ``tracer voi level factor n``.
    """
    rows = [
        {
            "tracer": tracer,
            "voi": voi,
            "level": level,
            "factor": conformal_factor(
                scans["estimate"] - scans["truth"], scans["spread"], level=level
            ),
            "n": len(scans),
        }
        for (tracer, voi), scans in _scans_with_spread(pairs).groupby(
            ["tracer", "voi"], sort=False
        )
    ]
    return pd.DataFrame(rows, columns=["tracer", "voi", "level", "factor", "n"])


def conformal_factor(error: ArrayLike, spread: ArrayLike, *, level: float = 0.9) -> float:
    r"""Split-conformal factor on \|error\| / spread; Lei et al. 2018, JASA 113:1094.

    The k-th smallest ratio, :math:`k = \lceil (n + 1)\,\mathrm{level} \rceil`. The next
    exchangeable participant lies within factor * spread with at least this probability,
    whatever the distributions are. A spread of 1 gives a half-width that is the same for all.

    Parameters
    ----------
    error, spread : (N,) float
        One of each per participant of the calibration set, same unit; spread 0 or more.

    Returns
    -------
    float
        Infinite where k > n: 8 participants cannot vouch for 90 %, 9 can.
    """
    size = np.abs(np.asarray(error, dtype=np.float64))
    width = np.asarray(spread, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(size == 0, 0.0, size / width)
    # (n + 1) * level may lie one rounding above a whole number.
    k = math.ceil((ratio.size + 1) * level - 1e-9)
    return float(np.sort(ratio)[k - 1]) if k <= ratio.size else math.inf


def _spread_item(tracer: str, voi: str, scans: pd.DataFrame, n_samples: int) -> Item:
    scans = scans.sort_values("participant_id")
    squared_error = ((scans["estimate"] - scans["truth"]) ** 2).to_numpy()
    variance = (1 + 1 / n_samples) * (scans["spread"] ** 2).to_numpy()
    return Item(
        tracer,
        voi,
        ("spread_skill",),
        tuple(scans["participant_id"].astype(str)),
        len(scans),
        lambda weight: np.sqrt((weight @ variance) / (weight @ squared_error))[None],
        {},
    )


def _coverage_rows(
    tracer: str, voi: str, scans: pd.DataFrame, confidence: float
) -> Iterator[dict[str, object]]:
    error = (scans["estimate"] - scans["truth"]).abs()
    n = len(scans)
    for level in COVERAGE_LEVELS:
        inside = int((error <= norm.ppf((1 + level) / 2) * scans["spread"]).sum())
        interval = binomtest(inside, n).proportion_ci(confidence, method="exact")
        yield {
            "tracer": tracer,
            "voi": voi,
            "metric": f"coverage_{100 * level:.0f}",
            "value": inside / n,
            "low": interval.low,
            "high": interval.high,
            "n": n,
            "n_scans": n,
        }


def _scans_with_spread(pairs: pd.DataFrame, *more: str) -> pd.DataFrame:
    keys = ["participant_id", "tracer", "voi"]
    values = ["estimate", "truth", "spread", *more]
    require_columns(pairs, [*keys, *values])
    complete = pairs.dropna(subset=values)
    repeated = complete[complete.duplicated(keys)]
    if len(repeated):
        raise DataError(
            f"{len(repeated)} rows repeat a participant, tracer and VOI, first "
            f"{' '.join(map(str, repeated.iloc[0][keys]))}; coverage counts participants. Keep "
            "one scan of each."
        )
    return complete
