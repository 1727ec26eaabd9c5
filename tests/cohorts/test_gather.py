from pathlib import Path

import numpy as np
import pytest
from derivatives import BRAIN, write_people

from relad_bids.cohorts.gather import gather_pairs, gather_phantoms, grid_of
from relad_bids.cohorts.phantoms import VALIDATION_SEED, PhantomMaker
from relad_bids.errors import InputError
from relad_bids.model.learning.recipe import GridRecipe, PairData, PhantomData, Recipe

PEOPLE = [f"sub-{number:02}" for number in range(1, 16)]


def recipe_of(**changes):
    affine = tuple(map(tuple, BRAIN.affine.tolist()))
    grid = GridRecipe(space="MNI152NLin2009cAsym", shape=BRAIN.shape, affine=affine)
    settings = {
        "name": "toy", "version": "1", "statement": "", "seed": 5, "grid": grid,
        "architecture": {"n_tracers": 2}, "suvr_max": {"pib": 4.0, "flortaucipir": 5.0},
    }  # fmt: skip
    return Recipe(**{**settings, **changes})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    lacks = {"sub-04": ["pib"], "sub-15_ses-a": ["flortaucipir"]}
    write_people(folder, [*PEOPLE[:-1], "sub-15_ses-a", "sub-15_ses-b"], lacks=lacks)
    return folder


def gather(root, folder, *, recipe=None, fold=None, start_share=0.5, **settings):
    data = PairData(root=(root,), **settings)
    return gather_pairs(
        recipe or recipe_of(), data, folder=folder, resolution="14", fold=fold,
        start_share=start_share,
    )  # fmt: skip


def test_phantoms_of_the_sides_are_others(tmp_path):
    """Start and train are numbers of one seed, validation is another seed."""
    recipe, data = recipe_of(), PhantomData(n_start=2, n_train=3, n_validation=1)
    cohorts = gather_phantoms(recipe, data, folder=tmp_path, start=True)
    assert list(cohorts.start.indices) == [0, 1]
    assert list(cohorts.train.indices) == [2, 3, 4]
    assert cohorts.learned is cohorts.start
    assert cohorts.judges is cohorts.validation
    made = {
        seed: PhantomMaker(BRAIN, "strong", seed, 1.0, recipe.suvr_max, recipe.mri)
        for seed in (5, 5 + VALIDATION_SEED)
    }
    for side, seed, index in (
        (cohorts.start, 5, 0), (cohorts.train, 5, 2), (cohorts.validation, 5 + VALIDATION_SEED, 0),
    ):  # fmt: skip
        np.testing.assert_allclose(side[0].pet, made[seed](index).pet, atol=2.5e-4)
    assert cohorts.facts["source"] == "phantom"
    assert cohorts.asked == "1 phantoms of another seed, template space"


def test_phantoms_for_fine_tuning_start_nobody(tmp_path):
    data = PhantomData(n_start=2, n_train=3, n_validation=1)
    cohorts = gather_phantoms(recipe_of(), data, folder=tmp_path, start=False)
    assert len(cohorts.start) == 0
    assert list(cohorts.train.indices) == [0, 1, 2]
    assert cohorts.learned is cohorts.train


def test_sessions_go_where_their_people_are(root, tmp_path):
    cohorts = gather(root, tmp_path, test_participants=("sub-15",))
    sides = (cohorts.start, cohorts.train, cohorts.validation)
    assert sorted(place for side in sides for place in side.indices) == list(range(14))
    assert list(cohorts.test.indices) == [14, 15]
    assert cohorts.judges is cohorts.test
    assert cohorts.sides.test == ("sub-15",)
    assert [sample.available.tolist() for sample in map(cohorts.test.__getitem__, (0, 1))] == [
        [True, False], [True, True],
    ]  # fmt: skip
    assert cohorts.facts["sessions"]["test"] == 2
    assert cohorts.facts["participants"]["test"] == 1
    assert cohorts.facts["scans"]["flortaucipir"]["test"] == 1
    assert cohorts.facts["scans"]["pib"]["test"] == 2
    assert sum(cohorts.facts["scans"]["pib"].values()) == 15
    assert cohorts.lacks.keys() == {"sub-04", "sub-15_ses-a"}


def test_facts_hold_no_path_and_no_label(root, tmp_path):
    cohorts = gather(
        root, tmp_path, leave_out=("sub-03",), test_participants=("sub-15",),
        participants_tsv=Path("/data/participants.tsv"),
    )  # fmt: skip
    assert "sub-" not in str(cohorts.facts)
    assert "/" not in str(cohorts.facts)
    assert cohorts.facts["reference_regions"] == {
        "pib": "cerebellum-whole", "flortaucipir": "cerebellum-whole",
    }  # fmt: skip


def test_whom_the_figures_are_of_is_said(root, tmp_path):
    asked = [
        gather(root, tmp_path, **settings).asked
        for settings in ({}, {"test_share": 0.15}, {"n_folds": 7, "fold": 3})
    ]
    assert asked == [
        "2 participants held out, on whom early stopping looked",
        "2 participants held out, who had no say in anything",
        "2 participants of fold 3 of 7, who had no say in anything",
    ]


def test_identity_is_of_sides_and_files(root, tmp_path):
    first = gather(root, tmp_path)
    assert gather(root, tmp_path / "elsewhere").identity == first.identity
    others = [
        gather(root, tmp_path, seed=1),
        gather(root, tmp_path, start_share=0),
        gather(root, tmp_path, recipe=recipe_of(suvr_max={"pib": 4.0, "flortaucipir": 4.0})),
    ]
    assert len({first.identity, *(other.identity for other in others)}) == 4


def test_tracers_stand_in_the_places_of_their_classes(root, tmp_path):
    """Of a checkpoint of four tracers two are learned, in an order that is not the network's."""
    plain = gather(root, tmp_path).start[0]
    recipe = recipe_of(architecture={"n_tracers": 4}, class_numbers=(3, 1))
    placed = gather(root, tmp_path, recipe=recipe).start[0]
    assert placed.pet.shape == (4, *BRAIN.shape)
    np.testing.assert_array_equal(placed.pet[[3, 1]], plain.pet)
    assert (placed.pet[[0, 2]] == -1).all()
    assert placed.available[[3, 1]].tolist() == plain.available.tolist()
    assert not placed.available[[0, 2]].any()
    np.testing.assert_array_equal(placed.mri, plain.mri)


def test_the_label_of_the_names_is_the_recipes_if_it_says_one(root, tmp_path):
    with pytest.raises(InputError, match=r"space-MNI152NLin2009cAsym_res-13"):
        gather(root, tmp_path, resolution="13")


def test_grid_of_a_recipe():
    grid = grid_of(recipe_of())
    assert grid.shape == (13, 14, 12)
    np.testing.assert_array_equal(grid.affine, BRAIN.affine)
