"""The paragraph for a paper, from settings and scans: each choice is told, and what it was of."""

from dataclasses import replace
from pathlib import Path

import pytest
from toys import tiny_card, tiny_config, tiny_measured, tiny_unit

from relad_bids.masks import CENTILOID
from relad_bids.pet.sharpness import Sharpness
from relad_bids.records_methods import methods
from relad_bids.sessions import Atlas

CARD = tiny_card()
KNOWN = Sharpness((6.0, 6.0, 6.0), "FullWidthHalfMaximum")


def atlas(name="S"):
    return Atlas(Path("/x"), "MNI152NLin6Asym", {"atlas": name}, ((1, "a"), (2, "b")), "bids:x")


@pytest.fixture
def said(tmp_path):
    def make(*, card=CARD, sharpness=KNOWN, suit=None, atlases=(), synthetic=False, **asked):
        config = replace(tiny_config(tmp_path), **asked)
        pet = replace(tiny_measured(config), sharpness=sharpness)
        unit = tiny_unit(config, measured=[pet], **({} if synthetic else {"tracers": ()}))
        return methods(replace(unit, atlases=tuple(atlases), suit=suit), card, config)

    return make


def test_nothing_is_told_that_was_not_done(said):
    text = said()
    for word in ("Rousset", "Joshi", "SUIT", "Centiloid", "warped from their template", "network"):
        assert word not in text
    assert "No partial volume correction was made." in text


def test_the_correction_and_its_width(said):
    assert "FWHM was taken as 6 mm (measured pib)" in said(pvc="gtm")
    assert "FWHM was taken as 7 mm (measured pib)" in said(pvc="gtm", pvc_fwhm=7.0)
    assert "Thomas" in said(pvc="rbv")


def test_a_synthetic_image_of_unknown_resolution_has_its_reason(said):
    text = said(pvc="gtm", synthetic=True)
    assert "No correction was made of synthetic PET: a synthetic image has the resolution" in text
    assert "FullWidthHalfMaximum" in text
    card = tiny_card(training={"FullWidthHalfMaximum": 6.5})
    text = said(pvc="gtm", synthetic=True, card=card)
    assert "6 mm (measured pib) and 6.5 mm (synthetic PET)" in text
    assert "No correction" not in text


def test_smoothing_to_a_common_resolution(said):
    smoothed = replace(KNOWN, target_mm=8.0)
    assert "FWHM 8 mm (pib)" in said(sharpness=smoothed, pet_fwhm=8.0)
    worse = replace(KNOWN, flags=("lowres",))
    assert "smoothed" not in said(sharpness=worse, pet_fwhm=5.0)


@pytest.mark.parametrize(("cut", "told"), [("gm", True), ("none", False)])
def test_added_atlases(said, cut, told):
    text = said(atlases=[atlas(), atlas("T")], atlas_cut=cut)
    assert "atlas-S (2 regions) and atlas-T (2 regions), warped from their template" in text
    assert ("their template and cut by the participant's grey matter" in text) is told


def test_suit_where_it_drew_a_reference_region(said):
    """That of PiB is the whole cerebellum."""
    assert "SUIT" not in said(suit=atlas("SUIT"))
    text = said(suit=atlas("SUIT"), reference={"pib": "cerebellum-inferior-gm"})
    assert "SUIT (Diedrichsen" in text


def test_a_scale_where_its_masks_were_given(said, tmp_path):
    folder = tmp_path / "voi"
    folder.mkdir()
    for stem in (*CENTILOID.targets.values(), *CENTILOID.references.values()):
        (folder / f"{stem.replace('?', '2')}.nii").touch()
    assert "Centiloid (Klunk" in said(centiloid_dir=folder)


def test_how_it_was_laid_on_the_t1w(said):
    assert "as the headers say" in said(pet2anat="identity")
    assert "as the headers say" not in said()
