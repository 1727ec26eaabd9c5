import pytest
import small_models
import torch
from torch.nn.functional import softplus
from toy_turns import Ear, a_turn

from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import crop_alike
from relad_bids.model.learning.chance import Chance

SHAPE = small_models.SHAPE


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    mri, pet = (torch.rand(6, 2, *SHAPE, generator=generator) * 2 - 1 for _ in range(2))
    mask = torch.zeros(6, 1, *SHAPE, dtype=torch.bool)
    mask[..., 1:11] = True
    return Batch(mri, pet, torch.ones(6, 2, dtype=torch.bool), mask)


@pytest.fixture
def make():
    def build(kind="rela", **objective):
        torch.manual_seed(3)
        made = small_models.small(kind, objective=objective)
        made.sd.fill_(0.5)
        return made

    return build


def run(made, batch, *, step=0, watch=lambda part, loss: None):
    """One step without an optimiser; the losses by part, and the log."""
    ear = Ear(made, watch)
    made.fit(batch, a_turn(6, ear, step=step, spread=0.25))
    return ear.losses, ear.log


def test_without_critic_and_l1_it_is_the_ddpm(make, batch):
    """The same draws, the same network, the same loss."""
    rela, _ = run(make(l1=0.0, adversarial_from=10), batch)
    torch.manual_seed(3)
    ddpm = small_models.small("ddpm")
    ddpm.sd.fill_(0.5)
    plain, _ = run(ddpm, batch)
    assert rela == pytest.approx(plain)


@pytest.mark.parametrize(("step", "plays"), [(1, False), (2, True)])
def test_the_critic_plays_from_its_step_on(make, batch, step, plays):
    losses, log = run(make(adversarial_from=2), batch, step=step)
    assert ("critic" in losses) is plays
    assert ("margin" in log) is plays
    assert ("adversarial" in log) is plays


def test_where_nothing_is_informed_nobody_judges(make, batch):
    losses, log = run(make(informative=0.0), batch)
    assert losses.keys() == {"network"}
    assert log.keys() == {"voxel", "coarse"}


def test_the_critic_sees_the_brain_and_its_conditions(make, batch):
    """Deviations in SD, 0 outside the mask for real and fake: no border gives the fake away."""
    made, seen = make(informative=1.0), []
    judge = made.critic.forward

    def watched(pet, mri, tracer):
        seen.append((pet.detach(), mri, tracer))
        return judge(pet, mri, tracer)

    made.critic.forward = watched
    run(made, batch)
    assert len(seen) == 6  # both for the network, both for the critic, R1, R2
    for pet, mri, tracer in seen:
        assert torch.all(pet[~batch.mask] == 0)
        assert torch.equal(mri, batch.mri)
        assert torch.equal(tracer, seen[0][2])
    assert torch.equal(seen[0][0], seen[2][0])
    assert not torch.equal(seen[0][0], seen[1][0])
    mine, tracer = torch.arange(6), seen[0][2]
    real = batch.pet[mine, tracer][:, None]
    m = made.regression(batch.mri)[mine, tracer][:, None]
    expected = (real - m) / 0.5 * batch.mask
    torch.testing.assert_close(seen[0][0], expected, atol=1e-5, rtol=1e-5)


def test_only_informed_timesteps_are_judged(make, batch):
    made, seen = make(informative=0.5, share_at_end=0.5), []
    judge = made.critic.forward
    made.critic.forward = lambda pet, mri, tracer: seen.append(len(pet)) or judge(pet, mri, tracer)
    drawn = made.draw(batch, a_turn(6, None))
    n = int((drawn.t < 500).sum())
    assert 0 < n < 6
    run(made, batch)
    assert set(seen) == {n}


def test_the_adversarial_term_is_the_pairwise_one(make, batch):
    """Against softplus of differences, over those judged, as a share of the batch."""
    made = make(adversarial=0.7, share_at_end=0.5)
    pairs = []
    judge = made.critic.forward
    made.critic.eval()  # the spectral norm's power iteration stands still

    def watched(pet, mri, tracer):
        pairs.append(judge(pet, mri, tracer))
        return pairs[-1]

    made.critic.forward = watched
    _, log = run(made, batch)
    real, fake = (logits.detach() for logits in pairs[:2])
    expected = 0.7 * len(real) / 6 * softplus(real - fake).mean().item()
    assert log["adversarial"] == pytest.approx(expected, rel=1e-4)
    assert log["margin"] == pytest.approx((real - fake).mean().item(), abs=1e-5)


def test_each_part_is_taught_by_its_own_loss(make, batch):
    """The network's loss may reach the critic, whose turn starts from no gradient; not back."""
    made, reached = make(), {}

    def watch(part, loss):
        reached[part] = any(
            w.grad is not None and bool(w.grad.any()) for w in made.network.parameters()
        )

    run(made, batch, watch=watch)
    assert reached == {"network": True, "critic": False}


def test_penalties_are_of_real_and_fake(make, batch):
    _, free = run(make(gamma=0.0), batch)
    losses, log = run(make(gamma=2.0), batch)
    assert log["r1"] > 0
    assert log["r2"] > 0
    assert log["r1"] == pytest.approx(free["r1"], rel=1e-3)
    without, _ = run(make(gamma=0.0), batch)
    assert losses["critic"] - without["critic"] == pytest.approx(log["r1"] + log["r2"], rel=1e-2)


def test_the_critic_judges_one_box_of_everything(make, batch):
    """Real, fake and MRI are cut at the same place, another one for each participant."""
    made, seen = make(informative=1.0, critic_crop=12), []
    judge = made.critic.forward
    made.critic.forward = lambda pet, mri, tracer: (
        seen.append((pet, mri)) or judge(pet, mri, tracer)
    )
    run(made, batch)
    pet, mri = seen[0]
    assert pet.shape == (6, 1, 12, 12, 12)
    assert mri.shape == (6, 2, 12, 12, 12)
    assert all(torch.equal(seen[0][1], other) for _, other in seen)
    places = set()
    for one, whole in zip(mri, batch.mri, strict=True):
        found = [
            (i, j)
            for i in range(2)
            for j in range(3)
            if torch.equal(whole[:, i : i + 12, j : j + 12], one)
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 1


@pytest.mark.parametrize(("edge", "shape"), [(0, (4, 5, 6)), (3, (3, 3, 3)), (5, (4, 5, 5))])
def test_boxes_never_leave_the_grid(edge, shape):
    image = torch.arange(2 * 120.0).reshape(2, 1, 4, 5, 6)
    cut, mirrored = crop_alike(
        [image, -image], edge=edge, chance=Chance.of_step(seed=0, step=0, positions=range(2))
    )
    assert cut.shape == (2, 1, *shape)
    assert torch.equal(cut, -mirrored)
