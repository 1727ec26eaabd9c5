"""Small images on oblique grids with three different side lengths."""

import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.mri.resample import like, reference_image


def turned(degrees, axis):
    """Return the (3, 3) rotation about one axis."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    first, second = [k for k in range(3) if k != axis]
    matrix[first, first] = matrix[second, second] = c
    matrix[first, second], matrix[second, first] = -s, s
    return matrix


@pytest.fixture
def oblique_grid():
    """LAS-like, oblique, three side lengths, three voxel sizes."""
    affine = np.eye(4)
    axes = turned(12, 0) @ turned(-7, 1) @ turned(20, 2) @ np.diag([-1.0, 1.0, 1.0])
    affine[:3, :3] = axes * np.array([4.0, 5.0, 4.5])
    shape = (44, 46, 40)
    affine[:3, 3] = np.array([3.0, -11.0, 8.0]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape=shape, affine=affine)


def ellipsoid_head(grid, *, centre=(0.0, 0.0, 0.0), contrast="T1w"):
    """Return a lopsided nest of ellipsoids around ``centre`` (RAS+ mm) on ``grid``."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    mm = index @ grid.affine[:3, :3].T + grid.affine[:3, 3] - np.array(centre)
    levels = {"T1w": (80.0, 20.0, 60.0, 90.0, 25.0), "FLAIR": (50.0, 10.0, 90.0, 70.0, 15.0)}
    values = np.zeros(grid.shape)
    nest = [(80, 92, 76), (72, 84, 68), (68, 80, 64), (45, 60, 40), (14, 30, 16)]
    shifts = [(0, 0, 0), (0, 0, 0), (0, 0, 0), (6, -8, 4), (-10, 12, 8)]
    for radii, shift, level in zip(nest, shifts, levels[contrast], strict=True):
        values[(((mm - shift) / radii) ** 2).sum(axis=-1) < 1] = level
    return like(reference_image(grid), values)


@pytest.fixture
def head(oblique_grid):
    return ellipsoid_head(oblique_grid)


@pytest.fixture
def pair(oblique_grid):
    """FLAIR-like and T1w-like images of one head, 6 mm apart, on different grids."""
    affine = np.diag([4.0, 4.0, 5.0, 1.0])
    affine[:3, 3] = [-90.0, -110.0, -95.0]
    moving = ellipsoid_head(Grid((46, 54, 41), affine), centre=(5.0, -3.0, 2.0), contrast="FLAIR")
    return moving, ellipsoid_head(oblique_grid)
