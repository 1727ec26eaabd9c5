"""What surrounds the brain: meninges, skull, scalp, eyes, face, neck."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from relad_bids.core.grid import Grid
from relad_bids.phantom.fields import smooth_noise


class Around(IntEnum):
    """What a voxel outside the brain holds."""

    AIR = 0
    MENINGES = 1
    """Dura and the last of the CSF."""
    SKULL = 2
    FAT = 3
    """Subcutaneous, bright on T1w; also around the eyes."""
    MUSCLE = 4
    EYE = 5
    CORD = 6


_SHELL_EDGES_MM = (3.0, 5.0, 6.5, 8.5, 10.0, 14.5)
_SHELLS = (
    Around.MENINGES,
    Around.SKULL,  # inner table
    Around.FAT,  # marrow
    Around.SKULL,  # outer table
    Around.MUSCLE,
    Around.FAT,
    Around.AIR,
)

T1W_AROUND = {
    Around.AIR: 0.0,
    Around.MENINGES: 0.38,
    Around.SKULL: 0.10,
    Around.FAT: 1.15,
    Around.MUSCLE: 0.50,
    Around.EYE: 0.22,
    Around.CORD: 0.85,
}
FLAIR_AROUND = {
    Around.AIR: 0.0,
    Around.MENINGES: 0.45,
    Around.SKULL: 0.10,
    Around.FAT: 1.05,
    Around.MUSCLE: 0.60,
    Around.EYE: 0.15,
    Around.CORD: 1.0,
}
"""White matter is 1, as in :mod:`relad_bids.phantom.mri`; domain knowledge."""

# Landmarks in template mm (RAS): where the neck, the face and the eyes sit under the brain.
_NECK_CENTRE, _NECK_RADII = (0.0, -40.0), (58.0, 62.0)
_NECK_TOP = -58.0
_NECK_FAT_SHARE = 0.84
_CORD_CENTRE, _CORD_RADIUS = (0.0, -46.0), 6.5
_FACE_CENTRE, _FACE_RADII = (0.0, 25.0, -72.0), (62.0, 68.0, 58.0)
_AIRWAY_CENTRE, _AIRWAY_RADII = (0.0, 45.0, -72.0), (14.0, 34.0, 26.0)
_EYES, _EYE_MM = ((-32.0, 66.0, -36.0), (32.0, 66.0, -36.0)), 12.5
_ORBIT_MM = 18.0


def shells(depth_mm: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the class of each voxel from its distance to the brain alone (no face, no neck)."""
    table = np.array(_SHELLS, dtype=np.uint8)
    return table[np.digitize(depth_mm, _SHELL_EDGES_MM)]


def whole_head(
    depth_mm: NDArray[np.floating], points_mm: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Return the class of each voxel outside the brain.

    Parameters
    ----------
    depth_mm : (I, J, K) float
        Distance to the brain's surface in mm, negative inside.
    points_mm : (3, I, J, K) float
        Where each voxel lies in the template (RAS mm): the face belongs to the head, not to
        the scanner.

    Returns
    -------
    (I, J, K) uint8
        Values of :class:`Around`. Voxels inside the brain get ``MENINGES``.
    """
    around = shells(depth_mm)
    below = depth_mm > _SHELL_EDGES_MM[-3]
    x, y, z = points_mm
    for part, kind in _soft_parts(x, y, z):
        around[part & below] = kind
    for eye in _EYES:
        distance = np.sqrt((x - eye[0]) ** 2 + (y - eye[1]) ** 2 + (z - eye[2]) ** 2)
        around[(distance < _ORBIT_MM) & below] = Around.FAT
        around[(distance < _EYE_MM) & below] = Around.EYE
    cord = (_radius(x, y, _CORD_CENTRE, (_CORD_RADIUS,) * 2) < 1) & (z < _NECK_TOP)
    around[cord & (depth_mm > 0)] = Around.CORD  # goes through the skull: the brainstem's stump
    return around


def _soft_parts(
    x: NDArray[np.floating], y: NDArray[np.floating], z: NDArray[np.floating]
) -> list[tuple[NDArray[np.bool_], Around]]:
    """Return the parts of neck and face in the order in which they are laid over each other."""
    neck = _radius(x, y, _NECK_CENTRE, _NECK_RADII)
    low = z < _NECK_TOP
    face = _radius3(x, y, z, _FACE_CENTRE, _FACE_RADII)
    airway = _radius3(x, y, z, _AIRWAY_CENTRE, _AIRWAY_RADII) < 1
    return [
        ((face < 1) & (face >= 0.9), Around.FAT),
        ((neck < 1) & (neck >= _NECK_FAT_SHARE) & low & (face >= 0.9), Around.FAT),
        ((neck < _NECK_FAT_SHARE) & low, Around.MUSCLE),
        (face < 0.9, Around.MUSCLE),
        (airway, Around.AIR),
    ]


def _radius(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    centre: tuple[float, float],
    radii: tuple[float, float],
) -> NDArray[np.floating]:
    return np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])


def _radius3(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    z: NDArray[np.floating],
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> NDArray[np.floating]:
    return np.hypot(_radius(x, y, centre[:2], radii[:2]), (z - centre[2]) / radii[2])


def dress(
    brain: NDArray[np.floating],
    mask: NDArray[np.bool_],
    around: NDArray[np.uint8],
    intensities: dict[Around, float],
    grid: Grid,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Return the MRI of the whole head: ``brain`` inside ``mask``, its surroundings outside.

    Muscle and fat are mottled by 10 %; borders are softened by a third of a voxel.
    """
    table = np.array([intensities[kind] for kind in Around], dtype=np.float32)
    mottled = 1 + 0.1 * smooth_noise(grid, generator, sigma_mm=6.0)
    outside = table[around] * np.maximum(mottled, 0.5)
    whole = np.where(mask, brain, outside)
    soft = gaussian_filter(whole, 0.35)
    return np.asarray(np.where(mask, brain, soft), dtype=np.float32)
