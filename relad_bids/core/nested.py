"""Out-of-fold prediction by ridge regression, penalties chosen inside each training part.

Whoever is predicted had no say in scaling, penalty or coefficients. Folds hold participants
whole. Written out rather than taken from scikit-learn, whose answers it gives (the tests compare
them), because a permutation test asks for it a thousand times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

Values = NDArray[np.float64]
Folds = NDArray[np.integer]

N_FOLDS = 5
ALPHAS = np.logspace(-1, 5, 13)
"""Penalties tried, for standardised predictors: from none to all on tables of any usual size."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which fold each of N rows is in."""

    outer: Folds
    """(N,)."""
    inner: Folds
    """(outer folds, N): folds of the rows outside each outer fold; -1 for those inside."""


def split(people: NDArray, *, rng: np.random.Generator, n_folds: int = N_FOLDS) -> Split:
    """Deal participants into folds, and the others of each fold into inner folds.

    Parameters
    ----------
    people : (N,)
        Participant of each row; all rows of one lie in one fold.
    """
    names, at = np.unique(people, return_inverse=True)
    outer_of = rng.permutation(len(names)) % n_folds
    inner = np.full((n_folds, len(people)), -1)
    for fold in range(n_folds):
        others = np.flatnonzero(outer_of != fold)
        inner_of = np.full(len(names), -1)
        inner_of[others] = rng.permutation(len(others)) % n_folds
        inner[fold] = inner_of[at]
    return Split(outer_of[at], inner)


def nested_ridge(x: Values, y: Values, folds: Split) -> Values:
    """Predict each row from the others' folds.

    Parameters
    ----------
    x : (N, P) float
        Without holes; P may be 0, which gives the training mean.
    y : (N,) float

    Returns
    -------
    (N,) float
    """
    predicted = np.empty(len(y))
    for fold in np.unique(folds.outer):
        out = folds.outer == fold
        alpha = chosen_penalty(x, y, folds.inner[fold])
        predicted[out] = _path(x[~out], y[~out], x[out], np.array([alpha]))[0]
    return predicted


def chosen_penalty(x: Values, y: Values, inner: Folds) -> float:
    """The one of :data:`ALPHAS` with the smallest error in the inner folds (N,)."""
    return float(ALPHAS[int(np.argmin(_inner_errors(x, y, inner)))])


def boosted_on_ridge(x: Values, y: Values, folds: Split, *, seed: int) -> Values:
    """Add a non-linear function of the same predictors to :func:`nested_ridge`.

    Gradient-boosted trees (100 of depth 3, rate 0.05, 10 rows a leaf) learn what the ridge
    regression leaves over in rows it was not fitted on. They count by the weight in [0, 1] that
    they earn in inner folds they were not fitted on (stacking; Breiman 1996, Mach Learn 24:49):
    where the score is linear they hold noise alone, and counted in full they made this rival
    worse than the ridge regression, so that any model seemed better than it.

    Returns
    -------
    (N,) float
    """
    predicted = nested_ridge(x, y, folds)
    for fold in np.unique(folds.outer):
        inner = folds.inner[fold]
        out, known = inner < 0, inner >= 0
        left = y - ridge_out_of_inner_folds(x, y, inner)
        weight = _earned(x, left, inner, seed)
        if weight > 0:
            predicted[out] += weight * _boosted(x[known], left[known], x[out], seed)
    return predicted


def _earned(x: Values, left: Values, inner: Folds, seed: int) -> float:
    """Weight in [0, 1] of trees, by least squares in inner folds (N,) they were not fitted on."""
    told = np.zeros(len(left))
    for fold in np.unique(inner[inner >= 0]):
        inside, others = inner == fold, (inner >= 0) & (inner != fold)
        told[inside] = _boosted(x[others], left[others], x[inside], seed)
    known = inner >= 0
    size = float(told[known] @ told[known])
    return float(np.clip(told[known] @ left[known] / size, 0, 1)) if size else 0.0


def _boosted(x: Values, y: Values, wanted: Values, seed: int) -> Values:
    trees = HistGradientBoostingRegressor(
        max_iter=100, max_depth=3, learning_rate=0.05, min_samples_leaf=10,
        early_stopping=False, random_state=seed,
    )  # fmt: skip
    return np.asarray(trees.fit(x, y).predict(wanted))


def training_mean(y: Values, folds: Split) -> Values:
    """Mean (N,) of the rows outside each row's fold: what a score without predictors is."""
    return np.array([y[folds.outer != fold].mean() for fold in folds.outer])


def ridge_out_of_inner_folds(x: Values, y: Values, inner: Folds) -> Values:
    """Predict each row of the inner folds (N,) from the others of them, by the penalty with the
    smallest error there; NaN of the rows that are in no inner fold."""
    predicted = _inner_predictions(x, y, inner)
    errors = ((predicted - y)[:, inner >= 0] ** 2).sum(axis=1)
    return np.asarray(predicted[int(np.argmin(errors))])


def _inner_errors(x: Values, y: Values, inner: Folds) -> Values:
    """Sum of squared errors of each penalty (A,)."""
    return ((_inner_predictions(x, y, inner) - y)[:, inner >= 0] ** 2).sum(axis=1)


def _inner_predictions(x: Values, y: Values, inner: Folds) -> Values:
    """(A, N); NaN of the rows that are in no inner fold."""
    predicted = np.full((len(ALPHAS), len(y)), np.nan)
    for fold in np.unique(inner[inner >= 0]):
        inside, others = inner == fold, (inner >= 0) & (inner != fold)
        predicted[:, inside] = _path(x[others], y[others], x[inside], ALPHAS)
    return predicted


def _path(x: Values, y: Values, wanted: Values, alphas: Values) -> Values:
    """Ridge predictions (A, M) of the rows ``wanted`` (M, P) for each penalty."""
    if not x.shape[1]:
        return np.full((len(alphas), len(wanted)), y.mean())
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    z, level = (x - centre) / scale, y.mean()
    variances, axes = np.linalg.eigh(z.T @ z)
    along = axes.T @ (z.T @ (y - level))
    shrunk = along / (np.maximum(variances, 0)[None, :] + alphas[:, None])
    return level + shrunk @ (((wanted - centre) / scale) @ axes).T
