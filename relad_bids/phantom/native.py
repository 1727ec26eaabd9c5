"""The subject's head as it lies in the scanner."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.grid import Grid
from relad_bids.phantom.anatomy import Tissue, subject_tissue, warp_tissue
from relad_bids.phantom.fields import index_points
from relad_bids.phantom.head import whole_head
from relad_bids.phantom.latent import Subject
from relad_bids.phantom.warp import Warp, pose, random_warp

_BRAIN_BOX_MM = ((-94.0, -129.0, -94.0), (94.0, 95.0, 104.0))
"""The template's brain and 22 mm around it: all that the shells need."""
_HEAD_BOX_MM = ((-120.0, -150.0, -170.0), (120.0, 130.0, 130.0))
_TEMPLATE_TO_MEAN_VOLUME = 0.80
"""The template's head is larger than the mean head; after it comes the subject's scale."""
_WARP_SIGMA_MM = 25.0
_WARP_MM = (2.0, 3.5)
_POSE_DEG, _POSE_MM = 6.0, 5.0


@dataclass(frozen=True, eq=False)
class NativeHead:
    """A subject's tissue in template space and the way from there to the T1w scan."""

    tissue: Tissue
    warp: Warp
    """Forward: from the affinely placed head to the template."""
    affine: NDArray[np.float64]
    """(4, 4) template-sized head -> T1w scanner space, RAS mm: scale and pose."""

    def to_template(self, points_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return where points (3, ...) of the T1w scan lie in the template, RAS mm."""
        return self.warp.at(transform(np.linalg.inv(self.affine), points_mm))

    def to_native(self, points_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return where points (3, ...) of the template lie in the T1w scan, RAS mm."""
        return transform(self.affine, self.warp.at(points_mm, inverse=True))


def native_head(subject: Subject, *, voxel_mm: float) -> NativeHead:
    """Build the head of ``subject``; ``voxel_mm`` is that of the scans it is built for."""
    generator = subject.generator("head")
    # Finer than the scans, so that pulling it onto them does not blur a second time.
    tissue = subject_tissue(subject, box_grid(_BRAIN_BOX_MM, max(1.0, 0.75 * voxel_mm)))
    warp = random_warp(
        box_grid(_HEAD_BOX_MM, 4.0),
        generator,
        sigma_mm=_WARP_SIGMA_MM,
        amplitude_mm=float(generator.uniform(*_WARP_MM)),
    )
    scale = np.cbrt(subject.icv_scale * _TEMPLATE_TO_MEAN_VOLUME)
    affine = pose(generator, degrees=_POSE_DEG, shift_mm=_POSE_MM)
    affine[:3, :3] *= scale
    return NativeHead(tissue, warp, affine)


def head_on(
    head: NativeHead, grid: Grid, *, to_t1w: NDArray[np.float64] | None = None
) -> tuple[Tissue, NDArray[np.uint8]]:
    """Return tissue and surroundings on a scan's grid.

    Parameters
    ----------
    to_t1w : (4, 4) float
        Rigid transform from the scan's space to that of the T1w; identity by default.
    """
    matrix = grid.affine if to_t1w is None else to_t1w @ grid.affine
    points = head.to_template(index_points(grid, matrix))
    index = transform(np.linalg.inv(head.tissue.grid.affine), points)
    tissue = warp_tissue(head.tissue, index, grid)
    around = whole_head(tissue.depth_mm, points)
    return tissue, around


def transform(matrix: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Apply a (4, 4) matrix to points (3, ...)."""
    shift = matrix[:3, 3].reshape(3, *[1] * (points.ndim - 1))
    return np.asarray(np.tensordot(matrix[:3, :3], points, axes=1) + shift)


def box_grid(
    box_mm: tuple[tuple[float, float, float], tuple[float, float, float]],
    voxel_mm: float | tuple[float, float, float],
) -> Grid:
    """Return an axis-aligned RAS grid that covers a box of corner coordinates."""
    low, high = (np.array(corner) for corner in box_mm)
    sizes = np.broadcast_to(np.asarray(voxel_mm, dtype=float), 3)
    shape = np.ceil((high - low) / sizes).astype(int) + 1
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def flip_x(grid: Grid) -> Grid:
    """Store the same voxels right to left: most scans come so."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = grid.shape[0] - 1
    return replace(grid, affine=grid.affine @ flip)
