"""The game on hand-made steps: what is drawn, who judges it, what is minimised, how it walks."""

import math
from itertools import pairwise

import pytest
import small_models
import torch
from torch import nn
from torch.nn.functional import softplus
from toy_turns import Ear, a_turn

from relad_bids.errors import ConfigError, UsageError
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import draw
from relad_bids.model.diffusion.sampler import sample
from relad_bids.model.diffusion.schedule import build_schedule
from relad_bids.model.kinds.ddgan import DDGAN, DIFFUSION, draw_posterior
from relad_bids.model.learning.chance import Chance

SHAPE = (12, 14, 13)
S = (0.2, 0.05)
"""SD of the residual of both tracers."""
LEVEL = 0.3
T = 3
"""Steps of the small model."""
SEED = 0
"""One by which five participants draw all of them."""


class Constant(nn.Module):
    """A network that adds one number everywhere, in units of what is left to learn."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(LEVEL))

    def forward(self, x_t, conditions, t, tracer):
        return self.level.expand_as(x_t)


class Cubes(nn.Module):
    """A critic that looks at everything: D(x) = w x^3 + x_t / 2 - T1w / 4 + class / 10."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.5))
        self.seen = []

    def forward(self, pet, beside, kind):
        self.seen.append((pet.detach(), beside, kind))
        shift = beside[:, :1] / 2 - beside[:, 1:2] / 4 + kind[:, None, None, None, None] / 10
        return self.w * pet**3 + shift


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    mri, pet = (torch.rand(5, 2, *SHAPE, generator=generator) * 2 - 1 for _ in range(2))
    mask = torch.rand(5, 1, *SHAPE, generator=generator) > 0.4
    return Batch(mri, pet, torch.ones(5, 2, dtype=torch.bool), mask)


def model(**objective):
    made = small_models.small("ddgan", shape=SHAPE, objective=objective)
    made.denoiser.network, made.critic = Constant(), Cubes()
    generator = torch.Generator().manual_seed(2)
    made.denoiser.regression.prior.copy_(torch.rand(2, *SHAPE, generator=generator) - 0.8)
    made.denoiser.sd.copy_(torch.tensor(S))
    made.denoiser.residuals.log_power.copy_(2 * torch.tensor(S).log()[:, None])
    return made


def run(made, batch, *, step=0, seed=SEED, watch=lambda part, loss: None):
    ear = Ear(made, watch)
    made.fit(batch, a_turn(5, ear, step=step, seed=seed))
    return ear.losses, ear.log


def betas(schedule):
    kept = [1.0, *schedule.alphas_cumprod.tolist()]
    return [1 - after / before for before, after in pairwise(kept)]


def posterior_by_precisions(schedule, x_t, x0, noise, t):
    """Prior from x_0, likelihood of x_t: their precisions add. Float64, one participant."""
    if t == 0:
        return x0
    beta, kept = betas(schedule)[t], schedule.alphas_cumprod[t - 1].item()
    prior, data = 1 / (1 - kept), (1 - beta) / beta
    mean = (prior * kept**0.5 * x0 + (1 - beta) ** 0.5 / beta * x_t) / (prior + data)
    return mean + noise * (prior + data) ** -0.5


def clean_by_precisions(schedule, x_t, m, s, t, level):
    """E[x_0 | x_t] of N(m, s^2) and ``level`` times its SD."""
    kept = schedule.alphas_cumprod[t].item()
    prior, data = 1 / s**2, kept / (1 - kept)
    mean = (prior * m + kept**0.5 / (1 - kept) * x_t) / (prior + data)
    return mean + level * (prior + data) ** -0.5


def standardised(x, m, s, kept, mask):
    """Deviation from what is expected of N(m, s^2) noised to ``kept``, in its SD; 0 outside."""
    sd = (kept * s**2 + (1 - kept)) ** 0.5
    return torch.where(mask, (x - kept**0.5 * m) / sd, 0)


@pytest.mark.parametrize(
    ("step", "weights"),
    [(0, {"gamma": 0.02}), (1, {"gamma": 0.02}), (4, {"l1": 3.0, "gamma": 0.5, "adversarial": 2})],
)
def test_the_losses_of_a_hand_made_step(batch, step, weights):
    """One participant after the other in float64; the penalty at every second step."""
    made = model(**weights)
    losses, log = run(made, batch, step=step)
    drawn = draw(
        batch, made.schedule, weight=torch.ones(2), share_at_end=0,
        chance=Chance.of_step(seed=SEED, step=0, positions=range(5)),
    )  # fmt: skip
    noise = drawn.chance.normal(drawn.pet).double()
    assert set(drawn.t.tolist()) == {0, 1, 2}  # all that there are
    sides = {"l1": [], "real": [], "fake": [], "r1": []}
    for b in range(5):
        t, tracer, mask = drawn.t[b].item(), drawn.tracer[b].item(), drawn.mask[b]
        x_t, x0 = drawn.noisy[b].double(), drawn.pet[b].double()
        m = made.denoiser.regression.prior[tracer][None].double()
        clean = clean_by_precisions(made.schedule, x_t, m, S[tracer], t, LEVEL)
        sides["l1"].append((clean - x0).abs()[mask].mean() / S[tracer])
        kept = made.schedule.alphas_cumprod
        now, before = kept[t].item(), kept[t - 1].item() if t else 1.0
        real, fake = (
            standardised(
                posterior_by_precisions(made.schedule, x_t, image, noise[b], t),
                m, S[tracer], before, mask,
            )
            for image in (x0, clean)
        )  # fmt: skip
        shift = standardised(x_t, m, S[tracer], now, mask) / 2
        shift = shift - drawn.mri[b, :1].double() / 4 + (2 * t + tracer) / 10
        sides["real"].append(0.5 * real**3 + shift)
        sides["fake"].append(0.5 * fake**3 + shift)
        sides["r1"].append((1.5 * real**2).square().mean())  # N logits, N voxels
    real, fake, l1, r1 = (torch.stack(sides[name]) for name in ("real", "fake", "l1", "r1"))
    terms = {
        "l1": weights.get("l1", 0.5) * l1.mean().item(),
        "adversarial": weights.get("adversarial", 1) * softplus(-fake).mean().item(),
    }
    assert losses["network"] == pytest.approx(sum(terms.values()), rel=1e-5)
    penalty = weights["gamma"] / 2 * r1.mean() if step % 2 == 0 else 0
    expected = softplus(-real).mean() + softplus(fake).mean() + penalty
    assert losses["critic"] == pytest.approx(expected.item(), rel=1e-5)
    told = terms | {"margin": (real - fake).mean().item()}
    told |= {"r1": r1.mean().item()} if step % 2 == 0 else {}
    assert log == pytest.approx(told, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("step", "penalised"), [(0, True), (9, False), (10, True), (11, False)])
def test_the_penalty_is_lazy(batch, step, penalised):
    _, log = run(model(penalty_every=10), batch, step=step)
    assert ("r1" in log) is penalised


def test_the_weights_are_those_of_its_kin():
    """SynDiff and McCaD: half an L1, R1 at every tenth step (method.md 3.2, 3.3)."""
    objective = DDGAN.Objective()
    assert (objective.l1, objective.adversarial, objective.penalty_every) == (0.5, 1.0, 10)


def test_the_rates_are_those_of_the_paper():
    """exp(-(0.1 s + 9.95 s^2)) at s = 1/4, 1/2, 3/4, 1."""
    made = build_schedule(DIFFUSION | {"signal_sd": 1.0, "zero_terminal_snr": False})
    expected = [math.exp(-0.1 * s - 9.95 * s**2) for s in (0.25, 0.5, 0.75, 1)]
    torch.testing.assert_close(made.alphas_cumprod, torch.tensor(expected, dtype=torch.float64))


def test_a_residual_outlasts_the_first_step_and_nothing_the_last():
    """Signal-to-noise of an SD of 0.05, (0.05 alpha / sigma)^2; 0 at the end."""
    made = build_schedule(DIFFUSION)
    ratios = made.log_snr().exp() * 0.05**2
    assert ratios.tolist() == pytest.approx([1.10, 0.0752, 0.00279, 0], rel=5e-3)
    assert made.alphas_cumprod[-1] == 0
    assert (made.prediction, made.clip) == ("sample", True)


@pytest.mark.parametrize("t", [0, 1, 2, 3])
def test_posterior_after_x_t_is_noising_step_by_step(t):
    """Mean, variance and covariance of (x_{t-1}, x_t), to four standard errors of 40,000."""
    n, truth, schedule = 40_000, 0.4, build_schedule(DIFFUSION)
    generator = torch.Generator().manual_seed(7)
    eps, noise = (torch.randn(n, 1, 1, 1, 1, generator=generator) for _ in range(2))
    x0, when = torch.full_like(eps, truth), torch.full((n,), t)
    x_t = schedule.add_noise(x0, eps, when)
    x = draw_posterior(x_t, x0, noise, schedule, when)
    if t == 0:
        assert torch.equal(x, x0)
        return
    kept, beta = schedule.alphas_cumprod[t - 1].item(), betas(schedule)[t]
    variance, limit = 1 - kept, 4 / n**0.5
    assert x.mean().item() == pytest.approx(kept**0.5 * truth, abs=limit * variance**0.5)
    assert x.var().item() == pytest.approx(variance, rel=2**0.5 * limit)
    covariance = ((x - x.mean()) * (x_t - x_t.mean())).mean().item()
    expected = (1 - beta) ** 0.5 * variance
    assert covariance == pytest.approx(expected, abs=2**0.5 * limit * variance**0.5)


def test_posterior_is_each_ones_own():
    """All timesteps in one batch, as by precisions one after the other; float32."""
    schedule = build_schedule(DIFFUSION)
    generator = torch.Generator().manual_seed(3)
    x_t, x0, noise = (torch.randn(4, 1, 2, 3, 4, generator=generator) for _ in range(3))
    t = torch.tensor([2, 0, 3, 1])
    got = draw_posterior(x_t, x0, noise, schedule, t)
    expected = [
        posterior_by_precisions(schedule, *(part[b].double() for part in (x_t, x0, noise)), k)
        for b, k in enumerate(t.tolist())
    ]
    torch.testing.assert_close(got.double(), torch.stack(expected), rtol=1e-5, atol=1e-6)


def test_the_walk_is_of_the_steps_that_were_learned():
    """``ancestral`` makes of an estimate what the critic is shown of it."""
    schedule = build_schedule(DIFFUSION)
    start = torch.randn(1, 1, 2, 3, 4, generator=torch.Generator().manual_seed(5))
    seen = []

    def denoise(x, t):
        seen.append(x)
        return 0.3 * x - 0.1

    answer = sample(
        denoise, start, schedule, method="ancestral", steps=4, spacing="trailing",
        generator=torch.Generator().manual_seed(6),
    )  # fmt: skip
    generator, x = torch.Generator().manual_seed(6), start
    for t in (3, 2, 1, 0):
        torch.testing.assert_close(x, seen[3 - t], rtol=1e-5, atol=1e-6)
        noise = torch.randn(x.shape, generator=generator) if t else torch.zeros_like(x)
        x = draw_posterior(x, 0.3 * x - 0.1, noise, schedule, torch.tensor([t]))
    torch.testing.assert_close(x, answer, rtol=1e-5, atol=1e-6)


def test_an_answer_by_hand(batch):
    """From noise over all steps; the estimate is clamped, and background stays background."""
    made = model().eval()
    mri = batch.mri[:1].clone()
    mri[..., :4] = -1
    got = made.predict(mri, 1, generator=torch.Generator().manual_seed(9))
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(1, 1, *SHAPE, generator=generator).double()
    m = made.denoiser.regression.prior[1][None, None].double()
    for t in (2, 1, 0):
        clean = clean_by_precisions(made.schedule, x, m, S[1], t, LEVEL).clamp(-1, 1)
        clean[..., :4] = -1
        noise = torch.randn(x.shape, generator=generator).double() if t else 0
        x = posterior_by_precisions(made.schedule, x, clean, noise, t)
    torch.testing.assert_close(got.double(), x, rtol=1e-5, atol=1e-5)
    assert torch.all(got[..., :4] == -1)


def test_the_critic_is_told_where_it_stands(batch):
    """x_t in its SD beside the MRI; every tracer at every timestep is a class of the critic's."""
    made = model()
    run(made, batch)
    drawn = draw(
        batch, made.schedule, weight=torch.ones(2), share_at_end=0,
        chance=Chance.of_step(seed=SEED, step=0, positions=range(5)),
    )  # fmt: skip
    assert len(made.critic.seen) == 4  # the fake for the network, both for the critic, R1
    seen = [
        standardised(
            drawn.noisy[b], made.denoiser.regression.prior[k][None], S[k],
            made.schedule.alphas_cumprod[t].item(), drawn.mask[b],
        )
        for b, (t, k) in enumerate(zip(drawn.t.tolist(), drawn.tracer.tolist(), strict=True))
    ]  # fmt: skip
    for _, beside, kind in made.critic.seen:
        torch.testing.assert_close(beside[:, :1], torch.stack(seen))
        assert torch.equal(beside[:, 1:], drawn.mri)
        assert torch.equal(kind // 2, drawn.t)
        assert torch.equal(kind % 2, drawn.tracer)
    critic = small_models.small("ddgan", shape=SHAPE).critic
    beside = torch.zeros(2 * T, 3, *SHAPE)
    logits = critic(torch.zeros(2 * T, 1, *SHAPE), beside, torch.arange(2 * T))
    assert len(logits.mean((1, 2, 3, 4)).unique()) == 2 * T
    with pytest.raises(RuntimeError, match=r"[Cc]lass values must be smaller than num_classes"):
        critic(beside[:1, :1], beside[:1], torch.tensor([2 * T]))


def test_outside_the_brain_there_is_nothing_to_judge(batch):
    """Real and fake are alike there, to the bit, whatever the network says."""
    made = model()
    run(made, batch)
    (fake, *_), (real, *_), (again, *_), (penalised, *_) = made.critic.seen
    assert torch.equal(fake, again)
    assert torch.equal(real, penalised)
    for shown in (real, fake):
        assert torch.all(shown[~batch.mask] == 0)
    assert torch.all(real[batch.mask] != fake[batch.mask])


def test_each_part_is_taught_by_its_own_loss(batch):
    made, reached = model(), {}

    def watch(part, loss):
        gradient = made.denoiser.network.level.grad
        reached[part] = gradient is not None and bool(gradient != 0)

    run(made, batch, watch=watch)
    assert reached == {"network": True, "critic": False}


def test_every_step_is_learned_alike(batch):
    """750 draws of three timesteps: a share of a third is known to four SD of 0.017."""
    made = model()
    for seed in range(150):
        run(made, batch, step=1, seed=seed)
    t = torch.cat([kind // 2 for _, _, kind in made.critic.seen[::3]])
    assert len(t) == 750
    shares = torch.bincount(t, minlength=T) / len(t)
    assert shares.tolist() == pytest.approx([1 / 3] * T, abs=0.07)


def test_a_rare_tracer_is_drawn_by_its_weight(batch):
    made = model()
    made.denoiser.tracer_weight.copy_(torch.tensor([0.0, 1.0]))
    run(made, batch)
    assert torch.all(made.critic.seen[0][2] % 2 == 1)


@pytest.mark.parametrize("steps", [1, T - 1, T + 1])
def test_another_number_of_steps_was_not_learned(batch, steps):
    with pytest.raises(
        UsageError, match=rf"asked for {steps} steps; it learned to walk 3 and no other number"
    ):
        model().predict(batch.mri[:1], 0, steps=steps)


def test_its_own_number_of_steps_may_be_asked_for(batch):
    made = model().eval()
    mri = batch.mri[:1]
    assert torch.equal(made.predict(mri, 0, steps=T), made.predict(mri, 0))


def build(**changes):
    architecture, _, diffusion = small_models.KINDS["ddgan"]
    return DDGAN(**architecture, shape=SHAPE, **{"diffusion": diffusion, **changes})


@pytest.mark.parametrize("sampler", [None, {"name": "ancestral"}, {"steps": T}, "its own"])
def test_its_own_walk_may_be_named(sampler):
    walk = {"name": "ancestral", "steps": T, "spacing": "trailing"}
    assert build(sampler=walk if sampler == "its own" else sampler).sampler == walk


@pytest.mark.parametrize(
    "sampler", [{"name": "ddim"}, {"steps": T + 1}, {"spacing": "log_snr"}, {"order": 2}]
)
def test_another_walk_is_refused(sampler):
    with pytest.raises(
        ConfigError, match=r"ddgan was given the sampler \{.*takes no other: \{'name': 'ancestral'"
    ):
        build(sampler=sampler)


def test_a_schedule_without_steps_is_told_as_such():
    diffusion = {key: value for key, value in DIFFUSION.items() if key != "n_steps"}
    with pytest.raises(ConfigError, match=r"missing keys: n_steps"):
        build(diffusion=diffusion)
