"""A cohort so small that a training step takes milliseconds, on a grid of unequal odd sides."""

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from relad_bids.model.data import Cohort, Sample
from relad_bids.model.kinds.unet import PosteriorMeanUNet

SHAPE = (9, 12, 11)
N_TRACERS = 2


def make_sample(index):
    """Uptake that follows the T1w, so that there is something to learn."""
    rng = np.random.default_rng([77, index])
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:8, 1 : 10 + index % 2, 1:10] = True
    brightness = rng.uniform(-0.5, 0.5) + rng.uniform(-0.4, 0.4, (2, *SHAPE))
    mri = np.where(mask, brightness, -1).astype(np.float32)
    pet = 0.3 * mri[0] + np.array([-0.2, 0.1])[:, None, None, None]
    return Sample(
        mri=mri,
        pet=pet.astype(np.float32),
        available=np.array([True, index % 3 != 0]),
        mask=mask,
    )


@pytest.fixture
def cohort():
    return Cohort(make_sample, range(24))


@pytest.fixture
def first():
    """Other participants, for the start of a training."""
    return Cohort(make_sample, range(100, 116))


@pytest.fixture
def make_network():
    """Networks with their first random weights; the seed of others is left alone."""

    def make(seed=5, *, shape=SHAPE, channels=(4, 6), n_tracers=N_TRACERS):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return PosteriorMeanUNet(
                n_sequences=2, n_tracers=n_tracers, channels=channels, n_residual_units=1,
                rank=3, shape=shape,
            )  # fmt: skip

    return make


@pytest.fixture
def weights_of():
    return lambda network: parameters_to_vector(network.parameters()).detach()
