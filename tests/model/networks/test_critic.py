import copy

import pytest
import torch
from monai.networks.nets import PatchDiscriminator
from torch import nn

from relad_bids.model.learning.adversarial import (
    critic_loss,
    gradient_penalty,
    relativistic_generator_loss,
)
from relad_bids.model.networks.critic import ConditionalCritic, PublishedCritic

SHAPE = (12, 17, 14)
N_SEQUENCES, N_TRACERS = 2, 3


def make(kind, *, channels=4, seed=3):
    """A critic with its first random weights; the seed of others is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "published":
            return PublishedCritic()
        return ConditionalCritic(n_sequences=N_SEQUENCES, n_tracers=N_TRACERS, channels=channels)


@pytest.fixture(params=["published", "conditional"])
def critic(request):
    return make(request.param)


@pytest.fixture
def conditional():
    """In evaluation mode, where the spectral norm's vectors stand still."""
    return make("conditional").eval()


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(21)
    return lambda *shape: torch.rand(shape, generator=generator) * 2 - 1


@pytest.fixture
def pet(draw):
    return draw(2, 1, *SHAPE)


@pytest.fixture
def conditions(draw):
    return draw(2, N_SEQUENCES, *SHAPE), torch.tensor([2, 0])


def bind(critic, conditions):
    return lambda pet: critic(pet, *conditions)


def n_weights(network):
    return sum(weight.numel() for weight in network.parameters())


def conv_weights(critic):
    """What the spectral norm divides: the convolutions' own weights."""
    return [
        weight for name, weight in critic.named_parameters() if name.endswith("weight.original")
    ]


@pytest.mark.parametrize(
    ("sides", "patches"),
    [((12, 12, 12), (1, 1, 1)), ((12, 17, 20), (1, 2, 3)), ((32, 36, 40), (6, 7, 8))],
)
def test_a_logit_for_every_fourth_voxel(critic, sides, patches):
    """Side // 4 - 2; (32, 36, 40) is what the published code gives (6, 7, 8) for."""
    conditions = torch.zeros(1, N_SEQUENCES, *sides), torch.tensor([1])
    assert critic(torch.zeros(1, 1, *sides), *conditions).shape == (1, 1, *patches)


def test_published_critic_has_the_published_weights():
    """11,573 (method.md 2.5), under the names of the published file."""
    critic = PublishedCritic()
    assert n_weights(critic) == 11_573
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert set(critic.state_dict()) == {
        *(f"{layer}.conv.{part}" for layer in ("initial_conv", "final_conv")
          for part in ("weight", "bias")),
        *(f"{layer}.conv.weight" for layer in (0, 1)),
        *(f"{layer}.adn.N.{part}" for layer in (0, 1) for part in norm),
    }  # fmt: skip


def test_published_critic_answers_as_the_network_it_is_made_of(pet, conditions):
    """Every setting of method.md 2.5 in full; the last of MONAI's answers is the logits."""
    original = PatchDiscriminator(
        spatial_dims=3, in_channels=1, channels=4, out_channels=1, num_layers_d=2, kernel_size=4,
        activation=("LEAKYRELU", {"negative_slope": 0.2}), norm="BATCH", bias=False, padding=1,
    )  # fmt: skip
    critic = make("published")
    critic.load_state_dict(original.state_dict())
    assert torch.equal(critic(pet, *conditions), original(pet)[-1])


def test_published_critic_does_not_look_at_the_conditions(pet, conditions):
    critic = make("published")
    before = critic(pet, *conditions)
    assert torch.equal(critic(pet, -conditions[0], 1 - conditions[1]), before)


def test_published_critic_lets_samples_see_each_other_in_training(pet, conditions):
    """BatchNorm: why the penalties need each sample alone. In evaluation mode it is over."""
    critic = make("published")
    pair = bind(critic, conditions)(pet)[:1]
    assert (pair - bind(critic, conditions)(pet[:1])).abs().max() > 1e-2
    critic.eval()
    pair = bind(critic, conditions)(pet)[:1]
    torch.testing.assert_close(pair, bind(critic, conditions)(pet[:1]))


def test_published_loss_is_that_of_its_parts(draw, pet, conditions):
    """Logits of whole batches, slopes of samples alone, axes dropped, gamma 1e-3."""
    critic = make("published")
    fake = draw(2, 1, *SHAPE)
    bound = bind(critic, conditions)
    found = critic_loss(bound, pet, fake, gamma=1e-3, reduction="official", alone=True)
    # BatchNorm's counters of the published file tell 2 + 2 B passes (method.md 2.6).
    assert critic.state_dict()["0.adn.N.num_batches_tracked"] == 2 + 2 * len(pet)
    penalties = []
    for one in torch.cat([pet, fake]).split(1):
        x = one.clone().requires_grad_()
        bound(x).sum().backward()
        penalties.append(x.grad.square().sum() / SHAPE[-1])
    expected = torch.log1p(torch.exp(bound(fake) - bound(pet))).mean()
    expected = expected + 1e-3 / 2 * (sum(penalties[:2]) / 2 + sum(penalties[2:]) / 2)
    torch.testing.assert_close(found.loss, expected)


def test_conditional_critic_has_32_channels():
    """64 taps: (1 PET + 2 MRI + 3 tracers) -> 32 -> 64 -> 128 -> 1, and a bias for each map."""
    critic = ConditionalCritic(n_sequences=2, n_tracers=3)
    assert n_weights(critic) == 64 * (6 * 32 + 32 * 64 + 64 * 128 + 128) + 32 + 64 + 128 + 1


def test_conditional_critic_looks_at_every_condition(conditional, pet, conditions):
    """Each sequence and each tracer, and what is asked of one participant moves no other."""
    mri, tracer = conditions
    before = conditional(pet, mri, tracer)
    for sequence in range(N_SEQUENCES):
        other = mri.clone()
        other[0, sequence] *= -1
        moved = (conditional(pet, other, tracer) - before).abs().amax((1, 2, 3, 4))
        assert moved[0] > 1e-3
        assert moved[1] == 0
    for index in (0, 1):
        other = torch.tensor([index, 0])
        moved = (conditional(pet, mri, other) - before).abs().amax((1, 2, 3, 4))
        assert moved[0] > 1e-3
        assert moved[1] == 0


def test_tracer_is_a_channel_of_ones_of_its_own(conditional, pet, conditions):
    """The plain network, fed by hand: PET, MRI, then one plane per tracer."""
    mri, tracer = conditions
    planes = torch.zeros(2, N_TRACERS, *SHAPE)
    planes[0, 2] = planes[1, 0] = 1
    by_hand = conditional.network(torch.cat([pet, mri, planes], 1))[-1]
    assert torch.equal(conditional(pet, mri, tracer), by_hand)


def test_participants_do_not_see_each_other(conditional, pet, conditions):
    """No logit of the first has a slope at the second; alone it gets the same answer."""
    x = pet.clone().requires_grad_()
    answer = conditional(x, *conditions)
    answer[0].sum().backward()
    assert torch.all(x.grad[1] == 0)
    assert torch.any(x.grad[0] != 0)
    alone = conditional(pet[:1], *(condition[:1] for condition in conditions))
    torch.testing.assert_close(alone, answer[:1])


@pytest.mark.parametrize(("patch", "seen"), [(0, (0, 22)), (3, (1, 34)), (9, (25, 47))])
def test_a_logit_sees_34_voxels_and_no_more(conditional, draw, patch, seen):
    """Patch p sees voxels 4 p - 11 to 4 p + 22 of the grid. Any norm would see the volume."""
    x = draw(1, 1, 12, 48, 12).requires_grad_()
    conditions = torch.zeros(1, N_SEQUENCES, 12, 48, 12), torch.tensor([0])
    conditional(x, *conditions)[0, 0, 0, patch, 0].backward()
    found = x.grad[0, 0].abs().sum((0, 2)).nonzero().flatten().tolist()
    assert found == list(range(seen[0], seen[1] + 1))


def test_size_of_the_weights_is_normed_away(conditional, pet, conditions):
    """The spectral norm: a critic cannot get its way by larger weights."""
    before = conditional(pet, *conditions)
    assert len(conv_weights(conditional)) == 4
    with torch.no_grad():
        for weight in conv_weights(conditional):
            weight *= 5
    torch.testing.assert_close(conditional(pet, *conditions), before)


def test_every_matrix_has_norm_one(conditional, pet, conditions):
    """Largest singular value by a full decomposition; the power iterations close in on it."""
    conditional.train()
    for _ in range(100):
        conditional(pet, *conditions)
    for layer in conditional.modules():
        if isinstance(layer, nn.Conv3d):
            largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
            # The power iteration errs with the square of its last step: 1e-3 is generous.
            assert largest.item() == pytest.approx(1, abs=1e-3)


def test_level_is_seen(conditional):
    """Uptake too high everywhere is an error like any other."""
    shape = (1, 1, *SHAPE)
    conditions = torch.zeros(1, N_SEQUENCES, *SHAPE), torch.tensor([0])
    low, high = (conditional(torch.full(shape, level), *conditions) for level in (-0.5, 0.5))
    assert (low - high).abs().max() > 1e-3


def test_every_weight_is_taught_through_the_penalties(critic, draw, pet, conditions):
    """In training mode, where both forwards and their slopes share buffers that move."""
    fake = draw(2, 1, *SHAPE)
    critic_loss(
        bind(critic.train(), conditions), pet, fake, gamma=1.0, reduction="full"
    ).loss.backward()
    flat = {
        name
        for name, weight in critic.named_parameters()
        if not torch.isfinite(weight.grad).all() or not torch.any(weight.grad != 0)
    }
    # A constant added to all logits changes neither loss nor slope.
    assert flat <= {"final_conv.conv.bias", "network.final_conv.conv.bias"}


@pytest.mark.parametrize("reduction", ["full", "official"])
def test_penalty_has_the_gradient_it_should(critic, pet, conditions, reduction):
    """Second derivatives of every layer, against a central difference along a random direction.

    Between the kinks of LeakyReLU the penalty is smooth, so the difference errs with the square
    of its step (1e-12) and with the rounding over the step (1e-16 / 1e-6): 1e-6 is wide.
    """
    if isinstance(critic, ConditionalCritic):
        critic.eval()
    critic, pet = critic.double(), pet.double()
    conditions = conditions[0].double(), conditions[1]
    generator = torch.Generator().manual_seed(6)
    weights = list(critic.parameters())
    direction = [
        torch.randn(weight.shape, generator=generator, dtype=weight.dtype) for weight in weights
    ]

    def penalty(step):
        moved = copy.deepcopy(critic)
        with torch.no_grad():
            for weight, way in zip(moved.parameters(), direction, strict=True):
                weight += step * way
        return gradient_penalty(bind(moved, conditions), pet, reduction=reduction).item()

    gradient_penalty(bind(critic, conditions), pet, reduction=reduction).backward()
    slope = sum(
        (weight.grad * way).sum().item()
        for weight, way in zip(weights, direction, strict=True)
        if weight.grad is not None
    )
    step = 1e-6
    measured = (penalty(step) - penalty(-step)) / (2 * step)
    assert slope == pytest.approx(measured, rel=1e-6)


def test_generator_learns_from_the_critic(critic, draw, pet, conditions):
    """A small step along the slope of its loss makes the fake look more real."""
    bound = bind(critic.eval(), conditions)
    fake = draw(2, 1, *SHAPE).requires_grad_()
    before = relativistic_generator_loss(bound(pet), bound(fake))
    before.backward()
    better = fake - 1e-2 * fake.grad / fake.grad.norm()
    assert relativistic_generator_loss(bound(pet), bound(better)) < before


def test_critic_learns_to_see_a_level(draw, pet, conditions):
    """What the norm-free critic is for: a fake 0.3 too bright everywhere is told apart."""
    critic = make("conditional").train()
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)
    for _ in range(10):
        optimiser.zero_grad()
        found = critic_loss(bind(critic, conditions), pet, pet + 0.3, gamma=1e-3, reduction="full")
        found.loss.backward()
        optimiser.step()
    other = draw(2, 1, *SHAPE)
    bound = bind(critic.eval(), conditions)
    assert (bound(other) - bound(other + 0.3)).min() > 0
