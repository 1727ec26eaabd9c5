"""A cut-off from the values themselves: where two groups of a mixture are equally likely."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from sklearn.mixture import GaussianMixture

MIN_FOR_MIXTURE = 20
"""Fewest values: five parameters, and each group needs several members to have a spread."""


@dataclass(frozen=True)
class MixtureCutoff:
    """Where the upper group of a mixture begins."""

    value: float
    """NaN where the values do not fall into two groups."""
    note: str
    """``ok``, or why there is none."""


def mixture_cutoff(values: ArrayLike, *, seed: int = 0) -> MixtureCutoff:
    """Fit one and two Gaussians; cut where both of two are equally likely.

    By maximum likelihood (expectation-maximisation, ten starts). Two are taken where the Bayesian
    information criterion prefers them; Schwarz 1978, Ann Stat 6:461.

    Parameters
    ----------
    values : (N,) float
        One per participant, SUVr; values that are not finite are left out.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if known.size < MIN_FOR_MIXTURE:
        return MixtureCutoff(np.nan, f"{known.size} participants, a mixture needs 20")
    column = known[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one start of ten that did not converge
        one, two = (
            GaussianMixture(k, n_init=10, random_state=seed, reg_covar=1e-8).fit(column)
            for k in (1, 2)
        )
    if two.bic(column) >= one.bic(column):
        return MixtureCutoff(np.nan, "one group fits no worse than two (BIC)")
    low, high = np.argsort(two.means_[:, 0])
    ends = two.means_[[low, high], 0]

    def upper(at: float) -> float:
        return float(two.predict_proba([[at]])[0, high]) - 0.5

    if upper(ends[0]) >= 0 or upper(ends[1]) <= 0:
        return MixtureCutoff(np.nan, "the two groups lie inside each other")
    return MixtureCutoff(float(brentq(upper, *ends, xtol=1e-6)), "ok")
