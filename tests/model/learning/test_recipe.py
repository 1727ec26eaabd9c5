from pathlib import Path

import pytest

import relad_bids
from relad_bids.errors import ConfigError, InputError
from relad_bids.model.learning.recipe import read_recipe
from relad_bids.model.registry import build_model

RECIPE = """
name = "toy"
version = "1"
statement = "For tests."
seed = 4
[grid]
space = "MNI152NLin2009cAsym"
shape = [8, 10, 12]
affine = [[10, 0, 0, -35], [0, 9, 0, -50], [0, 0, 8, -40], [0, 0, 0, 1]]
[architecture]
n_sequences = 2
n_tracers = 2
channels = [2, 4]
n_residual_units = 1
rank = 2
[suvr_max]
pib = 4.0
pbr28 = 3.0
[train]
steps = 10
precision = "fp32"
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return write


def test_values_and_defaults(write):
    recipe = read_recipe(write(RECIPE))
    assert recipe.grid.shape == (8, 10, 12)
    assert recipe.grid.affine[1] == (0, 9, 0, -50)
    assert recipe.train.steps == 10
    assert recipe.train.batch_size == 2
    assert recipe.data.preset == "strong"
    assert recipe.kind == "unet"


def test_order_of_the_tracers_is_that_of_the_file(write):
    assert list(read_recipe(write(RECIPE)).suvr_max) == ["pib", "pbr28"]


def test_every_unknown_key_is_named(write):
    text = RECIPE.replace("seed = 4", "sed = 4").replace("steps = 10", "step = 10")
    text += "[mri]\nlower = 1\n[data]\nn = 3\n"
    with pytest.raises(
        ConfigError, match=r"unknown keys: data\.n, mri\.lower, sed, train\.step\.$"
    ):
        read_recipe(write(text))


def test_every_bad_value_is_named(write):
    text = RECIPE.replace("steps = 10", "steps = 0\nema = 1.0").replace("pib = 4.0", "pib = 0")
    text = text.replace("seed = 4", 'seed = 4\nkind = "gan"')
    text += "[mri]\nlower_percentile = 70\nupper_percentile = 60\n"
    with pytest.raises(ConfigError, match=r"recipe\.toml") as caught:
        read_recipe(write(text))
    found = str(caught.value)
    assert "train: steps 0 is below 1" in found
    assert "train: ema 1.0 is not in [0, 1)" in found
    assert "mri: need 0 <= lower_percentile < upper_percentile <= 100, got 70, 60" in found
    assert "kind 'gan' is not one of mean, ridge, unet," in found
    assert "suvr_max.pib is 0, must be above 0" in found


def test_no_tracer(write):
    text = RECIPE.replace("pib = 4.0\npbr28 = 3.0\n", "")
    with pytest.raises(ConfigError, match="suvr_max names no tracer"):
        read_recipe(write(text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "toy"', "", "'name'"),
        ("shape = [8, 10, 12]", "", "'shape'"),
        ("steps = 10", 'steps = "ten"', "'str' and 'int'"),
    ],
)
def test_a_key_is_missing_or_of_another_type(write, old, new, message):
    with pytest.raises(ConfigError, match=f"recipe.toml: .*{message}"):
        read_recipe(write(RECIPE.replace(old, new)))


def test_not_toml(write):
    with pytest.raises(ConfigError, match="is not TOML"):
        read_recipe(write("name: toy"))


def test_not_there(tmp_path):
    with pytest.raises(InputError, match=r"recipe .*gone\.toml was looked for and is not there"):
        read_recipe(tmp_path / "gone.toml")


def test_recipe_of_the_bundled_checkpoint_can_be_used():
    recipe = read_recipe(Path(relad_bids.__file__).parent / "data" / "demo_recipe.toml")
    assert recipe.architecture["n_tracers"] == len(recipe.suvr_max)
    network = build_model(recipe.kind, recipe.architecture, shape=recipe.grid.shape)
    assert network.start.prior.shape == (len(recipe.suvr_max), *recipe.grid.shape)
