import numpy as np
import pandas as pd
import pytest

from relad_bids.reports.voi_rows import MISSING, flags_of, main_rows, reference_line, shared_flags


@pytest.fixture
def table():
    common = {"ref_volume_mm3": 40500.0, "ref_method": "geometric", "fov_fraction": 1.0}
    rows = [
        {"voi": "braak1", "hemi": "B", "suvr_mean": 1.5, "volume_mm3": 3210.0,
         "suvr_sd_samples": 0.0512, "qc_flags": "single_sample;voi_small"},
        {"voi": "braak1", "hemi": "L", "suvr_mean": 1.4, "qc_flags": "single_sample"},
        {"voi": "braak1", "hemi": "R", "suvr_mean": 1.6, "qc_flags": "single_sample"},
        {"voi": "pons", "hemi": "B", "suvr_mean": np.nan, "qc_flags": "single_sample;voi_fov"},
    ]  # fmt: skip
    return pd.DataFrame([{**common, **row} for row in rows])


def test_numbers_are_ready_to_be_read(table):
    (row,) = main_rows(table, ["braak1"], suvr_max=3.0)
    assert (row.suvr, row.left, row.right) == ("1.50 ± 0.05", "1.40", "1.60")
    assert (row.volume_ml, row.coverage) == ("3.2", "100\N{NARROW NO-BREAK SPACE}%")
    assert row.bar_percent == pytest.approx(50)


def test_a_missing_value_has_no_bar(table):
    (row,) = main_rows(table, ["pons"], suvr_max=3.0)
    assert (row.suvr, row.left, row.bar_percent) == (MISSING, MISSING, None)


def test_a_region_that_the_table_lacks_is_said_to_be_absent(table):
    (row,) = main_rows(table, ["centiloid-ctx"], suvr_max=3.0)
    assert row.suvr == MISSING
    assert row.flags == ("not in the table",)


def test_rows_keep_the_order_asked_for(table):
    assert [r.voi for r in main_rows(table, ["pons", "braak1"], suvr_max=3.0)] == [
        "pons",
        "braak1",
    ]


@pytest.mark.parametrize(("suvr", "percent"), [(-0.2, 0), (0, 0), (3.0, 100), (3.1, 100)])
def test_a_bar_stays_on_its_track(table, suvr, percent):
    table.loc[0, "suvr_mean"] = suvr
    (row,) = main_rows(table, ["braak1"], suvr_max=3.0)
    assert row.bar_percent == pytest.approx(percent)


def test_what_all_rows_share_is_said_once(table):
    (shared,) = shared_flags(table)
    assert "one answer of the network" in shared
    (row,) = main_rows(table, ["braak1"], suvr_max=3.0)
    assert row.flags == flags_of(["voi_small"])
    assert shared_flags(table.iloc[:0]) == ()


def test_flags_become_words_and_unknown_ones_stay():
    assert flags_of(["ok"]) == ()
    assert flags_of(["flair_missing", "odd"]) == ("synthesised without FLAIR", "odd")


def test_the_reference_is_named_with_its_volume(table):
    line = reference_line(table, "cerebellum-inferior-gm")
    assert line.startswith("cerebellum-inferior-gm, 40.5 mL, drawn below a tilted plane")
    assert reference_line(table.iloc[:0], "pons") == "pons"
