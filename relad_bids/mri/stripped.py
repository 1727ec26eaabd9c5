"""Is this T1w a brain alone, and which of its voxels are that brain."""

from __future__ import annotations

import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.core.brain_checks import MOST_CUT_STRIPPED, cut_share, largest_piece
from relad_bids.mri.bias import foreground, usable

LEAST_EMPTY = 0.5
"""Share of voxels that are 0 in an image whose scalp was removed and whose background was left
clean; less where the brain fills the image or interpolation left ripples."""

LARGEST_BRAIN_ML = 2100.0
"""More tissue than this is a head: large brains with their fluid reach about 2 L, and scalp, skull
and face add as much again."""

FLOOR = 0.03
"""Of the 99th percentile; below it lies the halo that smoothing or interpolation left around a
brain in zeros. Dark fluid inside is filled in again."""

SMALLEST_BRAIN_ML = 500.0
"""Less tissue than this in a noisy background is no brain to build on."""


def is_stripped(t1w: ANTsImage) -> bool:
    """Tell whether scalp and face are gone: a brain's worth of tissue and nothing around it.

    With a background of exact zeros their number says it. Otherwise (noise, ripples of an
    interpolation) the tissue must be one piece that no slice opens, of a brain's volume, and must
    not leave the image: a head has a neck.
    """
    values = usable(t1w)
    voxel_ml = float(np.prod(t1w.spacing)) / 1000
    if float((values == 0).mean()) >= LEAST_EMPTY:
        return float(largest_piece(_above_floor(values)).sum()) * voxel_ml <= LARGEST_BRAIN_ML
    return _alone_in_noise(values, voxel_ml, t1w.spacing)


def stripped_brain(t1w: ANTsImage) -> NDArray[np.bool_]:
    """Return the brain of a stripped T1w, (I, J, K) bool, with its ventricles."""
    values = usable(t1w)
    if float((values == 0).mean()) >= LEAST_EMPTY:
        return largest_piece(_above_floor(values))
    return largest_piece(_tissue(values))


def _alone_in_noise(
    values: NDArray[np.float32], voxel_ml: float, voxel_mm: tuple[float, ...]
) -> bool:
    tissue = _tissue(values)
    solid = _filled_by_slices(tissue)
    if not SMALLEST_BRAIN_ML <= float(solid.sum()) * voxel_ml <= LARGEST_BRAIN_ML:
        return False
    return cut_share(solid, values, voxel_mm, room_mm=0.0) <= MOST_CUT_STRIPPED


def _above_floor(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(values > FLOOR * float(np.quantile(values[values > 0], 0.99)))


def _tissue(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return what stands out of the background, without its specks."""
    return np.asarray(ndimage.binary_opening(foreground(values)))


def _filled_by_slices(tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what any slice closes: a scalp that the image's edge opens still hides its skull."""
    filled = tissue.copy()
    for axis in range(tissue.ndim):
        slices = np.moveaxis(filled, axis, 0)
        for k in range(slices.shape[0]):
            slices[k] = ndimage.binary_fill_holes(slices[k])
    return filled
