import numpy as np
import pytest
import torch

from relad_bids.errors import DataError
from relad_bids.model.data import Batch
from relad_bids.model.learning.spectral_fit import fit_spectrum, periodogram, soft_border
from relad_bids.model.networks.residuals import ResidualSpectrum, knots

SHAPE = (24, 26, 22)
N = 40


@pytest.fixture
def truth():
    made = ResidualSpectrum(n_tracers=2, shape=SHAPE)
    for row, width in enumerate((0.12, 0.3)):
        power = torch.exp(-((knots() / width) ** 2)) + 1e-3
        made.log_power[row] = power.log()
    return made


@pytest.fixture
def mask():
    """A ball, as a brain fills its grid."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    return (sum(x.square() for x in axes) < 0.8)[None, None]


def estimate(mri):
    return mri[:, :1].expand(-1, 2, -1, -1, -1)


def batches(truth, mask, *, available=None):
    """PET that differs from the estimate by stationary fields, and is anything outside."""
    generator = torch.Generator().manual_seed(6)
    for number in range(N // 4):
        mri = torch.rand(4, 2, *SHAPE, generator=generator)
        white = torch.fft.rfftn(torch.randn(4, 2, *SHAPE, generator=generator), dim=(-3, -2, -1))
        root = torch.cat([truth.power(torch.tensor([row])) for row in (0, 1)], 1).sqrt()
        pet = estimate(mri) + torch.fft.irfftn(root * white, s=SHAPE)
        pet = torch.where(mask, pet, -1.0)
        has = torch.ones(4, 2, dtype=torch.bool) if available is None else available[number]
        pet = torch.where(has[..., None, None, None], pet, 9.0)
        yield Batch(mri, pet, has, mask.expand(4, -1, -1, -1, -1))


def fitted(*args, **settings):
    made = ResidualSpectrum(n_tracers=2, shape=SHAPE)
    fit_spectrum(made, batches(*args, **settings), estimate)
    return made


def test_the_power_of_known_fields_is_found(truth, mask):
    """Between 0.06 and 0.6 cycles a voxel; a ball of 20 voxels knows little of slower waves.

    Log power falls by 7. What stands at a knot is the mean over its two neighbours' reach, 0.5
    too much where the fall is steepest, and 40 fields add 0.05.
    """
    made = fitted(truth, mask)
    seen = (knots() > 0.06) & (knots() < 0.6)
    log_ratio = (made.log_power - truth.log_power)[:, seen]
    assert log_ratio.abs().max() < 0.6
    assert log_ratio.square().mean().sqrt() < 0.25


class Elsewhere:
    """A batch that is good for nothing until it was brought to a device."""

    def __init__(self, batch):
        self.to = {torch.device("cpu"): batch}.__getitem__


def test_participants_are_brought_to_where_the_network_is(truth, mask):
    """They are read on the CPU, the estimate may be on a GPU."""
    made = ResidualSpectrum(n_tracers=2, shape=SHAPE)
    fit_spectrum(made, map(Elsewhere, batches(truth, mask)), estimate)
    assert torch.equal(made.log_power, fitted(truth, mask).log_power)


def test_scans_that_are_not_there_do_not_count(truth, mask):
    some = torch.rand(N // 4, 4, 2, generator=torch.Generator().manual_seed(1)) > 0.3
    made = fitted(truth, mask, available=some)
    whole = fitted(truth, mask)
    # Two thirds of 40 fields: the mean of a knot moves by a few per cent.
    assert (made.log_power - whole.log_power).abs().median() < 0.1


def test_a_tracer_without_a_scan(truth, mask):
    some = torch.ones(N // 4, 4, 2, dtype=torch.bool)
    some[..., 1] = False
    with pytest.raises(DataError, match=r"tracers number \[1\] have no scan to start from"):
        fitted(truth, mask, available=some)


def test_white_noise_has_its_variance_at_each_knot():
    made = ResidualSpectrum(n_tracers=1, shape=SHAPE)
    images = 0.5 * torch.randn(30, 1, *SHAPE, generator=torch.Generator().manual_seed(2))
    power = periodogram(images, made)[:, 0].mean(0) / images[0].numel()
    known = power[torch.isfinite(power)]
    # The first knots hold a handful of waves of 30 images each.
    np.testing.assert_allclose(known[6:], 0.25, rtol=0.05)
    assert len(known) < len(power)


def test_knots_between_the_waves_are_filled_from_their_neighbours(truth, mask):
    made = fitted(truth, mask)
    assert torch.isfinite(made.log_power).all()
    lonely = torch.isnan(periodogram(torch.zeros(1, 1, *SHAPE), made)[0, 0])
    assert lonely.any()
    low, high = made.log_power.min(1).values, made.log_power.max(1).values
    inside = (made.log_power[:, lonely] >= low[:, None]) & (
        made.log_power[:, lonely] <= high[:, None]
    )
    assert inside.all()


def test_the_border_is_soft_and_inside(mask):
    window = soft_border(mask)
    assert torch.all(window[~mask] == 0)
    assert window.max() == 1
    rim = mask & ~(torch.nn.functional.avg_pool3d(mask.float(), 3, 1, 1) > 0.999)
    assert window[rim].max() < 0.2


def test_a_tiny_brain_has_no_room_for_a_border():
    mask = torch.zeros(2, 1, 9, 9, 9, dtype=torch.bool)
    mask[0, 0, 3:6, 3:6, 3:6] = True
    mask[1] = True
    window = soft_border(mask)
    assert torch.equal(window[0], mask[0].float())
    assert window[1].min() < 1
