import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool3d

from relad_bids.errors import ConfigError, DataError
from relad_bids.model.learning.adversarial import (
    critic_loss,
    critic_margin,
    each_alone,
    gradient_penalty,
    relativistic_critic_loss,
    relativistic_generator_loss,
)

SIDES = (2, 3, 5)
"""Unequal, so that a sum over the wrong axes gives another number."""
LOSSES = [relativistic_generator_loss, relativistic_critic_loss]


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(12)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def logits(draw):
    """Real and fake, for two participants."""
    return draw(2, 1, *SIDES), draw(2, 1, *SIDES)


@pytest.fixture
def weight(draw):
    return draw(1, 1, *SIDES)


class Quadratic:
    """D(x) = w x^2, a logit per voxel: the slope of its sum is 2 w x."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, x):
        return self.weight * x**2


class Coupled(nn.Module):
    """D(x) = (x - mean over the batch)^2 / 2, and how often it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, x):
        self.asked.append(len(x))
        return (x - x.mean(0, keepdim=True)) ** 2 / 2


def test_swapping_real_and_fake_swaps_the_losses(logits):
    real, fake = logits
    one, other = relativistic_generator_loss(real, fake), relativistic_critic_loss(fake, real)
    assert one.item() == other.item()
    assert one.item() != relativistic_critic_loss(real, fake).item()


def test_the_losses_differ_by_the_margin(logits):
    """softplus(m) - softplus(-m) = m, for every patch; float64 sums, so close to its digits."""
    generator, critic = (loss(*logits).item() for loss in LOSSES)
    assert generator - critic == pytest.approx(critic_margin(*logits).item(), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_constant_added_to_all_logits_changes_nothing(logits, loss):
    real, fake = logits
    assert loss(real + 7, fake + 7).item() == pytest.approx(loss(real, fake).item(), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_logits_cost_ln_2(logits, loss):
    assert loss(logits[0], logits[0]).item() == pytest.approx(math.log(2), rel=1e-12)


@pytest.mark.parametrize("margin", [-3.0, -0.5, 0.5, 3.0])
def test_losses_of_an_even_margin(logits, margin):
    """Every patch has the same margin m: ln(1 + e^m) and ln(1 + e^-m)."""
    real, fake = logits[0], logits[0] - margin
    assert relativistic_generator_loss(real, fake).item() == pytest.approx(
        math.log(1 + math.exp(margin)), rel=1e-12
    )
    assert relativistic_critic_loss(real, fake).item() == pytest.approx(
        math.log(1 + math.exp(-margin)), rel=1e-12
    )
    assert critic_margin(real, fake).item() == pytest.approx(margin, rel=1e-12)


def test_a_large_margin_does_not_overflow():
    """exp(1000) is infinite in float32; the loss is the margin itself, or nothing."""
    far, near = torch.full((1, 1, 2, 2, 2), 1000.0), torch.zeros(1, 1, 2, 2, 2)
    assert relativistic_generator_loss(far, near).item() == 1000
    assert relativistic_critic_loss(far, near).item() == 0


def test_patches_are_compared_one_by_one(logits):
    """Pairing matters: shuffled patches have the same mean logits and another loss."""
    real, fake = logits
    shuffled = fake.flip(-1)
    assert critic_margin(real, shuffled).item() == pytest.approx(critic_margin(real, fake).item())
    for loss in LOSSES:
        assert loss(real, shuffled).item() != pytest.approx(loss(real, fake).item(), rel=1e-3)


@pytest.mark.parametrize(("loss", "sign"), [(LOSSES[0], -1), (LOSSES[1], 1)])
def test_each_side_pulls_its_own_way(logits, loss, sign):
    """d loss / d fake is -sigmoid(real - fake) / n for the generator, which wants it higher,
    and +sigmoid(fake - real) / n for the critic; the real logit is pulled the other way.
    """
    real, fake = (side.requires_grad_() for side in logits)
    loss(real, fake).backward()
    expected = sign * torch.sigmoid(sign * (fake - real)) / real.numel()
    torch.testing.assert_close(fake.grad, expected)
    torch.testing.assert_close(real.grad, -expected)


@pytest.mark.parametrize("function", [*LOSSES, critic_margin])
@pytest.mark.parametrize("shape", [(1, 1, *SIDES), (2, 1, 2, 3, 1), (2, *SIDES)])
def test_logits_that_cannot_be_paired_are_refused(logits, function, shape):
    """All of these would broadcast."""
    message = f"real PET are (2, 1, 2, 3, 5), of fake PET {shape};"
    with pytest.raises(DataError, match=re.escape(message)):
        function(logits[0], torch.zeros(shape))


@pytest.mark.parametrize(("reduction", "expected"), [("full", 120), ("official", 24), ("rms", 4)])
def test_penalty_of_a_square_at_one(reduction, expected):
    """D = sum x^2 at x = 1: 4 a voxel; 2 * 3 * 5 voxels, or 2 * 3 where the last axis is averaged.
    The mean of x^2, per voxel: the slope of 2 is the RMS, too.

    Any other choice of axes gives 4, 8, 12, 20, 40 or 60.
    """
    x = torch.ones(4, 1, *SIDES)
    assert gradient_penalty(Quadratic(1.0), x, reduction=reduction).item() == expected


def test_penalty_of_a_quadratic_critic(draw, weight):
    """|2 w x|^2 a participant, by NumPy and with the axes written out."""
    x = draw(3, 1, *SIDES)
    squared = (2 * weight.numpy() * x.numpy()) ** 2
    full = gradient_penalty(Quadratic(weight), x, reduction="full").item()
    official = gradient_penalty(Quadratic(weight), x, reduction="official").item()
    assert full == pytest.approx(np.einsum("bcijk->b", squared).mean(), rel=1e-12)
    assert official == pytest.approx(np.einsum("bcijk->bk", squared).mean(), rel=1e-12)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_published_reduction_loses_the_last_axis(draw, weight, batch):
    """Its penalty, and with it gamma, is 1/K of the whole one."""
    x = draw(batch, 1, *SIDES)
    full, official = (
        gradient_penalty(Quadratic(weight), x, reduction=reduction).item()
        for reduction in ("full", "official")
    )
    assert full / official == pytest.approx(SIDES[-1], rel=1e-12)


def test_the_published_reduction_is_right_for_images(draw):
    """It was made for (B, C, I, J), where the axes 1, 2, 3 are all there are."""
    x = draw(3, 2, 4, 5)
    full, official = (
        gradient_penalty(Quadratic(1.0), x, reduction=reduction).item()
        for reduction in ("full", "official")
    )
    assert official == pytest.approx(full, rel=1e-12)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("sides", [(4, 4, 4), (8, 4, 12)])
def test_the_rms_slope_knows_neither_grid_nor_patches(draw, sides, stride):
    """A critic that says 0.7 times the mean of its patch has that slope, however many patches."""

    def critic(x):
        return 0.7 * avg_pool3d(x, stride)

    x = draw(2, 1, *sides)
    assert gradient_penalty(critic, x, reduction="rms").item() == pytest.approx(0.49, rel=1e-12)
    n, p = math.prod(sides), math.prod(sides) / stride**3
    full = gradient_penalty(critic, x, reduction="full").item()
    assert full == pytest.approx(0.49 * p**2 / n, rel=1e-12)


def test_the_rms_slope_is_of_all_channels(draw):
    """Mean logit over one patch of two channels, each of weight 1 or 3: (1 + 9) / 2."""
    x = draw(2, 2, *SIDES)
    weight = torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1, 1)

    def critic(x):
        return (weight * x).flatten(1).mean(1)

    assert gradient_penalty(critic, x, reduction="rms").item() == pytest.approx(5, rel=1e-12)


def test_penalty_of_a_linear_critic_is_its_squared_weight(draw, weight):
    for x in (draw(1, 1, *SIDES), 100 * draw(4, 1, *SIDES)):
        penalty = gradient_penalty(lambda x: weight * x, x, reduction="full")
        assert penalty.item() == pytest.approx(weight.square().sum().item(), rel=1e-12)


def test_penalty_does_not_grow_with_the_batch(draw, weight):
    """The batch's penalty is the mean of those of its participants."""
    x = draw(3, 1, *SIDES)
    for reduction in ("full", "official", "rms"):
        each = [
            gradient_penalty(Quadratic(weight), one, reduction=reduction).item()
            for one in x.split(1)
        ]
        whole = gradient_penalty(Quadratic(weight), x, reduction=reduction).item()
        assert whole == pytest.approx(np.mean(each), rel=1e-12)


@pytest.mark.parametrize(
    ("reduction", "shrunk"), [("full", 1), ("official", SIDES[-1]), ("rms", math.prod(SIDES))]
)
def test_penalty_teaches_the_critic(draw, weight, reduction, shrunk):
    """d/dw of mean_b sum 4 w^2 x^2 is mean_b 8 w x^2: through the slope, a second derivative."""
    x = draw(3, 1, *SIDES)
    weight.requires_grad_()
    gradient_penalty(Quadratic(weight), x, reduction=reduction).backward()
    expected = (8 * weight * x.square()).mean(0, keepdim=True) / shrunk
    torch.testing.assert_close(weight.grad, expected.detach())


def test_penalty_teaches_no_one_else(draw, weight):
    """Neither the maker of the image, nor is the image itself marked as something to learn."""
    weight.requires_grad_()
    plain, made = draw(2, 1, *SIDES), draw(2, 1, *SIDES).requires_grad_()
    for x in (plain, made):
        gradient_penalty(Quadratic(weight), x, reduction="full").backward()
    assert made.grad is None
    assert not plain.requires_grad


def test_unknown_reduction_is_refused(draw):
    with pytest.raises(ConfigError, match=r"'mean' is not one of full, official, rms"):
        gradient_penalty(Quadratic(1.0), draw(1, 1, *SIDES), reduction="mean")


def test_coupled_samples_are_freed_by_passing_each_alone(draw):
    """A participant alone is its batch's mean: no slope is left. In a batch there is one:
    d/dx_a of sum_b (x_b - mean)^2 / 2 is x_a - mean.
    """
    x, coupled = draw(2, 1, *SIDES), Coupled()
    together = gradient_penalty(coupled, x, reduction="full").item()
    expected = (x - x.mean(0)).square().sum().item() / 2
    assert together == pytest.approx(expected, rel=1e-12)
    assert gradient_penalty(each_alone(coupled), x, reduction="full").item() == 0


def test_each_alone_keeps_the_order(draw, weight):
    x = draw(3, 1, *SIDES)
    assert torch.equal(each_alone(Quadratic(weight))(x), Quadratic(weight)(x))


@pytest.mark.parametrize(
    ("reduction", "shrunk"), [("full", 1), ("official", SIDES[-1]), ("rms", math.prod(SIDES))]
)
def test_critic_loss_of_a_quadratic_critic(draw, weight, reduction, shrunk):
    """Each part by its formula; the fake is larger, so that neither passes for the other."""
    gamma, real, fake = 0.3, draw(2, 1, *SIDES), 2 * draw(2, 1, *SIDES)
    found = critic_loss(Quadratic(weight), real, fake, gamma=gamma, reduction=reduction)
    w, a, b = weight.numpy(), real.numpy(), fake.numpy()
    margins = w * a**2 - w * b**2
    r1, r2 = (((2 * w * x) ** 2).sum() / len(x) / shrunk for x in (a, b))
    assert found.r1.item() == pytest.approx(r1, rel=1e-12)
    assert found.r2.item() == pytest.approx(r2, rel=1e-12)
    assert found.margin.item() == pytest.approx(margins.mean(), rel=1e-12)
    expected = np.log1p(np.exp(-margins)).mean() + gamma / 2 * (r1 + r2)
    assert found.loss.item() == pytest.approx(expected, rel=1e-12)


def test_critic_loss_teaches_the_critic_alone(draw, weight):
    """The parts for the log hold no graph, and the fake's maker learns nothing here."""
    weight.requires_grad_()
    real, fake = draw(2, 1, *SIDES), draw(2, 1, *SIDES).requires_grad_()
    found = critic_loss(Quadratic(weight), real, fake, gamma=0.3, reduction="full")
    found.loss.backward()
    assert fake.grad is None
    assert torch.all(weight.grad != 0)
    assert [part.requires_grad for part in (found.r1, found.r2, found.margin)] == [False] * 3


def test_penalty_enters_the_gradient(draw, weight):
    """With real = fake the relativistic part is flat: the penalties' 8 w x^2 is all there is."""
    gamma, x = 0.3, draw(2, 1, *SIDES)
    weight.requires_grad_()
    critic_loss(Quadratic(weight), x, x, gamma=gamma, reduction="full").loss.backward()
    expected = gamma * (8 * weight * x.square()).mean(0, keepdim=True)
    torch.testing.assert_close(weight.grad, expected.detach())


@pytest.mark.parametrize(("alone", "asked"), [(False, [3] * 4), (True, [3] * 2 + [1] * 6)])
def test_only_the_penalties_pass_each_sample_alone(draw, alone, asked):
    """2 + 2 B passes, as the published run's BatchNorm counters tell (method.md 2.6)."""
    coupled = Coupled()
    real, fake = draw(3, 1, *SIDES), draw(3, 1, *SIDES)
    found = critic_loss(coupled, real, fake, gamma=1.0, reduction="full", alone=alone)
    assert coupled.asked == asked
    assert (found.r1.item() == 0) == alone
