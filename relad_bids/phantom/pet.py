"""From tissue and uptake to what a PET scanner shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from relad_bids.core.grid import Grid
from relad_bids.phantom.anatomy import Tissue, label_table
from relad_bids.phantom.fields import voxel_sizes
from relad_bids.phantom.head import Around, shells
from relad_bids.phantom.latent import Subject
from relad_bids.phantom.regions import HEAD, MENINGES

REFERENCE_LABELS = {"flortaucipir": (8, 47), "pib": (7, 8, 46, 47), "pbr28": (8, 47)}
"""Each tracer's default reference region; inferior cerebellar grey matter is taken whole."""
CARBON_11 = ("pib", "pbr28")

FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))
_COUNTS_VOLUME_MM3 = 8.0


@dataclass(frozen=True)
class Scanner:
    """What blurs and what makes noise."""

    fwhm_mm: float
    counts: float
    """Expected counts of fluorine-18 at uptake 1 in 8 mm3."""
    carbon: float
    """Factor on the counts of a carbon-11 tracer."""

    def counts_for(self, tracer: str, grid: Grid) -> float:
        """Return the expected counts of one voxel of ``grid`` at uptake 1."""
        share = self.carbon if tracer in CARBON_11 else 1.0
        return self.counts * share * grid.voxel_volume_mm3 / _COUNTS_VOLUME_MM3


def draw_scanner(generator: np.random.Generator) -> Scanner:
    """Draw 4.5-8 mm (mostly near 6) and 2-20 counts (log-uniform)."""
    return Scanner(
        fwhm_mm=float(np.clip(generator.normal(6.0, 0.7), 4.5, 8.0)),
        counts=float(np.exp(generator.uniform(np.log(2.0), np.log(20.0)))),
        carbon=float(generator.uniform(0.3, 0.5)),
    )


def subject_scanner(subject: Subject) -> Scanner:
    """Return the PET scanner this subject is sent to, for all tracers."""
    return draw_scanner(subject.generator("pet-scanner"))


def paint(
    tissue: Tissue,
    subject: Subject,
    tracer: str,
    *,
    around: NDArray[np.uint8] | None = None,
) -> NDArray[np.float32]:
    """Return the true uptake (I, J, K): each voxel's shares times its labels' uptake.

    Lesions take up what white matter does.

    Parameters
    ----------
    around : (I, J, K) uint8
        What surrounds the brain (:class:`~relad_bids.phantom.head.Around`); by default the
        shells alone, without neck and face.
    """
    uptake = label_table(subject.uptake[tracer]).astype(np.float32)
    brain = (
        tissue.gm * uptake[tissue.gm_label]
        + tissue.wm * uptake[tissue.wm_label]
        + tissue.csf * uptake[tissue.csf_label]
    )
    outside = _outside_uptake(uptake)[shells(tissue.depth_mm) if around is None else around]
    return np.asarray(np.where(tissue.mask, brain, outside), dtype=np.float32)


def _outside_uptake(uptake: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the uptake of each class of :class:`Around`."""
    table = np.zeros(len(Around), dtype=np.float32)
    table[Around.MENINGES] = uptake[MENINGES]
    table[Around.SKULL] = 0.5 * uptake[HEAD]  # marrow
    table[Around.FAT] = 0.5 * uptake[HEAD]
    table[Around.MUSCLE] = table[Around.CORD] = uptake[HEAD]
    table[Around.EYE] = 0.3 * uptake[HEAD]
    return table


def blur(image: NDArray[np.floating], grid: Grid, *, fwhm_mm: float) -> NDArray[np.float32]:
    """Apply the scanner's Gaussian point spread function; nothing comes in from outside."""
    sigma = fwhm_mm / FWHM_PER_SIGMA / voxel_sizes(grid)
    return np.asarray(
        gaussian_filter(image, sigma, mode="constant", truncate=3.5, output=np.float32)
    )


def acquire(
    uptake: NDArray[np.floating],
    grid: Grid,
    *,
    fwhm_mm: float,
    counts: float,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    r"""Return one noisy image: y = G(Poisson(counts x)) / counts.

    Voxel CoV is :math:`1 / \sqrt{8 \pi^{1.5} \sigma^3 \, counts \, x}` with sigma in voxels.
    """
    drawn = generator.poisson(np.maximum(uptake, 0) * counts).astype(np.float32)
    return blur(drawn, grid, fwhm_mm=fwhm_mm) / np.float32(counts)


def reference_mean(image: NDArray[np.floating], labels: NDArray[np.integer], tracer: str) -> float:
    """Average ``image`` over the true voxels of the tracer's reference region."""
    return float(image[np.isin(labels, REFERENCE_LABELS[tracer])].mean(dtype=np.float64))
