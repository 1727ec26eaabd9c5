"""Slow intensity change across the image that comes from the coils, not from the tissue."""

from __future__ import annotations

import ants
import nibabel as nb
import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.transform import downscale_local_mean

from relad_bids.errors import ImageError
from relad_bids.mri.resample import grid_of, like

WORKING_MM = 8.0
"""A bias field is smooth over centimetres. On an elderly whole head, 8 mm left the white matter
as even as 4 mm did (coefficient of variation 0.111; 0.133 before) in a seventh of the time."""

KNOTS_MM = 100
"""Distance of the spline's knots at the coarsest level; each of the levels halves it."""

ITERATIONS = (20, 20, 20)


UPPER_HEAD_MM = 170.0
"""From the vertex to below the cerebellum of a large head."""


def correct_bias(
    image: ANTsImage,
    mask: ANTsImage | None = None,
    *,
    working_mm: float = WORKING_MM,
    means: bool = True,
) -> ANTsImage:
    """Divide out the bias field; N4, Tustison et al. 2010.

    The field is estimated on a coarse grid, which costs a few seconds, and applied to the
    original voxels. The grid is laid out along RAS+ from the first tissue on and ends below the
    cerebellum, so that neither the order in which voxels are stored nor the air around the head
    nor how much of the neck was scanned changes anything.

    Parameters
    ----------
    image
        MRI in arbitrary units; negative and non-finite voxels become 0.
    mask
        Where to look for the field, same grid as ``image``; :func:`upper_head` when left out.
    working_mm
        Distance of the values that are looked at.
    means
        Look at means over blocks of ``working_mm``; otherwise at one voxel of each block. Which
        voxel that is moves the field by 2 % (one standard deviation in the brain, 8 mm), and the
        volume of the neocortex of one head stored at 1 mm, 2 mm and in 3 mm slices by -4.7, -3.5
        and -5.0 % (with means -0.4, 0.8 and 0.4 %). Inside a brain single voxels are better all
        the same: a mean over cortex and fluid is neither, and N4 needs the tissues apart.

    Returns
    -------
    ANTsImage
        float32, same grid and unit as ``image``, nowhere negative.

    Raises
    ------
    ImageError
        The image is constant or nowhere positive.
    """
    values = usable(image)
    order = nb.orientations.io_orientation(grid_of(image).affine)
    spacing_mm = np.asarray(image.spacing)[np.argsort(order[:, 0])]
    strides = np.maximum(1, np.round(working_mm / spacing_mm)).astype(int)
    # In one order in memory: sums depend on it, in the last bit.
    ras = np.ascontiguousarray(nb.orientations.apply_orientation(values, order))
    if mask is None:
        seen = upper_head(ras, slice_mm=spacing_mm[2])
    else:
        seen = nb.orientations.apply_orientation(mask.numpy() > 0, order)
    box = ndimage.find_objects(seen.astype(np.uint8))[0]
    coarse, found = (block_means if means else first_of_block)(ras[box], seen[box], strides)
    log_bias = _log_bias(coarse, found, strides * spacing_mm)
    first = np.array([one.start for one in box]) + means * (strides - 1) / 2
    full = ndimage.affine_transform(
        log_bias, np.diag(1 / strides), offset=-first / strides, output_shape=ras.shape, order=1,
        mode="nearest",
    )  # fmt: skip
    back = nb.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), order)
    stored = nb.orientations.apply_orientation(full, back)
    return like(image, values * np.exp(-stored))


def block_means(
    values: NDArray[np.float32], seen: NDArray[np.bool_], block: NDArray[np.int_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the mean of what is seen of each block, and where at least half of it is seen.

    Blocks that reach over the end are filled up with what is not seen.
    """
    share = downscale_local_mean(seen.astype(np.float32), tuple(block))
    total = downscale_local_mean(values * seen, tuple(block))
    mean = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    return mean.astype(np.float32), share >= 0.5


def first_of_block(
    values: NDArray[np.float32], seen: NDArray[np.bool_], block: NDArray[np.int_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the first voxel of each block, and whether it is seen."""
    every = tuple(slice(None, None, n) for n in block)
    return values[every], seen[every]


def _log_bias(
    values: NDArray[np.float32], found: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> NDArray[np.float32]:
    coarse = ants.from_numpy(np.ascontiguousarray(values), spacing=tuple(spacing_mm))
    bias = ants.n4_bias_field_correction(
        coarse,
        mask=like(coarse, found),
        shrink_factor=1,
        convergence={"iters": list(ITERATIONS), "tol": 1e-5},
        spline_param=KNOTS_MM,
        return_bias_field=True,
    )
    return np.asarray(np.log(bias.numpy()), dtype=np.float32)


def usable(image: ANTsImage) -> NDArray[np.float32]:
    """Return the voxels as float32 with everything negative or non-finite set to 0."""
    values = np.nan_to_num(image.numpy(), nan=0.0, posinf=0.0, neginf=0.0)
    values = np.clip(values, 0, None).astype(np.float32)
    if values.max() <= values.min():
        raise ImageError(
            f"an MRI of {image.shape} voxels holds the value {values.max():g} everywhere after "
            f"negative and non-finite voxels were set to 0. It needs contrast to be used: "
            f"check that the file is the image it is named after."
        )
    return values


def upper_head(values: NDArray[np.float32], *, slice_mm: float) -> NDArray[np.bool_]:
    """Return where there is head rather than neck or air, (I, J, K) bool.

    Parameters
    ----------
    values : (I, J, K) float32
        Axes along RAS+.
    slice_mm
        Distance of voxels along the last axis.
    """
    heights = np.nonzero(foreground(values))[2]
    top = float(np.quantile(heights, 0.999))  # a few bright specks above it are not the vertex
    lowest = max(0, round(top - UPPER_HEAD_MM / slice_mm))
    upper = values[:, :, lowest:]
    seen = np.zeros(values.shape, dtype=bool)
    # Looked for anew: a threshold that the neck has a say in would change with the neck.
    seen[:, :, lowest:] = foreground(upper) if np.ptp(upper) > 0 else True
    return seen


def foreground(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where there is tissue, (I, J, K) bool: Otsu on logarithms.

    Logarithms, because air is darker than tissue by a factor, and fat brighter than brain by
    a factor: on the plain values Otsu would cut through the brain.
    """
    positive = values[values > 0]
    floor = float(np.quantile(positive, 0.99)) * 1e-3
    logs = np.log(values + floor)
    return np.asarray(logs > threshold_otsu(logs))
