import json

import pytest
import torch
from safetensors.torch import load_file

from relad_bids.cli.workshop import main
from relad_bids.model.checkpoint import load_checkpoint
from relad_bids.model.networks.diffusion_unet import PUBLISHED, ConditionalDiffusionUNet
from relad_bids.model.published import official_name
from relad_bids.model.registry import KINDS

RECIPE = """
name = "toy"
version = "2"
statement = "For tests."
seed = 4
[grid]
space = "MNI152NLin2009cAsym"
shape = [16, 20, 18]
affine = [[10, 0, 0, -75], [0, 9, 0, -105], [0, 0, 9, -75], [0, 0, 0, 1]]
[architecture]
n_sequences = 2
n_tracers = 2
channels = [2, 4]
n_residual_units = 1
rank = 2
[suvr_max]
pib = 4.0
pbr28 = 3.0
[data]
n_start = 5
n_train = 2
n_validation = 1
[train]
steps = 2
batch_size = 1
workers = 0
precision = "fp32"
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_models_are_listed(capsys):
    assert main(["models", "list"]) == 0
    kinds = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert "unet" in kinds


def test_kinds_alone_are_listed_for_scripts(capsys):
    assert main(["models", "list", "--kinds"]) == 0
    assert capsys.readouterr().out.splitlines() == list(KINDS)


def test_an_unknown_file_is_imported_only_on_trust(capsys, tmp_path):
    """Random weights in the official layout: the command says what it found, then takes it."""
    file = tmp_path / "epoch7.pt"
    weights = {
        official_name(name): tensor
        for name, tensor in ConditionalDiffusionUNet(**PUBLISHED).unet.state_dict().items()
    }
    torch.save({"model_state_dict": weights, "epoch": 7}, file)
    assert main(["models", "import", str(file), str(tmp_path / "out")]) == 65
    assert "--trust accepts it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["models", "import", str(file), str(tmp_path / "out"), "--trust"]) == 0
    out = capsys.readouterr().out
    assert "rela-unverified-epoch7+" in out
    assert "not known to be the published ones" in out
    assert main(["models", "show", str(tmp_path / "out")]) == 0


def test_a_checkpoint_is_shown_as_its_card(capsys, checkpoint):
    assert main(["models", "show", str(checkpoint)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny"


def test_a_checkpoint_that_is_not_there(capsys, tmp_path):
    assert main(["models", "show", str(tmp_path)]) == 66
    assert "relad: a checkpoint was looked for in" in capsys.readouterr().err


def test_a_recipe_makes_the_same_checkpoint_twice(capsys, recipe, tmp_path):
    """The seed of the recipe decides, not what ran before in the process."""
    for name, seed in (("a", 1), ("b", 2)):
        torch.manual_seed(seed)
        assert main(["train", str(recipe), str(tmp_path / name), "--threads", "1"]) == 0
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    network, card = load_checkpoint(tmp_path / "a")
    assert network.start.prior.shape == (2, 16, 20, 18)
    assert [(t.name, t.index, t.suvr_max) for t in card.tracers] == [
        ("pib", 0, 4.0), ("pbr28", 1, 3.0),
    ]  # fmt: skip
    assert card.missing_flair
    assert card.statement == "For tests."
    assert card.training["optimisation"]["steps"] == 2
    skills = card.validation["skill_over_training_mean"]
    assert skills.keys() == {"unet", "regression"}
    assert all(of.keys() == {"pib", "pbr28"} for of in skills.values())
    assert f"{tmp_path / 'a'}: {card.label}; skill" in capsys.readouterr().out


def test_a_recipe_that_cannot_be_used(capsys, recipe, tmp_path):
    recipe.write_text(RECIPE.replace("steps = 2", "stepps = 2"))
    assert main(["train", str(recipe), str(tmp_path / "out")]) == 64
    assert "unknown keys: train.stepps" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
