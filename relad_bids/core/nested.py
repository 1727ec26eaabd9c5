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
    regression leaves over in rows it was not fitted on.

    Returns
    -------
    (N,) float
    """
    predicted = nested_ridge(x, y, folds)
    for fold in np.unique(folds.outer):
        out = folds.outer == fold
        best = int(np.argmin(_inner_errors(x, y, folds.inner[fold])))
        linear = _inner_predictions(x, y, folds.inner[fold])[best]
        trees = HistGradientBoostingRegressor(
            max_iter=100, max_depth=3, learning_rate=0.05, min_samples_leaf=10,
            early_stopping=False, random_state=seed,
        )  # fmt: skip
        trees.fit(x[~out], (y - linear)[~out])
        predicted[out] += trees.predict(x[out])
    return predicted


def training_mean(y: Values, folds: Split) -> Values:
    """Mean (N,) of the rows outside each row's fold: what a score without predictors is."""
    return np.array([y[folds.outer != fold].mean() for fold in folds.outer])


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
