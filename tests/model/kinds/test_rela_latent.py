from dataclasses import replace
from functools import partial

import pytest
import small_models
import torch
from torch.nn.functional import avg_pool3d, pad
from toy_turns import Ear, a_turn

from relad_bids.errors import ConfigError
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import Draw
from relad_bids.model.kinds.ddpm import DIFFUSION
from relad_bids.model.kinds.rela import RelA
from relad_bids.model.kinds.rela_latent import DETAIL, WINDOW, LatentCritic
from relad_bids.model.learning.chance import Chance

SHAPE = small_models.SHAPE
CELLS = (4, 4, 3)
S = (0.2, 0.05)
"""SD of the residual of both tracers."""
NOBODYS = Chance([])
"""For losses, which draw nothing."""


def normal(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def make():
    """A model around a regression that is not flat, with a latent that lies anywhere."""

    def build(shape=SHAPE, diffusion=None, **objective):
        torch.manual_seed(3)
        changes = {} if diffusion is None else {"diffusion": diffusion}
        made = small_models.small("rela-latent", shape=shape, objective=objective, **changes)
        made.regression.prior.copy_(0.3 * torch.rand(made.regression.prior.shape) - 0.5)
        made.sd.copy_(torch.tensor(S))
        made.autoencoder.moments.copy_(torch.tensor([[0.0, 0.5, -2.0, 1.0], [0.3, 1.0, 5.0, 1.5]]))
        return made

    return build


@pytest.fixture
def batch():
    mri = torch.rand(6, 2, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    pet = 0.3 * normal(6, 2, *SHAPE)
    mask = torch.zeros(6, 1, *SHAPE, dtype=torch.bool)
    mask[..., 1:7] = True
    return Batch(mri, pet, torch.ones(6, 2, dtype=torch.bool), mask)


turn = partial(a_turn, 6, spread=0.25)


def run(made, batch, *, step):
    """One step without an optimiser: which weights each loss reaches, the losses, the log."""
    reached = {}

    def watch(part, loss):
        reached[part] = {
            name.partition(".")[0] for name, w in made.named_parameters() if w.grad is not None
        }

    ear = Ear(made, watch)
    made.fit(batch, turn(ear, step=step))
    return reached, ear.losses, ear.log


def deaf(part, loss, *, of, log):
    """For what is asked of a turn without descending."""


# What is encoded


def drawn_of(made, batch, tracer, residual):
    """A draw whose PET is the regression plus so many SD."""
    index = torch.full((6,), tracer)
    pet = made.estimate(batch.mri, index) + S[tracer] * residual
    pet = torch.where(batch.mask, pet, -1)
    return Draw(
        batch.mri,
        pet,
        batch.mask,
        index,
        index,
        pet,
        pet,
        Chance.of_step(seed=0, step=0, positions=range(6)),
    )


@torch.inference_mode()
def test_the_residual_is_encoded_in_the_unit_of_its_tracer(make, batch):
    """Of the tracer, the level and the anatomy that the regression knows nothing is left."""
    made, residual = make(), normal(6, 1, *SHAPE, seed=7)
    for tracer in (0, 1):
        found = made._deviation(drawn_of(made, batch, tracer, residual))
        torch.testing.assert_close(found, residual * batch.mask, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_draws_are_those_in_voxels_encoded(make, batch):
    """Same participants, tracers and timesteps; latents in units, noised as the schedule says."""
    made = make()
    drawn, voxels = made.draw(batch, turn(deaf)), RelA.draw(made, batch, turn(deaf))
    assert torch.equal(drawn.tracer, voxels.tracer)
    assert torch.equal(drawn.t, voxels.t)
    assert drawn.pet.shape == drawn.noise.shape == (6, 4, *CELLS)
    assert torch.equal(drawn.mask, made.autoencoder.inside(batch.mask))
    assert torch.all(drawn.pet[~drawn.mask.expand_as(drawn.pet)] == -1)
    posterior = made.autoencoder.posterior(made._deviation(voxels), batch.mask)
    level = posterior.level / 0.3**0.5
    torch.testing.assert_close(
        drawn.pet[:, :1][drawn.mask], level[drawn.mask], atol=1e-5, rtol=1e-5
    )
    noisy = made.schedule.add_noise(drawn.pet, drawn.noise, drawn.t)
    assert torch.equal(drawn.noisy, noisy)
    # 1,152 values.
    assert drawn.noise.std().item() == pytest.approx(1, abs=4 / (2 * 1152) ** 0.5)


# Two stages


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, {"network": {"autoencoder"}}),
        (2, {"network": {"autoencoder"}}),
        (3, {"network": {"network", "critic"}, "critic": {"critic"}}),
    ],
)
def test_first_the_autoencoder_learns_then_the_diffusion(make, batch, step, expected):
    """The critic's gradient of the network's turn is thrown away before its own."""
    reached, _, log = run(make(autoencoder_steps=3, informative=1.0), batch, step=step)
    assert reached == expected
    assert ("decoded l1" in log) is (step < 3)
    assert ("latent" in log) is (step == 3)


def test_without_a_first_stage_the_diffusion_learns_at_once(make, batch):
    reached, _, _ = run(make(autoencoder_steps=0), batch, step=0)
    assert "autoencoder" not in reached["network"]


def test_the_latent_is_measured_in_the_first_stage_only(make, batch):
    made = make(autoencoder_steps=1)
    run(made, batch, step=0)
    measured = made.autoencoder.moments.clone()
    run(made, batch, step=1)
    assert torch.equal(made.autoencoder.moments, measured)


def test_after_the_first_step_the_latent_has_sd_1(make, batch):
    """Of the very latents: same draw of the posterior, same weights."""
    made, seen = make(), []
    measure = made.autoencoder.measure
    made.autoencoder.measure = lambda latent, inside, weight: (
        seen.append((latent.detach(), inside)) or measure(latent, inside, weight=weight)
    )
    run(made, batch, step=0)
    units = made.autoencoder.to_units(*seen[0]).movedim(1, 0)[:, seen[0][1][:, 0]]
    torch.testing.assert_close(units.square().mean(1), torch.ones(4), atol=1e-3, rtol=0)
    assert units[1:].mean(1).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("step", "weight"), [(0, 1), (1, 1 / 2), (WINDOW - 1, 1 / WINDOW), (WINDOW, 1 / WINDOW)]
)
def test_early_steps_are_forgotten(make, batch, step, weight):
    made, seen = make(autoencoder_steps=1000), []
    made.autoencoder.measure = lambda latent, inside, weight: seen.append(weight)
    run(made, batch, step=step)
    assert seen == [weight]


def test_the_autoencoders_loss_is_l1_and_a_little_kl(make, batch):
    _, losses, log = run(make(kl=1e-3), batch, step=0)
    assert losses["network"] == pytest.approx(log["decoded l1"] + 1e-3 * log["kl"], rel=1e-5)
    _, plain, same = run(make(kl=0.0), batch, step=0)
    assert plain["network"] == pytest.approx(log["decoded l1"], rel=1e-5)
    assert same["kl"] == pytest.approx(log["kl"], rel=1e-5)


def test_the_autoencoder_learns_what_cell_means_do_not_say(make, batch):
    """Edges along an axis, of one sign in each participant: their cell means are all 0."""
    made = make(autoencoder_steps=1000)
    edge = torch.where(torch.arange(SHAPE[0]) % 4 < 2, 1.0, -1.0)[:, None, None]
    sign = torch.tensor([1.0, -1, 1, -1, 1, -1])[:, None, None, None, None]
    mask = torch.zeros_like(batch.mask)
    mask[:, :, :12] = True
    m = made.regression(batch.mri)
    pet = m + sign * edge * torch.tensor(S)[:, None, None, None]
    batch = Batch(batch.mri, pet, batch.available, mask)
    optimiser = torch.optim.Adam(made.autoencoder.parameters(), lr=1e-2)

    ear = Ear(made, lambda part, loss: optimiser.step())
    for step in range(25):
        made.fit(batch, turn(ear, step=step, seed=step))
    assert ear.log["decoded l1"] < 0.6  # 1 is what the levels leave


@pytest.mark.parametrize("step", [0, 1])
def test_half_precision_is_for_the_networks_only(make, batch, step):
    """bfloat16 has 8 bits: sums over some thousand numbers agree to a few per cent."""
    _, exact, _ = run(make(), batch, step=step)
    made, rounded = make(), {}
    half = replace(
        turn(lambda part, loss, **_: rounded.update({part: loss}), step=step),
        precision=partial(torch.autocast, "cpu", dtype=torch.bfloat16),
    )
    made.fit(batch, half)
    assert all(loss.dtype == torch.float32 for loss in rounded.values())
    assert made.draw(batch, half).pet.dtype == torch.float32
    assert rounded["network"].item() == pytest.approx(exact["network"], rel=0.05)


# The diffusion


@pytest.fixture
def silent(make):
    def build(**settings):
        made = make(**settings)
        for weights in made.network.parameters():
            weights.data.zero_()
        return made.eval()

    return build


def test_a_new_network_is_silent(make, batch):
    made = make()
    x_t = normal(6, 4, *CELLS)
    conditions = made._conditions(batch.mri, batch.mri[:, :1])
    index = torch.zeros(6, dtype=torch.int64)
    output = made.network(x_t, conditions, index, index)
    assert output.shape == x_t.shape
    assert torch.all(output == 0)


@pytest.mark.parametrize("shape", [SHAPE, (12, 16, 5)])
@torch.inference_mode()
def test_one_pass_of_a_silent_network_is_the_regression(silent, shape):
    """Through decoder and units, neither of them trained."""
    made = silent(shape=shape)
    mri = torch.rand(1, 2, *shape, generator=torch.Generator().manual_seed(5)) * 2 - 1
    for tracer in (0, 1):
        expected = made.regression(mri)[:, tracer : tracer + 1]
        torch.testing.assert_close(made.predict(mri, tracer), expected, atol=1e-6, rtol=1e-6)


def answer_of(made, x_t, mri, t, tracer):
    m = mri[:, :1]
    return made.clean(x_t, m, made.expected(x_t, m, mri, t, tracer), mri, t, tracer)


@pytest.mark.parametrize("t", [0, 10, 400, 900, 999])
@torch.inference_mode()
def test_a_silent_network_leaves_the_exact_denoiser_of_a_standard_normal(silent, batch, t):
    """E[z | z_t] of N(0, 1), written with precisions instead of alpha; float32."""
    made = silent()
    index, when = torch.zeros(6, dtype=torch.int64), torch.full((6,), t)
    x_t = normal(6, 4, *CELLS)
    clean, c_out = answer_of(made, x_t, batch.mri, when, index)
    a = made.schedule.alphas_cumprod[t].item()
    data = a / (1 - a)
    expected = (data / a**0.5 if a else 0) * x_t / (1 + data)
    torch.testing.assert_close(clean, expected, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(c_out.flatten(), torch.full((6,), (1 + data) ** -0.5))


def test_what_the_network_says_is_added_in_the_unit_of_what_is_left(make, batch):
    made = make()
    made.network.forward = lambda x_t, conditions, t, tracer: torch.full_like(x_t, 2.0)
    index, when = torch.zeros(6, dtype=torch.int64), torch.full((6,), 700)
    x_t = normal(6, 4, *CELLS)
    clean, sigma = answer_of(made, x_t, batch.mri, when, index)
    torch.testing.assert_close(clean, made.schedule.alpha(when) * x_t + 2 * sigma)
    assert sigma.flatten()[0].item() == pytest.approx(made.schedule.sigma(when)[0].item())


def test_a_silent_network_has_the_error_one(silent):
    """By construction, at every timestep: standard normal latents of 8 x 4 x 48 values."""
    made = silent(l1=0.0, adversarial_from=9)
    z, noise = normal(64, 4, *CELLS), normal(64, 4, *CELLS, seed=8)
    t = torch.arange(64) * 15
    mri = torch.zeros(64, 2, *SHAPE)
    inside = torch.ones(64, 1, *CELLS, dtype=torch.bool)
    noisy = made.schedule.add_noise(z, noise, t)
    drawn = Draw(mri, z, inside, torch.zeros_like(t), t, noise, noisy, NOBODYS)
    clean, c_out = answer_of(made, noisy, mri, t, drawn.tracer)
    terms = made.terms(drawn, clean, c_out, turn(deaf))
    n = z.numel()
    assert terms["latent"].item() == pytest.approx(1, abs=4 * (2 / n) ** 0.5)
    assert terms["coarse"].item() == pytest.approx(1, abs=4 * (8 / n) ** 0.5)


def terms(made, t, *, spoil=0.0):
    """The losses of a given error; also errors by channel, over the cells inside."""
    inside = torch.ones(2, 1, *CELLS, dtype=torch.bool)
    inside[..., 2] = False
    z, error = normal(2, 4, *CELLS), normal(2, 4, *CELLS, seed=9)
    error = torch.where(inside, error, spoil)
    t = torch.tensor(t)
    drawn = Draw(torch.zeros(2, 2, *SHAPE), z, inside, torch.zeros_like(t), t, z, z, NOBODYS)
    found = made.terms(drawn, z + error, made.schedule.sigma(t), turn(deaf))
    return {name: value.item() for name, value in found.items()}, error[..., :2]


def test_the_losses_are_those_of_rela_by_channel(make):
    made = make(coarse=0.5, l1=3.0)
    found, error = terms(made, [499, 500])
    a = made.schedule.alphas_cumprod[[499, 500]].float()
    squares = error.square().mean((2, 3, 4)) / (1 - a)[:, None]
    assert found["latent"] == pytest.approx(squares.mean().item(), rel=1e-4)
    assert found["coarse"] == pytest.approx(0.5 * squares[:, 0].mean().item(), rel=1e-4)
    # Half of 1000 timesteps is informed: 499 is seen, 500 is not, and counts as 0.
    assert found["l1"] == pytest.approx(3.0 * error[0].abs().mean().item() / 2, rel=1e-4)


def test_weights_of_nothing_are_left_out(make):
    assert terms(make(coarse=0.0, l1=0.0), [100, 400])[0].keys() == {"latent"}
    assert terms(make(), [500, 999])[0].keys() == {"latent", "coarse"}


def test_outside_the_brain_nothing_is_learned(make):
    made = make()
    assert terms(made, [100, 700], spoil=9.0)[0] == pytest.approx(terms(made, [100, 700])[0])


def test_every_voxel_of_a_cell_is_a_condition(make, batch):
    """The mean of each image and 64 differences from it, in any order, with a gain."""
    made = make()
    m = normal(6, 1, *SHAPE)
    conditions = made._conditions(batch.mri, m)
    assert conditions.shape == (6, 3 + 3 * 64 + 3, *CELLS)
    images = torch.cat([batch.mri, m], 1)
    for c in range(3):
        cell = images[0, c, 4:8, 8:12, 0:4]
        mean = conditions[0, c, 1, 2, 0]
        assert mean.item() == pytest.approx(cell.mean().item(), abs=1e-6)
        detail = conditions[0, 3 + 64 * c : 3 + 64 * (c + 1), 1, 2, 0]
        voxels = mean + detail.sort()[0] / DETAIL
        torch.testing.assert_close(voxels, cell.flatten().sort()[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(conditions[0, -3:, 3, 0, 2], torch.tensor([1.0, -1.0, 1.0]))


def test_a_grid_is_completed_with_background(make, batch):
    """13 voxels in cells of 4: one slice of the last four has the image, three are added."""
    mean = make()._conditions(batch.mri, batch.mri[:, :1])[:, 0, 3, 1, 1]
    last = batch.mri[:, 0, 12, 4:8, 4:8].mean((1, 2))
    torch.testing.assert_close(mean, (last - 3) / 4)


# Answers


@torch.inference_mode()
def test_draws_of_a_silent_network_have_the_measured_spread(silent, batch):
    """Cell means of N(0, s^2 0.3): 8 draws of 48 cells are known to 3.6 %, the solver to 2 %."""
    made = silent()
    mri = batch.mri[:1]
    draws = made.predict(mri, 0, n_samples=8, steps=25, generator=torch.Generator().manual_seed(1))
    residual = draws - made.regression(mri)[:, :1]
    weight = avg_pool3d(pad(torch.ones_like(residual), (0, 0, 0, 2, 0, 3)), 4)
    level = avg_pool3d(pad(residual, (0, 0, 0, 2, 0, 3)), 4) / weight
    assert level.std().item() == pytest.approx(S[0] * 0.3**0.5, rel=0.16)
    assert level.mean().item() == pytest.approx(0, abs=4 * S[0] * (0.3 / 384) ** 0.5)
    assert residual.std() > 1.05 * level.std()  # there is detail, too


@torch.inference_mode()
def test_draws_do_not_depend_on_how_many_follow(silent, batch):
    made = silent()
    one, two = (made.predict(batch.mri[:1], 0, n_samples=n, steps=3) for n in (1, 2))
    assert torch.equal(one, two[:1])


@torch.inference_mode()
def test_the_network_is_asked_about_this_participant(make, batch):
    made, seen = make().eval(), []
    made.network.forward = lambda *given: seen.append(given) or torch.zeros_like(given[0])
    mri = batch.mri[:1].clone()
    mri[..., 4:] = -1
    made.predict(mri, 1, steps=2)
    m = made.regression(mri)[:, 1:2]
    for x_t, conditions, _, tracer in seen:
        assert x_t.shape == (1, 4, *CELLS)
        assert torch.equal(conditions, made._conditions(mri, m))
        assert tracer.item() == 1
    assert [t.item() for _, _, t, _ in seen] == [999, 0]


@torch.inference_mode()
def test_background_stays_background(silent, batch):
    mri = batch.mri[:1].clone()
    mri[..., :6] = -1
    draws = silent().predict(mri, 0, n_samples=2, steps=4)
    assert torch.all(draws[..., :6] == -1)
    assert torch.all(draws[..., 6:].std() > 0)


@pytest.mark.parametrize("clip", [True, False])
@torch.inference_mode()
def test_the_pet_is_clipped_not_the_latent(silent, batch, clip):
    made = silent(diffusion={**DIFFUSION, "clip": clip})
    made.sd.fill_(2.0)
    draws = made.predict(batch.mri[:1], 0, n_samples=2, steps=4)
    assert (draws.abs().max() > 1) is not clip
    if clip:
        assert (draws.abs() == 1).float().mean() > 0.1


@torch.inference_mode()
def test_the_answer_is_the_decoded_latent_around_the_regression(make, batch):
    """A network that answers 1 everywhere: the latent one SD above its mean."""
    made = make().eval()
    made.network.forward = lambda x_t, conditions, t, tracer: torch.ones_like(x_t)
    mri = batch.mri[:1]
    brain = torch.ones(1, 1, *SHAPE, dtype=torch.bool)
    own = made.autoencoder
    latent = (own.centre + own.scale).expand(1, -1, *CELLS)
    decoded = own.decode(latent, brain, own.at_rest(CELLS))
    expected = made.regression(mri)[:, 1:] + S[1] * decoded
    torch.testing.assert_close(made.predict(mri, 1), expected, atol=1e-6, rtol=1e-5)


# The critic


def test_the_critic_sees_latents_and_mri_by_cells(make, batch):
    """Outside the brain real and fake are both background: no border gives the fake away."""
    made, seen = make(informative=1.0), []
    judge = made.critic.forward

    def watched(latent, mri, tracer):
        seen.append((latent.detach(), mri, tracer))
        return judge(latent, mri, tracer)

    made.critic.forward = watched
    run(made, batch, step=1)
    assert len(seen) == 6  # both for the network, both for the critic, R1, R2
    outside = ~made.autoencoder.inside(batch.mask).expand(-1, 4, -1, -1, -1)
    for latent, mri, _ in seen:
        assert torch.all(latent[outside] == -1)
        expected = batch.mri[:, :, 4:8, 8:12, 0:4].mean((2, 3, 4))
        torch.testing.assert_close(mri[:, :, 1, 2, 0], expected)
    assert not torch.equal(seen[0][0], seen[1][0])


def critic():
    torch.manual_seed(4)
    return LatentCritic(n_channels=4, n_sequences=2, n_tracers=3, channels=4).eval()


@pytest.mark.parametrize(("cells", "patches"), [((1, 1, 1), (1, 1, 1)), (CELLS, (2, 2, 2))])
def test_the_smallest_latent_can_be_judged(cells, patches):
    logits = critic()(torch.zeros(2, 4, *cells), torch.zeros(2, 2, *cells), torch.tensor([0, 2]))
    assert logits.shape == (2, 1, *patches)


def test_a_logit_sees_eleven_cells():
    latent = normal(1, 4, 25, 25, 25).requires_grad_()
    logits = critic()(latent, torch.zeros(1, 2, 25, 25, 25), torch.tensor([1]))
    logits[0, 0, 6, 6, 6].backward()
    reach = [latent.grad.abs().amax((0, 1, *others)) > 0 for others in ((3, 4), (2, 4), (2, 3))]
    assert [int(axis.sum()) for axis in reach] == [11, 11, 11]


def test_the_critic_is_tame_and_knows_latent_mri_and_tracer():
    judge = critic()
    latent, mri = normal(1, 4, *CELLS), normal(1, 2, *CELLS, seed=5)
    plain = judge(latent, mri, torch.tensor([0]))
    assert not torch.allclose(plain, judge(latent + 1, mri, torch.tensor([0])))
    assert not torch.allclose(plain, judge(latent, mri + 1, torch.tensor([0])))
    assert not torch.allclose(plain, judge(latent, mri, torch.tensor([2])))
    layers = [layer for layer in judge.modules() if isinstance(layer, torch.nn.Conv3d)]
    assert len(layers) == 3
    for layer in layers:
        # Of the weights as a matrix; one power iteration a step finds it only roughly at first.
        size = torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
        assert size == pytest.approx(1, rel=0.1)


def test_a_critic_of_crops_is_refused():
    with pytest.raises(ConfigError, match=r"critic_crop 32; its critic judges the whole latent"):
        small_models.small("rela-latent", objective={"critic_crop": 32})
