"""One step from many losses, on two parts of a model that can be worked out by hand."""

import pytest
import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import Adam

from relad_bids.errors import DataError
from relad_bids.model.learning.descent import Descent
from relad_bids.model.learning.distributed import Processes

X = torch.tensor([1.0, -2.0, 0.5, 4.0, 3.0])
RATES = {"network": 0.1, "critic": 0.01}
ALONE = Processes()


@pytest.fixture
def parts():
    return {
        "network": [nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.tensor(2.0))],
        "critic": [nn.Parameter(torch.tensor(-0.3))],
    }


def descent(parts, *, per_step=5, optimisers=None, precision=False):
    optimisers = optimisers or {name: Adam(weights) for name, weights in parts.items()}
    return Descent(optimisers, GradScaler("cpu", enabled=precision), step=7, per_step=per_step)


def loss(parts, x):
    """Mean over x of (w x - c)^2; the second weight of the network has no say."""
    return (parts["network"][0] * x - parts["critic"][0]).square().mean()


@pytest.mark.parametrize("sizes", [[5], [2, 3], [1, 1, 1, 1, 1], [4, 1]])
@pytest.mark.parametrize("per_step", [5, 8])
def test_the_gradient_is_that_of_the_mean_however_it_is_divided(parts, sizes, per_step):
    """Against the formula, 2 mean(x (w x - c)); of participants without scans nothing is heard."""
    step = descent(parts, per_step=per_step)
    for x in X.split(sizes):
        step("network", loss(parts, x), of=len(x), log={"largest": x.max()})
    log, lengths = step.take(ALONE, rates=RATES, clip_norm=1e9)
    expected = (2 * X * (0.7 * X + 0.3)).mean().item()
    assert parts["network"][0].grad.item() == pytest.approx(expected, rel=1e-6)
    assert lengths == pytest.approx({"network": abs(expected)}, rel=1e-6)
    largest = sum(len(x) * x.max().item() for x in X.split(sizes)) / 5
    assert log == pytest.approx({"largest": largest}, rel=1e-6)


def test_a_loss_teaches_its_own_part_and_no_other(parts):
    step = descent(parts)
    step("network", loss(parts, X), of=5, log={})
    assert parts["critic"][0].grad is None
    step("critic", -loss(parts, X), of=5, log={})
    expected = (2 * X * (0.7 * X + 0.3)).mean().item()
    assert parts["network"][0].grad.item() == pytest.approx(expected, rel=1e-6)
    assert parts["critic"][0].grad.item() == pytest.approx(2 * (0.7 * X + 0.3).mean().item())


def test_nothing_moves_before_the_step_is_taken_and_then_each_part_at_its_own_rate(parts):
    """Adam's first step is as long as its rate, against the gradient's sign."""
    step = descent(parts)
    for part in ("network", "critic"):
        step(part, loss(parts, X), of=5, log={})
    assert parts["network"][0].item() == pytest.approx(0.7)
    step.take(ALONE, rates=RATES, clip_norm=1e9)
    assert parts["network"][0].item() == pytest.approx(0.7 - 0.1, rel=1e-5)
    assert parts["critic"][0].item() == pytest.approx(-0.3 + 0.01, rel=1e-5)


def test_what_a_loss_does_not_reach_stays_where_it_is(parts):
    """Also with momentum from a step before: not a gradient of zero, but none."""
    optimisers = {name: Adam(weights) for name, weights in parts.items()}
    moving = parts["network"][1]
    first = descent(parts, optimisers=optimisers)
    first("network", loss(parts, X) + moving, of=5, log={})
    first.take(ALONE, rates=RATES, clip_norm=1e9)
    there = moving.item()
    assert there != 2.0
    second = descent(parts, optimisers=optimisers)
    second("network", loss(parts, X), of=5, log={})
    second.take(ALONE, rates=RATES, clip_norm=1e9)
    assert moving.item() == there
    assert parts["critic"][0].item() == pytest.approx(-0.3)


def test_a_step_begins_without_the_gradients_of_the_last(parts):
    optimisers = {name: Adam(weights) for name, weights in parts.items()}
    for _ in range(2):
        step = descent(parts, optimisers=optimisers)
        step("critic", 3 * parts["critic"][0], of=5, log={})
    assert parts["critic"][0].grad.item() == 3


def test_what_only_some_parts_of_a_batch_say_counts_as_zero_in_the_others(parts):
    step = descent(parts)
    step("network", loss(parts, X[:2]), of=2, log={"l1": torch.tensor(6.0)})
    step("network", loss(parts, X[2:]), of=3, log={})
    step("critic", loss(parts, X[:2]), of=2, log={"margin": torch.tensor(6.0)})
    log, _ = step.take(ALONE, rates=RATES, clip_norm=1e9)
    assert log == pytest.approx({"l1": 6 * 2 / 5, "margin": 6})


def test_a_step_of_nobody_moves_nothing(parts):
    assert descent(parts).take(ALONE, rates=RATES, clip_norm=1.0) == ({}, {})
    assert parts["network"][0].item() == pytest.approx(0.7)


@pytest.mark.parametrize(("longest", "left"), [(0.5, 0.5), (1e9, None)])
def test_long_gradients_are_clipped_and_their_length_is_told(parts, longest, left):
    step = descent(parts)
    step("critic", 3 * parts["critic"][0], of=5, log={})
    _, lengths = step.take(ALONE, rates=RATES, clip_norm=longest)
    assert lengths["critic"] == pytest.approx(3)
    assert parts["critic"][0].grad.item() == pytest.approx(left or 3)


@pytest.mark.parametrize("part", ["network", "critic"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_named(parts, part, value):
    step = descent(parts)
    step(part, loss(parts, X), of=5, log={})
    step(part, value * parts[part][0], of=5, log={})
    with pytest.raises(DataError, match=rf"loss of the {part} is (nan|-?inf) at step 7; look for"):
        step.take(ALONE, rates=RATES, clip_norm=1.0)


def test_gradients_are_scaled_for_fp16_and_back(parts):
    step = descent(parts, precision=True)
    step("network", loss(parts, X), of=5, log={})
    expected = (2 * X * (0.7 * X + 0.3)).mean().item()
    assert parts["network"][0].grad.item() == pytest.approx(65536 * expected, rel=1e-6)
    _, lengths = step.take(ALONE, rates=RATES, clip_norm=1e9)
    assert lengths["network"] == pytest.approx(abs(expected), rel=1e-6)
    assert parts["network"][0].item() == pytest.approx(0.6, rel=1e-5)


def test_a_gradient_beyond_fp16_moves_nothing_and_halves_the_scale(parts):
    """A loss of 1 with a slope that overflows, as activations of fp16 make it."""

    class Overflow(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.ones_like(x)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("inf")

    step = descent(parts, precision=True)
    step("network", Overflow.apply(parts["network"][0]), of=5, log={})
    step("critic", loss(parts, X), of=5, log={})
    step.take(ALONE, rates=RATES, clip_norm=1.0)
    assert parts["network"][0].item() == pytest.approx(0.7)
    assert parts["critic"][0].item() == pytest.approx(-0.29, rel=1e-5)
    assert step.scaler.get_scale() == 32768
