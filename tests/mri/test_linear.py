import numpy as np

from relad_bids.mri.linear import apply_affine, read_affine, write_affine


def test_affine_survives_its_file(tmp_path):
    affine = np.eye(4)
    affine[:3] = [[1.1, 0.2, -0.1, 12.0], [-0.15, 0.9, 0.05, -31.0], [0.02, 0.1, 1.05, 4.0]]
    back = read_affine(write_affine(affine, tmp_path / "a.mat"))
    np.testing.assert_allclose(back, affine, atol=1e-6)


def test_points_are_carried():
    affine = np.eye(4)
    affine[:3, 3] = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(apply_affine(affine, np.zeros((2, 3))), [[1, 2, 3]] * 2)
