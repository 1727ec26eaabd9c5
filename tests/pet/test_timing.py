import math

import numpy as np
import pytest

from relad_bids.errors import DataError, UsageError
from relad_bids.pet.fields import Fields
from relad_bids.pet.timing import (
    EARLIEST_LATE_MIN,
    LATEST_S,
    LONGEST_STATIC_MIN,
    SHORTEST_STATIC_S,
    Frames,
    place_window,
    read_timing,
    status_of,
)
from relad_bids.tables import tracers

FTP, PIB, MK = (tracers()[name] for name in ("flortaucipir", "pib", "mk6240"))
UNDECLARED = tracers()["tspo-undeclared"]

RELATIVE = ("ScanStart", "InjectionStart", "FrameTimesStart", "ImageDecayCorrectionTime")
"""Fields that BIDS counts from TimeZero."""


def timing(values, n_frames=4, **settings):
    return read_timing(Fields(values, "pet.json"), n_frames=n_frames, **settings)


def window(values, tracer=FTP, n_frames=4, minutes=None, **settings):
    return place_window(timing(values, n_frames, **settings), tracer, window=minutes)


def shifted(values, seconds):
    """The same scan with TimeZero moved back by ``seconds``."""
    moved = {key: np.add(values[key], seconds).tolist() for key in RELATIVE if key in values}
    return {**values, **moved}


def static(start_min, minutes, *, n_frames=1, **values):
    """Equal frames, in seconds from the injection."""
    each = 60 * minutes / n_frames
    starts = (60 * start_min + each * np.arange(n_frames)).tolist()
    return {
        "ScanStart": starts[0], "InjectionStart": 0, "FrameTimesStart": starts,
        "FrameDuration": [each] * n_frames, **values,
    }  # fmt: skip


def test_a_scan_of_the_tracers_window(late_static):
    found = window(late_static)
    assert (found.start_min, found.end_min, found.coverage) == (80, 100, 1.0)
    assert (found.n_frames, found.status, found.flags, found.note) == (4, "ok", (), "")
    assert found.weights.tolist() == [300.0] * 4
    assert found.usable


@pytest.mark.parametrize("seconds", [-4800, 1, 36_000, -86_400, 0.1, 1e7 / 3, 65_000.1, 62_000.9])
def test_time_zero_is_a_matter_of_taste(late_static, seconds):
    """Bounds lie on the edges of frames here, where the last bit of a float would tell.

    The last two take times over 65,536, where floats become coarser: they do change that bit.
    """
    for start in (80, 85, 95, 96):
        values = static(start, 20, n_frames=4)
        plain, moved = window(values), window(shifted(values, seconds))
        assert moved.weights.tolist() == plain.weights.tolist()
        assert (moved.status, moved.n_frames) == (plain.status, plain.n_frames)
        assert (moved.flags, moved.note) == (plain.flags, plain.note)
        read, again = timing(values), timing(shifted(values, seconds))
        np.testing.assert_allclose(again.frames.starts, read.frames.starts, atol=1e-8)
        assert again.scan_start_s == pytest.approx(read.scan_start_s, abs=1e-8)


@pytest.mark.parametrize("seconds", [-4800, 3600, 1e6])
def test_time_zero_does_not_hide_a_lost_injection(converted, seconds):
    plain, moved = window(converted), window(shifted(converted, seconds))
    assert moved.status == plain.status == "assumed"
    assert moved.weights.tolist() == plain.weights.tolist()


def test_the_default_of_the_converter_is_never_believed(converted):
    """Minutes 80 to 100 that claim to be 0 to 20."""
    found = window(converted)
    assert (found.status, found.flags) == ("assumed", ("window_assumed",))
    assert (found.start_min, found.end_min) == (80, 100)
    assert math.isnan(found.coverage)
    assert found.n_frames == 4
    assert found.weights.tolist() == [300.0] * 4
    assert found.usable
    assert "a scan of 20 min claims to start at the injection" in found.note
    assert "taken as 80-100 min" in found.note
    assert "--pet-scan-start-min flortaucipir=MINUTES" in found.note


def test_unequal_frames_of_a_lost_scan_weigh_by_their_durations():
    values = {"FrameTimesStart": [0, 600, 960], "FrameDuration": [600, 300, 60]}
    assert window(values, n_frames=3).weights.tolist() == [600.0, 300.0, 60.0]


@pytest.mark.parametrize(
    ("minutes", "status"),
    [(LONGEST_STATIC_MIN, "assumed"), (LONGEST_STATIC_MIN + 0.1, "mismatch")],
)
def test_how_long_a_scan_with_lost_injection_is(minutes, status):
    assert window(static(0, minutes), n_frames=1).status == status


@pytest.mark.parametrize(("start_s", "status"), [(1.0, "assumed"), (1.1, "mismatch")])
def test_a_second_after_the_injection_is_at_the_injection(start_s, status):
    for sign in (1, -1):
        assert window(static(sign * start_s / 60, 20), n_frames=1).status == status


@pytest.mark.parametrize(
    ("first_s", "status"), [(SHORTEST_STATIC_S, "assumed"), (SHORTEST_STATIC_S - 1, "mismatch")]
)
def test_a_short_first_frame_follows_the_bolus(first_s, status):
    """A dynamic scan from the injection does not become a late one because it ends early."""
    values = {"FrameTimesStart": [0, first_s], "FrameDuration": [first_s, 1200 - first_s]}
    assert window({**values, "InjectionStart": 0}, n_frames=2).status == status


@pytest.mark.parametrize(
    ("first", "status"), [(EARLIEST_LATE_MIN, "assumed"), (EARLIEST_LATE_MIN - 1, "mismatch")]
)
def test_only_a_late_window_makes_an_early_scan_suspect(first, status):
    assert window(static(0, 20), n_frames=1, minutes=(first, first + 20)).status == status


def test_an_early_scan_of_a_tracer_that_is_looked_at_early():
    assert window(static(0, 60), tracers()["fdg"], n_frames=1).status == "ok"


def test_the_user_may_want_the_first_minutes(converted):
    """Said aloud, 0 to 20 is what it says."""
    found = window(converted, minutes=(0, 20))
    assert (found.status, found.coverage, found.start_min, found.end_min) == ("ok", 1.0, 0, 20)


def test_the_user_knows_when_the_scan_started(converted, late_static):
    found = window(converted, scan_start_min=80)
    assert (found.status, found.coverage) == ("ok", 1.0)
    assert found.flags == ("scan_start_given",)
    assert found.weights.tolist() == window(late_static).weights.tolist()
    starts = timing(converted, scan_start_min=80).frames.starts
    assert starts.tolist() == timing(late_static).frames.starts.tolist()


def test_a_scan_that_the_user_says_started_with_the_injection(converted):
    assert window(converted, scan_start_min=0).status == "mismatch"


def test_the_user_overrules_the_injection_time(late_static):
    assert timing(late_static, scan_start_min=90).frames.starts[0] == 5400


def test_the_scan_may_start_before_its_first_frame(late_static):
    """A late part of a long recording: the user speaks of the scan."""
    values = {**late_static, "ScanStart": 0}
    assert timing(values).flags == ()
    assert timing(values).scan_start_s == 0
    assert timing(values, scan_start_min=10).frames.starts[0] == 4800 + 600


@pytest.mark.parametrize("minutes", [-1, math.nan, math.inf])
def test_what_is_no_start_of_a_scan(late_static, minutes):
    with pytest.raises(
        UsageError, match=r"--pet-scan-start-min says .* needed is a number from 0"
    ):
        timing(late_static, scan_start_min=minutes)


@pytest.mark.parametrize(
    ("coverage", "status"),
    [
        (1.0, "ok"),
        (0.75, "ok"),
        (0.7499, "partial"),
        (0.25, "partial"),
        (0.2499, "mismatch"),
        (0.0, "mismatch"),
    ],
)
def test_bounds_of_the_coverage(coverage, status):
    """Both bounds by themselves, and by a scan of 20 min that starts late or ends early."""
    assert status_of(coverage) == status
    for start in (100 - 20 * coverage, 60 + 20 * coverage):
        found = window(static(start, 20), n_frames=1)
        assert found.status == status
        assert found.coverage == pytest.approx(coverage, abs=1e-9)
        assert found.usable == (status != "mismatch")


@pytest.mark.parametrize(("covered_s", "status"), [(900, "ok"), (300, "partial")])
def test_a_bound_that_floats_miss_is_met(covered_s, status):
    """60 * (32.2 - 12.2) is a bit more than 1200 to a computer."""
    assert covered_s / (60 * (32.2 - 12.2)) < covered_s / 1200
    values = {"FrameTimesStart": [732], "FrameDuration": [covered_s], "InjectionStart": 0}
    assert window(values, n_frames=1, minutes=(12.2, 32.2)).status == status


def test_half_a_window_says_so():
    found = window(static(90, 20, n_frames=4))
    assert (found.status, found.flags) == ("partial", ("window_partial",))
    assert (found.n_frames, found.weights.tolist()) == (2, [300.0, 300.0, 0.0, 0.0])
    assert (found.start_min, found.end_min) == (80, 100)
    assert "90 to 110 min after injection, cover 50% of 80-100 min. Check" in found.note
    assert "--pet-window flortaucipir=FIRST-LAST" in found.note


def test_a_mismatch_is_a_status_and_names_the_windows_that_would_do():
    found = window(static(70, 20, n_frames=4), MK)
    assert (found.status, found.flags) == ("mismatch", ("window_mismatch",))
    assert (found.coverage, found.n_frames) == (0.0, 0)
    assert not found.usable
    assert "cover 0% of 90-110 min; there is no SUVr" in found.note
    assert "whose SUVr is not the same number: --pet-window mk6240=70-90." in found.note
    chosen = window(static(70, 20, n_frames=4), MK, minutes=(70, 90))
    assert (chosen.status, chosen.start_min, chosen.end_min) == ("ok", 70, 90)


def test_all_windows_in_use_that_the_frames_cover_are_named():
    note = window(static(40, 30), PIB, n_frames=1, minutes=(80, 100)).note
    assert "number: --pet-window pib=40-60 or --pet-window pib=40-70." in note


def test_a_window_in_the_middle_of_frames():
    """Frames of 7 min against 50-70: the first and last are cut, by hand 6 and 7 + 7 min."""
    values = static(42, 35, n_frames=5)
    found = window(values, PIB, n_frames=5)
    assert found.weights.tolist() == [0.0, 360.0, 420.0, 420.0, 0.0]
    cut = window(static(44, 35, n_frames=5), PIB, n_frames=5)
    assert cut.weights.tolist() == [60.0, 420.0, 420.0, 300.0, 0.0]
    assert cut.n_frames == 4


def test_overlaps_against_counting_seconds():
    """Frames at whole seconds: count the seconds of each that lie in the window."""
    rng = np.random.default_rng(7)
    for _ in range(20):
        durations = rng.integers(1, 400, size=9)
        gaps = rng.integers(0, 60, size=9)
        starts = np.cumsum(gaps + durations) - durations + rng.integers(-300, 3000)
        first, last = sorted(rng.choice(90, size=2, replace=False).tolist())
        if starts[-1] + durations[-1] <= 0:
            continue
        counted = [
            sum(60 * first <= second < 60 * last for second in range(start, start + duration))
            for start, duration in zip(starts, durations, strict=True)
        ]
        frames = Frames(starts.astype(float), durations.astype(float))
        assert frames.overlaps((first, last)).tolist() == counted


def test_windows_that_touch_share_no_second():
    frames = Frames(np.array([0.0, 100.0]), np.array([100.0, 3000.0]))
    parts = frames.overlaps((0, 10)) + frames.overlaps((10, 25)) + frames.overlaps((25, 60))
    assert parts.tolist() == frames.overlaps((0, 60)).tolist() == frames.durations.tolist()


def test_gaps_between_frames_are_not_covered():
    values = {"FrameTimesStart": [4800, 5700], "FrameDuration": [300, 300], "InjectionStart": 0}
    found = window(values, n_frames=2)
    assert (found.coverage, found.status, found.n_frames) == (0.5, "partial", 2)


@pytest.mark.parametrize("minutes", [(100, 80), (80, 80), (-1, 20), (0, math.inf), (math.nan, 3)])
def test_what_is_no_window(late_static, minutes):
    with pytest.raises(UsageError, match=r"--pet-window of flortaucipir is .* two ascending"):
        window(late_static, minutes=minutes)


def test_a_target_has_no_window(late_static):
    with pytest.raises(UsageError, match=r"tspo-undeclared names a target and no ligand, .*Give"):
        window(late_static, UNDECLARED)
    assert window(late_static, UNDECLARED, minutes=(80, 100)).status == "ok"


def test_frames_counted_from_the_start_of_the_scan(late_static):
    values = {**late_static, "FrameTimesStart": [0, 300, 600, 900]}
    assert timing(values).flags == ("scanrelative_fixed",)
    assert timing(values).frames.starts.tolist() == [4800, 5100, 5400, 5700]
    assert window(values).flags == ("scanrelative_fixed",)
    assert window(values).weights.tolist() == window(late_static).weights.tolist()
    assert timing(values, scan_start_min=70).frames.starts[0] == 4200


def test_frames_that_start_with_the_scan_are_left_alone(late_static):
    moved = shifted(late_static, -4800)
    assert moved["ScanStart"] == moved["FrameTimesStart"][0] == 0
    assert timing(moved).flags == ()
    assert timing(moved).frames.starts[0] == 4800


@pytest.mark.parametrize(("scan_start", "flags"), [(1.0, ()), (1.1, ("scanrelative_fixed",))])
def test_a_second_of_rounding_is_no_other_time(scan_start, flags):
    values = {"FrameTimesStart": [0], "FrameDuration": [9000], "ScanStart": scan_start}
    assert timing({**values, "InjectionStart": 0}, 1).flags == flags


def test_frames_before_the_scan(late_static):
    with pytest.raises(
        DataError, match=r"pet\.json: FrameTimesStart begins with 4800, before ScanStart 4900\. "
        r"Needed are frames inside the scan",
    ):  # fmt: skip
        timing({**late_static, "ScanStart": 4900})


def test_without_injection_time_time_zero_is_taken_and_flagged(late_static):
    del late_static["InjectionStart"]
    found = timing(late_static)
    assert (found.injection_s, found.injection_from) == (0.0, "nowhere")
    assert window(late_static).flags == ("injection_unstated",)
    assert window(late_static).status == "ok"


@pytest.mark.parametrize("absent", ["n/a", None])
def test_a_short_scan_without_injection_time_is_assumed(converted, absent):
    found = window({**converted, "InjectionStart": absent})
    assert (found.status, found.flags) == ("assumed", ("injection_unstated", "window_assumed"))


def test_a_3d_image_with_its_one_frame():
    for values in (static(80, 20), static(80, 20) | {"FrameTimesStart": 4800.0}):
        found = window(values, n_frames=1)
        assert (found.status, found.weights.tolist()) == ("ok", [1200.0])


def test_a_3d_image_without_any_time():
    found = window({}, n_frames=1)
    assert (found.status, found.flags) == ("assumed", ("injection_unstated", "window_assumed"))
    assert (found.n_frames, found.weights.tolist()) == (1, [1.0])
    assert math.isnan(found.coverage)
    assert (
        "FrameTimesStart or FrameDuration is not given; all of it is taken as 80-100" in found.note
    )


def test_a_3d_image_starts_with_its_scan():
    values = {"ScanStart": 4800, "InjectionStart": 0, "FrameDuration": [1200]}
    found = window(values, n_frames=1)
    assert (found.status, found.flags, found.weights.tolist()) == ("ok", (), [1200.0])


@pytest.mark.parametrize("duration", [1200, 3600])
def test_a_duration_alone_needs_the_user(duration):
    found = window({"FrameDuration": [duration]}, n_frames=1)
    assert (found.status, found.weights.tolist()) == ("assumed", [1.0])


def test_a_duration_and_the_user():
    values = {"FrameDuration": [1200]}
    found = window(values, n_frames=1, scan_start_min=85)
    assert (found.status, found.weights.tolist()) == ("ok", [900.0])


def test_a_start_alone_covers_nothing_that_can_be_told():
    found = window({"FrameTimesStart": [4800], "InjectionStart": 0}, n_frames=1, scan_start_min=80)
    assert (found.status, found.weights.tolist()) == ("assumed", [1.0])


@pytest.mark.parametrize("key", ["FrameTimesStart", "FrameDuration"])
def test_a_4d_image_needs_both_lists(late_static, key):
    del late_static[key]
    with pytest.raises(DataError, match=rf"{key} is not there, needed are 4 numbers"):
        timing(late_static)


@pytest.mark.parametrize("key", ["FrameTimesStart", "FrameDuration"])
@pytest.mark.parametrize("n", [0, 3, 5])
def test_as_many_numbers_as_volumes(late_static, key, n):
    late_static[key] = [60 * i + 1 for i in range(n)]
    with pytest.raises(DataError, match=rf"{key} has {n} numbers, needed are 4, one for each"):
        timing(late_static)


def test_a_mean_of_frames_is_one_frame(late_static):
    with pytest.raises(DataError, match=r"has 4 numbers, needed are 1.* mean of frames is one"):
        timing(late_static, n_frames=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"FrameDuration": [300, 0, 300, 300]}, r"FrameDuration\[1\] is 0, needed are secon"),
        ({"FrameDuration": [300, 300, -5, 300]}, r"FrameDuration\[2\] is -5, needed are seconds"),
        ({"FrameDuration": [300, "300", 300, 300]}, r"FrameDuration\[1\] is '300', needed is a"),
        ({"FrameTimesStart": [math.nan] * 4}, r"FrameTimesStart\[0\] is nan, needed is a number"),
        ({"FrameTimesStart": "4800"}, r"FrameTimesStart\[0\] is '4800', needed is a number"),
        ({"InjectionStart": "10:00:00"}, "InjectionStart is '10:00:00', needed is a number: s"),
        ({"ScanStart": True}, "ScanStart is True, needed is a number: seconds from TimeZero"),
        ({"InjectionStart": 1e9}, r"ends 9\.99994e\+08 s before the injection .* is negative"),
        ({"InjectionStart": -1e5}, r"ends 106000 s after injection .* milliseconds"),
        ({"FrameDuration": [300, 302, 300, 300]}, r"FrameTimesStart\[1\] .* 602 s .* 600 s"),
        ({"FrameTimesStart": [4800, 5400, 5100, 5700]}, r"FrameTimesStart\[1\] .* ascending fram"),
        ({"FrameTimesStart": [4800] * 4}, r"FrameTimesStart\[0\] .*Write how long each frame"),
    ],
)  # fmt: skip
def test_times_that_cannot_be(late_static, changes, message):
    with pytest.raises(DataError, match=rf"^pet\.json: .*{message}"):
        timing({**late_static, **changes})


def test_ends_in_place_of_durations(late_static):
    late_static["FrameDuration"] = [300, 600, 900, 1200]
    with pytest.raises(DataError, match="seems to hold the ends of the frames; write how long"):
        timing(late_static)


@pytest.mark.parametrize(("seconds", "refused"), [(301.0, False), (301.1, True)])
def test_a_second_of_overlap_is_rounding(late_static, seconds, refused):
    late_static["FrameDuration"][0] = seconds
    if refused:
        with pytest.raises(DataError, match="do not overlap"):
            timing(late_static)
    else:
        assert timing(late_static).frames.durations[0] == seconds


@pytest.mark.parametrize(("end", "refused"), [(LATEST_S, False), (LATEST_S + 1, True)])
def test_the_latest_frame(end, refused):
    values = {"FrameTimesStart": [0], "FrameDuration": [end], "InjectionStart": 0}
    if refused:
        with pytest.raises(DataError, match=r"Were milliseconds written\? Write seconds"):
            timing(values, 1)
    else:
        assert timing(values, 1).frames.ends[0] == end


@pytest.mark.parametrize(("injection", "refused"), [(1199, False), (1200, True)])
def test_a_scan_may_start_before_the_injection_and_not_end_before_it(injection, refused):
    values = {"FrameTimesStart": [0], "FrameDuration": [1200], "InjectionStart": injection}
    if refused:
        with pytest.raises(DataError, match="ends 0 s before the injection"):
            timing(values, 1)
    else:
        assert timing(values, 1).frames.starts[0] == -injection


@pytest.mark.parametrize(
    ("starts", "durations", "message"),
    [
        ([0.0], [1.0, 1.0], "FrameTimesStart has 1 numbers and FrameDuration 2"),
        ([], [], "FrameTimesStart has 0 numbers"),
        ([0.0, np.inf], [1.0, 1.0], "is not finite"),
        ([0.0, 1.0], [1.0, np.nan], "is not finite"),
    ],
)
def test_frames_carry_their_law(starts, durations, message):
    with pytest.raises(DataError, match=message):
        Frames(np.array(starts), np.array(durations))


@pytest.mark.real_data
@pytest.mark.parametrize("subject", ["sub-01", "sub-02"])
@pytest.mark.parametrize("session", ["ses-baseline", "ses-blocked"])
def test_a_dynamic_scan_of_two_hours(read_pet, subject, session):
    """33 frames from the injection: every window of the table is whole."""
    fields = read_pet(
        f"bids-layouts/ds004869_subset/{subject}/{session}/pet/{subject}_{session}_pet.json"
    )
    found = read_timing(fields, n_frames=33)
    assert found.flags == ()
    assert (found.frames.starts[0], found.frames.ends[-1]) == (0, 7200)
    for tracer in tracers().values():
        if tracer.declared:
            placed = place_window(found, tracer)
            first, last = tracer.window_min
            assert (placed.status, placed.coverage) == ("ok", 1.0)
            assert placed.weights.sum() == 60 * (last - first)
            assert placed.n_frames == (last - first) / 5
    with pytest.raises(DataError, match="has 33 numbers, needed are 32"):
        read_timing(fields, n_frames=32)


@pytest.mark.real_data
def test_the_scan_whose_injection_nobody_wrote_down(read_pet):
    fields = read_pet("pet/gaain-fbp-elder-318614_trc-18FAV45_pet.json")
    found = place_window(read_timing(fields, n_frames=1), tracers()["florbetapir"])
    assert (found.status, found.start_min, found.end_min) == ("assumed", 50, 70)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("inside", "n_frames"),
    [
        ("pet001/sub-01/ses-01/pet/sub-01_ses-01_trc-CIMBI36_pet.json", 45),
        ("pet003/sub-01/ses-01/pet/sub-01_ses-01_pet.json", 21),
    ],
)
def test_official_examples_that_hold_ends_in_place_of_durations(read_pet, inside, n_frames):
    with pytest.raises(DataError, match=r"_pet\.json: .*seems to hold the ends of the frames"):
        read_timing(read_pet(f"bids-layouts/{inside}"), n_frames=n_frames)
