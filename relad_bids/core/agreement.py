"""How well two sets of regional values agree, across participants."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def concordance(estimate: ArrayLike, truth: ArrayLike) -> float:
    r"""Lin's concordance correlation coefficient; Lin 1989, Biometrics 45:255.

    .. math:: 2 s_{xy} / (s_x^2 + s_y^2 + (\bar x - \bar y)^2)

    with :math:`1/n` moments. A correlation of 1 hides a gain and a shrinkage, this does not.

    Parameters
    ----------
    estimate, truth : (N,) float
        One value per participant, in one VOI; pooling VOIs would inflate it.

    Returns
    -------
    float
        In [-1, 1]; NaN when neither varies and the means agree.
    """
    x, y = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    apart = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * covariance / apart) if apart > 0 else float("nan")
