"""How much one image says about another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 16


def binned(values: NDArray, *, top: float, bins: int = BINS) -> NDArray[np.intp]:
    """Return the bin of each value: ``bins`` equal ones from 0 to ``top``, the last one open."""
    return np.clip(values / top * bins, 0, bins - 1).astype(np.intp)


def mutual_information(
    first: NDArray[np.intp], second: NDArray[np.intp], *, bins: int = BINS
) -> float:
    """Return the mutual information of two equally long lists of bins, in nats.

    0 for independent images, the entropy of the coarser one where it follows from the other.
    """
    joint = np.bincount(first * bins + second, minlength=bins**2).reshape(bins, bins)
    p = joint / joint.sum()
    independent = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    here = p > 0
    return float((p[here] * np.log(p[here] / independent[here])).sum())
