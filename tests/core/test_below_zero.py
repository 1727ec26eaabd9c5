import numpy as np
import pytest

from relad_bids.core.below_zero import DEEPEST, MOST_BELOW, below_zero, lifted

SHAPE = (30, 31, 32)
INSIDE = (slice(5, 25), slice(6, 26), slice(7, 27))


@pytest.fixture
def brain():
    """Magnitudes: noise in the air, tissue of 300 to 1000 with an eighth of darker fluid."""
    rng = np.random.default_rng(1)
    values = np.abs(rng.normal(0, 10, SHAPE))
    values[INSIDE] = rng.uniform(300, 1000, (20, 20, 20))
    values[5:15, 6:16, 7:17] = rng.uniform(100, 200, (10, 10, 10))
    return values


def z_scored(values, where=...):
    return (values - values[where].mean()) / values[where].std()


def test_a_magnitude_image_is_left_alone(brain):
    assert below_zero(brain) == 0
    np.testing.assert_array_equal(lifted(brain), brain.astype(np.float32))


def test_a_z_scored_head_keeps_the_order_of_all_its_voxels(brain):
    moved = lifted(z_scored(brain))
    assert below_zero(z_scored(brain)) > 0.5
    assert moved.min() == 0
    back = np.polyfit(brain[INSIDE].ravel(), moved[INSIDE].ravel(), 1)
    np.testing.assert_allclose(moved[INSIDE], np.polyval(back, brain[INSIDE]), atol=1e-4)
    assert back[1] == pytest.approx(0, abs=0.05)  # air, the darkest, is zero again


def test_a_stripped_brain_that_was_z_scored_inside_keeps_its_background(brain):
    scored = np.zeros(SHAPE)
    scored[INSIDE] = z_scored(brain, INSIDE)[INSIDE]
    moved = lifted(scored)
    assert (moved[scored == 0] == 0).all()
    # one in a thousand becomes the floor
    assert (moved[INSIDE] > 0).mean() > 0.998
    order = np.argsort(brain[INSIDE].ravel())
    assert (np.diff(moved[INSIDE].ravel()[order]) >= 0).all()


def test_a_background_below_the_brain_becomes_zero(brain):
    stripped = np.zeros(SHAPE)
    stripped[INSIDE] = brain[INSIDE]
    scored = z_scored(stripped)
    moved = lifted(scored)
    assert (moved[stripped == 0] == 0).all()
    assert (moved[INSIDE] > 0).mean() > 0.998


@pytest.mark.parametrize("padding", [-1024.0, -32768.0])
def test_padding_is_not_tissue(brain, padding):
    brain[:6] = padding
    assert below_zero(brain) == 0
    np.testing.assert_array_equal(lifted(brain), brain.astype(np.float32))


def test_ripples_are_not_tissue(brain):
    ripples = brain.copy()
    air = brain < 50
    depth = DEEPEST * np.quantile(brain, 0.99)
    ripples[air] = np.random.default_rng(2).uniform(-0.9 * depth, 0.5 * depth, air.sum())
    assert (ripples < 0).mean() > MOST_BELOW
    assert below_zero(ripples) == 0
    ripples[air] *= 2
    assert below_zero(ripples) > MOST_BELOW


def test_few_voxels_below_zero_are_let_be(brain):
    some = brain.copy()
    n = int(MOST_BELOW * some.size)
    some.ravel()[: n - 50] = -500.0 - np.arange(n - 50)
    assert below_zero(some) == 0
    some.ravel()[: n + 50] = -500.0 - np.arange(n + 50)
    assert below_zero(some) == pytest.approx(MOST_BELOW, rel=0.1)


def test_an_outlier_does_not_take_the_contrast(brain):
    scored = z_scored(brain)
    scored[0, 0, 0] = -1e6
    assert lifted(scored).max() < 10


def test_nothing_but_zeros():
    assert below_zero(np.zeros(SHAPE)) == 0
