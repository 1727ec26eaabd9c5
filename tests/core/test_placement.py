import numpy as np
import pytest
from toys import oblique

from relad_bids.core.placement import correlation, data_box, share_inside, soft_dice, stretch
from relad_bids.errors import EmptyRegionError

SHAPE = (24, 20, 16)


def test_correlation_in_closed_form():
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert correlation(x, 5 - 2 * x) == pytest.approx(-1)
    assert correlation(x, np.array([0.0, 1.0, 1.0, 0.0])) == pytest.approx(0, abs=1e-12)
    assert correlation(x, np.ones(4)) is None
    assert correlation(x[:1], x[:1]) is None


def test_dice_of_masks_and_of_probabilities():
    first, second = np.zeros(SHAPE), np.zeros(SHAPE)
    first[:12], second[6:18] = 1, 1
    assert soft_dice(first, second) == pytest.approx(0.5)
    assert soft_dice(first, first) == 1
    assert soft_dice(first, 0 * first) == 0
    assert soft_dice(np.full(2, 0.25), np.array([0.0, 0.5])) == pytest.approx(2 * 0.25 / 1.0)
    with pytest.raises(EmptyRegionError, match="no overlap that could be told"):
        soft_dice(0 * first, 0 * first)


def lattice(spacing_mm=2.0):
    return np.moveaxis(np.indices(SHAPE) * spacing_mm, 0, -1)


INSIDE = np.ones(SHAPE, bool)


def test_a_line_does_not_stretch():
    """Size and place of the head do not count; any affine map has the same determinant."""
    matrix = np.array([[1.3, 0.1, 0.0], [0.0, 0.9, 0.2], [0.1, 0.0, 1.1]])
    found = stretch(lattice() @ matrix.T + [5, -3, 80], 2.0, INSIDE)
    assert [found.p01, found.p99, found.least] == pytest.approx([1, 1, 1])
    assert found.folded == 0


def test_stretch_in_closed_form():
    """x -> x + a x^2 has the determinant 1 + 2 a x, central differences are exact for it."""
    a = 0.01
    places = lattice()
    places[..., 0] += a * places[..., 0] ** 2
    inside = INSIDE.copy()
    inside[[0, -1]] = False  # at the ends the differences are one-sided
    found = stretch(places, 2.0, inside)
    x = np.repeat(2.0 * np.arange(1, SHAPE[0] - 1), SHAPE[1] * SHAPE[2])
    truth = 1 + 2 * a * x
    low, middle, high = np.percentile(truth, [1, 50, 99])
    assert [found.p01, found.p99] == pytest.approx([low / middle, high / middle])
    assert found.least == pytest.approx(truth.min() / middle)


def test_a_fold_is_seen():
    """Four of 24 planes run backwards, and a slope that turns is counted where it is below 0."""
    places = lattice()
    places[10:14] = places[10:14][::-1]
    found = stretch(places, 2.0, INSIDE)
    slopes = np.gradient(places[:, 0, 0, 0], 2.0)
    assert found.folded == pytest.approx((slopes <= 0).mean())
    assert found.folded > 0
    assert found.least < 0
    spared = INSIDE.copy()
    spared[8:16] = False
    assert stretch(places, 2.0, spared).folded == 0
    with pytest.raises(EmptyRegionError, match="no voxel in which a warp"):
        stretch(places, 2.0, ~INSIDE)


def test_zeros_around_the_data_are_no_data():
    image = np.zeros(SHAPE)
    image[3:20, 0:18, 5:16] = 1
    assert data_box(image).tolist() == [[3, 19], [0, 17], [5, 15]]
    image[1, 19, 2] = -4
    assert data_box(image).tolist() == [[1, 19], [0, 19], [2, 15]]
    with pytest.raises(EmptyRegionError, match="no field of view"):
        data_box(0 * image)


def test_share_of_points_in_view():
    """Half of a row of points; the edge of a voxel lies half a voxel beyond its middle."""
    affine = oblique((2.0, 3.0, 4.0), degrees=20.0, origin=(-30.0, 12.0, 7.0))
    box = np.array([[2, 10], [0, 19], [0, 15]])
    index = np.array([[1.4, 5, 5], [1.6, 5, 5], [10.4, 5, 5], [10.6, 5, 5]])
    points = index @ affine[:3, :3].T + affine[:3, 3]
    assert share_inside(points, affine, box) == 0.5
    assert share_inside(points[1:3], affine, box) == 1
    index[:, 2] = 15.6
    points = index @ affine[:3, :3].T + affine[:3, 3]
    assert share_inside(points, affine, box) == 0
    with pytest.raises(EmptyRegionError, match="of no points"):
        share_inside(points[:0], affine, box)
