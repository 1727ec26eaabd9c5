import math

import numpy as np
import pytest
import torch

from relad_bids.model.networks.residuals import HIGHEST, KNOTS, ResidualSpectrum, knots

SHAPES = [(13, 14, 12), (12, 10, 15)]
"""Unequal sides; the last one even and odd, which the half spectrum treats apart."""


def blurred(shape, *, floor=0.01, n_tracers=1):
    """A spectrum as PET has it: falls by 100 from whole images to single voxels."""
    made = ResidualSpectrum(n_tracers=n_tracers, shape=shape)
    power = 4 * torch.exp(-((knots() / 0.15) ** 2)) + floor
    made.log_power.copy_(power.log().expand(n_tracers, -1))
    return made


def fields(spectrum, n, *, seed):
    """Stationary Gaussian fields (n, 1, I, J, K) of a spectrum's power; float64."""
    white = torch.randn(n, 1, *spectrum.shape, dtype=torch.float64, generator=chance(seed))
    root = spectrum.power(torch.zeros(1, dtype=torch.int64)).double().sqrt()
    filtered = root * torch.fft.rfftn(white, dim=(-3, -2, -1))
    return torch.fft.irfftn(filtered, s=spectrum.shape)


def chance(seed):
    return torch.Generator().manual_seed(seed)


def level(value, n=1):
    return torch.full((n, 1, 1, 1, 1), value, dtype=torch.float64)


TRACER = torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("alpha", "sigma"), [(0.99, 0.14), (0.6, 0.8), (0.1, 0.995)])
def test_white_residuals_are_shrunk_voxel_by_voxel(shape, alpha, sigma):
    """The same power everywhere: c_skip and c_out of Karras et al. 2022, Table 1; float32."""
    made, s = ResidualSpectrum(n_tracers=2, shape=shape), 0.3
    made.log_power.fill_(2 * math.log(s))
    y = torch.randn(2, 1, *shape, generator=chance(1))
    tracer = torch.tensor([0, 1])
    a, b = level(alpha, 2).float(), level(sigma, 2).float()
    variance = alpha**2 * s**2 + sigma**2
    torch.testing.assert_close(
        made.expected(y, tracer, a, b), y * alpha * s**2 / variance, atol=1e-6, rtol=1e-5
    )
    expected = s * sigma / variance**0.5
    torch.testing.assert_close(made.left(tracer, a, b), torch.full_like(a, expected))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("alpha", "sigma"), [(0.98, 0.2), (0.6, 0.8)])
def test_it_is_the_best_linear_estimate_and_knows_its_error(shape, alpha, sigma):
    """Projection: the error is uncorrelated with what was seen, and its SD is the one said.

    200 fields of 2,000 voxels that differ in 100 ways or more: 1 % for the SD, 0.02 for a
    correlation.
    """
    made = blurred(shape)
    r = fields(made, 200, seed=2)
    noise = torch.randn(r.shape, dtype=r.dtype, generator=chance(3))
    y = alpha * r + sigma * noise
    error = made.expected(y, TRACER, level(alpha), level(sigma)) - r
    said = made.left(TRACER, level(alpha), level(sigma)).item()
    assert error.std().item() == pytest.approx(said, rel=0.02)
    correlation = (error * y).mean() / (error.std() * y.std())
    assert abs(correlation.item()) < 0.02
    white = alpha * r.var() / (alpha**2 * r.var() + sigma**2)
    assert error.square().mean() < 0.8 * (white * y - r).square().mean()


@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_signal_nothing_is_expected_and_all_is_left(shape):
    made = blurred(shape)
    y = torch.randn(1, 1, *shape, generator=chance(4))
    nothing = made.expected(y, TRACER, level(0.0).float(), level(1.0).float())
    assert torch.count_nonzero(nothing) == 0
    sd = fields(made, 100, seed=5).std().item()
    # 100 fields of 2,000 voxels in blobs.
    assert made.left(TRACER, level(0.0), level(1.0)).item() == pytest.approx(sd, rel=0.03)


@pytest.mark.parametrize("shape", SHAPES)
def test_half_a_spectrum_counts_as_the_whole(shape):
    made = blurred(shape)
    assert made.count.sum().item() == math.prod(shape)
    whole = torch.meshgrid(*(torch.fft.fftfreq(side) for side in shape), indexing="ij")
    radius = sum(f.square() for f in whole).sqrt()
    # Between its knots the log of the power is a straight line in frequency.
    log = np.interp(radius.numpy(), knots().numpy(), made.log_power[0].numpy())
    half = made.power(TRACER).double()
    mean = (half * made.count).sum() / made.count.sum()
    assert mean.item() == pytest.approx(np.exp(log).mean(), rel=1e-5)


def test_each_tracer_has_its_own():
    made = ResidualSpectrum(n_tracers=2, shape=(8, 9, 10))
    made.log_power[1] = math.log(9.0)
    zero, one = level(0.0, 2), level(1.0, 2)
    assert made.left(torch.tensor([1, 0]), zero, one).flatten().tolist() == pytest.approx([3, 1])


def test_knots_reach_from_nothing_to_the_corner():
    at = knots()
    assert (at[0], at[-1]) == (0, pytest.approx(HIGHEST))
    assert len(at) == KNOTS
    assert torch.all(at.diff().diff() > -1e-6)
