"""Sidecars as scanners and converters write them."""

import json

import pytest

from relad_bids.pet.fields import Fields


@pytest.fixture
def late_static():
    """Four frames of minutes 80 to 100, all of it stated as BIDS means it."""
    return {
        "TracerName": "AV1451",
        "TracerRadionuclide": "F18",
        "Units": "Bq/mL",
        "InjectedRadioactivity": 370.0,
        "InjectedRadioactivityUnits": "MBq",
        "TimeZero": "10:00:00",
        "ScanStart": 4800,
        "InjectionStart": 0,
        "FrameTimesStart": [4800, 5100, 5400, 5700],
        "FrameDuration": [300, 300, 300, 300],
        "ImageDecayCorrected": True,
        "ImageDecayCorrectionTime": 0,
    }


@pytest.fixture
def converted(late_static):
    """The same scan as PET2BIDS leaves it when nobody tells it the injection time."""
    return {
        **late_static,
        "TimeZero": "11:20:00",
        "ScanStart": 0,
        "FrameTimesStart": [0, 300, 600, 900],
    }


@pytest.fixture
def read_pet(real_data):
    """Read a real sidecar below the folder of real data."""

    def read(inside):
        path = real_data / inside
        return Fields(json.loads(path.read_text(encoding="utf-8")), path.name)

    return read
