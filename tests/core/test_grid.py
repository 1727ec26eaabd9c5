import numpy as np
import pytest
from toys import oblique

from relad_bids.core.grid import SAME_PLACE_MM, Grid
from relad_bids.errors import GridMismatchError

SHAPE = (10, 12, 8)


def grid(shape=SHAPE, shift_mm=0.0):
    affine = oblique()
    affine[0, 3] += shift_mm
    return Grid(shape, affine)


@pytest.mark.parametrize(
    ("shift_mm", "same"), [(0.0, True), (0.9 * SAME_PLACE_MM, True), (1.1 * SAME_PLACE_MM, False)]
)
def test_same_place(shift_mm, same):
    if same:
        grid().require_same(grid(shift_mm=shift_mm), ours="a", theirs="b")
    else:
        with pytest.raises(GridMismatchError, match=r"lie 0\.0011 mm apart \(limit 0\.001 mm\)"):
            grid().require_same(grid(shift_mm=shift_mm), ours="a", theirs="b")


def test_message_names_both_images():
    with pytest.raises(GridMismatchError, match=r"pet is \(10, 12, 8\) .* mask is \(12, 10, 8\)"):
        grid().require_same(grid((12, 10, 8)), ours="pet", theirs="mask")


def test_a_small_rotation_is_seen_at_the_far_corner():
    """1e-4 of shear over 199 steps of 1 mm: entries agree to 1e-4, corners do not."""
    turned = np.eye(4)
    turned[0, 1] = 1e-4
    with pytest.raises(GridMismatchError, match=r"0\.0199 mm apart"):
        Grid((200, 200, 200), np.eye(4)).require_same(
            Grid((200, 200, 200), turned), ours="a", theirs="b"
        )


def test_corners_follow_a_turned_axis():
    """Voxel axes i, j, k run along y, z, x: a transposed rotation cannot pass."""
    affine = np.array([[0, 0, 2.0, 0], [2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(Grid((2, 3, 5), affine).corners_mm()[-1], [8, 2, 4])


def test_eight_corners_span_the_grid():
    corners = grid().corners_mm()
    assert corners.shape == (8, 3)
    diagonal = np.linalg.norm(np.array([9, 11, 7]) * (1.0, 1.5, 2.0))
    assert np.linalg.norm(corners[-1] - corners[0]) == pytest.approx(diagonal)


@pytest.mark.parametrize("mirror", [1, -1])
def test_volume_of_a_voxel_is_that_of_its_edges(mirror):
    """A rotation keeps it, and a mirrored axis does not make it negative."""
    affine = oblique((mirror * 1.0, 1.5, 2.0))
    assert Grid(SHAPE, affine).voxel_volume_mm3 == pytest.approx(3.0)
