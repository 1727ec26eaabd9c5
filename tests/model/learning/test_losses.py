import numpy as np
import pytest
import torch

from relad_bids.model.data import Batch, collate
from relad_bids.model.learning.losses import Spread, relative_error, squared_errors


@pytest.fixture
def everyone(cohort):
    return collate([cohort[i] for i in range(12)])


@pytest.fixture
def spread():
    return Spread(torch.tensor([0.02, 0.03]), torch.tensor([0.01, 0.005]))


def test_error_as_large_as_the_spread_is_one(everyone):
    """By definition: the floor's own squared error is the unit, at both scales."""
    even = Spread(torch.full((2,), 0.09), torch.full((2,), 0.09))
    assert relative_error(everyone.pet + 0.3, everyone, even).item() == pytest.approx(1, rel=1e-5)


def test_truth_has_error_zero(everyone, spread):
    assert relative_error(everyone.pet, everyone, spread).item() == 0


def test_error_grows_with_the_square(everyone, spread):
    one, three = (
        relative_error(everyone.pet + shift, everyone, spread).item() for shift in (0.1, 0.3)
    )
    assert three / one == pytest.approx(9, rel=1e-4)


def test_what_a_participant_lacks_does_not_count(everyone, spread):
    """Any value may stand where there is no scan, except one that poisons the sum."""
    predicted = everyone.pet + 0.1
    garbled = everyone.pet.clone()
    garbled[~everyone.available] = 50.0
    other = Batch(everyone.mri, garbled, everyone.available, everyone.mask)
    assert relative_error(predicted, other, spread).item() == pytest.approx(
        relative_error(predicted, everyone, spread).item(), rel=1e-6
    )


def test_outside_the_brain_nothing_is_learned(everyone):
    predicted = torch.where(everyone.mask, everyone.pet, 7.0)
    for errors in squared_errors(predicted, everyone):
        assert torch.all(errors == 0)


def test_constant_error_has_its_square_at_both_scales(everyone):
    """Cells are averages over the brain alone, so the brain's edge does not water them down."""
    for errors in squared_errors(everyone.pet + 0.5, everyone):
        torch.testing.assert_close(errors, torch.full_like(errors, 0.25))


def test_noise_averages_out_in_coarse_cells():
    """White noise of variance 1 in cells of 64 voxels: 1/64; 2 x 27 cells, so within 3 sigma."""
    generator = torch.Generator().manual_seed(8)
    shape = (1, 1, 12, 12, 24)
    noise = torch.randn(shape, generator=generator)
    batch = Batch(noise, torch.zeros(shape), torch.ones(1, 1), torch.ones(shape, dtype=torch.bool))
    voxel, coarse = squared_errors(noise, batch)
    n_cells = 3 * 3 * 6
    assert voxel.item() == pytest.approx(1, abs=3 * np.sqrt(2 / noise.numel()))
    assert coarse.item() * 64 == pytest.approx(1, abs=3 * np.sqrt(2 / n_cells))
