"""Simulated images as they look after preparation: brain only, in template space.

For network training on the fly: the steps from scanner to template (registration, bias
correction, brain extraction) are not run but imitated by what they leave behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from relad_bids.core.grid import Grid
from relad_bids.phantom.anatomy import Tissue, subject_tissue, warp_tissue
from relad_bids.phantom.fields import index_points, smooth_noise, voxel_sizes
from relad_bids.phantom.latent import Subject
from relad_bids.phantom.mri import (
    FLAIR,
    T1W,
    Contrast,
    add_rician_noise,
    bias_field,
    draw_contrast,
    render,
)
from relad_bids.phantom.pet import (
    Scanner,
    acquire,
    draw_scanner,
    paint,
    reference_mean,
)
from relad_bids.phantom.regions import TRACERS
from relad_bids.phantom.warp import random_warp

_RESIDUAL_SIGMA_MM = 20.0
_RESIDUAL_BIAS = 0.05
_MASK_ERROR_MM, _MASK_PATCH_MM = 0.6, 10.0
_NOISE = (0.01, 0.03)
"""Rician SD relative to white matter after resampling to the template."""
_SLICE_MM = (1.0, 5.0)


@dataclass(frozen=True, eq=False)
class Prepared:
    """One subject on the network grid; arrays (I, J, K)."""

    grid: Grid
    t1w: NDArray[np.float32]
    flair: NDArray[np.float32]
    """Intensities, white matter about 1; 0 outside ``mask``."""
    pet: dict[str, NDArray[np.float32]]
    """Tracer -> SUVR; 0 outside ``mask``."""
    mask: NDArray[np.bool_]
    """Brain mask as an extraction would give it, with small errors."""
    labels: NDArray[np.uint16]
    """True labels (FreeSurfer numbers)."""


def simulate_prepared(
    subject: Subject,
    grid: Grid,
    generator: np.random.Generator,
    *,
    residual_mm: float = 1.0,
    tracers: Sequence[str] = TRACERS,
    scanner: Scanner | None = None,
) -> Prepared:
    """Simulate one subject directly on the network grid in template space.

    Parameters
    ----------
    grid
        In MNI152NLin2009cAsym; any shape and voxel size.
    generator
        Draws everything that is not the subject: scanner, noise, residual misregistration,
        place of the lesions. Another generator gives another session of the same person.
    residual_mm
        SD of what a registration leaves (each component); T1w, FLAIR and PET share it.
    scanner
        PET scanner in place of the one that the generator draws; anatomy, mask and true PET stay
        the same. One with endless counts shows what noise takes away.

    Returns
    -------
    Prepared
        PET is divided by its mean over the true reference region of its tracer.
    """
    tissue = subject_tissue(subject, grid, generator=generator)
    if residual_mm > 0:
        tissue = _misregister(tissue, generator, residual_mm=residual_mm)
    error_mm = _MASK_ERROR_MM * smooth_noise(grid, generator, sigma_mm=_MASK_PATCH_MM)
    mask = tissue.depth_mm + error_mm < 0
    labels = tissue.labels()
    drawn = draw_scanner(generator)
    scanner = scanner or drawn
    pet = {}
    for tracer in tracers:
        noisy = acquire(
            paint(tissue, subject, tracer),
            grid,
            fwhm_mm=scanner.fwhm_mm,
            counts=scanner.counts_for(tracer, grid),
            generator=generator,
        )
        pet[tracer] = np.where(mask, noisy / np.float32(reference_mean(noisy, labels, tracer)), 0)
    slice_mm = float(generator.uniform(*_SLICE_MM))
    return Prepared(
        grid=grid,
        t1w=_mri(tissue, T1W, mask, generator, slice_mm=0.0),
        flair=_mri(tissue, FLAIR, mask, generator, slice_mm=slice_mm),
        pet=pet,
        mask=mask,
        labels=labels,
    )


def _mri(
    tissue: Tissue,
    contrast: Contrast,
    mask: NDArray[np.bool_],
    generator: np.random.Generator,
    *,
    slice_mm: float,
) -> NDArray[np.float32]:
    """Render one contrast; thick axial slices blur along z (box of ``slice_mm``)."""
    image = render(tissue, draw_contrast(contrast, generator), deep_nuclei=contrast is T1W)
    # Where the mask is too large it lets in the CSF around the brain.
    image = np.where(tissue.mask, image, np.float32(contrast.csf))
    size = voxel_sizes(tissue.grid)[2]
    if slice_mm > size:
        image = gaussian_filter1d(image, np.sqrt((slice_mm**2 - size**2) / 12) / size, axis=2)
    image = image * bias_field(tissue.grid, generator, amplitude=_RESIDUAL_BIAS)
    noisy = add_rician_noise(image, generator, sigma=float(generator.uniform(*_NOISE)))
    return np.where(mask, noisy, np.float32(0))


def _misregister(tissue: Tissue, generator: np.random.Generator, *, residual_mm: float) -> Tissue:
    """Move all tissue by one small smooth deformation; shares still sum to 1."""
    grid = tissue.grid
    warp = random_warp(grid, generator, sigma_mm=_RESIDUAL_SIGMA_MM, amplitude_mm=residual_mm)
    to_index = np.linalg.inv(grid.affine)[:3, :3].astype(np.float32)
    moved = np.tensordot(to_index, warp.displacement(grid), axes=1)
    index = index_points(grid, np.eye(4)).astype(np.float32) + moved
    return warp_tissue(tissue, index, grid)
