from pathlib import Path

import pytest
from toys import tiny_card

import relad_bids
from relad_bids.core.intensity import MRIContract
from relad_bids.errors import ConfigError, InputError
from relad_bids.model.card import read_card
from relad_bids.model.learning.recipe import PairData, WatchRecipe, read_recipe
from relad_bids.model.learning.training import TrainConfig
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


PAIRS = """
[data]
source = "derivatives"
root = "out"
"""


def test_a_folder_is_relative_to_the_recipe(write, tmp_path):
    recipe = read_recipe(
        write(RECIPE + PAIRS.replace('"out"', '["out", "/data/b"]\nparticipants_tsv = "../p.tsv"'))
    )
    assert recipe.data.root == (tmp_path / "out", Path("/data/b"))
    assert recipe.data.participants_tsv == tmp_path / ".." / "p.tsv"
    assert read_recipe(write(RECIPE + PAIRS)).data.root == (tmp_path / "out",)


def test_participants_go_with_and_without_sub(write):
    text = PAIRS + 'leave_out = ["01", "sub-02"]\ntest_participants = ["sub-3"]\n'
    data = read_recipe(write(RECIPE + text)).data
    assert (data.leave_out, data.test_participants) == (("sub-01", "sub-02"), ("sub-3",))


def test_one_name_is_a_list_of_one(write):
    text = PAIRS + 'leave_out = "01"\nstratify = "sex"\ngroups = "participant_id"\n'
    data = read_recipe(write(RECIPE + text)).data
    assert (data.leave_out, data.stratify) == (("sub-01",), ("sex",))
    assert data.groups == ("participant_id",)


@pytest.mark.parametrize("name", ["data", "train", "suvr_max", "sampler", "objective"])
def test_a_table_is_a_table(write, name):
    text = RECIPE.replace(f"[{name}]", "[other]")
    with pytest.raises(ConfigError, match=rf"toml: {name} must be a table, such as \[{name}\]\.$"):
        read_recipe(write(f"{name} = 3\n{text}"))


def test_early_stopping_is_for_pairs_unless_it_is_said(write):
    assert read_recipe(write(RECIPE)).watch is None
    assert not read_recipe(write(RECIPE)).watches
    assert read_recipe(write(RECIPE + PAIRS)).watch == WatchRecipe(every=100, patience=10)
    for text in (RECIPE, RECIPE + PAIRS):
        assert read_recipe(write(text + "[watch]\nevery = 7\n")).watch.every == 7
        off = read_recipe(write(text + "[watch]\nevery = 0\n"))
        assert not off.watches


def test_unknown_keys_are_those_of_the_source(write):
    with pytest.raises(ConfigError, match=r"unknown keys: data\.n_start, watch\.each\.$"):
        read_recipe(write(RECIPE + PAIRS + "n_start = 5\n[watch]\neach = 3\n"))
    with pytest.raises(ConfigError, match=r"unknown keys: data\.root\.$"):
        read_recipe(write(RECIPE + PAIRS.replace('source = "derivatives"', "")))
    with pytest.raises(ConfigError, match=r"data\.source 'xnat' is not one of phantom, deriv"):
        read_recipe(write(RECIPE + PAIRS.replace('"derivatives"', '"xnat"')))
    with pytest.raises(ConfigError, match=r"unknown keys: class_numbers\.$"):
        read_recipe(write("class_numbers = [1, 2]\n" + RECIPE))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("validation_share = 0.0", "validation_share 0 is not between 0 and 1"),
        ("start_share = 1.0", "start_share 1 is not between 0 and 1"),
        ("test_share = 1.0", "test_share 1 is not in [0, 1)"),
        ("test_share = -0.1", "test_share -0.1 is not in [0, 1)"),
        ("n_folds = 1", "n_folds 1 is neither 0 nor at least 2"),
        ("n_folds = -2", "n_folds -2 is neither 0 nor at least 2"),
        ("n_folds = 2\ntest_share = 0.2", "n_folds and test_share both say who is tested"),
        ('groups = ["site"]', "groups must hold participant_id: a person is never cut"),
    ],
)
def test_bad_ways_to_deal_are_named(write, line, problem):
    with pytest.raises(ConfigError, match=r"recipe\.toml") as caught:
        read_recipe(write(RECIPE + PAIRS + line + "\n[watch]\npatience = -1\nevery = -1\n"))
    assert f"data: {problem}" in str(caught.value)
    assert "watch: every -1 is below 0\n  watch: patience -1 is below 0" in str(caught.value)


def test_bounds_of_dealing_are_fine(write):
    lines = "validation_share = 0.01\nstart_share = 0.99\ntest_share = 0.0\nn_folds = 2\n"
    assert read_recipe(write(RECIPE + PAIRS + lines)).data.n_folds == 2


@pytest.mark.parametrize("lines", ["", "root = []\n", "root = 3\n"])
def test_a_folder_is_needed(write, lines):
    with pytest.raises(ConfigError, match=r"'root'|root names no folder|int"):
        read_recipe(write(RECIPE + PAIRS.replace('root = "out"\n', lines)))


@pytest.mark.parametrize("name", ["n_start", "n_train", "n_validation"])
def test_phantoms_are_at_least_one(write, name):
    assert getattr(read_recipe(write(RECIPE + f"[data]\n{name} = 1\n")).data, name) == 1
    with pytest.raises(ConfigError, match="data: n_start, n_train and n_validation must be at"):
        read_recipe(write(RECIPE + f"[data]\n{name} = 0\n"))


def test_an_embedding_may_have_rows_to_spare(write):
    """The official layout: four classes for three tracers; fewer than tracers are too few."""
    for rows, fits in ((3, True), (2, True), (1, False)):
        text = RECIPE.replace("n_tracers = 2", f"n_tracer_classes = {rows}")
        if fits:
            assert read_recipe(write(text)).n_classes == 2
            continue
        with pytest.raises(ConfigError, match=r"n_tracers is None, suvr_max names 2 tracers"):
            read_recipe(write(text))


TUNE = """
name = "tuned"
version = "2"
statement = "For tests."
"""


def test_fine_tuning_takes_all_from_the_card(write):
    card = tiny_card(mri_contract=MRIContract(upper_percentile=98.0))
    recipe = read_recipe(write(TUNE), card)
    assert (recipe.name, recipe.kind) == ("tuned", "unet")
    assert recipe.architecture == card.architecture
    assert (recipe.grid.space, recipe.grid.shape) == (card.space, card.shape)
    assert recipe.grid.affine == card.affine
    assert recipe.mri == card.mri_contract
    assert recipe.tracers == card.tracers
    assert recipe.n_classes == 3
    assert (recipe.diffusion, recipe.sampler) == (None, None)


def test_a_diffusion_is_that_of_the_card_a_sampler_may_be_another(write):
    card = tiny_card(
        kind="ddpm", diffusion={"name": "cosine", "n_steps": 10}, sampler={"name": "ddim"}
    )
    assert read_recipe(write(TUNE), card).sampler == {"name": "ddim"}
    other = read_recipe(write(TUNE + '[sampler]\nname = "ancestral"\n'), card)
    assert (other.sampler, other.diffusion) == ({"name": "ancestral"}, card.diffusion)


def test_some_of_the_tracers_keep_their_class_numbers(write):
    """Whatever their order in the recipe."""
    recipe = read_recipe(write(TUNE + "[suvr_max]\npib = 4.0\nflortaucipir = 5\n"), tiny_card())
    assert [(t.name, t.index, t.suvr_max) for t in recipe.tracers] == [
        ("flortaucipir", 0, 5.0), ("pib", 2, 4.0),
    ]  # fmt: skip
    assert list(recipe.suvr_max) == ["flortaucipir", "pib"]
    assert recipe.n_classes == 3


def test_what_agrees_with_the_card_may_be_said(write):
    text = """
    kind = "unet"
    [grid]
    shape = [16, 20, 24]
    affine = [[10, 0, 0, -75], [0, 9, 0, -105], [0, 0, 8, -75], [0, 0, 0, 1]]
    [architecture]
    channels = [4, 8]
    [mri]
    lower_percentile = 0.1
    """
    assert read_recipe(write(TUNE + text), tiny_card()).grid.space == "MNI152NLin2009cAsym"


def test_every_contradiction_of_the_card_is_named(write):
    text = """
    kind = "ridge"
    [grid]
    shape = [16, 20, 23]
    [architecture]
    channels = [4, 8, 16]
    rank = 2
    depth = 1
    [suvr_max]
    pib = 4.5
    fdg = 2.0
    [mri]
    upper_percentile = 99.0
    [diffusion]
    n_steps = 3
    """
    with pytest.raises(
        ConfigError, match=r"contradicts the checkpoint tiny-1\+ that is"
    ) as caught:
        read_recipe(write(TUNE + text), tiny_card())
    assert str(caught.value).splitlines()[1:-1] == [
        "  kind is ridge, the checkpoint has unet",
        "  grid.shape is [16, 20, 23], the checkpoint has [16, 20, 24]",
        "  architecture.channels is [4, 8, 16], the checkpoint has [4, 8]",
        "  architecture.depth is 1, the checkpoint has None",
        "  suvr_max.pib is 4.5, the checkpoint has 4.0",
        "  suvr_max.fdg is 2.0, the checkpoint has None",
        "  mri.upper_percentile is 99.0, the checkpoint has 99.9",
        "  diffusion is {'n_steps': 3}, the checkpoint has None",
    ]


def test_a_scale_of_each_image_is_not_fine_tuned(write):
    with pytest.raises(ConfigError, match=r"has the PET contract minmax, in which SUVr has no"):
        read_recipe(write(TUNE), tiny_card(pet_contract="minmax"))


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
    assert network.linear_part().prior.shape == (len(recipe.suvr_max), *recipe.grid.shape)


DATA = Path(relad_bids.__file__).parent / "data"


def test_example_for_pairs_can_be_used():
    recipe = read_recipe(DATA / "pairs_recipe.toml")
    assert isinstance(recipe.data, PairData)
    assert recipe.data.n_folds == 5
    assert recipe.watches
    network = build_model(recipe.kind, recipe.architecture, shape=recipe.grid.shape)
    assert network.linear_part().prior.shape == (2, *recipe.grid.shape)


def test_example_for_fine_tuning_goes_with_the_bundled_checkpoint():
    card = read_card(DATA / "checkpoint" / "model.json")
    recipe = read_recipe(DATA / "finetune_recipe.toml", card)
    assert [(t.name, t.index) for t in recipe.tracers] == [("pib", card.tracer("pib").index)]
    assert recipe.grid.shape == card.shape
    assert recipe.train.learning_rate < TrainConfig().learning_rate
