"""The template head on any grid: tissue, labels and distances, prepared once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import nibabel as nb
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from relad_bids.core.grid import Grid
from relad_bids.data.template import template_file
from relad_bids.phantom.fields import index_points, voxel_sizes
from relad_bids.phantom.regions import (
    CEREBELLUM_GM,
    CHOROID_PLEXUS,
    DEEP_GM,
    VENTRICLES,
    WM_LABELS,
    WMH,
)

# T1w intensity of the packaged template: peaks at 25 (CSF), 69 (GM), 87 (WM). Between the two
# numbers of each pair a voxel changes from one tissue to the next.
_CSF_TO_GM = (40.0, 60.0)
_GM_TO_WM = (74.0, 80.0)
_DEEP_GM_SHARE = 0.95
"""Deep nuclei are as bright as white matter on T1w: their labels decide, not intensity."""
_PURE_WM = (16, WMH, 251, 252, 253, 254, 255)
"""Brainstem, callosum, hypointensities: no grey matter, whatever the intensity says."""
_VENTRICLE_MARGIN_MM = 4.0
_EXPOSURE_MM = 2.5


@dataclass(frozen=True, eq=False)
class TemplateHead:
    """The template's brain on one grid; vectors (N,) run over the voxels of ``mask``."""

    grid: Grid
    mask: NDArray[np.bool_]
    """(I, J, K) brain with its outer CSF."""
    depth_mm: NDArray[np.float32]
    """(I, J, K) distance to the brain's surface, negative inside."""
    gm: NDArray[np.float32]
    wm: NDArray[np.float32]
    csf: NDArray[np.float32]
    """(N,) shares of the voxel; they sum to 1."""
    gm_label: NDArray[np.uint16]
    wm_label: NDArray[np.uint16]
    csf_label: NDArray[np.uint16]
    """(I, J, K) which label each tissue of the voxel belongs to; also outside the brain."""
    exposure: NDArray[np.float32]
    """(N,) share of CSF within about 2.5 mm, 0 to 1: how near the surface grey matter lies."""
    ventricle_mm: NDArray[np.float32]
    """(N,) distance to the lateral and third ventricles, negative inside."""


def template_head(grid: Grid) -> TemplateHead:
    """Return the template on ``grid`` (RAS mm of MNI152NLin2009cAsym); kept for reuse."""
    return _template_head(grid.shape, grid.affine.astype(float).tobytes())


@lru_cache(maxsize=3)
def _template_head(shape: tuple[int, int, int], affine: bytes) -> TemplateHead:
    grid = Grid(shape, np.frombuffer(affine).reshape(4, 4).copy())
    t1w, affine_1mm = _load("T1w")
    labels = _labels(grid)
    mask = _resample((t1w > 0).astype(np.float32), affine_1mm, grid) > 0.5
    sizes = voxel_sizes(grid)
    shares = [_resample(share, affine_1mm, grid) for share in _intensity_shares(t1w)]
    gm, wm, csf = _decide_by_label(shares, labels)
    total = np.where(mask, gm + wm + csf, 1.0)
    cortex = (labels > 1000) & (labels != 2000)
    gm_labels = np.where(
        cortex | np.isin(labels, [*DEEP_GM, *CEREBELLUM_GM, *CHOROID_PLEXUS]), labels, 0
    )
    near_ventricle = _signed_distance(np.isin(labels, VENTRICLES), sizes)
    csf_labels = _nearest(np.where(np.isin(labels, VENTRICLES), labels, 0), sizes)
    csf_labels[near_ventricle > _VENTRICLE_MARGIN_MM] = 24
    exposure = gaussian_filter(np.where(mask, csf / total, 1.0), _EXPOSURE_MM / sizes)
    dilating = np.isin(labels, [label for label in VENTRICLES if label != 15])
    return TemplateHead(
        grid=grid,
        mask=mask,
        depth_mm=_signed_distance(mask, sizes),
        gm=(gm / total)[mask],
        wm=(wm / total)[mask],
        csf=(csf / total)[mask],
        gm_label=_nearest(gm_labels, sizes),
        wm_label=_nearest(np.where(np.isin(labels, WM_LABELS), labels, 0), sizes),
        csf_label=csf_labels,
        exposure=exposure[mask].astype(np.float32),
        ventricle_mm=_signed_distance(dilating, sizes)[mask],
    )


def _load(name: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return a packaged image and its affine."""
    image = nb.Nifti1Image.from_filename(template_file(name))
    data = np.asarray(image.dataobj, dtype=np.float32)
    return data, np.asarray(image.affine)


def _labels(grid: Grid) -> NDArray[np.uint16]:
    image = nb.Nifti1Image.from_filename(template_file("aparcaseg"))
    index = index_points(grid, np.linalg.inv(image.affine) @ grid.affine)
    data = np.asarray(image.dataobj).astype(np.uint16)
    return np.asarray(map_coordinates(data, index, order=0, mode="constant"))


def _resample(
    data: NDArray[np.float32], affine: NDArray[np.float64], grid: Grid
) -> NDArray[np.float32]:
    """Average over the target's voxels (a box of the same variance), then interpolate."""
    source_sizes = np.linalg.norm(affine[:3, :3], axis=0)
    variance = np.maximum(voxel_sizes(grid) ** 2 - source_sizes**2, 0) / 12
    if variance.any():
        data = gaussian_filter(data, np.sqrt(variance) / source_sizes)
    index = index_points(grid, np.linalg.inv(affine) @ grid.affine)
    return np.asarray(map_coordinates(data, index, order=1, output=np.float32))


def _intensity_shares(t1w: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return GM, WM and CSF shares of each template voxel from its intensity."""
    wm = np.clip((t1w - _GM_TO_WM[0]) / (_GM_TO_WM[1] - _GM_TO_WM[0]), 0, 1)
    csf = np.clip((_CSF_TO_GM[1] - t1w) / (_CSF_TO_GM[1] - _CSF_TO_GM[0]), 0, 1)
    csf[t1w <= 0] = 0
    gm = np.where(t1w > 0, 1 - wm - csf, 0)
    return [share.astype(np.float32) for share in (gm, wm, csf)]


def _decide_by_label(
    shares: list[NDArray[np.float32]], labels: NDArray[np.uint16]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    gm, wm, csf = shares
    deep, pure_wm = np.isin(labels, DEEP_GM), np.isin(labels, _PURE_WM)
    tissue = gm + wm
    gm = np.where(deep, _DEEP_GM_SHARE * tissue, np.where(pure_wm, 0, gm))
    wm = np.where(deep, (1 - _DEEP_GM_SHARE) * tissue, np.where(pure_wm, tissue, wm))
    scars = labels == WMH  # the template's own lesions and caps: the subject brings their own
    wm = np.where(scars, wm + csf, wm)
    csf = np.where(scars, 0, csf)
    return gm, wm, csf


def _nearest(labels: NDArray[np.uint16], sizes: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Give every voxel without a label the nearest one."""
    _, index = distance_transform_edt(labels == 0, sampling=sizes, return_indices=True)
    return np.asarray(labels[tuple(index)])


def _signed_distance(inside: NDArray[np.bool_], sizes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the distance to the border in mm, negative inside."""
    outwards = distance_transform_edt(~inside, sampling=sizes)
    inwards = distance_transform_edt(inside, sampling=sizes)
    return np.asarray(
        np.where(inside, 0.5 * sizes.min() - inwards, outwards - 0.5 * sizes.min()),
        dtype=np.float32,
    )
