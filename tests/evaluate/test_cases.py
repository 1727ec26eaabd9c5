import numpy as np
import pytest
from toys import tiny_config, tiny_unit

from relad_bids.cohorts.phantoms import PhantomMaker
from relad_bids.core.intensity import suvr_to_network
from relad_bids.evaluate.cases import Case
from relad_bids.evaluate.phantoms import phantom_cases

TOP = {"pib": 5.0, "pbr28": 4.0}


def test_a_synthesis_has_the_seed_it_has_in_the_app(tmp_path):
    unit = tiny_unit(tiny_config(tmp_path), subject="07", session="b")
    case = Case("07", "b", ("pib",), images=lambda: None)
    assert case.label == unit.label
    assert case.seed(5, "pib") == unit.seed(5, "pib")
    assert case.seed(5, "pib") != case.seed(5, "pbr28")


def test_phantoms_are_those_of_the_training(card):
    """What a network was trained on, and what it is asked, come from one phantom."""
    made = PhantomMaker(card.grid, "strong", 6, 1.0, TOP, card.mri_contract)(2)
    (case,) = phantom_cases(card.grid, preset="strong", seed=6, indices=[2], tracers=list(TOP))
    images = case.images()
    np.testing.assert_array_equal(images.mri(card), made.mri)
    np.testing.assert_array_equal(images.mask, made.mask)
    for position, (name, top) in enumerate(TOP.items()):
        np.testing.assert_array_equal(
            suvr_to_network(images.suvr[name], suvr_max=top), made.pet[position]
        )
    assert case.participant_id == "sub-phantom6x0002"
    assert 50 <= case.covariates["age"] <= 92
    assert case.covariates["female"] in (0, 1)


def test_the_people_of_all_presets_are_the_same(card):
    """And so are their labels: whoever was learned from in one is known in the others."""
    strong, null = (
        phantom_cases(card.grid, preset=preset, seed=1, indices=[0], tracers=["pib"])[0]
        for preset in ("strong", "null")
    )
    assert strong.label == null.label
    assert strong.covariates == null.covariates


def test_a_tracer_without_phantoms_is_left_out(card):
    (case,) = phantom_cases(
        card.grid, preset="null", seed=1, indices=[0], tracers=["fdg", "pbr28"]
    )
    assert case.tracers == ("pbr28",)
    assert list(case.images().suvr) == ["pbr28"]


def test_a_missing_flair_is_shown_as_in_the_app(make_person, card):
    from dataclasses import replace

    images = replace(make_person(1, 1.3).images(), flair=None)
    assert (images.mri(card)[1] == -1).all()
    assert images.mri(card)[0].max() == pytest.approx(1)
