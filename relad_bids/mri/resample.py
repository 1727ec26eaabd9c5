"""Onto another voxel grid, in one interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import ants
import numpy as np
import pandas as pd
from ants import ANTsImage
from numpy.typing import NDArray

from relad_bids.core.grid import Grid
from relad_bids.errors import ImageError, InputError

Interpolation = Literal["linear", "nearest", "genericLabel"]

_ITK_NAMES = {"linear": "linear", "nearest": "nearestNeighbor", "genericLabel": "genericLabel"}

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])

MAX_SHEAR = 1e-3
"""Largest cosine between two voxel axes that is still a right angle: 0.06 degrees, 0.1 mm
across a head. ITK stores spacing and rotation only, so it cannot hold more."""


def resample(
    image: ANTsImage,
    reference: ANTsImage,
    transforms: Sequence[Path],
    *,
    interpolation: Interpolation = "linear",
) -> ANTsImage:
    """Carry ``image`` through all ``transforms`` onto the grid of ``reference`` at once.

    Each voxel is interpolated once, from the original voxels. 0 is written where the
    reference reaches beyond the image.

    Parameters
    ----------
    image
        3D image in any space.
    reference
        Any image on the wanted grid; its values are not used.
    transforms
        ITK files as antsApplyTransforms takes them: the **last** one is applied to the image
        first. An empty list changes the grid only.
    interpolation
        ``linear`` for intensities and probabilities, ``nearest`` for masks, ``genericLabel``
        for label images (a vote among neighbours, smoother borders than ``nearest``).

    Raises
    ------
    InputError
        A transform file is missing.
    """
    missing = [str(path) for path in transforms if not Path(path).is_file()]
    if missing:
        raise InputError(
            f"resampling needs transform files, and these do not exist: {', '.join(missing)}. "
            f"Run the registration that writes them first."
        )
    return ants.apply_transforms(
        fixed=reference,
        moving=image,
        transformlist=[str(path) for path in transforms],
        interpolator=_ITK_NAMES[interpolation],
    )


def carry_points(points: NDArray[np.float64], transforms: Sequence[Path]) -> NDArray[np.float64]:
    """Where points of the reference of :func:`resample` are looked up in the image.

    Parameters
    ----------
    points : (N, 3)
        RAS+ mm in the space of the reference.
    transforms
        As in :func:`resample`, in the same order.

    Returns
    -------
    (N, 3)
        RAS+ mm in the space of the image.
    """
    lps = pd.DataFrame(points @ RAS_TO_LPS, columns=["x", "y", "z"])
    moved = ants.apply_transforms_to_points(3, lps, [str(path) for path in transforms])
    return np.asarray(moved[["x", "y", "z"]], dtype=np.float64) @ RAS_TO_LPS


def reference_image(grid: Grid) -> ANTsImage:
    """Return an image of zeros on ``grid``.

    Raises
    ------
    ImageError
        The voxel axes are not at right angles.
    """
    spacing_mm = np.linalg.norm(grid.affine[:3, :3], axis=0)
    axes = grid.affine[:3, :3] / spacing_mm
    shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if shear > MAX_SHEAR:
        raise ImageError(
            f"the voxel axes of a {grid.shape} grid are not at right angles (cosine {shear:.2g}, "
            f"limit {MAX_SHEAR:g}). ITK cannot hold a sheared grid: resample the image onto an "
            f"unsheared one first."
        )
    return ants.from_numpy(
        np.zeros(grid.shape, dtype=np.float32),
        origin=tuple(RAS_TO_LPS @ grid.affine[:3, 3]),
        spacing=tuple(spacing_mm),
        direction=RAS_TO_LPS @ _nearest_rotation(axes),
    )


def grid_of(image: ANTsImage) -> Grid:
    """Return the voxel grid of an image, in RAS+ mm."""
    affine = np.eye(4)
    affine[:3, :3] = RAS_TO_LPS @ np.asarray(image.direction) * np.asarray(image.spacing)
    affine[:3, 3] = RAS_TO_LPS @ np.asarray(image.origin)
    shape: tuple[int, int, int] = image.shape
    return Grid(shape=shape, affine=affine)


def isotropic_grid(image: ANTsImage, *, spacing_mm: float) -> Grid:
    """Return the axis-aligned RAS+ grid of cubes that covers all of ``image``."""
    corners = grid_of(image).corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    n_x, n_y, n_z = (int(n) for n in np.ceil((high - low) / spacing_mm - 1e-6) + 1)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = low
    return Grid(shape=(n_x, n_y, n_z), affine=affine)


def like(image: ANTsImage, values: NDArray) -> ANTsImage:
    """Return ``values`` (I, J, K) as float32 on the grid of ``image``."""
    return image.new_image_like(np.asarray(values, dtype=np.float32))


def _nearest_rotation(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clean the rounding of a float32 header: ITK refuses directions that are off by 1e-4."""
    left, _, right = np.linalg.svd(axes)
    return np.asarray(left @ right)
