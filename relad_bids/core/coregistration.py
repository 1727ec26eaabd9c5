"""How well a PET lies on the T1w of its participant: a score, not a proof."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from relad_bids.core.resolution import point_spread
from relad_bids.errors import EmptyRegionError

Image = NDArray[np.float32]

BINS = 32
AROUND_MM = 20.0
"""How far around the brain the images are looked at: the scalp and the air beside it, not the
neck."""

WORKING_MM, SMOOTHED_MM = 4.0, 6.0
"""Grid of the comparison, and FWHM before it."""

BRAIN_SHARE = 0.5
"""Of the median uptake in the brain, above which uptake is that of a brain. Otsu's threshold takes
the white matter of an amyloid scan without amyloid for the brain."""

STEP_MM, STEP_DEG = 6.0, 6.0
"""How far the PET is moved to see whether it would lie better there. Half of it is what is told
from a good fit: of three simulated tracers and three real templates, all as they lie had a margin
above 0 (least .005), all moved by 4 mm or turned by 10 degrees one below."""

MIN_NMI, MAX_SHIFT_MM = 1.05, 15.0
"""Simulated scans and real group templates have 1.12 to 1.25 as they lie, at most 1.05 moved by
20 mm, and 1.03 the wrong way up."""


@dataclass(frozen=True)
class Coregistration:
    """Ways to see that a PET lies elsewhere."""

    nmi: float
    """Normalised mutual information (H1 + H2) / H12 of PET and T1w in and around the brain: 1 for
    images that know nothing of each other, 2 for one that follows from the other."""
    margin: float
    """How much less it is at best, if the PET is moved by 6 mm or 6 degrees; below 0 it would lie
    better there."""
    dice: float
    """Of the brain seen in the PET and the brain mask of the T1w, inside the field of view. The
    scalp's uptake lowers it, so that it is told and decides nothing."""
    shift_mm: float
    """Distance of their middles."""

    def flags(self) -> list[str]:
        good = self.nmi >= MIN_NMI and self.margin >= 0 and self.shift_mm <= MAX_SHIFT_MM
        return [] if good else ["coreg_suspect"]

    def facts(self) -> dict[str, float]:
        """For the sidecar of the PET on the T1w."""
        return {key: round(getattr(self, name), 4) for name, key in _FACTS.items()}

    @classmethod
    def from_facts(cls, facts: Mapping[str, float]) -> Coregistration:
        """Read what :meth:`facts` wrote."""
        return cls(**{name: facts[key] for name, key in _FACTS.items()})


_FACTS = {
    "nmi": "CoregistrationNMI",
    "margin": "CoregistrationNMIMargin",
    "dice": "CoregistrationDice",
    "shift_mm": "CoregistrationShiftMM",
}


def coregistration(
    pet: NDArray[np.floating],
    t1w: NDArray[np.floating],
    mask: NDArray[np.bool_],
    *,
    voxel_mm: Sequence[float],
) -> Coregistration:
    """Score a PET that was brought to the T1w (pet-quantification 1.4).

    Parameters
    ----------
    pet : (I, J, K) float
        Any unit, on the grid of the T1w; NaN outside the field of view.
    t1w : (I, J, K) float
    mask : (I, J, K) bool
        Brain of the T1w.
    voxel_mm
        Size of a voxel along each axis.

    Raises
    ------
    EmptyRegionError
        No voxel of the brain lies inside the field of view, or the PET is the same everywhere.
    """
    steps = [max(1, round(WORKING_MM / size)) for size in voxel_mm]
    coarse = tuple(slice(None, None, step) for step in steps)
    working_mm = np.multiply(voxel_mm, steps)
    seen = np.isfinite(pet)
    smoothing = point_spread(SMOOTHED_MM, voxel_mm)
    filled = np.where(seen, np.clip(np.nan_to_num(pet), 0, None), 0).astype(np.float32)
    uptake, anatomy = (smoothing.blur(image)[coarse] for image in (filled, t1w))
    brain, seen = mask[coarse], seen[coarse]
    around = ndimage.distance_transform_edt(~brain, sampling=working_mm) <= AROUND_MM
    if not (brain & seen).any() or np.ptp(uptake[around & seen]) <= 0:
        raise EmptyRegionError(
            "the PET has no contrast, or no voxel of the brain, inside its field of view once it "
            "is laid on the T1w: are both of one person, and is the PET in the scanner's space?"
        )
    here, *elsewhere = (
        nmi(moved[where], anatomy[where])
        for moved, view in _places(uptake, seen, brain, working_mm)
        for where in [around & view]
    )
    dice, shift_mm = _overlap(uptake, around & seen, brain & seen, working_mm)
    return Coregistration(here, here - max(elsewhere), dice, shift_mm)


def _places(
    uptake: Image, seen: NDArray[np.bool_], brain: NDArray[np.bool_], voxel_mm: NDArray
) -> Iterator[tuple[Image, NDArray[np.bool_]]]:
    """The PET and its field of view as they lie, then moved and turned along each axis."""
    yield uptake, seen
    middle = np.argwhere(brain).mean(axis=0)
    for axis in np.eye(3):
        for sign in (-1, 1):
            for turn, move in ((sign * STEP_DEG * axis, 0 * axis), (0 * axis, sign * axis)):
                rotation = Rotation.from_rotvec(turn, degrees=True).as_matrix()
                # Voxel -> mm, turned, -> voxel.
                matrix = rotation * voxel_mm / voxel_mm[:, None]
                offset = middle - matrix @ middle + move * STEP_MM / voxel_mm
                moved = ndimage.affine_transform(uptake, matrix, offset, order=1)
                view = ndimage.affine_transform(seen.astype(np.uint8), matrix, offset, order=0)
                yield moved, view > 0


def _overlap(
    uptake: Image, where: NDArray[np.bool_], brain: NDArray[np.bool_], voxel_mm: NDArray
) -> tuple[float, float]:
    """Dice of the brain seen in the PET and the brain of the T1w; distance of their middles."""
    pieces, _ = ndimage.label((uptake > BRAIN_SHARE * np.median(uptake[brain])) & where)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    # Ventricles and white matter may be dark: holes are brain.
    found = ndimage.binary_fill_holes(pieces == sizes.argmax()) & where
    dice = 2 * float((found & brain).sum()) / float(found.sum() + brain.sum())
    first, second = (np.argwhere(one).mean(axis=0) for one in (found, brain))
    return dice, float(np.linalg.norm((first - second) * voxel_mm))


def nmi(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Normalised mutual information (H1 + H2) / H12 of two lists of voxels, 1 to 2.

    32 bins from 0 to the 99.9th percentile of each; 1 for lists that know nothing of each other.
    """
    x, y = (
        np.clip(values / max(float(np.quantile(values, 0.999)), 1e-6), 0, 1)
        for values in (first, second)
    )
    joint = np.histogram2d(x, y, bins=BINS, range=[[0.0, 1.0], [0.0, 1.0]])[0]
    p = joint / joint.sum()
    return (_entropy(p.sum(1)) + _entropy(p.sum(0))) / max(_entropy(p), 1e-12)


def _entropy(p: NDArray[np.float64]) -> float:
    positive = p[p > 0]
    return float(-(positive * np.log(positive)).sum())
