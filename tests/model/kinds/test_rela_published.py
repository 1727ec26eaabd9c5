"""The official losses on a hand-made step: what is minimised, when, and by whom."""

import pytest
import small_models
import torch
from torch import nn
from torch.nn.functional import softplus
from toy_turns import Ear, a_turn

from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import draw
from relad_bids.model.learning.chance import Chance

SHAPE = (12, 16, 20)


class Constant(nn.Module):
    """A network that answers with one number everywhere."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.3))

    def forward(self, x_t, mri, t, tracer):
        return self.level.expand_as(x_t)


class Cubes(nn.Module):
    """A critic with a slope everywhere: D(x) = w x^3, so that grad = 3 w x^2."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.5))

    def forward(self, pet, mri, tracer):
        return self.w * pet**3


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    mri, pet = (torch.rand(2, n, *SHAPE, generator=generator) * 2 - 1 for n in (2, 2))
    mask = torch.rand(2, 1, *SHAPE, generator=generator) > 0.5
    return Batch(mri, pet, torch.ones(2, 2, dtype=torch.bool), mask)


def model(**objective):
    made = small_models.small("rela-published", shape=SHAPE, objective=objective)
    made.network, made.critic = Constant(), Cubes()
    return made


def run(made, batch, step, watch=lambda part, loss: None):
    ear = Ear(made, watch)
    made.fit(batch, a_turn(2, ear, step=step))
    return ear.losses, ear.log


def drawn_again(made, batch):
    return draw(
        batch, made.schedule, weight=torch.ones(2), share_at_end=0,
        chance=Chance.of_step(seed=4, step=0, positions=range(2)),
    )  # fmt: skip


def clean_of(made, drawn, level):
    """Method.md 2.3, written out."""
    a = made.schedule.alphas_cumprod[drawn.t].float().reshape(-1, 1, 1, 1, 1)
    return ((drawn.noisy - (1 - a).sqrt() * level) / a.sqrt()).clamp(-1, 1)


def test_warm_up_is_noise_and_l1_over_the_whole_field_of_view(batch):
    """No mask: background counts as in the published code; method.md 2.4."""
    made = model(adversarial_from=5)
    losses, log = run(made, batch, step=4)
    drawn = drawn_again(made, batch)
    noise = (0.3 - drawn.noise).square().mean()
    l1 = (clean_of(made, drawn, 0.3) - drawn.pet).abs().mean()
    assert losses.keys() == {"network"}
    assert losses["network"] == pytest.approx((noise + l1).item(), rel=1e-5)
    assert log == pytest.approx({"noise": noise.item(), "l1": l1.item()}, rel=1e-5)


@pytest.mark.parametrize(("weight", "reduction"), [(1.0, "official"), (0.1, "full")])
def test_then_the_critic_plays(batch, weight, reduction):
    gamma = 0.01
    made = model(adversarial_from=4, adversarial=weight, gamma=gamma, reduction=reduction)
    losses, log = run(made, batch, step=4)
    drawn = drawn_again(made, batch)
    real, fake = drawn.pet, clean_of(made, drawn, 0.3)
    margin = 0.5 * (real**3 - fake**3)
    expected = log["noise"] + log["l1"] + weight * softplus(margin).mean().item()
    assert losses["network"] == pytest.approx(expected, rel=1e-5)
    # |grad|^2 = (1.5 x^2)^2, summed over a volume; the official sum leaves out the last axis.
    left_out = SHAPE[-1] if reduction == "official" else 1
    r1, r2 = ((1.5 * x**2).square().sum((1, 2, 3, 4)).mean() / left_out for x in (real, fake))
    critic = softplus(-margin).mean() + gamma / 2 * (r1 + r2)
    assert losses["critic"] == pytest.approx(weight * critic.item(), rel=1e-4)
    assert log["margin"] == pytest.approx(margin.mean().item(), abs=1e-6)


def test_the_critic_teaches_the_network_nothing_in_its_own_turn(batch):
    made = model(adversarial_from=0)
    gradients = {}
    run(made, batch, 0, lambda part, loss: gradients.update({part: made.network.level.grad}))
    assert gradients["network"].abs() > 0
    assert gradients["critic"] is None


def test_the_chain_of_the_published_code(batch):
    """All timesteps, ancestral: against the textbook's coefficients in float64."""
    made = model()
    made.eval()
    assert (made.sampler["name"], made.sampler["steps"]) == ("ancestral", 50)
    mri = batch.mri[:1]
    got = made.predict(mri, 0, generator=torch.Generator().manual_seed(9))
    generator = torch.Generator().manual_seed(9)
    betas = torch.linspace(5e-4**0.5, 1.95e-2**0.5, 50, dtype=torch.float64) ** 2
    a = torch.cumprod(1 - betas, 0)
    x = torch.randn(1, 1, *SHAPE, generator=generator).double()
    for t in range(49, -1, -1):
        x0 = ((x - (1 - a[t]).sqrt() * 0.3) / a[t].sqrt()).clamp(-1, 1)
        before = a[t - 1] if t else torch.ones(())
        x = (
            before.sqrt() * betas[t] / (1 - a[t]) * x0
            + (1 - betas[t]).sqrt() * (1 - before) / (1 - a[t]) * x
        )
        if t:
            noise = torch.randn(1, 1, *SHAPE, generator=generator).double()
            x = x + (betas[t] * (1 - before) / (1 - a[t])).sqrt() * noise
    torch.testing.assert_close(got.double(), x, atol=1e-4, rtol=1e-4)
