"""Reference regions whose mean lies far from those of a cohort."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import median_abs_deviation

FAR = 3.0
"""Median absolute deviations, scaled to the SD of a normal distribution (pet-quantification,
section 1.5)."""

FEWEST = 8
"""Images; the spread of fewer says nothing of one of them."""


def reference_outliers(means: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which images of one tracer and unit have an unusual reference region.

    Parameters
    ----------
    means : (N,) float
        Mean of each image's reference region; NaN where it is not known.

    Returns
    -------
    (N,) bool
        Nowhere true with fewer than :data:`FEWEST` images, or where most are equal.
    """
    known = means[np.isfinite(means)]
    if known.size < FEWEST:
        return np.zeros(means.shape, dtype=bool)
    spread = float(median_abs_deviation(known, scale="normal"))
    away = np.abs(means - np.median(known))
    return np.isfinite(means) & (spread > 0) & (away > FAR * spread)
