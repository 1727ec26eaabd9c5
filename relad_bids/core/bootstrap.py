"""Intervals from drawing participants again and again.

Participants are drawn, never scans or VOIs: those of one person are not independent. The
intervals hold the network fixed: what another training set would have given is not in.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap

from relad_bids.core.agreement import ROUNDING

Values = NDArray[np.float64]
Statistic = Callable[[Values], Values]
"""How often each of P participants was drawn (..., P) -> M values (M, ...)."""
LeftOut = Callable[[], Values]
"""M values without each of P participants (M, P)."""

N_DRAWS = 2000
CONFIDENCE = 0.95
BATCH = 2**20
"""Participants drawn at a time, over all draws: arrays of 8 MB, however many participants."""


@dataclass(frozen=True, eq=False)
class Interval:
    """M values, each with its interval; all (M,)."""

    value: Values
    low: Values
    high: Values


def fewest_participants(confidence: float) -> int:
    r"""Fewest participants for whom a bootstrap interval can keep its promise.

    It lies between the smallest and the largest of n observations, and these enclose the
    median with probability :math:`1 - 2^{1 - n}` only: 6 participants for 95 %.
    """
    return math.ceil(1 - math.log2(1 - confidence) - 1e-9)


def bootstrap_interval(
    statistic: Statistic,
    n: int,
    *,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
    left_out: LeftOut | None = None,
) -> Interval:
    """BCa interval over n participants; Efron 1987, JASA 82:171.

    Parameters
    ----------
    statistic
        Of how often each participant was drawn.
    n
        Number of participants.
    left_out
        The statistic without each participant in turn, where there is a shorter way to it than
        ``statistic`` of n rows of n weights, whose cost grows with the square of n.

    Returns
    -------
    Interval
        Without bounds (NaN) below :func:`fewest_participants`, and where the draws do not vary.
    """
    value = np.asarray(statistic(np.ones(n)), dtype=np.float64)
    if n < fewest_participants(confidence):
        return Interval(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    known = None if left_out is None else np.asarray(left_out(), dtype=np.float64)

    def drawn_statistic(drawn: NDArray[np.integer], axis: int) -> Values:
        if known is not None and drawn.shape[axis] == n - 1:  # the jackknife of BCa
            return known[:, n * (n - 1) // 2 - drawn.sum(axis)]
        return statistic(_counts(drawn, n))

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (np.arange(n),),
            drawn_statistic,
            n_resamples=n_draws, vectorized=True, method="BCa", batch=max(1, BATCH // n),
            confidence_level=confidence, rng=rng,
        ).confidence_interval  # fmt: skip
        varies = found.high - found.low > ROUNDING * np.abs(value)
    low, high = (np.where(varies, bound, np.nan) for bound in (found.low, found.high))
    return Interval(value, low, high)


def _counts(drawn: NDArray[np.integer], n: int) -> Values:
    """Participants drawn (..., P) -> how often each (..., n)."""
    rows = drawn.reshape(-1, drawn.shape[-1])
    place = rows + n * np.arange(len(rows))[:, None]
    counts = np.bincount(place.ravel(), minlength=n * len(rows))
    # Participants lie apart in memory, draws side by side: so they are put in order for ranks.
    return np.asfortranarray(counts.reshape(*drawn.shape[:-1], n).astype(np.float64))
