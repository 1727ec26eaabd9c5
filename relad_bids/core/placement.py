"""How well a brain was laid on the template, and how much of it the image holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relad_bids.errors import EmptyRegionError


def correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float | None:
    """Pearson's correlation of two lists of voxels, -1 to 1; None where one has no contrast."""
    if first.size < 2 or not (np.ptp(first) > 0 and np.ptp(second) > 0):
        return None
    return float(np.corrcoef(first.astype(np.float64), second.astype(np.float64))[0, 1])


def soft_dice(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    r"""Overlap of two probability maps, 0 to 1: :math:`2 \sum \min(a, b) / \sum (a + b)`.

    Dice's coefficient where both are 0 or 1; Crum et al. 2006.

    Raises
    ------
    EmptyRegionError
        Both are 0 everywhere.
    """
    total = float(first.sum(dtype=np.float64) + second.sum(dtype=np.float64))
    if total <= 0:
        raise EmptyRegionError("two maps without any voxel have no overlap that could be told.")
    return 2 * float(np.minimum(first, second).sum(dtype=np.float64)) / total


@dataclass(frozen=True)
class Stretch:
    """How a warp changes volumes, relative to its median (the size of the head)."""

    p01: float
    """1st percentile."""
    p99: float
    least: float
    folded: float
    """Share of the voxels whose determinant is not above 0: space turned inside out."""


def stretch(places: NDArray[np.floating], spacing_mm: float, inside: NDArray[np.bool_]) -> Stretch:
    """Measure the Jacobian determinant of a map on a lattice of cubes.

    Parameters
    ----------
    places : (I, J, K, 3)
        Where each point of the lattice is mapped to, mm.
    spacing_mm
        Edge of the lattice.
    inside : (I, J, K)
        Where to look.

    Raises
    ------
    EmptyRegionError
        Nowhere to look.
    """
    if not inside.any():
        raise EmptyRegionError("there is no voxel in which a warp could be judged.")
    slopes = np.gradient(np.asarray(places, dtype=np.float64), spacing_mm, axis=(0, 1, 2))
    # (I, J, K, to, from)
    determinant = np.linalg.det(np.stack(slopes, axis=-1)[inside])
    size = abs(float(np.median(determinant))) or 1.0
    low, high = np.percentile(determinant / size, [1, 99])
    folded = float((determinant <= 0).mean())
    return Stretch(float(low), float(high), float(determinant.min() / size), folded)


def data_box(image: NDArray) -> NDArray[np.intp]:
    """First and last index along each axis that holds something but 0, shape (3, 2).

    Zeros around the data, which a crop of the field of view leaves in some files, are no data.

    Raises
    ------
    EmptyRegionError
        The image is 0 everywhere.
    """
    filled = image != 0
    box = []
    for axis in range(filled.ndim):
        held = np.flatnonzero(filled.any(axis=tuple(k for k in range(filled.ndim) if k != axis)))
        if held.size == 0:
            raise EmptyRegionError("an image that is 0 everywhere has no field of view.")
        box.append((held[0], held[-1]))
    return np.array(box)


def share_inside(
    points_mm: NDArray[np.floating], affine: NDArray[np.floating], box: NDArray[np.intp]
) -> float:
    """Share of some points that lie inside a field of view, 0 to 1.

    Parameters
    ----------
    points_mm : (N, 3)
        RAS+ mm in the space of the image.
    affine : (4, 4)
        Voxel index -> RAS+ mm.
    box : (3, 2)
        First and last index with data along each axis; a voxel reaches half its size further.

    Raises
    ------
    EmptyRegionError
        No points.
    """
    if len(points_mm) == 0:
        raise EmptyRegionError("of no points no share can lie in the field of view.")
    back = np.linalg.inv(affine)
    index = points_mm @ back[:3, :3].T + back[:3, 3]
    inside = (index >= box[:, 0] - 0.5) & (index <= box[:, 1] + 0.5)
    return float(inside.all(axis=1).mean())
