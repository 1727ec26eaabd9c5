"""Whether what somebody else prepared fits the T1w it is used for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.brain_checks import POSSIBLE_ML, dice
from relad_bids.core.grid import Grid
from relad_bids.errors import DataError

MIN_FILLED = 0.95
"""Share of a mask's voxels in which the T1w is not 0: a mask of another head reaches into the
air."""

MAX_RETURN_MM = 2.0
"""How far the median point of the brain may be from where it started, there and back again. A
diffeomorphism and its inverse, both stored on grids of 1 to 2 mm, come back within a few tenths of
a millimetre; two transforms in the same direction by centimetres."""

MIN_DICE = 0.85
"""Of the brain on the template and the template's. Registrations of eight real heads reach 0.93
and more; an affine alone 0.9."""

MIN_INSIDE = 0.5
"""Share of a lesion inside the brain. Masks of brains miss tumours at the surface."""


def check_mask(mask: NDArray[np.bool_], t1w: NDArray[np.floating], grid: Grid) -> None:
    """Refuse a brain mask that is not one of this T1w.

    Raises
    ------
    DataError
        The volume is that of no brain, or the T1w is empty under the mask.
    """
    volume_ml = float(mask.sum()) * grid.voxel_volume_mm3 / 1000
    low, high = POSSIBLE_ML
    if not low <= volume_ml <= high:
        raise DataError(
            f"the given brain mask holds {volume_ml:.0f} mL, a brain {low:.0f} to {high:.0f} mL. "
            "Look at it, or use --reuse labels."
        )
    filled = float((t1w[mask] > 0).mean())
    if filled < MIN_FILLED:
        raise DataError(
            f"the T1w is 0 in {1 - filled:.0%} of the given brain mask: it is that of another "
            "image. Give the mask made from this T1w, or use --reuse labels."
        )


def check_warp(
    brain: NDArray[np.bool_], template: NDArray[np.bool_], apart_mm: NDArray[np.floating]
) -> None:
    """Refuse transforms that are not each other's inverse, or miss the template.

    Parameters
    ----------
    brain, template : (I, J, K) bool
        The participant's brain on the template's grid, and the template's, both only where the
        T1w sees something.
    apart_mm : (N, 3)
        Points of the brain, to the template and back, minus where they started.

    Raises
    ------
    DataError
        One of both.
    """
    away_mm = float(np.median(np.linalg.norm(apart_mm, axis=1))) if apart_mm.size else np.inf
    if not away_mm <= MAX_RETURN_MM:
        raise DataError(
            f"the given transforms bring a point to the template and back {away_mm:.1f} mm from "
            f"where it was (at most {MAX_RETURN_MM:g} mm): they are not the two ways of one "
            "registration. Give both as they were written together, or use --reuse labels."
        )
    overlap = dice(brain, template)
    if not overlap >= MIN_DICE:  # nan where both are empty
        raise DataError(
            f"the given transform lays the brain on the template with a Dice of {overlap:.2f}, "
            f"needed is {MIN_DICE:g}: it is that of another image. Give the one made from this "
            "T1w, or use --reuse labels."
        )


def check_lesion(
    lesion: NDArray[np.bool_], mask: NDArray[np.bool_], grid: Grid, *, drawn_empty: bool
) -> float:
    """Return the volume of a lesion inside the brain in mL; 0 for a mask that was left empty.

    Raises
    ------
    DataError
        Most of it lies outside the brain.
    """
    if drawn_empty:
        return 0.0
    inside = float((lesion & mask).sum() / lesion.sum()) if lesion.any() else 0.0
    if inside < MIN_INSIDE:
        raise DataError(
            f"{inside:.0%} of the lesion mask lies inside the brain of this T1w, needed is "
            f"{MIN_INSIDE:.0%}: it was drawn on another image. Draw it on the image that its name "
            "says, or take the file away."
        )
    return float((lesion & mask).sum()) * grid.voxel_volume_mm3 / 1000
