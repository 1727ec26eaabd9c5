"""A sidecar's decisions as numbers: closed forms of the window mean."""

import math

import numpy as np
import pytest

from relad_bids.errors import DataError
from relad_bids.pet.fields import Fields
from relad_bids.pet.reading import read_scan
from relad_bids.tables import tracers

PIB = tracers()["pib"]
FRAMES = {
    "TracerName": "PIB",
    "Units": "Bq/mL",
    "InjectionStart": 0,
    "ScanStart": 2700,
    "FrameTimesStart": [2700, 3000, 3600, 4200],
    "FrameDuration": [300, 600, 600, 600],
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 0,
}
"""45 to 80 min: the window of 50 to 70 min takes all of frames 2 and 3."""


def read(n_frames=4, *, tracer=PIB, window=None, **changes):
    fields = Fields({**FRAMES, **changes}, "sub-01_pet.json")
    return read_scan(fields, tracer, n_frames=n_frames, window=window)


def test_frames_count_by_their_seconds_in_the_window():
    found = read()
    assert found.weights == pytest.approx((0, 0.5, 0.5, 0))
    assert (found.n_frames, found.unit, found.flags, found.note) == (2, "Bq/mL", (), "")
    assert found.columns == {
        "window_start_min": 50, "window_end_min": 70, "window_coverage": 1, "window_status": "ok",
    }  # fmt: skip


def test_another_window_cuts_frames():
    """46 to 61 min: 240, 600 and 60 seconds."""
    found = read(window=(46, 61))
    assert found.weights == pytest.approx(np.array([240, 600, 60, 0]) / 900)
    assert found.n_frames == 3


def test_the_mean_of_decaying_frames_is_the_activity_at_injection():
    """A pool of constant true activity 1: frames show the mean of exp(-lambda t) over them."""
    rate = math.log(2) / PIB.half_life_s
    starts, durations = (
        np.array(FRAMES[key], float) for key in ("FrameTimesStart", "FrameDuration")
    )
    shown = (np.exp(-rate * starts) - np.exp(-rate * (starts + durations))) / (rate * durations)
    found = read(ImageDecayCorrected=False)
    assert np.dot(found.weights, shown) == pytest.approx(1, rel=1e-12)
    assert found.flags == ("nodecay",)
    # Left uncorrected, an hour of C-11 is an eighth of it.
    assert np.dot(read().weights, shown) == pytest.approx(2**-3, rel=0.06)


def test_any_unit_of_activity_becomes_becquerel():
    assert sum(read(Units="kBq/mL").weights) == pytest.approx(1000)
    assert read(Units="kBq/mL").unit == "Bq/mL"
    assert sum(read(Units="nCi/cc").weights) == pytest.approx(37)


def test_other_units_keep_their_name():
    found = read(Units="CNTS")
    assert (found.unit, sum(found.weights)) == ("CNTS", pytest.approx(1))
    assert (found.suv_factor, found.flags) == (None, ())
    assert "Units is 'CNTS'" in found.suv_reason
    assert read(Units="furlongs").flags == ("units_unknown",)


def test_suv_of_a_body_that_dilutes_evenly_is_one():
    """Dose over weight is the activity of such a body, at the injection."""
    told = {"InjectedRadioactivity": 370, "InjectedRadioactivityUnits": "MBq"}
    fields = Fields({**FRAMES, **told}, "pet.json")
    found = read_scan(fields, PIB, n_frames=4, weight_kg=74)
    assert found.suv_factor * 370e6 / 74e3 == pytest.approx(1)
    assert read(**told).suv_reason.startswith("the body weight is not given")


@pytest.mark.parametrize(("last", "status"), [(54.9, None), (55.1, "partial")])
def test_too_little_of_the_window_is_no_scan_to_quantify(last, status):
    """A quarter of 50 to 70 min ends at minute 55."""
    frame = {"FrameTimesStart": [2700], "FrameDuration": [60 * last - 2700]}
    if status:
        found = read(1, **frame)
        assert found.columns["window_status"] == status
        assert found.flags == ("window_partial",)
    else:
        with pytest.raises(DataError, match=r"sub-01_pet\.json: the frames, 45 to 54.9 min .* no"):
            read(1, **frame)


def test_a_lost_injection_time_is_never_taken_at_its_word():
    """What a converter writes that does not know: 0 to 20 min of a tracer seen after 80."""
    zeros = {"ScanStart": 0, "FrameTimesStart": [0], "FrameDuration": [1200]}
    found = read(1, tracer=tracers()["flortaucipir"], TracerName="AV1451", **zeros)
    assert found.flags == ("window_assumed",)
    assert found.weights == (1.0,)
    assert math.isnan(found.columns["window_coverage"])
    assert "taken as 80-100 min" in found.note
