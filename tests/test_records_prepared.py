import json
from dataclasses import replace
from pathlib import Path

import pytest
from toys import tiny_card, tiny_config, tiny_unit

from relad_bids.core.qc import QC_COLUMNS
from relad_bids.core.run_quality import RunQuality
from relad_bids.records import Sidecars, known_qc, report_facts
from relad_bids.records_prepared import prepared_log
from relad_bids.runs import Choice
from relad_bids.sessions import Derived, Lesion, Reused

CARD = tiny_card(sha256="ab" * 32)
IMAGES = ("t1w_preproc", "brain_mask", "t1w_mni", "mask_mni", "t1w_norm", "dseg")
RAW = "bids:raw:sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


def given(name):
    return Derived(Path(f"/prep/{name}"), "fmriprep", f"bids:fmriprep:{name}")


ALL = Reused(given("t1w"), given("mask"), given("to"), given("from"))


def sidecars(config, unit, source="t1w", keys=IMAGES):
    return Sidecars(unit, CARD, config).anat(keys, source=source)


def test_a_usual_session_says_nothing_of_it(config):
    unit = tiny_unit(config)
    assert not [key for told in sidecars(config, unit).values() for key in told if "Repl" in key]
    row = known_qc(unit, CARD, config)
    names = ("run_choice", "t1w_left", "flair_run_quality", "reused", "lesion_mask")
    assert [row[name] for name in names] == [None] * 5
    assert set(row) <= set(QC_COLUMNS)
    assert prepared_log(unit) == []


def test_each_sidecar_names_the_steps_that_were_replaced(config):
    made = sidecars(config, replace(tiny_unit(config), reused=ALL))
    steps = {key: sorted(told["ReplacedSteps"]) for key, told in made.items()}
    every = ["bias-correction", "brain-mask", "warp"]
    assert steps == {
        "t1w_preproc": every[:1], "brain_mask": every[1:2], "t1w_mni": [every[0], every[2]],
        "mask_mni": every[1:], "t1w_norm": every, "dseg": every[1:],
    }  # fmt: skip
    assert made["t1w_preproc"]["Sources"] == ["bids:fmriprep:t1w"]
    assert made["brain_mask"]["Sources"] == [RAW, "bids:fmriprep:mask"]
    assert "as given by fmriprep; no N4" in made["t1w_preproc"]["Description"]
    assert "/prep" not in json.dumps(made)


def test_the_flair_is_ours_and_went_through_their_warp(config):
    unit = replace(tiny_unit(config), reused=ALL)
    made = sidecars(config, unit, "flair", ("flair_preproc", "flair_norm"))
    assert "ReplacedSteps" not in made["flair_preproc"]
    assert sorted(made["flair_norm"]["ReplacedSteps"]) == ["brain-mask", "warp"]
    assert made["flair_norm"]["Sources"][0].endswith("_FLAIR.nii.gz")


def test_methods_page_log_and_table_say_what_was_taken(config):
    unit = replace(tiny_unit(config), reused=Reused(mask=given("mask")))
    facts = report_facts(unit, CARD, config)
    assert facts["used"]["Taken from derivatives"] == "brain-mask (fmriprep)"
    assert "the brain mask came from the derivatives fmriprep" in facts["methods"]
    assert known_qc(unit, CARD, config)["reused"] == "brain-mask:fmriprep"
    assert prepared_log(unit) == ["brain-mask of fmriprep: /prep/mask"]


def test_a_lesion_is_named_where_it_mattered(config):
    lesion = Lesion(Path("/data/lesion"), "FLAIR", "bids:raw:lesion")
    unit = replace(tiny_unit(config), lesion=lesion)
    made = sidecars(config, unit)
    assert {key for key, told in made.items() if "LesionMask" in told} == {"t1w_norm"}
    assert made["t1w_norm"]["LesionMask"] == "bids:raw:lesion"
    assert known_qc(unit, CARD, config)["lesion_mask"] == "bids:raw:lesion"
    assert "lesion mask" in report_facts(unit, CARD, config)["methods"]
    own = Sidecars(unit, CARD, config).lesion()["lesion_mask"]
    assert (own["Sources"], own["SpatialReference"]) == (["bids:raw:lesion"], "orig")
    assert prepared_log(unit) == ["lesion mask, drawn on the FLAIR: /data/lesion"]


def test_a_choice_among_runs_is_told(config):
    unit = tiny_unit(config)
    other = unit.t1w.with_name("sub-01_ses-a_run-2_T1w.nii.gz")
    figures = (RunQuality(1.0, 0.41234), RunQuality(1.0, 0.5))
    unit = replace(unit, t1w_choice=Choice(unit.t1w, (other,), "quality", figures))
    row = known_qc(unit, CARD, config)
    assert row["run_choice"] == "quality"
    assert row["t1w_left"] == "sub-01/ses-a/anat/sub-01_ses-a_run-2_T1w.nii.gz"
    assert row["t1w_run_quality"] == "1 mm 0.4123;1 mm 0.5000"
    assert row["flair_left"] is None
    (line,) = prepared_log(unit)
    assert line.endswith("best of 2 runs (1 mm 0.4123; 1 mm 0.5000); not used: " + other.name)
    assert "best of 2 runs" in report_facts(unit, CARD, config)["used"]["T1w"]
