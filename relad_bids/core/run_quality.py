"""Which of several runs of one MRI is the better one, in two figures that need no other image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.image_quality import entropy_focus

SAME_MM = 0.05
"""Voxel edges that differ by less are the same: headers round."""


@dataclass(frozen=True, order=True)
class RunQuality:
    """Smaller is better: the edge decides, and the entropy among runs of the same edge."""

    edge_mm: float
    """Largest edge of a voxel, mm, in steps of 0.1: thick slices blur every region."""
    entropy: float
    """Entropy focus criterion (Atkinson et al. 1997), 0 to 1: motion and ghosts raise it."""

    def __str__(self) -> str:
        return f"{self.edge_mm:g} mm {self.entropy:.4f}"


def run_quality(image: NDArray[np.floating], voxel_mm: tuple[float, float, float]) -> RunQuality:
    """Judge one run.

    Parameters
    ----------
    image : (I, J, K)
        As scanned, arbitrary unit: the criterion does not see a factor. Not defaced, or all runs
        defaced in the same way: zeros lower the entropy.
    voxel_mm
        Edges of a voxel.
    """
    edge_mm = round(round(max(voxel_mm) / (2 * SAME_MM)) * 2 * SAME_MM, 1)
    return RunQuality(edge_mm, entropy_focus(np.nan_to_num(image, posinf=0.0, neginf=0.0)))
