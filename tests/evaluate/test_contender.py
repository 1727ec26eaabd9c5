import numpy as np
import pytest
import torch

from relad_bids.errors import InputError, UsageError
from relad_bids.evaluate.contender import closed_forms, load_contenders
from relad_bids.model.checkpoint import load_checkpoint
from relad_bids.model.registry import build_model

PHANTOMS = {
    "source": "phantom", "preset": "strong", "n_start": 1, "n_train": 0, "n_validation": 0,
    "residual_mm": 1.0,
}  # fmt: skip


@pytest.fixture
def checkpoint(write_checkpoint, tmp_path):
    write_checkpoint(tmp_path / "one")
    return tmp_path / "one"


def test_a_checkpoint_brings_its_floors(checkpoint, card):
    (contender,) = load_contenders([str(checkpoint)], device="cpu")
    network, saved = load_checkpoint(checkpoint)
    assert (contender.name, contender.kind, contender.draws) == (saved.label, "unet", False)
    (fold,) = contender.folds
    mri = torch.rand(1, 2, *card.shape) * 2 - 1
    mean, ridge = (fold.floors[name].network.answer(mri, 1) for name in ("mean", "ridge"))
    torch.testing.assert_close(mean[0, 0], network.start.prior[1])
    torch.testing.assert_close(ridge, network.start(mri)[:, 1:2])


def test_a_regression_that_says_something_is_kept_whole(card):
    network = build_model(card.kind, card.architecture, shape=card.shape)
    for buffer in (network.start.prior, network.start.loadings, network.start.patterns):
        buffer.uniform_(-0.1, 0.1)
    network.start.core.fill_(True)
    mri = torch.rand(1, 2, *card.shape) * 2 - 1
    ridge = closed_forms(network, card)["ridge"]
    torch.testing.assert_close(ridge.answer(mri, 0), network.start(mri)[:, :1])
    assert (ridge.answer(mri, 0) - network.start.prior[0]).abs().max() > 1e-4


def test_floors_of_the_kinds_that_are_floors(card):
    settings = {"n_tracers": 2, "shape": card.shape}
    mean = build_model("mean", {"n_tracers": 2}, shape=card.shape)
    assert list(closed_forms(mean, card)) == ["mean"]
    del settings["shape"]
    ridge = build_model("ridge", {**settings, "n_sequences": 2, "rank": 2}, shape=card.shape)
    assert list(closed_forms(ridge, card)) == ["mean", "ridge"]


def test_a_model_without_closed_form_has_none(card):
    from small_models import small

    assert closed_forms(small("rela-published"), card) == {}


def test_floors_can_be_models_of_their_own(checkpoint):
    found = load_contenders(["ridge", str(checkpoint), "mean"], device="cpu")
    label = found[1].name
    assert [c.name for c in found] == [f"ridge of {label}", label, f"mean of {label}"]
    assert [c.kind for c in found] == ["ridge", "unet", "mean"]
    assert found[2].folds[0].predictor is found[2].folds[0].floors["mean"]
    assert [c.folds[0].folder for c in found] == [None, checkpoint, None]


@pytest.mark.parametrize("models", [["mean"], ["mean", "ridge"]])
def test_floors_need_a_checkpoint(models):
    with pytest.raises(
        UsageError, match=rf"names {', '.join(models)}; .* at least one checkpoint"
    ):
        load_contenders(models, device="cpu")


def test_a_model_is_given_once(checkpoint):
    with pytest.raises(UsageError, match="more than once"):
        load_contenders([str(checkpoint), f"{checkpoint}/"], device="cpu")


def test_a_folder_without_checkpoint(tmp_path):
    with pytest.raises(InputError, match="a checkpoint was looked for in"):
        load_contenders([str(tmp_path)], device="cpu")


def test_a_cross_validation_answers_in_turn(write_checkpoint, tmp_path):
    """Each fold's checkpoint has seen one phantom, the other answers for it."""
    for fold, seed in ((1, 11), (2, 12)):
        training = {"seed": seed, "data": PHANTOMS}
        write_checkpoint(tmp_path / "cv" / f"fold-{fold}", training=training)
    write_checkpoint(tmp_path / "cv" / "else")
    (contender,) = load_contenders([str(tmp_path / "cv")], device="cpu")
    assert contender.name == "tiny-1, 2 folds"
    first, second = contender.folds
    assert contender.for_participant("sub-phantom11x0000") is second
    assert contender.for_participant("sub-phantom12x0000") is first
    assert contender.for_participant("sub-phantom13x0000") is first


def test_a_checkpoint_without_the_floor(write_checkpoint, tmp_path, make_card):
    from relad_bids.model.checkpoint import save_checkpoint

    card = make_card(kind="mean", architecture={"n_tracers": 2})
    save_checkpoint(tmp_path, build_model("mean", {"n_tracers": 2}, shape=card.shape), card)
    with pytest.raises(UsageError, match="carries none"):
        load_contenders([str(tmp_path), "ridge"], device="cpu")
    np.testing.assert_equal(len(load_contenders([str(tmp_path), "mean"], device="cpu")), 2)
