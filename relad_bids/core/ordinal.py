"""A score of few steps by a model of steps: proportional odds on the line of a ridge regression.

Between the steps of a scale such as the global CDR (0, 0.5, 1, 2, 3) there is nothing, and one
step is not as far as another; a straight line knows neither. The ridge regression says who lies
above whom, the proportional odds model (McCullagh 1980, J R Stat Soc B 42:109) which steps
that amounts to: with all predictors in it, it could not be fitted to a cohort of usual size.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from statsmodels.miscmodels.ordinal_model import OrderedModel

from relad_bids.core.nested import Split, nested_ridge, ridge_out_of_inner_folds

Values = NDArray[np.float64]

LEVELS = (3, 7)
"""Fewest and most different values of a score that is taken as one of steps."""


def is_ordinal(score: Values) -> bool:
    """Whether a score (N,) has few enough different values."""
    return LEVELS[0] <= len(np.unique(score)) <= LEVELS[1]


def nested_ordinal(x: Values, y: Values, folds: Split) -> Values:
    """Predict each row from the others' folds.

    The odds are fitted to predictions of inner folds, so that the line is as uncertain there as
    in the rows that are predicted.

    Parameters
    ----------
    x : (N, P) float
        Without holes.
    y : (N,) float
        For which :func:`is_ordinal` holds.

    Returns
    -------
    (N,) float
        Expected score: to be held against the same scores as any other prediction. That of the
        ridge regression itself in a fold whose odds cannot be fitted.
    """
    line = nested_ridge(x, y, folds)
    predicted = line.copy()
    for fold in np.unique(folds.outer):
        inner = folds.inner[fold]
        known, out = inner >= 0, inner < 0
        told = ridge_out_of_inner_folds(x, y, inner)
        expected = _expected(told[known], y[known], line[out])
        if expected is not None:
            predicted[out] = expected
    return predicted


def _expected(told: Values, y: Values, wanted: Values) -> Values | None:
    """Expected score where the line is ``wanted``; None where no odds can be fitted."""
    levels, step = np.unique(y, return_inverse=True)
    spread = told.std()
    if len(levels) < 2 or not spread > 0:
        return None
    centre = told.mean()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # whether it converged is asked below
        try:
            model = OrderedModel(step, ((told - centre) / spread)[:, None], distr="logit")
            fit = model.fit(method="bfgs", disp=False)
            share = model.predict(fit.params, exog=((wanted - centre) / spread)[:, None])
        except (np.linalg.LinAlgError, ValueError):
            return None
    found = np.asarray(share) @ levels
    return found if fit.mle_retvals["converged"] and np.isfinite(found).all() else None
