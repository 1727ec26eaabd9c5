import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.phantom.fields import (
    index_points,
    node_grid,
    node_noise,
    smooth_noise,
    to_grid,
    voxel_sizes,
)


@pytest.fixture
def oblique():
    angle = np.deg2rad(20)
    rotation = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * [2.0, 3.0, 4.0]
    affine[:3, 3] = (-20.0, 5.0, 11.0)
    return Grid((17, 12, 9), affine)


def test_noise_has_unit_variance():
    """About 60 independent patches a draw, 40 draws: SD known to 2 %."""
    grid = Grid((24, 20, 16), np.diag([2.0, 2.5, 3.0, 1.0]))
    draws = [smooth_noise(grid, np.random.default_rng(k), sigma_mm=5.0) for k in range(40)]
    assert np.std(draws) == pytest.approx(1.0, abs=0.08)
    assert np.mean(draws) == pytest.approx(0.0, abs=0.08)


def test_noise_is_as_smooth_as_asked():
    """Smoothing white noise with sigma leaves the correlation exp(-d^2 / 4 sigma^2)."""
    nodes = Grid((64, 60, 56), np.diag([2.0, 2.0, 2.0, 1.0]))
    field = node_noise(nodes, np.random.default_rng(0), sigma_mm=4.0)
    measured = np.mean(field[:-4] * field[4:]) / np.mean(field**2)
    assert measured == pytest.approx(np.exp(-(8.0**2) / (4 * 4.0**2)), abs=0.05)


def test_nodes_cover_the_grid(oblique):
    nodes = node_grid(oblique, spacing_mm=10.0)
    np.testing.assert_allclose(nodes.corners_mm(), oblique.corners_mm(), atol=1e-9)
    assert (voxel_sizes(nodes) <= 10.0).all()


def test_linear_function_survives_interpolation(oblique):
    """On the nodes of the same axes and on an upright grid inside them (general path)."""
    nodes = node_grid(oblique, spacing_mm=9.0)
    x, y, z = index_points(nodes, nodes.affine)
    values = 0.5 * x - 0.2 * y + z
    middle = oblique.corners_mm().mean(axis=0)
    upright = Grid((4, 5, 3), np.diag([1.5, 1.0, 2.0, 1.0]))
    upright.affine[:3, 3] = middle - (2.0, 2.0, 2.0)
    for grid in (oblique, upright):
        x, y, z = index_points(grid, grid.affine)
        expected = 0.5 * x - 0.2 * y + z
        np.testing.assert_allclose(to_grid(values, nodes, grid), expected, atol=1e-4)
