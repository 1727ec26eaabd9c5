"""What is decided and said of corrections, scales and second references before a run."""

from dataclasses import replace

import pytest
from toys import tiny_card, tiny_config, tiny_measured, tiny_unit

from relad_bids.core.columns import MEASURED_STATEMENT
from relad_bids.masks import CENTAUR, CENTILOID
from relad_bids.pet.sharpness import Sharpness
from relad_bids.records import Sidecars, pet_context
from relad_bids.records_measured import (
    measured_context,
    measured_flags,
    measured_sidecars,
    measured_text,
)
from relad_bids.records_secondary import (
    masks_of,
    measured_pvc,
    pvc_columns,
    synthetic_pvc,
    table_facts,
    training_fwhm,
)

KNOWN = tiny_card(sha256="ab" * 32, training={"FullWidthHalfMaximum": 6})
UNKNOWN = tiny_card(sha256="ab" * 32)
SHARP = Sharpness((5.0, 5.0, 6.5), "FullWidthHalfMaximum")


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


@pytest.fixture
def pet(config):
    return replace(tiny_measured(config), sharpness=SHARP)


def test_nothing_is_corrected_unasked(config, pet):
    assert measured_pvc(pet, config) == {}
    assert synthetic_pvc(KNOWN, config) == {}
    assert pvc_columns({}, MEASURED_STATEMENT) == {}


def test_a_synthetic_image_has_the_psf_of_its_training_and_no_other(config):
    asked = replace(config, pvc="gtm", pvc_fwhm=4.5)
    assert training_fwhm(KNOWN) == 6.0
    assert training_fwhm(tiny_card(training={"data": {"FullWidthHalfMaximum": 8.0}})) == 8.0
    assert training_fwhm(tiny_card(training={"data": {"FullWidthHalfMaximum": None}})) is None
    assert synthetic_pvc(KNOWN, asked) == {"method": "gtm", "fwhm_mm": 6.0}
    refused = synthetic_pvc(UNKNOWN, asked)
    assert set(refused) == {"reason"}
    assert "the card of tiny does not say FullWidthHalfMaximum" in refused["reason"]


@pytest.mark.parametrize(
    ("sharpness", "asked", "width"),
    [
        (SHARP, {}, (92.25 / 3) ** 0.5),
        (SHARP, {"pvc_fwhm": 7.0}, 7.0),
        (replace(SHARP, target_mm=8.0), {"pet_fwhm": 8.0}, 8.0),
        (Sharpness(), {"pvc_fwhm": 7.0}, 7.0),
        (Sharpness(), {}, None),
    ],
)
def test_a_measured_image_has_the_psf_that_is_known_or_said(config, pet, sharpness, asked, width):
    found = measured_pvc(replace(pet, sharpness=sharpness), replace(config, pvc="rbv", **asked))
    assert found.get("fwhm_mm") == (None if width is None else pytest.approx(width))
    assert ("--pvc-fwhm" in found.get("reason", "")) == (width is None)


def test_a_corrected_row_never_says_that_it_is_not(config):
    made = pvc_columns({"method": "iy", "fwhm_mm": 6.5}, MEASURED_STATEMENT)
    assert (made["pvc"], made["pvc_fwhm_mm"]) == ("IY", 6.5)
    assert "not corrected" in MEASURED_STATEMENT
    assert "not corrected" not in made["statement"]
    assert made["statement"].startswith("Corrected for partial volume (IY, PSF assumed 6.5 mm")
    assert made["statement"].endswith("not for individual diagnosis.")


def test_tables_say_how_sharp_their_image_is(config, pet):
    unit = tiny_unit(config)
    assert measured_context(pet, unit)["fwhm_mm"] == pytest.approx((92.25 / 3) ** 0.5)
    assert pet_context(unit, "pib", KNOWN, config)["fwhm_mm"] == 6.0
    assert pet_context(unit, "pib", UNKNOWN, config)["fwhm_mm"] is None


def test_smoothing_is_told_where_a_reader_looks(config, pet):
    smoothed = replace(pet, sharpness=replace(SHARP, target_mm=8.0))
    made = measured_sidecars(smoothed, tiny_unit(config), UNKNOWN, config)
    for key in ("measured_mni", "measured_t1w", "measured_kinpar"):
        assert made[key]["FullWidthHalfMaximum"] == 8.0
        assert made[key]["NativeFullWidthHalfMaximum"] == [5.0, 5.0, 6.5]
        assert made[key]["SmoothedBeforeInterpolation"] is True
    assert "FullWidthHalfMaximum" not in made["petref"]  # the mean that is registered is as it was
    assert "resolution 5 x 5 x 6.5 mm by FullWidthHalfMaximum, smoothed to 8 mm" in measured_text(
        smoothed
    )


def test_a_scan_that_is_less_sharp_is_flagged(pet):
    worse = replace(pet, sharpness=replace(SHARP, flags=("lowres",)))
    assert "lowres" in measured_flags(worse)
    assert "less sharp than --pet-fwhm and left as it is" in measured_text(worse)


@pytest.fixture
def folders(tmp_path):
    made = {}
    for scale in (CENTILOID, CENTAUR):
        made[scale.family] = tmp_path / scale.family
        made[scale.family].mkdir()
        for stem in (*scale.targets.values(), *scale.references.values()):
            (made[scale.family] / f"{stem.replace('?', '2')}.nii").touch()
    return {"centiloid_dir": made["centiloid"], "centaur_dir": made["centaur"]}


@pytest.mark.parametrize(
    ("tracer", "first"),
    [("pib", "centiloid-ctx"), ("florbetapir", "centiloid-ctx"), ("mk6240", "centaur-universal"),
     ("pbr28", None), ("fdg", None)],
)  # fmt: skip
def test_each_tracer_has_the_masks_of_its_scale(config, folders, tracer, first):
    masks = masks_of(tracer, replace(config, **folders))
    assert next(iter(masks), None) == first
    assert masks_of(tracer, config) == {}


def test_the_reason_of_a_missing_value_stands_beside_the_table(config, folders, pet):
    told = table_facts("pib", {}, config)
    assert "--centiloid-voi-dir" in told["NoScale"]
    with_masks = table_facts("pib", {}, replace(config, **folders))
    assert "NoScale" not in with_masks
    assert "uncalibrated" in with_masks["Scale"]["Calibration"]
    unknown = {"reason": "nobody knows"}
    assert table_facts("pib", unknown, config)["PartialVolumeCorrection"] == {
        "Method": "none", "Reason": "nobody knows",
    }  # fmt: skip
    assert table_facts("pbr28", {}, config)["SecondReferenceRegions"] == ["global-brain"]
    made = Sidecars(tiny_unit(config), UNKNOWN, replace(config, pvc="gtm")).pet("pib")
    assert made["kinpar"]["PartialVolumeCorrection"]["Method"] == "none"
