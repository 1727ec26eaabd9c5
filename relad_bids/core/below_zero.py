"""MRI whose zero was moved: z-scored images, whose darker half lies below it.

A scanner writes magnitudes, so that everything downstream takes what is below zero for air. In an
image that was z-scored, or whose mean was taken away, that is the darker half of the brain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_BELOW = 0.02
"""Share of the voxels that may lie below zero: what ripples of an interpolation leave."""

DEEPEST = 0.05
"""Of the 99th percentile; ripples are no deeper below zero."""

CONSTANT = 0.01
"""Share of the image that makes its lowest value a padding or a background, and no tissue."""

EMPTY = 0.2
"""Share of exact zeros that makes zero the background."""

DARKEST = 0.001
"""Quantile that becomes zero: a single outlier would leave no contrast."""


def below_zero(values: NDArray[np.floating]) -> float:
    """Return the share of the voxels (zeros and padding left out) that tissue has below zero.

    Parameters
    ----------
    values : (I, J, K) float
        MRI in arbitrary units, finite.

    Returns
    -------
    float
        0 to 1; 0 where they lie no deeper than the ripples of an interpolation.
    """
    own = _own(values)
    if not own.size or float(own.min()) >= 0:
        return 0.0
    share = float((own < 0).mean())
    low, high = np.quantile(own, [0.01, 0.99])
    return share if share > MOST_BELOW and -low > DEEPEST * high else 0.0


def lifted(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return an MRI whose darkest tissue lies at zero again.

    Parameters
    ----------
    values : (I, J, K) float
        MRI in arbitrary units, finite.

    Returns
    -------
    (I, J, K) float32
        The same values where :func:`below_zero` is 0. Otherwise nowhere negative: moved up by
        one number, with a background of exact zeros, or of the lowest value, left at 0.
    """
    if below_zero(values) == 0:
        return values.astype(np.float32, copy=False)
    moved = np.maximum(values - np.quantile(_own(values), DARKEST), 0)
    if float((values == 0).mean()) >= EMPTY:
        moved[values == 0] = 0
    return moved.astype(np.float32)


def _own(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the values that are neither background nor padding, (N,)."""
    lowest = values.min()
    own = values[values != 0]
    if lowest < 0 and float((values == lowest).mean()) >= CONSTANT:
        own = own[own != lowest]
    return own
