"""Does a brain mask look like a brain: five figures, each with the range that is usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

USUAL_ML = (800.0, 2000.0)
"""Brain with its fluid, of adults; wide."""

LEAST_KEPT = 0.85
"""Dice of the refined mask and the outline it came from, below which the refinement ran away;
``benchmarks/preparation_mask.py`` prints it of real heads and phantoms."""

POSSIBLE_ML = (300.0, 2600.0)
"""Outside of it there is no brain to work with."""

LEAST_SYMMETRY = 0.90
"""Dice of the mask and its mirror image about the template's mid-plane. Eight real heads had 0.95
to 0.98, phantoms 0.93 to 0.96; a brain of 1.4 L that lost one temporal lobe (130 mL) has at most
0.90."""

LEAST_OVERLAP = 0.88
"""Dice with the template's brain, which was laid on the head by twelve numbers. Eight real heads
had 0.95 to 0.97, phantoms 0.94 to 0.96; a third more or less than the brain gives 0.86 or 0.80."""

MOST_STRAY = 0.02
"""Share of the voxels outside of the largest piece, before small pieces are dropped."""

ROOM_MM = 7.0
"""Skull and scalp need more than this between the brain and the edge of the image."""

MOST_CUT = 0.08
"""Area of the brain with no room for a skull, as a share of its largest slice. The brain stem,
which always ends somewhere, has 4 to 8 cm^2, or up to 0.05."""

MOST_CUT_STRIPPED = 0.10
"""The same in the outermost slice of an image without skull, which may end right at the brain."""

FLAGS: Mapping[str, str] = {
    "mask_volume": f"the brain mask has less than {USUAL_ML[0]:.0f} or more than "
    f"{USUAL_ML[1]:.0f} mL",
    "mask_pieces": "the brain mask came in pieces; of our own the largest was kept",
    "mask_asymmetric": "the left and the right half of the brain mask differ",
    "mask_off_template": "the brain mask and the template's brain overlap little",
    "mask_unrefined": "the template's outline was kept as the brain mask, because the one that "
    "follows the image failed its checks",
    "fov_cut": "the brain reaches the edge of the image; a part of it may be missing",
}
"""Flags of the brain mask and what they mean."""


@dataclass(frozen=True)
class BrainChecks:
    """Figures of one mask; what is not known is nan and never flagged."""

    volume_ml: float
    stray: float
    """0 to 1; see :data:`MOST_STRAY`."""
    symmetry: float
    """0 to 1; see :data:`LEAST_SYMMETRY`."""
    overlap: float
    """0 to 1; see :data:`LEAST_OVERLAP`."""
    cut: float
    """0 to 1; see :data:`MOST_CUT`."""
    has_skull: bool = True

    def flags(self) -> tuple[str, ...]:
        """Return words of :data:`FLAGS`, in its order."""
        low, high = USUAL_ML
        most_cut = MOST_CUT if self.has_skull else MOST_CUT_STRIPPED
        found = {
            "mask_volume": not low <= self.volume_ml <= high,
            "mask_pieces": self.stray > MOST_STRAY,
            "mask_asymmetric": self.symmetry < LEAST_SYMMETRY,
            "mask_off_template": self.overlap < LEAST_OVERLAP,
            "fov_cut": self.cut > most_cut,
        }
        return tuple(flag for flag, odd in found.items() if odd)

    def wrong(self) -> tuple[str, ...]:
        """Return the flags that speak against the mask; a cut is the image's own."""
        return tuple(flag for flag in self.flags() if flag != "fov_cut")


def check_brain(
    mask: NDArray[np.bool_],
    image: NDArray[np.floating],
    *,
    voxel_mm: Sequence[float],
    in_template: NDArray[np.bool_],
    template: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    has_skull: bool = True,
) -> BrainChecks:
    """Measure a brain mask.

    Parameters
    ----------
    mask, image : (I, J, K)
        Mask as it was found, all pieces, and the MRI that it was found in.
    voxel_mm
        Voxel sizes.
    in_template, template, seen : (X, Y, Z) bool
        The mask, the template's own brain, and what the image shows, on a grid of the template
        whose first axis runs from left to right with the mid-plane in its middle. The mask comes
        there by an affine: what a nonlinear one would do is make them alike.
    has_skull
        False for an image whose skull was removed.
    """
    whole = largest_piece(mask)
    total = max(int(mask.sum()), 1)
    mirrored = seen & seen[::-1]
    return BrainChecks(
        volume_ml=float(whole.sum()) * float(np.prod(voxel_mm)) / 1000,
        stray=1 - float((whole & mask).sum()) / total,
        symmetry=dice(in_template & mirrored, in_template[::-1] & mirrored),
        overlap=dice(in_template & seen, template & seen),
        cut=cut_share(whole, image, voxel_mm, room_mm=ROOM_MM if has_skull else 0.0),
        has_skull=has_skull,
    )


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest face-connected piece with its holes filled."""
    piece = np.zeros(mask.shape, dtype=bool)
    if not mask.any():
        return piece
    # Most of an image is air: only the box around the mask is searched.
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    found = mask[box]
    pieces, count = ndimage.label(found)
    if count > 1:
        found = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    piece[box] = ndimage.binary_fill_holes(found)
    return piece


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return twice the common voxels over the sum of both; nan where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def cut_share(
    mask: NDArray[np.bool_],
    image: NDArray[np.floating],
    voxel_mm: Sequence[float],
    *,
    room_mm: float,
) -> float:
    """Return how much of the brain has no room for a skull before the image ends.

    Slices that hold one value alone (padding) are no part of the image. Looked at are slices
    whose outer face lies within ``room_mm`` of the end of the image, so that a mask that stops
    a slice early is seen as well.

    Returns
    -------
    float
        Largest area of the mask in such a slice, as a share of the largest slice of its axis.
    """
    shares = [0.0]
    for axis in range(mask.ndim):
        others = tuple(k for k in range(mask.ndim) if k != axis)
        areas = mask.sum(axis=others)
        filled = np.flatnonzero(image.max(axis=others) > image.min(axis=others))
        if not areas.any() or not filled.size:
            continue
        deep = max(1, int(np.ceil(room_mm / voxel_mm[axis] - 1e-6)))
        first, last = int(filled[0]), int(filled[-1])
        near = np.concatenate([areas[: first + deep], areas[max(last + 1 - deep, 0) :]])
        shares.append(float(near.max() / areas.max()))
    return max(shares)
