"""Random smooth deformations with a known inverse.

A stationary velocity field is integrated by scaling and squaring (Arsigny 2006): forward is
exp(v), inverse is exp(-v).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from relad_bids.core.grid import Grid
from relad_bids.phantom.fields import node_grid, node_noise, to_grid

_SQUARINGS = 6
_NODES_PER_SIGMA = 5.0
"""Linear interpolation between them keeps exp(v) and exp(-v) inverse to 0.1-0.2 mm."""


@dataclass(frozen=True, eq=False)
class Warp:
    """A deformation of RAS space known on a coarse node grid; between nodes it is linear.

    Beyond the box of the nodes the border's displacement holds and the two directions are
    no longer exact inverses: let the box reach past what matters.
    """

    nodes: Grid
    velocity: NDArray[np.float32]
    """(3, I, J, K) mm per unit time."""

    @cached_property
    def forward(self) -> NDArray[np.float32]:
        """(3, I, J, K) mm: a point x goes to x + forward(x)."""
        return exponential(self.velocity, self.nodes)

    @cached_property
    def inverse(self) -> NDArray[np.float32]:
        """(3, I, J, K) mm: a point y comes from y + inverse(y)."""
        return exponential(-self.velocity, self.nodes)

    def displacement(self, grid: Grid, *, inverse: bool = False) -> NDArray[np.float32]:
        """Return the displacement (3, I, J, K) in mm at the voxels of ``grid``."""
        field = self.inverse if inverse else self.forward
        return np.stack([to_grid(component, self.nodes, grid) for component in field])

    def at(self, points_mm: NDArray[np.floating], *, inverse: bool = False) -> NDArray[np.float64]:
        """Return where the points (3, ...) in RAS mm go."""
        to_index = np.linalg.inv(self.nodes.affine)
        index = np.tensordot(to_index[:3, :3], points_mm, axes=1)
        index += to_index[:3, 3].reshape(3, *[1] * (points_mm.ndim - 1))
        field = self.inverse if inverse else self.forward
        return np.stack(
            [
                axis + map_coordinates(component, index, order=1, mode="nearest")
                for axis, component in zip(points_mm, field, strict=True)
            ]
        )


def random_warp(
    grid: Grid, generator: np.random.Generator, *, sigma_mm: float, amplitude_mm: float
) -> Warp:
    """Draw a diffeomorphism over the box of ``grid``.

    Parameters
    ----------
    sigma_mm
        Correlation length of the velocity; 20-30 mm gives plausible head shapes.
    amplitude_mm
        SD of each component of the velocity; 2-4 mm moves landmarks as people differ
        after an affine registration. Keep it below a third of ``sigma_mm``.
    """
    nodes = node_grid(grid, spacing_mm=sigma_mm / _NODES_PER_SIGMA)
    velocity = np.stack(
        [amplitude_mm * node_noise(nodes, generator, sigma_mm=sigma_mm) for _ in range(3)]
    )
    return Warp(nodes, velocity)


def exponential(velocity: NDArray[np.floating], nodes: Grid) -> NDArray[np.float32]:
    """Integrate a stationary velocity (3, I, J, K) in mm over unit time."""
    to_index = np.linalg.inv(nodes.affine)[:3, :3]
    where = np.indices(nodes.shape, dtype=np.float64)
    field = velocity / 2.0**_SQUARINGS
    for _ in range(_SQUARINGS):
        index = where + np.tensordot(to_index, field, axes=1)
        field = field + np.stack(
            [map_coordinates(part, index, order=1, mode="nearest") for part in field]
        )
    return np.asarray(field, dtype=np.float32)


def jacobian(displacement: NDArray[np.floating], grid: Grid) -> NDArray[np.float64]:
    """Return the determinant of d(x + u)/dx at each voxel (must stay above 0)."""
    to_index = np.linalg.inv(grid.affine)[:3, :3]
    matrix = np.empty((*grid.shape, 3, 3))
    for i in range(3):
        per_index = np.stack(np.gradient(displacement[i]), axis=-1)
        matrix[..., i, :] = per_index @ to_index
    return np.asarray(np.linalg.det(matrix + np.eye(3)))


def pose(
    generator: np.random.Generator, *, degrees: float, shift_mm: float
) -> NDArray[np.float64]:
    """Draw a rigid (4, 4) transform: angles and shifts uniform within +- the limits."""
    angles = np.deg2rad(generator.uniform(-degrees, degrees, 3))
    matrix = np.eye(4)
    matrix[:3, :3] = _rotation(angles)
    matrix[:3, 3] = generator.uniform(-shift_mm, shift_mm, 3)
    return matrix


def _rotation(angles: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the rotation about x, then y, then z (radians)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
