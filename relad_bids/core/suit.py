"""Inferior cerebellar grey matter from the lobules of SUIT, where the user has that atlas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.regions import CEREBELLAR_GM
from relad_bids.core.resolution import point_spread
from relad_bids.errors import DataError, EmptyRegionError, GridMismatchError

REF_METHOD = "suit"
"""How the region was drawn, for the column ``ref_method``."""

SUIT_KEEP = (6, *range(8, 29), 33, 34)
"""Lobules of the inferior cerebellum: vermis VI, crus I to X, fastigial nuclei."""

SUIT_TOSS = (1, 2, 3, 4, 5, 7)
"""Lobules I to VI of both hemispheres: they catch occipital spill-in and off-target binding."""

SUIT_FWHM_MM = 8.0
"""Smoothing of both sets of lobules (UCSF LEADS; pet-quantification, section 1.5)."""


def suit_inferior_cerebellum(
    lobules: NDArray[np.integer],
    labels: NDArray[np.integer],
    *,
    voxel_mm: Sequence[float],
    pet: NDArray[np.floating] | None = None,
) -> NDArray[np.bool_]:
    """Keep the cerebellar grey matter that lies nearer to inferior than to superior lobules.

    The rule of the UCSF pipelines: both sets of lobules are smoothed by 8 mm, and a voxel of
    labels 8 and 47 is kept where more of the inferior ones reach it than of the superior ones.
    The nuclei of neither set decide nothing.

    Parameters
    ----------
    lobules : (I, J, K) int
        SUIT numbers 1 to 34 on the grid of ``labels``, 0 outside.
    labels : (I, J, K) int
        FreeSurfer numbers.
    voxel_mm
        Size of a voxel along each axis.
    pet : (I, J, K) float
        PET image on the same grid; only its voxels above 0 are kept. By default all are.

    Returns
    -------
    (I, J, K) bool

    Raises
    ------
    GridMismatchError
        The images differ in shape.
    DataError
        The numbers are not those of SUIT, or there is no cerebellar grey matter.
    EmptyRegionError
        No voxel is left: the images do not lie on one another.
    """
    shapes = [image.shape for image in (lobules, labels, pet) if image is not None]
    if len(set(shapes)) != 1:
        raise GridMismatchError(
            f"the SUIT lobules, the labels and the PET image are {', '.join(map(str, shapes))} "
            "voxels; resample them onto one grid first."
        )
    low, high = int(lobules.min(initial=0)), int(lobules.max(initial=0))
    if low < 0 or not 0 < high <= max(SUIT_KEEP):
        raise DataError(
            f"the image of SUIT lobules holds the numbers {low} to {high}; needs those of the "
            f"SUIT atlas, 1 to {max(SUIT_KEEP)}, with 0 outside. Give its label image, resampled "
            "to this grid without interpolating numbers."
        )
    grey = np.isin(labels, CEREBELLAR_GM)
    if not grey.any():
        raise DataError("the parcellation has no cerebellar grey matter (labels 8 and 47).")
    smoothing = point_spread(SUIT_FWHM_MM, voxel_mm)
    keep, toss = (
        smoothing.blur(np.isin(lobules, numbers).astype(np.float32))
        for numbers in (SUIT_KEEP, SUIT_TOSS)
    )
    region = grey & (keep > toss)
    if pet is not None:
        region &= pet > 0
    if not region.any():
        raise EmptyRegionError(
            "no voxel of labels 8 and 47 lies nearer to the inferior than to the superior SUIT "
            "lobules inside the PET image: are the lobules in the space of the labels?"
        )
    return np.asarray(region)
