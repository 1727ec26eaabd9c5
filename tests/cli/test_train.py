import numpy as np
import pytest

from relad_bids.cli.train import Kept, PhantomMaker, training_order
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract


@pytest.fixture
def maker():
    affine = np.diag([10.0, 9.0, 9.0, 1.0])
    affine[:3, 3] = (-75.0, -105.0, -75.0)
    grid = Grid((16, 20, 18), affine)
    return PhantomMaker(grid, "strong", 3, 1.0, {"pib": 4.0, "pbr28": 3.0}, MRIContract())


def test_a_participant_is_the_same_whenever_asked_for(maker):
    """Training is resumed in the middle: nobody may depend on who came before."""
    first = maker(2)
    maker(5)
    again = maker(2)
    for name in ("mri", "pet", "available", "mask"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.mri.shape == (2, 16, 20, 18)
    assert first.pet.shape == (2, 16, 20, 18)
    assert np.all(first.mri[:, ~first.mask] == -1)
    assert not np.array_equal(first.mri, maker(3).mri)


def test_what_is_kept_is_what_was_first_given(maker):
    """float16 from the first time on: the second epoch must not see other numbers."""
    kept = Kept(maker)
    first, again, made = kept(1), kept(1), maker(1)
    for name in ("mri", "pet"):
        assert getattr(first, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        # float16 holds 11 bits: half a step below 1 is 2.4e-4
        np.testing.assert_allclose(getattr(first, name), getattr(made, name), atol=2.5e-4)
    assert np.all(first.mri[:, ~first.mask] == -1)


def test_everyone_is_met_once_in_each_round():
    walk = training_order(7, 17, seed=4)
    assert len(walk) == 17
    assert sorted(walk[:7]) == sorted(walk[7:14]) == list(range(7))
    assert walk[:7] != walk[7:14]
    assert len(set(walk[14:])) == 3


def test_a_longer_walk_begins_like_a_shorter_one():
    assert training_order(7, 30, seed=4)[:17] == training_order(7, 17, seed=4)
    assert training_order(7, 17, seed=5) != training_order(7, 17, seed=4)
