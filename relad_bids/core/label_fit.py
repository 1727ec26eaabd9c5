"""Whether a parcellation lies on the T1w that it is used for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relad_bids.errors import DataError

WHITE = (2, 41, 77, 251, 252, 253, 254, 255)
"""Cerebral white matter, its hypointensities and the corpus callosum."""

MIN_INSIDE = 0.90
"""Share of the labels inside the brain below which they are refused: .99 in a simulated head, .90
to .92 shifted by 10 mm, .86 to .88 by 15 mm."""

MIN_WHITE_DICE = 0.70
"""Overlap of white matter below which labels are suspect: the labels of a simulated head (2 mm)
on their T1w reach .94, shifted by 2 mm .80, by 4 mm .67 to .69, by 10 mm .46 to .55; turned by 5
degrees .68. A template's labels warped to it reach .83."""


@dataclass(frozen=True)
class LabelFit:
    """How well labels meet what is known of the T1w without them."""

    inside: float
    """Share of the labelled voxels inside the brain mask."""
    white_dice: float
    """Dice of labelled white matter and the white matter of the tissue segmentation, in the brain
    above the cerebellum."""

    def flags(self) -> list[str]:
        return ["labels_suspect"] if self.white_dice < MIN_WHITE_DICE else []

    def require_inside(self) -> None:
        """Refuse labels of another head or another place.

        Raises
        ------
        DataError
            Less than :data:`MIN_INSIDE` of them lies in the brain.
        """
        if not self.inside >= MIN_INSIDE:
            raise DataError(
                f"{self.inside:.0%} of the given labels lie inside the brain of this T1w, needed "
                f"are {MIN_INSIDE:.0%}: they are not in its scanner space. Give the parcellation "
                "made from this very T1w, or leave its folder out to use the packaged labels."
            )


def label_fit(
    labels: NDArray[np.integer], mask: NDArray[np.bool_], white: NDArray[np.bool_]
) -> LabelFit:
    """Compare labels with the brain mask and the white matter found in the T1w.

    The brain's outline alone says little: it is wider than the labels, and a shift by 3 mm stays
    inside. White matter is thin, and loses an eighth of its overlap by 2 mm.

    Parameters
    ----------
    labels : (I, J, K) int
        FreeSurfer numbers on the grid of the T1w.
    mask, white : (I, J, K) bool
        Brain, and white matter, on the same grid.
    """
    known = labels > 0
    inside = float((known & mask).sum() / known.sum()) if known.any() else 0.0
    # Cerebellum and brain stem are left out: segmentations differ in what is white there.
    ours = white & mask & ~np.isin(labels, (7, 8, 15, 16, 46, 47))
    theirs = np.isin(labels, WHITE)
    both = int(ours.sum() + theirs.sum())
    dice = 2 * float((ours & theirs).sum()) / both if both else 0.0
    return LabelFit(inside, dice)
