"""Grids and subjects that the phantom's tests share: unequal sides, unequal voxels."""

import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.phantom.anatomy import subject_tissue
from relad_bids.phantom.latent import draw_subject


@pytest.fixture(scope="session")
def grid():
    """MNI brain box of 4 x 4.5 x 5 mm: three sides, three voxel sizes."""
    affine = np.diag([4.0, 4.5, 5.0, 1.0])
    affine[:3, 3] = (-82.0, -115.0, -80.0)
    return Grid((42, 45, 35), affine)


@pytest.fixture(scope="session")
def network_grid():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-79.0, -108.0, -72.0)
    return Grid((80, 92, 80), affine)


@pytest.fixture(scope="session")
def subject():
    return draw_subject(4, seed=11, preset="strong")


@pytest.fixture(scope="session")
def tissue(subject, grid):
    return subject_tissue(subject, grid)
