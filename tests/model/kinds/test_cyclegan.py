"""Round trips on a hand-made step: who meets whom, what is minimised, and by whom."""

import math

import pytest
import small_models
import torch
from torch import nn
from toy_turns import Ear, a_turn

from relad_bids.model.data import Batch
from relad_bids.model.kinds.cyclegan import CycleGAN

SHAPE = (12, 14, 13)
"""Sides that are no multiples of 4: images are padded and cropped back."""


class Watched(nn.Module):
    """A critic without patches, D = w PET - T1w's companions / 4 + tracer / 10."""

    def __init__(self, w):
        super().__init__()
        self.w, self.seen = nn.Parameter(torch.tensor(w)), []

    def forward(self, image, beside, tracer):
        self.seen.append((image.detach(), beside.detach(), tracer))
        return logit(self.w, image, beside, tracer[:, None, None, None, None])


def logit(w, image, beside, tracer):
    return w * image - beside.sum(1, keepdim=True) / 4 + tracer / 10


class Toy(CycleGAN):
    """Generators of one number each: there w1 T1w + w2 FLAIR, back v1 PET and v2 PET."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.w = nn.Parameter(torch.tensor([0.7, 0.2]))
        self.v = nn.Parameter(torch.tensor([0.9, -0.4]))
        self.critic = nn.ModuleDict({"pet": Watched(0.5), "mri": Watched(0.8)})
        self.asked = []

    def forward(self, mri, tracer):
        self.asked.append(("there", mri.detach(), tracer))
        return there(self.w, mri, tracer[:, None, None, None, None])

    def back(self, pet, tracer):
        self.asked.append(("back", pet.detach(), tracer))
        return back(self.v, pet, tracer[:, None, None, None, None])


def there(w, mri, tracer):
    return w[0] * mri[:, :1] + w[1] * mri[:, 1:] + tracer / 20


def back(v, pet, tracer):
    return torch.cat([v[0] * pet, v[1] * pet], 1) - tracer / 30


@pytest.fixture
def batch():
    """Four participants; one has no scan, another no FLAIR, all brains differ.

    Outside the brain there is something in both kinds of image.
    """
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(4, 1, *SHAPE, generator=generator) > 0.4
    mri, pet = (torch.rand(4, 2, *SHAPE, generator=generator) * 2 - 1 for _ in range(2))
    mri[2, 1] = -1
    available = torch.tensor([[True, True], [False, False], [True, False], [True, True]])
    return Batch(mri, pet, available, mask)


def toy(**objective):
    architecture, own, _ = small_models.KINDS["cyclegan"]
    return Toy(**architecture, shape=SHAPE, objective={**own, **objective})


def run(made, batch, *, watch=lambda part, loss: None):
    ear = Ear(made, watch)
    made.fit(batch, a_turn(len(batch.mri), ear))
    return ear.losses, ear.log


def participants(batch, tracers):
    """Whoever has a scan, with the MRI of the one before: x, its brain, y, its brain, tracer."""
    have = [0, 2, 3]
    for b, tracer in zip(range(3), tracers, strict=True):
        mine, other = have[b], have[b - 1]
        x_mask, y_mask = batch.mask[other], batch.mask[mine]
        x = torch.where(x_mask, batch.mri[other], -1.0)
        y = torch.where(y_mask, batch.pet[mine, tracer], -1.0)
        yield x[None], x_mask[None], y[None], y_mask[None], tracer


def distance(one, other, mask):
    """Mean over the brain of each channel, over those channels that are not all background."""
    shown = [c for c in range(other.shape[1]) if (other[:, c] != -1).any()]
    return [(one - other)[:, [c]].abs()[mask].mean().item() for c in shown]


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize(("cycle", "identity"), [(10.0, 0.0), (3.0, 0.0), (10.0, 5.0)])
def test_the_losses_of_a_hand_made_step(batch, cycle, identity):
    """One participant after the other; FLAIR counts where there is one."""
    made = toy(cycle=cycle, identity=identity)
    losses, log = run(made, batch)
    tracers = made.asked[0][2].tolist()
    assert set(tracers) == {0, 1}
    w, v = made.w.detach(), made.v.detach()
    lost = {"x": [], "y": [], "same x": [], "same y": []}
    judged = {"real y": [], "fake y": [], "real x": [], "fake x": []}
    for x, x_mask, y, y_mask, tracer in participants(batch, tracers):
        fake_y = torch.where(x_mask, there(w, x, tracer), -1.0)
        fake_x = torch.where(y_mask, back(v, y, tracer), -1.0)
        lost["x"] += distance(back(v, fake_y, tracer), x, x_mask)
        lost["y"] += distance(there(w, fake_x, tracer), y, y_mask)
        lost["same x"] += distance(back(v, x[:, :1], tracer)[:, :1], x[:, :1], x_mask)
        lost["same y"] += distance(there(w, torch.cat([y, y], 1), tracer), y, y_mask)
        seen = fake_x.clone()
        if (x[:, 1] == -1).all():
            seen[:, 1] = -1
        for name, image in (("real y", y), ("fake y", fake_y)):
            judged[name].append(logit(0.5, image, image[:, 1:], tracer))
        for name, image in (("real x", x), ("fake x", seen)):
            judged[name].append(logit(0.8, image[:, :1], image[:, 1:], tracer))
    assert len(lost["x"]) == 5  # three times T1w, twice FLAIR
    d = {name: torch.cat(logits) for name, logits in judged.items()}
    adversarial = ((d["fake y"] - 1) ** 2).mean().item() + ((d["fake x"] - 1) ** 2).mean().item()
    round_trips = mean(lost["x"]) + mean(lost["y"])
    same = mean(lost["same x"]) + mean(lost["same y"])
    expected = adversarial + cycle * round_trips + identity * same
    assert losses["network"] == pytest.approx(expected, rel=1e-5)
    critics = [((d[f"real {k}"] - 1) ** 2).mean() + (d[f"fake {k}"] ** 2).mean() for k in "xy"]
    assert losses["critic"] == pytest.approx(sum(critics).item() / 2, rel=1e-5)
    told = {"cycle": round_trips, "adversarial": adversarial} | {
        name: (d[f"real {k}"].mean() - d[f"fake {k}"].mean()).item()
        for name, k in (("margin", "y"), ("margin of MRI", "x"))
    }
    assert log == pytest.approx(told, rel=1e-4, abs=1e-6)


def test_the_weights_of_the_paper():
    """Identity only where both kinds of image have the same channels: here it is off."""
    objective = CycleGAN.Objective()
    assert (objective.cycle, objective.identity) == (10.0, 0.0)


@pytest.mark.parametrize(("identity", "asked"), [(0.0, 2), (1e-6, 3)])
def test_an_identity_without_weight_is_not_worked_out(batch, identity, asked):
    made = toy(identity=identity)
    run(made, batch)
    for way in ("there", "back"):
        assert [name for name, *_ in made.asked].count(way) == asked


def test_nobody_meets_their_own_scan(batch):
    made = toy()
    run(made, batch)
    (first, mri, _), (second, pet, _) = made.asked[:2]
    assert (first, second) == ("there", "back")
    for b, (mine, other) in enumerate([(0, 3), (2, 0), (3, 2)]):
        tracer = made.asked[0][2][b]
        assert torch.equal(mri[b], torch.where(batch.mask[other], batch.mri[other], -1.0))
        assert torch.equal(
            pet[b, 0], torch.where(batch.mask[mine], batch.pet[mine, tracer], -1.0)[0]
        )


def test_who_is_alone_meets_themselves(batch):
    alone = Batch(*(part[2:3] for part in (batch.mri, batch.pet, batch.available, batch.mask)))
    made = toy()
    _, log = run(made, alone)
    assert torch.equal(made.asked[0][1], torch.where(alone.mask, alone.mri, -1.0))
    assert all(math.isfinite(value) for value in log.values())


def test_a_round_trip_that_loses_nothing(batch):
    """T1w there, T1w and FLAIR back, and everyone's FLAIR is their T1w: of tracer 0."""
    made = toy()
    made.w.data = torch.tensor([1.0, 0.0])
    made.v.data = torch.tensor([1.0, 1.0])
    batch.mri[:, 1] = batch.mri[:, 0]
    batch.available[[0, 3], 1] = False
    _, log = run(made, batch)
    assert log["cycle"] == 0
    batch.available[[0, 3]] = torch.tensor([False, True])
    assert run(made, batch)[1]["cycle"] > 0.01


@pytest.mark.parametrize(("without", "taught"), [([0, 2, 3], False), ([0, 2], True)])
def test_a_missing_sequence_is_no_target(batch, without, taught):
    """What F says of FLAIR is then nobody's business: no gradient, and the critic is not asked."""
    made = toy()
    made.w.data[1] = 0  # the way there looks at T1w alone
    batch.mri[without, 1] = -1
    gradients = []
    run(
        made, batch,
        watch=lambda part, loss: part == "network" and gradients.append(made.v.grad.clone()),
    )  # fmt: skip
    assert gradients[0][0] != 0
    assert bool(gradients[0][1] != 0) is taught
    for _, flair, _ in made.critic["mri"].seen:
        assert bool((flair == -1).all()) is not taught


def test_real_and_fake_miss_the_same(batch):
    made = toy()
    run(made, batch)
    fake, real, again = (beside for _, beside, _ in made.critic["mri"].seen)
    assert torch.equal(fake, again)
    for flair in (fake, real):
        assert [bool((one != -1).any()) for one in flair] == [True, True, False]


def test_outside_the_brain_all_is_background(batch):
    """No border tells a fake, and no generator is shown what another says outside."""
    made = toy()
    run(made, batch)
    x_mask, y_mask = batch.mask[[3, 0, 2]], batch.mask[[0, 2, 3]]
    fake_y, real_y, _ = (image for image, _, _ in made.critic["pet"].seen)
    fake_x, real_x, _ = (image for image, _, _ in made.critic["mri"].seen)
    pairs = [(fake_y, x_mask), (real_y, y_mask), (fake_x, y_mask), (real_x, x_mask)]
    shown = [image[:, :1] for _, image, _ in made.asked]
    pairs += zip(shown, [x_mask, y_mask, x_mask, y_mask], strict=True)
    for image, mask in pairs:
        assert torch.all(image[~mask] == -1)
        assert (image[mask] != -1).float().mean() > 0.99


def test_the_critic_of_pet_sees_no_mri_and_both_the_tracer(batch):
    made = toy()
    run(made, batch)
    tracer = made.asked[0][2]
    for kind, n_beside in (("pet", 0), ("mri", 1)):
        assert len(made.critic[kind].seen) == 3  # the fake twice, the real once
        for image, beside, told in made.critic[kind].seen:
            assert (image.shape[1], beside.shape[1]) == (1, n_beside)
            assert torch.equal(told, tracer)
    assert all(torch.equal(told, tracer) for _, _, told in made.asked)


def test_each_part_is_taught_by_its_own_loss(batch):
    made, reached = toy(), {}

    def watch(part, loss):
        gradients = [weight.grad for weight in (made.w, made.v)]
        reached[part] = [bool(g is not None and g.any()) for g in gradients]

    run(made, batch, watch=watch)
    assert reached == {"network": [True, True], "critic": [False, False]}


@pytest.fixture
def real():
    torch.manual_seed(3)
    return small_models.small("cyclegan", shape=SHAPE).eval()


@pytest.fixture
def pet():
    return torch.rand(2, 1, *SHAPE, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_the_way_back_ends_in_mri(real, pet):
    mri = real.back(pet, torch.tensor([0, 1]))
    assert mri.shape == (2, 2, *SHAPE)
    assert mri.dtype == torch.float32
    alone = real.back(pet[1:], torch.tensor([1]))
    torch.testing.assert_close(mri[1:], alone)
    assert (real.back(pet[1:], torch.tensor([0])) - alone).abs().max() > 1e-3


def test_the_way_back_starts_in_the_tracers_own_channel(real, pet):
    """Behind the position; the other tracer is missing, as a sequence would be."""
    seen = []
    real.inverse.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    real.back(pet, torch.tensor([0, 1]))
    i, j, k = SHAPE
    known = seen[0][..., :i, :j, :k]
    assert torch.equal(known[:, :3], real.position.expand(2, -1, -1, -1, -1))
    assert torch.equal(known[[0, 1], [3, 4]], pet[:, 0])
    assert torch.all(known[[0, 1], [4, 3]] == -1)


def test_the_critics_take_what_they_are_given(real, pet):
    """Each tracer has its own logits, of every image, and FLAIR counts beside T1w."""
    mri, tracers = torch.cat([pet, -pet], 1), (torch.tensor([0, 0]), torch.tensor([1, 1]))
    for kind, image in (("pet", pet), ("mri", mri)):
        one, other = (real.judge(kind, image, tracer) for tracer in tracers)
        assert one.shape == (2, 1, *(side // 4 - 2 for side in SHAPE))
        assert not torch.allclose(one, other)
    changed = real.judge("mri", torch.cat([pet, pet], 1), tracers[0])
    assert not torch.allclose(changed, real.judge("mri", mri, tracers[0]))


def test_what_is_left_for_prediction_is_the_posterior_mean_network(real, pet):
    """Tensor by tensor: comparisons of both differ in the objective only."""
    unet = small_models.small("unet", shape=SHAPE).eval()
    state = real.answering_state()
    assert state.keys() == unet.state_dict().keys()
    assert {name.partition(".")[0] for name in real.state_dict()} - {"critic", "inverse"} == {
        name.partition(".")[0] for name in state
    }
    unet.load_state_dict(state)
    mri = torch.cat([pet, -pet], 1)[:1]
    for tracer in (0, 1):
        assert torch.equal(real.predict(mri, tracer), unet.predict(mri, tracer))


def test_both_generators_are_the_network_and_both_critics_the_critic(real):
    parts = {name: {id(weight) for weight in weights} for name, weights in real.parts().items()}
    for name, weight in real.named_parameters():
        first = name.partition(".")[0]
        assert id(weight) in parts["critic" if first == "critic" else "network"], name
    assert not parts["network"] & parts["critic"]
