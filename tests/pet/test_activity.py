import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from relad_bids.errors import DataError, UsageError
from relad_bids.pet.activity import (
    DOSES_MBQ,
    SAME_HALF_LIFE,
    SAME_REFERENCE_S,
    WEIGHTS_KG,
    Units,
    decay_factors,
    read_decay,
    read_half_life,
    read_units,
    suv_scale,
)
from relad_bids.pet.fields import Fields
from relad_bids.pet.timing import place_window, read_timing
from relad_bids.tables import tracers

FTP, PIB = tracers()["flortaucipir"], tracers()["pib"]
F18_S, C11_S = 6586.2, 1221.84


@pytest.mark.parametrize(
    ("text", "kind", "scale"),
    [
        *((text, "activity", 1) for text in ("Bq/mL", "Bq/ml", "BQML", "Bq/cc", "Bq/cm\u00b3")),
        *((text, "activity", 1e3) for text in ("kBq/mL", "KBQML", " kBq / ml ", "kBq*mL^-1")),
        *((text, "activity", 37) for text in ("nCi/cc", "nCi/mL", "NCIML")),
        *((text, "activity", 37e3) for text in ("\u00b5Ci/mL", "\u03bcCi/mL", "uCi/cc")),
        ("MBq/mL", "activity", 1e6),
        *((text, "suv", 1) for text in ("SUV", "SUVbw", "g/mL", "GML")),
        *((text, "suvr", 1) for text in ("SUVR", "SUVr")),
        *((text, "linear", 1) for text in ("unitless", "CNTS", "PROPCPS", "counts")),
        *((text, "unknown", 1) for text in ("bananas", "Bq", "Bq/L", "GBq/mL", "mL", "SUVL")),
    ],
)
def test_units(text, kind, scale):
    found = read_units(Fields({"Units": text}))
    assert found == Units(text, kind, scale)
    assert found.flags == (("units_unknown",) if kind == "unknown" else ())


@pytest.mark.parametrize("values", [{}, {"Units": None}, {"Units": "n/a"}])
def test_no_units_are_unknown_ones(values):
    found = read_units(Fields(values))
    assert (found.text, found.kind, found.flags) == ("n/a", "unknown", ("units_unknown",))


@pytest.mark.parametrize("half_life", [F18_S, C11_S])
@pytest.mark.parametrize("start", [-600.0, 0.0, 30.0, 4800.0])
@pytest.mark.parametrize("duration", [1e-6, 10.0, 300.0, 7200.0])
def test_a_decay_factor_undoes_the_mean_decay_of_its_frame(half_life, start, duration):
    """The scanner averages exp(-lambda t) over the frame; QUADPACK does it here."""
    rate = math.log(2) / half_life
    middle = start + duration / 2
    area, _ = quad(lambda u: math.exp(-rate * (middle + u * duration)), -0.5, 0.5)
    (factor,) = decay_factors(np.array([start]), np.array([duration]), half_life)
    assert factor * area == pytest.approx(1.0, rel=1e-12)


def test_decay_factors_in_closed_form():
    """A frame as short as none doubles each half-life; one of a half-life loses 2 ln 2 on top."""
    starts, durations = np.array([0.0, 100.0, 200.0]), np.full(3, 1e-9)
    np.testing.assert_allclose(decay_factors(starts, durations, 100.0), [1, 2, 4], rtol=1e-9)
    np.testing.assert_allclose(
        decay_factors(starts, np.full(3, 100.0), 100.0), 2 * math.log(2) * np.array([1, 2, 4])
    )


def test_factors_of_two_references_differ_by_one_gain():
    starts, durations = np.array([60.0, 90, 400]), np.array([30.0, 310, 5])
    ratio = decay_factors(starts, durations, C11_S) / decay_factors(starts - 60, durations, C11_S)
    np.testing.assert_allclose(ratio, 2 ** (60 / C11_S), rtol=1e-12)


def parts(values, tracer=FTP, n_frames=4, **settings):
    fields = Fields(values, "pet.json")
    timing = read_timing(fields, n_frames=n_frames, **settings)
    return fields, timing, place_window(timing, tracer)


def decay(values, tracer=FTP, n_frames=4, **settings):
    fields, timing, _ = parts(values, tracer, n_frames, **settings)
    return read_decay(fields, timing, tracer)


def suv(values, weight_kg=70.0, tracer=FTP, n_frames=4, **settings):
    fields, timing, window = parts(values, tracer, n_frames, **settings)
    return suv_scale(
        fields, read_units(fields), read_decay(fields, timing, tracer),
        timing=timing, window=window, weight_kg=weight_kg,
    )  # fmt: skip


def test_corrected_frames_are_left_alone(late_static):
    found = decay(late_static)
    assert found.factors.tolist() == [1.0] * 4
    assert (found.reference_s, found.reference_by) == (0.0, "injection time")
    assert (found.flags, found.note, found.half_life_s) == ((), "", F18_S)


@pytest.mark.parametrize(
    "told",
    [{"ImageDecayCorrected": False}, {"DecayCorrection": "NONE", "ImageDecayCorrected": None}],
)
def test_frames_that_decayed_are_corrected_to_the_injection(late_static, told):
    found = decay({**late_static, **told})
    expected = decay_factors(np.array([4800.0, 5100, 5400, 5700]), np.full(4, 300.0), F18_S)
    np.testing.assert_allclose(found.factors, expected, rtol=1e-12)
    assert found.factors[0] == pytest.approx(2 ** (4950 / F18_S), rel=1e-3)
    assert (found.reference_s, found.flags) == (0.0, ("nodecay",))


def test_a_ratio_needs_correction_between_frames_and_no_more(late_static, converted):
    """Frames of a lost injection time are wrong by one gain, which no ratio sees."""
    told = {"ImageDecayCorrected": False}
    right, lost = decay({**late_static, **told}).factors, decay({**converted, **told}).factors
    np.testing.assert_allclose(right / lost, 2 ** (4800 / F18_S), rtol=1e-12)


def test_a_scan_that_says_nothing_is_taken_as_corrected_and_flagged(late_static):
    del late_static["ImageDecayCorrected"]
    found = decay(late_static)
    assert found.factors.tolist() == [1.0] * 4
    assert (found.reference_s, found.flags) == (None, ("decay_unknown",))
    assert "neither ImageDecayCorrected nor DecayCorrection says whether" in found.note


def test_one_frame_without_times(late_static):
    for key in ("FrameTimesStart", "FrameDuration"):
        del late_static[key]
    found = decay({**late_static, "ImageDecayCorrected": False}, n_frames=1)
    assert (found.factors.tolist(), found.reference_s) == ([1.0], None)
    assert (found.flags, found.note[:22]) == (("nodecay",), "decay is not corrected")
    assert decay(late_static, n_frames=1).factors.tolist() == [1.0]


@pytest.mark.parametrize(
    ("told", "word"), [(True, "NONE"), (False, "ADMIN"), (False, "start"), (True, "none ")]
)
def test_corrected_or_not(late_static, told, word):
    values = {**late_static, "ImageDecayCorrected": told, "DecayCorrection": word}
    with pytest.raises(
        DataError, match=rf"^pet\.json: ImageDecayCorrected is {told} and DecayCorrection is "
        rf"{word.strip().upper()}; needed are fields that agree",
    ):  # fmt: skip
        decay(values)


def test_a_word_that_dicom_does_not_have(late_static):
    with pytest.raises(DataError, match=r"DecayCorrection is 'DECY', needed is ADMIN, START or"):
        decay({**late_static, "DecayCorrection": "DECY"})


@pytest.mark.parametrize(
    ("told", "reference", "by"),
    [
        ({"DecayCorrection": "ADMIN"}, 0.0, "ADMIN"),
        ({"DecayCorrection": "ADMIN", "ImageDecayCorrectionTime": None}, 0.0, "ADMIN"),
        ({"DecayCorrection": "START", "ImageDecayCorrectionTime": 4800}, 4800, "injection time"),
        ({"DecayCorrection": "START", "ImageDecayCorrectionTime": None}, 4800, "injection time"),
        ({"ImageDecayCorrectionTime": 4800}, 4800, "injection time"),
        ({"ImageDecayCorrectionTime": None}, None, "nothing"),
        ({"DecayCorrection": "START", "ImageDecayCorrectionTime": 0}, None, "nothing"),
        ({"DecayCorrection": "ADMIN", "ImageDecayCorrectionTime": 4800}, None, "nothing"),
    ],
)
@pytest.mark.parametrize("shift", [0, -4800, 60])
def test_to_which_time_decay_is_corrected(late_static, told, reference, by, shift):
    """Counted from the injection, wherever TimeZero is."""
    values = {**late_static, **told}
    for key in ("ScanStart", "InjectionStart", "ImageDecayCorrectionTime", "FrameTimesStart"):
        if values[key] is not None:
            values[key] = np.add(values[key], shift).tolist()
    found = decay(values)
    assert (found.reference_s, found.reference_by) == (reference, by)
    assert bool(found.note) == (reference is None)


def test_start_means_the_scan_and_not_its_first_frame_that_was_kept(late_static):
    values = {**late_static, "ScanStart": 3000, "DecayCorrection": "START"}
    values["ImageDecayCorrectionTime"] = None
    assert decay(values).reference_s == 3000


@pytest.mark.parametrize(
    ("off", "same"), [(SAME_REFERENCE_S, True), (SAME_REFERENCE_S + 1, False)]
)
def test_references_that_are_one(late_static, off, same):
    values = {**late_static, "DecayCorrection": "ADMIN", "ImageDecayCorrectionTime": -off}
    assert decay(values).reference_s == (0.0 if same else None)
    if not same:
        assert "to 0 s after injection by DecayCorrection ADMIN, and to -11 s by Im" in (
            decay(values).note
        )


def test_start_without_any_start():
    values = {"ImageDecayCorrected": True, "DecayCorrection": "START"}
    found = decay(values, n_frames=1)
    assert found.reference_s is None
    assert "neither ImageDecayCorrectionTime nor ScanStart, which" in found.note
    told = decay({**values, "ImageDecayCorrectionTime": 60}, n_frames=1)
    assert (told.reference_s, told.reference_by) == (60, "injection time")


def test_the_half_life_of_the_header_goes_before_the_table():
    assert read_half_life(Fields({}), PIB) == C11_S
    assert read_half_life(Fields({"RadionuclideHalfLife": 1220.04}), PIB) == 1220.04


@pytest.mark.parametrize(("off", "refused"), [(0.99, False), (1.01, True)])
@pytest.mark.parametrize("sign", [1, -1])
def test_how_far_half_lives_may_lie_apart(off, sign, refused):
    fields = Fields({"RadionuclideHalfLife": C11_S * (1 + sign * off * SAME_HALF_LIFE)}, "p.json")
    if refused:
        with pytest.raises(DataError, match=r"p\.json: RadionuclideHalfLife .* about 1221\.84 s"):
            read_half_life(fields, PIB)
    else:
        assert read_half_life(fields, PIB) != C11_S


@pytest.mark.parametrize("half_life", [20.364, C11_S, 0, -F18_S])
def test_minutes_or_another_nuclide(half_life):
    with pytest.raises(DataError, match=r"6586\.2 s, the half-life of F18 in flortaucipir"):
        read_half_life(Fields({"RadionuclideHalfLife": half_life}), FTP)


def test_a_target_has_no_half_life():
    with pytest.raises(UsageError, match=r"tspo-undeclared names a target and no ligand, .*Meas"):
        read_half_life(Fields({}), tracers()["tspo-undeclared"])


def test_suv_by_hand(late_static):
    """370 MBq into 74 kg: 5000 Bq/mL is the mean of the body, SUV 1."""
    assert suv(late_static, 74.0).factor * 5000 == pytest.approx(1.0, rel=1e-12)
    assert suv(late_static, 74.0).reason == ""


@pytest.mark.parametrize(
    ("dose", "unit"),
    [
        (370, "MBq"),
        (370_000, "kBq"),
        (3.7e8, "Bq"),
        (0.37, "GBq"),
        (10, "mCi"),
        (1e4, "uCi"),
        (1e4, "\u00b5Ci"),
        (370, " mbq"),
    ],
)
def test_one_dose_in_all_its_units(late_static, dose, unit):
    values = {**late_static, "InjectedRadioactivity": dose, "InjectedRadioactivityUnits": unit}
    assert suv(values).factor == pytest.approx(suv(late_static).factor, rel=1e-12)


def test_one_suv_whatever_decay_is_corrected_to(late_static):
    """A body of constant SUV 1, seen through three ways of correction; F-18, SUV of each frame."""
    dose_bq, weight_g, rate = 370e6, 70e3, math.log(2) / F18_S
    starts = np.array([4800.0, 5100, 5400, 5700])
    truth = dose_bq / weight_g
    measured = np.array([quad(lambda t: truth * math.exp(-rate * t), s, s + 300)[0] / 300
                         for s in starts])  # fmt: skip
    to_injection = measured * decay_factors(starts, np.full(4, 300.0), F18_S)
    to_start = measured * decay_factors(starts - 4800, np.full(4, 300.0), F18_S)
    ways = [
        (measured, {"ImageDecayCorrected": False}),
        (to_injection, {"DecayCorrection": "ADMIN"}),
        (to_injection, {}),
        (to_start, {"DecayCorrection": "START", "ImageDecayCorrectionTime": 4800}),
        (to_start, {"ImageDecayCorrectionTime": 4800}),
    ]
    for image, told in ways:
        values = {**late_static, **told}
        found = image * decay(values).factors * suv(values).factor
        np.testing.assert_allclose(found, 1.0, rtol=1e-12)


def test_the_dose_may_be_wrong_by_a_gain_and_so_is_the_suv(late_static):
    double = {**late_static, "InjectedRadioactivity": 740.0}
    assert suv(double).factor == pytest.approx(suv(late_static).factor / 2)
    assert suv(late_static, 140.0).factor == pytest.approx(2 * suv(late_static, 70.0).factor)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Units": "CNTS"}, "Units is 'CNTS', needed is activity such as Bq/mL."),
        ({"Units": "SUVR"}, "Units is 'SUVR', needed"),
        ({"Units": None}, "Units is 'n/a', needed"),
        ({"InjectedRadioactivity": "n/a"}, "InjectedRadioactivity or .* is not given"),
        ({"InjectedRadioactivityUnits": None}, "or InjectedRadioactivityUnits is not given"),
        ({"InjectedRadioactivityUnits": "mg"}, "Units is 'mg', needed is MBq, kBq"),
        ({"InjectedRadioactivity": "370"}, "InjectedRadioactivity is '370', needed is a number"),
        ({"InjectedRadioactivity": 3.7e8}, r"is 3\.7e\+08 MBq, needed are 5 to 2500 MBq\. Were"),
        ({"InjectedRadioactivity": 0}, "is 0 MBq, needed are"),
        ({"ImageDecayCorrected": None}, "neither ImageDecayCorrected nor"),
        ({"DecayCorrection": "START"}, "to 4800 s after injection by DecayCorrection START, and"),
        ({"InjectionStart": None}, "the injection time is not known"),
    ],
)
def test_no_suv_without_its_parts_and_a_reason_for_it(late_static, changes, reason):
    found = suv({**late_static, **changes})
    assert found.factor is None
    assert re.search(reason, found.reason)


@pytest.mark.parametrize("weight", [None, math.nan])
def test_no_suv_without_weight(late_static, weight):
    assert suv(late_static, weight).reason == (
        "the body weight is not given, by the sidecar or participants.tsv."
    )
    assert suv({**late_static, "BodyWeight": 70}, weight).factor is not None


@pytest.mark.parametrize("key", ["BodyWeight", "PatientWeight"])
def test_the_weight_of_the_day_goes_before_the_table(late_static, key):
    assert suv({**late_static, key: 50}, 70.0).factor == suv(late_static, 50.0).factor
    assert suv({**late_static, key: 50_000}).reason == f"{key} is 50000, needed are 2 to 400 kg."


@pytest.mark.parametrize("bound", WEIGHTS_KG)
def test_weights_of_people(late_static, bound):
    outside = bound - 0.1 if bound == min(WEIGHTS_KG) else bound + 0.1
    assert suv(late_static, bound).factor is not None
    assert "the weight of the participants table is" in suv(late_static, outside).reason


@pytest.mark.parametrize("bound", DOSES_MBQ)
def test_doses_of_people(late_static, bound):
    outside = bound - 0.1 if bound == min(DOSES_MBQ) else bound + 0.1
    assert suv({**late_static, "InjectedRadioactivity": bound}).factor is not None
    assert suv({**late_static, "InjectedRadioactivity": outside}).factor is None


def test_an_suv_needs_nothing():
    assert suv({"Units": "SUV"}, None, n_frames=1).factor == 1.0


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({}, False),
        ({"DecayCorrection": "START"}, False),
        ({"ImageDecayCorrected": False}, False),
        ({"DecayCorrection": "ADMIN"}, True),
    ],
)
def test_a_lost_injection_time_costs_the_suv(converted, late_static, told, known):
    """Unless the scanner corrected to the injection: it knew when that was."""
    found = suv({**converted, **told})
    if known:
        assert found.factor == suv(late_static).factor
    else:
        assert (found.factor, found.reason[:35]) == (None, "the injection time is not known, ne")


def test_the_user_gives_the_injection_time_back(converted, late_static):
    """Minute 80; the converter's reference of 0 is then the start of the scan."""
    values = {**late_static, "ImageDecayCorrectionTime": 4800}
    assert suv(converted, scan_start_min=80).factor == pytest.approx(suv(values).factor)
    assert suv(values).factor == pytest.approx(suv(late_static).factor * 2 ** (4800 / F18_S))


@pytest.mark.real_data
@pytest.mark.parametrize("subject", ["sub-01", "sub-02"])
@pytest.mark.parametrize("session", ["ses-baseline", "ses-blocked"])
def test_factors_of_the_scanner(read_pet, subject, session):
    """DecayFactor of the header against the formula, up to one gain.

    This scanner takes the decay at the middle of a frame, the formula its mean: their ratio is
    sinh(x / 2) / (x / 2) with x = lambda dt, 0.1 % for 5 min of C-11. The gain is that its
    injection lies seconds before TimeZero. Six digits are printed: 5e-6 of the smallest factor.
    """
    fields = read_pet(
        f"bids-layouts/ds004869_subset/{subject}/{session}/pet/{subject}_{session}_pet.json"
    )
    timing = read_timing(fields, n_frames=33)
    half_life = read_half_life(fields, PIB)
    assert half_life == 1220.04
    told = fields.numbers("DecayFactor", "")
    ratio = told / decay_factors(timing.frames.starts, timing.frames.durations, half_life)
    half = math.log(2) / half_life * timing.frames.durations / 2
    gain = ratio / (np.sinh(half) / half)
    np.testing.assert_allclose(gain, gain[-1], rtol=1e-5)
    assert 0 < half_life * math.log2(gain[-1]) < 10


@pytest.mark.real_data
def test_suv_of_a_real_scan(read_pet):
    """653.79 MBq into 75.8 kg; decay corrected to the injection by both fields."""
    inside = "sub-01/ses-baseline/pet/sub-01_ses-baseline_pet.json"
    fields = read_pet(f"bids-layouts/ds004869_subset/{inside}")
    timing = read_timing(fields, n_frames=33)
    found = read_decay(fields, timing, PIB)
    assert (found.reference_s, found.reference_by) == (0.0, "ADMIN")
    assert found.factors.tolist() == [1.0] * 33
    units = read_units(fields)
    assert (units.kind, units.scale) == ("activity", 1.0)
    scale = suv_scale(
        fields, units, found, timing=timing, window=place_window(timing, PIB), weight_kg=75.8
    )
    assert scale.factor == pytest.approx(75_800 / 653.79e6, rel=1e-12)


@pytest.mark.real_data
def test_a_converter_that_calls_becquerel_megabecquerel(read_pet):
    fields = read_pet("pet/gaain-fbp-elder-318614_trc-18FAV45_pet.json")
    tracer = tracers()["florbetapir"]
    timing = read_timing(fields, n_frames=1)
    units, decay_told = read_units(fields), read_decay(fields, timing, tracer)
    assert (units.kind, decay_told.factors.tolist()) == ("activity", [1.0])
    found = suv_scale(
        fields, units, decay_told, timing=timing, window=place_window(timing, tracer), weight_kg=70
    )
    assert found.factor is None
    assert "InjectedRadioactivity is 3.678e+08 MBq" in found.reason
    mended = Fields({**fields.values, "InjectedRadioactivityUnits": "Bq"})
    again = suv_scale(
        mended, units, decay_told, timing=timing, window=place_window(timing, tracer), weight_kg=70
    )
    assert again.factor is None
    assert "neither ImageDecayCorrectionTime nor ScanStart" in again.reason


def test_a_decay_that_is_another_half_life_is_another_suv(late_static):
    """The reference moves the dose with the half-life that the decay was read with."""
    values = {**late_static, "ImageDecayCorrectionTime": 4800}
    fields, timing, window = parts(values)
    told = read_decay(fields, timing, FTP)
    short = replace(told, half_life_s=C11_S)
    factors = [
        suv_scale(fields, read_units(fields), d, timing=timing, window=window, weight_kg=70).factor
        for d in (told, short)
    ]
    assert factors[1] / factors[0] == pytest.approx(2 ** (4800 / C11_S - 4800 / F18_S))
