"""One subject's scans: T1w, FLAIR and PET of a whole head, each in its own space."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.grid import Grid
from relad_bids.phantom.fields import voxel_sizes
from relad_bids.phantom.head import FLAIR_AROUND, T1W_AROUND, dress
from relad_bids.phantom.latent import Subject
from relad_bids.phantom.mri import (
    FLAIR,
    T1W,
    add_rician_noise,
    bias_field,
    draw_contrast,
    render,
)
from relad_bids.phantom.native import NativeHead, box_grid, flip_x, head_on
from relad_bids.phantom.participant import body_weight_kg, genotype
from relad_bids.phantom.pet import Scanner, acquire, paint, subject_scanner
from relad_bids.phantom.protocol import PROTOCOLS, Protocol
from relad_bids.phantom.warp import pose

_FOV_MM = ((-96.0, -126.0, -134.0), (96.0, 112.0, 106.0))
_PET_FOV_MM = ((-104.0, -130.0, -106.0), (104.0, 118.0, 100.0))
_OBLIQUE_DEG = 8.0
_BIAS, _NOISE = 0.20, (0.02, 0.04)
_MRI_SCALE = 600.0
"""Stored intensity of white matter."""
_FLAIR_SLICES_MM = (0.0, 3.0, 4.0, 5.0)
_FLAIR_MOVED, _PET_MOVED = (4.0, 4.0), (5.0, 8.0)
"""Largest rotation (degrees) and shift (mm) against the T1w, each axis."""
_PET_SLICE_FACTOR = 1.1
_MIXED_AFFINITY = 0.75
"""TSPO uptake of mixed- against high-affinity binders (SUV; it cancels in the SUVR)."""


@dataclass(frozen=True, eq=False)
class Scan:
    """An image, where it is, and how its space lies to the T1w's."""

    data: NDArray[np.float32]
    grid: Grid
    to_t1w: NDArray[np.float64]
    """(4, 4) rigid: a point of this scan (RAS mm) -> the T1w scan."""


@dataclass(frozen=True, eq=False)
class PetScan:
    """A dynamic PET and what is known about it."""

    scan: Scan
    """Data (I, J, K, T) in Bq/mL, decay-corrected to injection."""
    scanner: Scanner
    protocol: Protocol
    injected_mbq: float


def t1w_grid(subject: Subject, *, voxel_mm: float) -> Grid:
    """Return the T1w's grid: RAS, tilted by up to 8 degrees an axis."""
    tilt = pose(subject.generator("t1w-grid"), degrees=_OBLIQUE_DEG, shift_mm=0.0)
    upright = box_grid(_FOV_MM, voxel_mm)
    return replace(upright, affine=tilt @ upright.affine)


def scan_t1w(subject: Subject, head: NativeHead, grid: Grid) -> Scan:
    """Return the T1w of the whole head."""
    generator = subject.generator("t1w")
    tissue, around = head_on(head, grid)
    brain = render(tissue, draw_contrast(T1W, generator), deep_nuclei=True)
    whole = dress(brain, tissue.mask, around, T1W_AROUND, grid, generator)
    return Scan(_spoil(whole, grid, generator), grid, np.eye(4))


def scan_flair(subject: Subject, head: NativeHead, *, voxel_mm: float) -> Scan:
    """Return the FLAIR: thick slices in three of four subjects, moved against the T1w."""
    generator = subject.generator("flair")
    moved = pose(generator, degrees=_FLAIR_MOVED[0], shift_mm=_FLAIR_MOVED[1])
    slice_mm = max(voxel_mm, float(generator.choice(_FLAIR_SLICES_MM)))
    thin = max(1, round(slice_mm / voxel_mm))
    grid = flip_x(box_grid(_FOV_MM, (voxel_mm, voxel_mm, slice_mm)))
    fine = _subdivide_slices(grid, thin)
    tissue, around = head_on(head, fine, to_t1w=moved)
    brain = render(tissue, draw_contrast(FLAIR, generator), deep_nuclei=False)
    whole = dress(brain, tissue.mask, around, FLAIR_AROUND, fine, generator)
    thick = whole.reshape(*grid.shape, thin).mean(axis=-1)
    return Scan(_spoil(thick, grid, generator), grid, moved)


def scan_pet(subject: Subject, head: NativeHead, tracer: str, *, voxel_mm: float) -> PetScan:
    """Return the dynamic PET of one tracer in the tracer's window.

    All regions share one washout, so that the SUVR is the same in every frame and truth is
    one number; every frame has its own Poisson noise, which grows as the isotope decays.
    """
    generator = subject.generator(f"pet-{tracer}")
    protocol = PROTOCOLS[tracer]
    scanner = subject_scanner(subject)
    moved = pose(generator, degrees=_PET_MOVED[0], shift_mm=_PET_MOVED[1])
    grid = flip_x(box_grid(_PET_FOV_MM, (voxel_mm, voxel_mm, voxel_mm * _PET_SLICE_FACTOR)))
    tissue, around = head_on(head, grid, to_t1w=moved)
    uptake = paint(tissue, subject, tracer, around=around)
    injected_mbq = float(protocol.injected_mbq * generator.uniform(0.9, 1.1))
    affinity = _MIXED_AFFINITY if tracer == "pbr28" and genotype(subject) == "MAB" else 1.0
    per_suv = injected_mbq * 1e6 / (body_weight_kg(subject) * 1e3)  # Bq/mL
    reference_bq = affinity * protocol.reference_suv * per_suv
    shares = protocol.count_shares()
    frames = [
        acquire(
            uptake,
            grid,
            fwhm_mm=scanner.fwhm_mm,
            counts=scanner.counts_for(tracer, grid) * share,
            generator=generator,
        )
        * np.float32(reference_bq * washout)
        for share, washout in zip(shares, protocol.washout(), strict=True)
    ]
    scan = Scan(np.stack(frames, axis=-1), grid, moved)
    return PetScan(scan, scanner, protocol, injected_mbq)


def _subdivide_slices(grid: Grid, n: int) -> Grid:
    """Return ``grid`` with each slice cut into ``n`` thinner ones of the same extent."""
    cut = np.diag([1.0, 1.0, 1.0 / n, 1.0])
    cut[2, 3] = (1 - n) / (2 * n)
    shape = (grid.shape[0], grid.shape[1], grid.shape[2] * n)
    return Grid(shape, grid.affine @ cut)


def _spoil(
    image: NDArray[np.float32], grid: Grid, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Add what a scanner adds: bias field, then noise (relative to white matter)."""
    biased = image * bias_field(grid, generator, amplitude=_BIAS)
    sigma = float(generator.uniform(*_NOISE))
    return add_rician_noise(biased, generator, sigma=sigma) * np.float32(_MRI_SCALE)


def slice_thickness_mm(scan: Scan) -> float:
    """Return the distance between slices (third axis)."""
    return float(voxel_sizes(scan.grid)[2])
