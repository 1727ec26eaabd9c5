import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.phantom.fields import index_points, voxel_sizes
from relad_bids.phantom.warp import jacobian, pose, random_warp


@pytest.fixture(scope="module")
def box():
    affine = np.diag([4.0, 5.0, 4.0, 1.0])
    affine[:3, 3] = (-100.0, -130.0, -90.0)
    return Grid((51, 49, 47), affine)


@pytest.mark.parametrize(("sigma", "amplitude"), [(20.0, 4.0), (25.0, 3.0), (30.0, 2.0)])
def test_inverse_undoes_forward(box, sigma, amplitude):
    warp = random_warp(box, np.random.default_rng(2), sigma_mm=sigma, amplitude_mm=amplitude)
    points = index_points(box, box.affine)
    error = np.linalg.norm(warp.at(warp.at(points), inverse=True) - points, axis=0)
    assert error.max() < 0.5 * voxel_sizes(box).min()
    inside = error[6:-6, 6:-6, 6:-6]  # away from the border, where the field is cut off
    assert inside.max() < 0.5  # mm: half a voxel of 1 mm
    assert inside.mean() < 0.1


@pytest.mark.parametrize("seed", range(4))
def test_nothing_folds(box, seed):
    warp = random_warp(box, np.random.default_rng(seed), sigma_mm=20.0, amplitude_mm=4.0)
    for inverse in (False, True):
        assert jacobian(warp.displacement(box, inverse=inverse), box).min() > 0


def test_displacement_on_a_grid_is_that_at_its_points(box):
    warp = random_warp(box, np.random.default_rng(1), sigma_mm=25.0, amplitude_mm=3.0)
    points = index_points(box, box.affine)
    np.testing.assert_allclose(warp.displacement(box), warp.at(points) - points, atol=1e-3)


def test_amplitude_is_met(box):
    """Integration of a smooth field leaves its SD within a quarter (few patches a box)."""
    fields = [
        random_warp(box, np.random.default_rng(k), sigma_mm=20.0, amplitude_mm=3.0).forward
        for k in range(6)
    ]
    assert np.std(fields) == pytest.approx(3.0, rel=0.25)


def test_jacobian_of_a_scaling():
    affine = np.diag([2.0, -3.0, 4.0, 1.0])  # a flipped axis must not flip the sign
    grid = Grid((5, 6, 7), affine)
    scaled = 0.1 * index_points(grid, affine)
    np.testing.assert_allclose(jacobian(scaled, grid), 1.1**3, rtol=1e-9)


def test_pose_is_rigid_and_within_its_limits():
    for seed in range(20):
        matrix = pose(np.random.default_rng(seed), degrees=5.0, shift_mm=4.0)
        rotation = matrix[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        assert np.abs(matrix[:3, 3]).max() <= 4.0
        # three axes of at most 5 degrees each
        assert np.degrees(np.arccos((np.trace(rotation) - 1) / 2)) <= 5 * np.sqrt(3) + 0.1
