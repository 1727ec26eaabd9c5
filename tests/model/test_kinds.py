"""What holds for every kind of model, by the one interface they share."""

import numpy as np
import pytest
import small_models as kinds
import torch

from relad_bids.errors import CheckpointError, UsageError
from relad_bids.model.base import Model
from relad_bids.model.card import Card, TracerOutput
from relad_bids.model.checkpoint import load_checkpoint, save_checkpoint
from relad_bids.model.data import Cohort, Sample
from relad_bids.model.learning.training import TrainConfig, train
from relad_bids.model.registry import KINDS, build_model

CLOSED = ("mean", "ridge")
ONE_ANSWER = ("mean", "ridge", "unet", "pix2pix", "cyclegan")
DRAWS = ("ddpm", "ficd", "ddgan", "rela", "rela-latent", "rela-published")
ADVERSARIAL = ("pix2pix", "cyclegan", "ddgan", "rela", "rela-latent", "rela-published")
CONFIG = TrainConfig(
    steps=4, batch_size=2, learning_rate=1e-3, warmup_steps=0, ema=0.5, missing_flair=0.3,
    workers=0, save_every=1, precision="fp32",
)  # fmt: skip


def make(index):
    """The last of every seven has no scan at all, every third lacks the second tracer."""
    rng = np.random.default_rng([9, index])
    mask = np.zeros(kinds.SHAPE, dtype=bool)
    mask[1:12, 1:13, 1:11] = True
    level = rng.uniform(-0.5, 0.5)
    mri = np.where(mask, level + rng.uniform(-0.3, 0.3, (2, *kinds.SHAPE)), -1)
    pet = 0.5 * mri + rng.normal(0, 0.05, mri.shape)
    has = np.array([index % 7 != 6, index % 3 != 0 and index % 7 != 6])
    return Sample(mri.astype(np.float32), pet.astype(np.float32), has, mask)


def cohort(*indices):
    return Cohort(make, list(indices))


def fresh(kind, seed=1, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kinds.small(kind, **changes)


def fitted(kind, folder, *, config=CONFIG, seed=1, report=lambda step, log: None, walk=None):
    return train(
        fresh(kind, seed), walk or cohort(0, 1, 6, 2, 3, 4, 5, 7), config,
        start_from=cohort(*range(20, 36)), seed=3, state_file=folder / f"{kind}.pt", report=report,
    )  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Every kind, trained for four steps, and what it said of them."""
    folder = tmp_path_factory.mktemp("kinds")
    made = {}
    for kind in KINDS:
        logs = []
        made[kind] = fitted(kind, folder, report=lambda step, log, to=logs: to.append(log)), logs
    return made


@pytest.fixture
def mri():
    return torch.from_numpy(make(50).mri)[None]


def generator(seed=4):
    return torch.Generator().manual_seed(seed)


def test_every_registered_kind_is_tested_here():
    assert list(KINDS) == list(kinds.KINDS)
    assert sorted((*ONE_ANSWER, *DRAWS)) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_say_whether_they_draw(kind):
    assert issubclass(KINDS[kind], Model)
    assert KINDS[kind].stochastic is (kind in DRAWS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_learns_from_whoever_has_scans(models, kind):
    model, logs = models[kind]
    assert len(logs) == (0 if kind in CLOSED else CONFIG.steps)
    assert all(np.isfinite(value) for log in logs for value in log.values())
    assert not model.training


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(CLOSED)))
def test_every_part_moves(models, kind):
    """Weights that stay as they were are a critic or a network that never learns."""
    model, _ = models[kind]
    before = fresh(kind).parts()
    for name, weights in model.parts().items():
        moved = [not torch.equal(old, new) for old, new in zip(before[name], weights, strict=True)]
        assert np.mean(moved) > 0.8, name


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_an_inert_critic_would_be_seen(models, kind):
    assert "margin" in models[kind][1][-1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_ends_with_the_same_bits(models, kind, tmp_path):
    class PowerCutError(Exception):
        pass

    def cut(step, log):
        if step == 2:
            raise PowerCutError

    if kind not in CLOSED:
        with pytest.raises(PowerCutError):
            fitted(kind, tmp_path, report=cut)
    resumed = fitted(kind, tmp_path, seed=99 if kind not in CLOSED else 1).state_dict()
    whole = models[kind][0].state_dict()
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_the_answer_is_an_image_of_the_participant(models, kind, mri):
    answer = models[kind][0].predict(mri, 1, generator=generator())
    assert answer.shape == (1, 1, *kinds.SHAPE)
    assert answer.dtype == torch.float32
    assert torch.isfinite(answer).all()


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_the_tracers_have_answers_of_their_own(models, kind, mri):
    one, other = (models[kind][0].predict(mri, r, generator=generator()) for r in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_an_answer_without_flair(models, kind, mri):
    mri[:, 1] = -1
    assert torch.isfinite(models[kind][0].predict(mri, 0, generator=generator())).all()


@pytest.mark.parametrize("kind", ONE_ANSWER)
@pytest.mark.parametrize("asked", [{"n_samples": 2}, {"steps": 3}])
def test_one_answer_is_not_given_twice(models, kind, asked, mri):
    with pytest.raises(UsageError, match=r"has one answer, made in one pass; \d samples of \d"):
        models[kind][0].predict(mri, 0, **asked)


@pytest.mark.parametrize("kind", DRAWS)
@torch.inference_mode()
def test_draws_differ_and_can_be_drawn_again(models, kind, mri):
    model = models[kind][0]
    first, again = (
        model.predict(mri, 0, n_samples=2, steps=3, generator=generator()) for _ in range(2)
    )
    assert first.shape == (2, 1, *kinds.SHAPE)
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    other = model.predict(mri, 0, n_samples=2, steps=3, generator=generator(5))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", DRAWS)
@torch.inference_mode()
def test_without_a_generator_the_seed_is_zero(models, kind, mri):
    model = models[kind][0]
    torch.manual_seed(11)
    left = model.predict(mri, 0, steps=3)
    assert torch.equal(left, model.predict(mri, 0, steps=3, generator=generator(0)))


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_a_checkpoint_answers_like_the_model_and_holds_no_critic(models, kind, mri, tmp_path):
    model = models[kind][0]
    card = Card(
        name="toy", version="1", kind=kind, architecture=kinds.KINDS[kind][0],
        space="MNI152NLin2009cAsym", shape=kinds.SHAPE,
        affine=((2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 2, 0), (0, 0, 0, 1)),
        tracers=(TracerOutput(name="pib", index=0), TracerOutput(name="pbr28", index=1)),
        statement="A toy.", diffusion=model.diffusion, sampler=dict(model.sampler),
    )  # fmt: skip
    save_checkpoint(tmp_path, model, card)
    loaded, _ = load_checkpoint(tmp_path)
    assert not [name for name in loaded.state_dict() if name.startswith("critic")]
    answers = [each.predict(mri, 0, generator=generator()) for each in (model, loaded)]
    assert torch.equal(*answers)


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_prediction_needs_no_critic(kind):
    assert any(name.startswith("critic") for name in fresh(kind).state_dict())
    bare = build_model(
        kind, kinds.KINDS[kind][0], shape=kinds.SHAPE, diffusion=kinds.KINDS[kind][2]
    )
    assert not any(name.startswith("critic") for name in bare.state_dict())


@pytest.mark.parametrize("kind", ["mean", "unet"])
def test_weights_of_losses_that_a_kind_has_not_are_refused(kind):
    with pytest.raises(CheckpointError, match=rf"{kind}' cannot be built so: .*objective"):
        kinds.small(kind, objective={"gamma": 1.0})


def test_a_misspelt_weight_is_refused():
    with pytest.raises(CheckpointError, match=r"'rela' cannot be built so: .*gama"):
        kinds.small("rela", objective={"gama": 1.0})


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"mean", "ridge", "rela-published"}))
@torch.inference_mode()
def test_models_around_a_regression_show_it(models, kind, mri):
    linear = models[kind][0].linear_part()
    assert linear(mri).shape == (1, 2, *kinds.SHAPE)
    assert torch.any(linear.loadings != 0)


@pytest.mark.parametrize("kind", ["mean", "ridge", "rela-published"])
def test_other_models_have_none(models, kind):
    assert models[kind][0].linear_part() is None
