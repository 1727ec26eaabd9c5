"""Figures of benchmarks/quantification.py that must not move; the benchmark prints them."""

import importlib.util
import sys
from pathlib import Path

import pytest

from relad_bids.sessions import Measured

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def known():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("known", FOLDER / "quantification.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


@pytest.mark.slow
def test_a_phantom_is_read_and_corrected_to_its_truth(known):
    """pet-quantification 7.5: 1e-6 without noise, 1e-3 by GTM at the right PSF."""
    table = known.phantom_errors().set_index("image")
    assert table.loc["noise-free", "max error"].max() < 1e-6
    for width in known.WIDTHS_MM:
        assert table.loc[f"gtm {width:g} mm", "max error"].max() < 1e-3
        own = table.loc[[f"gtm {width:g} mm, own head", f"plain {width:g} mm, own head"]]
        # Partial voxels and another head around: still nearer than no correction, on average.
        assert own["median"].iloc[:3].mean() < own["median"].iloc[3:].mean()


def test_blur_takes_what_the_table_says(known):
    """Cortex of another anatomy with like uptake, measured within 3.3 points of -14 to -22 %.

    The hippocampus is left out: its loss has the other sign (benchmarks/RESULTS.md).
    """
    cortex = known.blur_bias().query("region != 'hippocampus'")
    assert (cortex["bias %"] - cortex["told %"]).abs().max() < 5


def test_however_it_is_stored_it_is_the_same_scan(known, tmp_path):
    table = known.same_phantom(tmp_path).set_index("variant")
    assert table["max difference %"].max() < 0.5
    assert table.loc["injection time lost", "window"] == "assumed"
    assert "window_assumed" in table.loc["injection time lost", "flags"]
    assert (table.drop("injection time lost")["window"] == "ok").all()


@pytest.mark.real_data
def test_real_templates_in_the_centiloid_masks(known, real_data, tmp_path):
    table = known.rpop(real_data, tmp_path).dropna(subset=["known"])
    assert len(table) == 4
    assert (table["suvr_mean"] - table["known"]).abs().max() < 0.005


@pytest.mark.real_data
def test_real_curves_come_back_from_an_image(known, real_data, tmp_path):
    first, *_ = known.regional_curves(real_data)
    table = known.curves(tmp_path, first)
    assert len(table) > 80
    assert table["error_percent"].abs().max() < 1


@pytest.mark.real_data
def test_a_scan_without_mri_is_refused(known, real_data, tmp_path):
    scan, done = known.without_mri(real_data, tmp_path)
    assert isinstance(scan, Measured)
    assert scan.reading.columns["window_status"] == "assumed"
    assert "window_assumed" in scan.reading.flags
    assert done.returncode == 66
    assert "needed is one T1w to lay the PET on" in done.stderr
    assert "sub-01: has no T1w image; one is needed" in done.stderr
