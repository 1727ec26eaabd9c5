"""Several answers of one network: their mean, their spread, and from how many on it is told."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FEWEST_FOR_SPREAD = 8
"""The standard deviation of M draws is itself uncertain by 1 / sqrt(2 (M - 1)): 27 % at 8, 35 % at
5 (pet-quantification, section 5.8)."""

KEYS = ["family", "voi", "hemi"]
"""Columns that name a row of a VOI table."""


def has_spread(n_samples: int) -> bool:
    """Whether so many samples are enough for a standard deviation."""
    return n_samples >= FEWEST_FOR_SPREAD


class Moments:
    """Mean and standard deviation of images that come one by one; Welford 1962, Technometrics 4.

    Two images are held, however many come.
    """

    def __init__(self) -> None:
        self.n = 0
        self._mean: NDArray[np.float64] = np.zeros(())
        self._squares: NDArray[np.float64] = np.zeros(())

    def add(self, image: NDArray[np.floating]) -> None:
        """Take one more image in; all have one shape."""
        if self.n == 0:
            self._mean = np.zeros(image.shape)
            self._squares = np.zeros(image.shape)
        self.n += 1
        before = image - self._mean
        self._mean += before / self.n
        self._squares += before * (image - self._mean)

    @property
    def mean(self) -> NDArray[np.float32]:
        """Arithmetic mean: the estimate of least squared error that samples give."""
        return self._mean.astype(np.float32)

    @property
    def sd(self) -> NDArray[np.float32]:
        """Standard deviation with M - 1; needs two images."""
        return np.sqrt(self._squares / (self.n - 1)).astype(np.float32)


def spread_of(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Standard deviation of each region's SUVr over the samples.

    From the regional means of every sample: the voxels of one sample err together, so a map of
    their standard deviations does not give it.

    Parameters
    ----------
    tables
        One VOI table per sample (:func:`relad_bids.core.suvr.voi_table`), two or more, with the
        same rows in the same order. Each is divided by the reference region of its own sample.

    Returns
    -------
    DataFrame
        ``family voi hemi suvr_sd_samples``; NaN where a sample has no value.
    """
    spread = Moments()
    for table in tables:
        rows = table[KEYS]
        spread.add(table["suvr_mean"].to_numpy())
    return rows.assign(suvr_sd_samples=spread.sd)
