import pandas as pd
import pytest

from relad_bids.core.qc import qc_row
from relad_bids.core.quality_columns import FIGURES
from relad_bids.files import write_table
from relad_bids.reports.quality_rows import quality_rows, quality_summary

GOOD = {"t1w_voxel_mm": 1.0, "t1w_snr_wm": 20.0, "t1w_fber": 2116.0, "gm_dice": 0.7}


@pytest.fixture
def rows(tmp_path):
    def make(**values):
        write_table(tmp_path / "qc.tsv", qc_row({"status": "ok", **values}))
        return {row.title: row for row in quality_rows(tmp_path / "qc.tsv")}

    return make


def test_value_range_and_verdict(rows):
    found = rows(**{**GOOD, "gm_dice": 0.2})
    good, bad = found["SNR of white matter"], found["Dice of grey matter"]
    assert (good.value, good.verdict, good.note) == ("20", "usual", "")
    assert good.usual == FIGURES["t1w_snr_wm"].range_text()
    assert (bad.value, bad.verdict) == ("0.2", "outside")
    assert bad.note == FIGURES["gm_dice"].warning
    assert found["longest edge of a voxel"].value == "1 mm"
    assert found["energy of head over air (FBER)"].value == "2116"
    assert found["energy of head over air (FBER)"].verdict == "not judged"


def test_what_is_not_known_is_said(rows):
    found = rows(**GOOD)
    air = found["SNR by the air (Dietrich)"]
    assert (air.value, air.verdict, air.note) == ("n/a", "not known", "")


def test_a_sequence_that_is_missing_has_no_rows(rows):
    assert {row.about for row in rows(**GOOD).values()} == {"T1w", "T1w on the template"}
    with_flair = rows(**GOOD, flair_voxel_mm=3.0)
    assert {row.about for row in with_flair.values()} == {"T1w", "T1w on the template", "FLAIR"}
    assert rows() == {}


def test_the_summary_of_all_sessions():
    low = FIGURES["gm_dice"].low
    qc = pd.DataFrame({"gm_dice": [0.7, 0.72, low - 0.1, None], "t1w_efc": [0.5, 0.6, None, None]})
    printed = quality_summary(qc)
    efc, gm = printed.rows  # in the order of FIGURES
    assert len(printed.head) == len(gm)
    assert quality_summary(pd.DataFrame()).rows == ()
    assert gm[0] == "T1w on the template: Dice of grey matter"
    assert gm[1:5] == ("3", "0.7", f"{low - 0.1:.3g}", "0.72")
    assert gm[-1] == "1"
    assert efc[1:3] == ("2", "0.55")
    assert efc[-1] == "n/a"
