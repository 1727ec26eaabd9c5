import numpy as np
import pandas as pd
import pytest

from relad_bids.core.columns import COLUMNS, SYNTHETIC_STATEMENT, complete, dictionary
from relad_bids.core.qc import QC_COLUMNS
from relad_bids.records_tables import table_dictionaries


@pytest.fixture
def table():
    """What ``voi_table`` leaves to be completed, cut to the columns that matter here."""
    return pd.DataFrame(
        {
            "voi": ["metatemporal", "Left-Hippocampus", "striatum"],
            "suvr_mean": [1.2, 1.1, np.nan],
            "flags": [[], ["voi_small"], []],
        }
    )


def test_columns_are_all_there_in_order(table):
    full = complete(table, {"tracer": "pib"}, flags=[])
    assert list(full) == list(COLUMNS)
    assert full["tracer"].tolist() == ["pib"] * 3
    assert full["suvr_mean"].tolist() == pytest.approx([1.2, 1.1, np.nan], nan_ok=True)


def test_what_nobody_fills_is_missing(table):
    assert complete(table, {}, flags=[])["centiloid"].isna().all()


def test_flags_of_image_row_and_tracer_are_joined(table):
    full = complete(table, {"tracer": "flortaucipir"}, flags=["flair_missing"])
    assert full["qc_flags"].tolist() == [
        "flair_missing",
        "flair_missing;voi_small;offtarget_risk",
        "flair_missing;offtarget_risk",
    ]


def test_no_flag_is_ok_and_off_target_belongs_to_the_tracer(table):
    full = complete(table, {"tracer": "pib"}, flags=[])
    assert full["qc_flags"].tolist() == ["ok", "voi_small", "ok"]


def test_every_flag_written_is_in_the_vocabulary(table):
    levels = COLUMNS["qc_flags"]["Levels"]
    full = complete(table, {"tracer": "mk6240"}, flags=["ref_fov", "single_sample"])
    written = {flag for cell in full["qc_flags"] for flag in cell.split(";")}
    assert written - {"ok"} <= set(levels)


def test_dictionary_describes_every_column_and_says_synthetic():
    made = dictionary(statement=SYNTHETIC_STATEMENT, Sources=["bids::x"])
    assert all("Description" in made[name] for name in COLUMNS)
    assert "not a measurement" in made["SyntheticDataStatement"]
    assert made["Sources"] == ["bids::x"]


def test_the_dictionary_has_what_a_reader_without_the_code_needs():
    """pet-quantification 6.4: for each column, and for the table."""
    made = dictionary(statement="synthetic", ReferenceRegion="pons")
    for name in COLUMNS:
        assert made[name]["LongName"]
        assert "_" not in made[name]["LongName"]
        assert made[name]["Description"]
        assert made[name]["Derivative"] is True
    assert made["suvr_mean"]["LongName"] == "Standardised uptake value ratio mean"
    assert made["window_start_min"]["LongName"] == "Window start"
    assert made["GeneratedBy"][0]["Name"] == "relad-bids"
    assert (made["SyntheticDataStatement"], made["ReferenceRegion"]) == ("synthetic", "pons")


def test_terms_are_those_of_columns_and_addresses():
    made = dictionary(statement="")
    told = {name: made[name]["TermURL"] for name in COLUMNS if "TermURL" in made[name]}
    assert {"participant_id", "session_id", "trc_label", "unit", "centiloid"} <= set(told)
    assert all(url.startswith("https://") for url in told.values())


def test_each_table_of_a_session_has_a_dictionary_of_its_columns():
    told = table_dictionaries()
    assert set(QC_COLUMNS) < set(told["qc"])
    assert {"index", "name", "n_voxels", "volume-mm3"} < set(told["morph"])
    for table in told.values():
        assert table.pop("GeneratedBy")[0]["Name"] == "relad-bids"
        assert all(entry["Description"] and entry["LongName"] for entry in table.values())


CLOSED = (
    "window_mismatch", "window_partial", "window_assumed", "units_unknown", "nodecay", "ref_fov",
    "ref_small", "voi_fov", "voi_small", "labels_missing", "coreg_suspect", "motion_high",
    "negative_voxels",
    "lowres", "single_sample", "pseudo_reference", "offtarget_risk",
)  # fmt: skip
"""Of pet-quantification 6.2, what the participant level can find: ref_outlier needs a cohort, and
a network's answer has no minimum to be told of."""


@pytest.mark.parametrize("flag", CLOSED)
def test_each_flag_of_the_closed_list_is_described(flag):
    assert COLUMNS["qc_flags"]["Levels"][flag]
