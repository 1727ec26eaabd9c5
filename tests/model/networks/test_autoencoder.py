import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from relad_bids.errors import ConfigError
from relad_bids.model.learning.chance import Chance
from relad_bids.model.networks.autoencoder import DeviationAutoencoder, Posterior

SMALL = {"channels": [4, 4, 4], "n_residual_units": 1, "norm_groups": 2}
SHAPE = (13, 10, 9)
CELLS = (4, 3, 3)


@pytest.fixture
def autoencoder():
    """Nothing learned, but a latent that lies anywhere."""
    torch.manual_seed(1)
    made = DeviationAutoencoder(**SMALL)
    made.moments.copy_(torch.tensor([[0.0, 0.5, -2.0, 1.0], [0.3, 1.0, 5.0, 1.5]]))
    return made


@pytest.fixture
def brain():
    """Brains that fill no cell at their edges and leave some cells empty."""
    mask = torch.zeros(2, 1, *SHAPE, dtype=torch.bool)
    mask[0, :, 1:9, 1:8, 2:9] = True
    mask[1, :, 3:13, 2:10, 0:7] = True
    return mask


def chance(posterior):
    return Chance.of_step(seed=2, step=0, positions=range(len(posterior.mean)))


def normal(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def deviation(brain):
    return normal(*brain.shape) * brain


def means_by_hand(x, brain):
    """Mean over the brain in each cell of 4 voxels, one cell after the other; 0 without brain."""
    means = np.zeros((len(x), *CELLS))
    for b, *cell in np.ndindex(means.shape):
        box = tuple(slice(4 * n, 4 * n + 4) for n in cell)
        values = x[b, 0][box][brain[b, 0][box]]
        means[(b, *cell)] = values.mean() if len(values) else 0
    return means


def decode(autoencoder, latent, brain):
    return autoencoder.decode(latent, brain, autoencoder.at_rest(CELLS))


@pytest.mark.parametrize(
    ("shape", "cells"), [((13, 10, 9), (4, 3, 3)), ((8, 4, 12), (2, 1, 3)), ((5, 3, 1), (2, 1, 1))]
)
@torch.inference_mode()
def test_cells_cover_sides_that_are_no_multiple(autoencoder, shape, cells):
    brain = torch.ones(2, 1, *shape, dtype=torch.bool)
    posterior = autoencoder.posterior(normal(2, 1, *shape), brain)
    assert posterior.level.shape == posterior.inside.shape == (2, 1, *cells)
    assert posterior.mean.shape == posterior.sd.shape == (2, 3, *cells)
    latent = posterior.draw(chance(posterior))
    assert latent.shape == (2, 4, *cells)
    decoded = autoencoder.decode(latent, brain, autoencoder.at_rest(cells))
    assert decoded.shape == (2, 1, *shape)
    assert decoded.dtype == torch.float32


@pytest.mark.parametrize(("levels", "edge"), [(1, 1), (2, 2), (4, 8)])
def test_every_level_halves_the_grid(levels, edge):
    made = DeviationAutoencoder(channels=[4] * levels, n_residual_units=1, norm_groups=2)
    assert made.edge == edge
    brain = torch.ones(1, 1, 16, 8, 8, dtype=torch.bool)
    mean = made.posterior(brain.float(), brain).mean
    assert mean.shape[2:] == (16 // edge, 8 // edge, 8 // edge)


@torch.inference_mode()
def test_the_level_is_the_mean_over_the_brain_of_a_cell(autoencoder, brain):
    x = deviation(brain)
    posterior = autoencoder.posterior(x, brain)
    expected = means_by_hand(x.numpy(), brain.numpy())
    # Means of at most 64 float32 of size 1.
    np.testing.assert_allclose(posterior.level[:, 0], expected, atol=1e-6)
    has = [[brain[b, 0, 4 * i : 4 * i + 4].any() for i in range(4)] for b in range(2)]
    assert torch.equal(posterior.inside.flatten(3).any(-1)[:, 0], torch.tensor(has))


@torch.inference_mode()
def test_whatever_is_decoded_the_level_is_kept(autoencoder, brain):
    """The learned half says only how the voxels of a cell differ, and it does say that."""
    latent = 3 * normal(2, 4, *CELLS)
    decoded = decode(autoencoder, latent, brain)
    inside = autoencoder.inside(brain)[:, 0].numpy()
    found = means_by_hand(decoded.numpy(), brain.numpy())
    # Differences of numbers up to 10 in float32.
    np.testing.assert_allclose(found[inside], latent[:, 0].numpy()[inside], atol=1e-5)
    assert decoded[0, 0, 4:8, 4:8, 4:8].std() > 0.01


@torch.inference_mode()
def test_level_and_detail_are_the_decoders_without_its_cell_means(autoencoder):
    """Where the brain is everywhere, by hand from MONAI's decoder."""
    brain = torch.ones(1, 1, 8, 4, 8, dtype=torch.bool)
    latent = normal(1, 4, 2, 1, 2)
    field, rest = (
        autoencoder.network.decode(u)
        for u in (latent, autoencoder.centre.expand_as(latent[0])[None])
    )
    blocks = (field - rest).reshape(2, 4, 1, 4, 2, 4)
    detail = blocks - blocks.mean((1, 3, 5), keepdim=True)
    expected = (detail + latent[0, 0][:, None, :, None, :, None]).reshape(1, 1, 8, 4, 8)
    decoded = autoencoder.decode(latent, brain, autoencoder.at_rest((2, 1, 2)))
    torch.testing.assert_close(decoded, expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_mean_latent_is_no_deviation(autoencoder, brain):
    """Whatever the weights; convolutions of two images add up in another order than of one."""
    latent = autoencoder.centre.expand(2, -1, *CELLS)
    assert decode(autoencoder, latent, brain).abs().max() < 1e-5
    assert autoencoder.at_rest(CELLS).abs().max() > 0.01


@torch.inference_mode()
def test_nothing_outside_the_brain_is_decoded_or_looked_at(autoencoder, brain):
    latent = normal(2, 4, *CELLS)
    decoded = decode(autoencoder, latent, brain)
    assert torch.all(decoded[~brain] == 0)
    spoilt = torch.where(autoencoder.inside(brain), latent, 99.0)
    assert torch.equal(decode(autoencoder, spoilt, brain), decoded)


@torch.inference_mode()
def test_the_padding_is_no_brain(autoencoder, brain):
    """Encoded as on a grid of whole cells with nothing in the voxels that are added."""
    x = deviation(brain)
    pads = (0, 3, 0, 2, 0, 3)
    whole = [torch.nn.functional.pad(image, pads) for image in (x, brain)]
    one, other = autoencoder.posterior(x, brain), autoencoder.posterior(*whole)
    for name in ("level", "mean", "sd", "inside"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))


def test_the_divergence_is_that_of_normal_distributions():
    mean, sd = normal(2, 3, *CELLS), normal(2, 3, *CELLS, seed=4).exp()
    inside = normal(2, 1, *CELLS, seed=5) > 0
    posterior = Posterior(torch.zeros(2, 1, *CELLS), mean, sd, inside)
    each = kl_divergence(Normal(mean, sd), Normal(0.0, 1.0)) * inside
    assert posterior.divergence().item() == pytest.approx(each.sum().item() / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("mean", "sd", "nats"), [(0.0, 1.0, 0.0), (2.0, 1.0, 2.0), (0.0, 2.0, 1.5 - np.log(2))]
)
def test_divergences_that_can_be_said(mean, sd, nats):
    images = (torch.full((3, 2, 1, 1, 1), value) for value in (mean, sd))
    inside = torch.ones(3, 1, 1, 1, 1, dtype=torch.bool)
    posterior = Posterior(torch.full((3, 1, 1, 1, 1), 7.0), *images, inside)
    assert posterior.divergence().item() == pytest.approx(2 * nats, abs=1e-6)


def test_draws_doubt_what_is_learned_and_nothing_else():
    level, mean, sd = torch.ones(1, 1, 20, 20, 20), torch.full((1, 2, 20, 20, 20), 3.0), 0.5
    posterior = Posterior(level, mean, torch.full_like(mean, sd), level > 0)
    drawn = posterior.draw(chance(posterior))
    assert torch.equal(drawn[:, :1], level)
    # 16,000 values: the mean is known to 0.004, the SD to 0.6 %.
    assert drawn[:, 1:].mean().item() == pytest.approx(3, abs=0.016)
    assert drawn[:, 1:].std().item() == pytest.approx(sd, rel=0.025)
    assert torch.equal(drawn, posterior.draw(chance(posterior)))


@pytest.fixture
def latents():
    """Channels far from mean 0 and SD 1; rubbish outside."""
    scale = torch.tensor([0.2, 3.0, 1.0, 0.5])[:, None, None, None]
    latent = normal(3, 4, *CELLS) * scale + torch.tensor([0.1, 4, -1, 0])[:, None, None, None]
    inside = normal(3, 1, *CELLS, seed=6) > -0.5
    return torch.where(inside, latent, 1e3), inside


def test_a_measured_latent_has_mean_0_and_sd_1(autoencoder, latents):
    """But for the level: its zero is the estimate, and its unit the root mean square."""
    latent, inside = latents
    autoencoder.measure(latent, inside, weight=1.0)
    units = autoencoder.to_units(latent, inside).movedim(1, 0)[:, inside[:, 0]]
    assert units[1:].mean(1).abs().max() < 1e-5
    np.testing.assert_allclose(units[1:].std(1, correction=0), 1, rtol=1e-5)
    assert units[0].square().mean().item() == pytest.approx(1, rel=1e-5)
    level = latent[:, 0][inside[:, 0]]
    torch.testing.assert_close(units[0], level / level.square().mean().sqrt())


def test_units_are_undone(autoencoder, latents):
    latent, inside = latents
    units = autoencoder.to_units(latent, inside)
    assert torch.all(units[~inside.expand_as(units)] == -1)
    back = torch.where(inside, autoencoder.from_units(units), 1e3)
    torch.testing.assert_close(back, latent, atol=1e-5, rtol=1e-5)


def test_running_moments_with_falling_weights_are_those_of_all(autoencoder, latents):
    """1, 1/2, 1/3: three batches count alike; channels and cells as in each of them."""
    _, inside = latents
    inside = inside[:1].expand(2, -1, -1, -1, -1)
    batches = [normal(2, 4, *CELLS, seed=seed) + seed for seed in (10, 11, 12)]
    for n, batch in enumerate(batches, 1):
        autoencoder.measure(batch, inside, weight=1 / n)
    values = torch.cat(batches).movedim(1, 0)[:, inside[:1, 0].expand(6, -1, -1, -1)]
    torch.testing.assert_close(autoencoder.centre.flatten()[1:], values.mean(1)[1:])
    torch.testing.assert_close(
        autoencoder.scale.flatten()[1:], values.std(1, correction=0)[1:], rtol=1e-3, atol=0
    )  # from a mean square of 120
    assert autoencoder.centre[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": []}, r"channels 0 is below 1"),
        ({"latent_channels": 1}, r"latent_channels 1 is below 2"),
        ({"n_residual_units": 0, "norm_groups": 0}, r"residual_units 0 is .* norm_groups 0 is"),
        ({"channels": [4, 5, 7]}, r"channels 5 is no multiple of norm_groups 2; channels 7 is"),
    ],
)
def test_settings_that_do_not_fit_are_all_named(change, message):
    with pytest.raises(ConfigError, match=r"the autoencoder cannot be built: .*" + message):
        DeviationAutoencoder(**{**SMALL, **change})


def test_two_channels_are_enough():
    made = DeviationAutoencoder(**SMALL, latent_channels=2)
    assert made.centre.shape == made.scale.shape == (2, 1, 1, 1)
