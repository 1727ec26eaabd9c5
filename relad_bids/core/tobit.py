"""Ridge regression of a score that cannot rise above its ceiling, or fall below its floor.

Of a fifth of healthy people the MMSE is 30 whatever more they could do. A straight line through
such scores bends where they cannot, so that any function of the same predictors that bends as
well seems to add something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from relad_bids.core.nested import Split, chosen_penalty

Values = NDArray[np.float64]

MIN_AT_BOUND = 0.1
"""Smallest share of scores at their largest, or smallest, value from which on it counts as a
bound: below that a straight line loses little."""
MAX_STEPS, TOLERANCE = 500, 1e-6
"""Of the iterations; change of the predictions in standard deviations of the score."""


@dataclass(frozen=True)
class Bound:
    """Where a score is cut off."""

    value: float
    upper: bool
    """A ceiling; else a floor."""
    share: float
    """Of the scores that lie there."""


def bound_of(score: Values) -> Bound | None:
    """The end of the scale at which most scores lie; None where few lie at either.

    Parameters
    ----------
    score : (N,) float
    """
    ends = [
        Bound(float(end), upper, float((score == end).mean()))
        for end, upper in ((score.max(), True), (score.min(), False))
    ]
    most = max(ends, key=lambda end: end.share)
    return most if MIN_AT_BOUND <= most.share < 1 else None


def nested_tobit(x: Values, y: Values, folds: Split, bound: Bound) -> Values:
    """Predict each row from the others' folds, by a ridge regression that knows the bound.

    The penalty is that of :func:`relad_bids.core.nested.nested_ridge`, chosen for the score as
    it is; Tobin 1958, Econometrica 26:24.

    Parameters
    ----------
    x : (N, P) float
        Without holes.
    y : (N,) float

    Returns
    -------
    (N,) float
        Expected score, bound and all: to be held against the same scores as any other.
    """
    sign = 1.0 if bound.upper else -1.0
    predicted = np.empty(len(y))
    for fold in np.unique(folds.outer):
        out = folds.outer == fold
        alpha = chosen_penalty(x, y, folds.inner[fold])
        latent, sd = _latent(x[~out], sign * y[~out], x[out], alpha, sign * bound.value)
        predicted[out] = sign * expected_score(latent, sd, sign * bound.value)
    return predicted


def expected_score(latent: Values, sd: float, ceiling: float) -> Values:
    r""":math:`E[\min(y, c)] = \Phi(z)\,\mu - \sigma \phi(z) + (1 - \Phi(z))\,c`, :math:`z = (c -
    \mu) / \sigma`."""
    z = (ceiling - latent) / sd
    below = norm.cdf(z)
    return np.asarray(below * latent - sd * norm.pdf(z) + (1 - below) * ceiling)


def _latent(
    x: Values, y: Values, wanted: Values, alpha: float, ceiling: float
) -> tuple[Values, float]:
    """What the rows ``wanted`` would score without a ceiling, and the residual SD.

    By expectation and maximisation (Dempster et al. 1977, J R Stat Soc B 39:1): scores at the
    ceiling are taken as high as they are expected to be above it, until nothing moves.
    """
    at = y >= ceiling
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    z = (x - centre) / scale
    solve = np.linalg.solve(z.T @ z + alpha * np.eye(z.shape[1]), z.T)
    full, sd, spread = y.astype(np.float64), float(y.std()) or 1.0, float(y.std())
    fitted = np.full(len(y), full.mean())
    for _ in range(MAX_STEPS):
        away = (ceiling - fitted[at]) / sd
        hazard = np.exp(norm.logpdf(away) - norm.logsf(away))
        full[at] = fitted[at] + sd * hazard
        unknown = sd**2 * (1 + away * hazard - hazard**2)
        level, slopes = full.mean(), solve @ (full - full.mean())
        before, fitted = fitted, level + z @ slopes
        sd = float(np.sqrt((((full - fitted) ** 2).sum() + unknown.sum()) / len(y))) or sd
        if np.abs(fitted - before).max() <= TOLERANCE * spread:
            break
    return level + (wanted - centre) / scale @ slopes, sd
