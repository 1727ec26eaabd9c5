"""When the frames of a PET scan were taken, and how much of the tracer's window they cover.

BIDS counts every time from ``TimeZero``, so that only differences mean anything: minutes after
injection are ``FrameTimesStart - InjectionStart``. The commonest converter writes 0 where it does
not know, and a flortaucipir scan of minutes 80 to 100 then claims to be one of 0 to 20. The chain
of checks here (pet-quantification 1.2) never believes that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from relad_bids.errors import DataError, UsageError
from relad_bids.pet.fields import Fields
from relad_bids.tables import Tracer
from relad_bids.tables import Window as Minutes

Status = Literal["ok", "partial", "assumed", "mismatch"]
Source = Literal["sidecar", "user", "nowhere"]

SAME_TIME_S = 1.0
"""Two times closer than this are the same: headers round to seconds."""
LATEST_S = 1e5
"""28 hours, 15 half-lives of F-18: a later frame is one counted in milliseconds."""
LONGEST_STATIC_MIN = 45.0
EARLIEST_LATE_MIN = 40.0
"""A static scan up to the first of these, that claims to start at the injection, of a tracer
whose window starts at the second or later: its injection time is lost (pet-quantification 1.2)."""
SHORTEST_STATIC_S = 60.0
"""A scan that does start at the injection starts with shorter frames, to follow the bolus."""
MIN_OK, MIN_PARTIAL = 0.75, 0.25
"""Least share of the window that frames cover for ``ok``, and for any SUVr at all."""

_SECONDS = "seconds from TimeZero"
_DIGITS = 6
"""Overlaps are rounded to microseconds, so that moving TimeZero, which costs the last bits of a
float, moves no frame across the edge of a window."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames in the order of the image; none overlaps the next, gaps are allowed."""

    starts: NDArray[np.float64]
    """(T,) s after injection; negative before it."""
    durations: NDArray[np.float64]
    """(T,) s, above 0."""

    def __post_init__(self) -> None:
        if problem := _problem(self.starts, self.durations):
            raise DataError(problem)

    @property
    def ends(self) -> NDArray[np.float64]:
        return self.starts + self.durations

    def overlaps(self, window: Minutes) -> NDArray[np.float64]:
        """Seconds of each frame inside the window (minutes after injection), shape (T,)."""
        first, last = 60 * window[0], 60 * window[1]
        inside = np.minimum(self.ends, last) - np.maximum(self.starts, first)
        return np.asarray(np.round(np.clip(inside, 0.0, None), _DIGITS))


@dataclass(frozen=True)
class Timing:
    """When a scan was made, as far as its sidecar and the user say."""

    frames: Frames | None
    """None for a single frame of which start or duration is not given."""
    injection_s: float
    """From TimeZero; 0 where nothing tells."""
    scan_start_s: float | None
    """After injection. Frames may start later: not every reconstruction begins with the scan."""
    injection_from: Source
    """Who says when the injection was; PET2BIDS says it in a sidecar without knowing."""
    flags: tuple[str, ...]
    """``scanrelative_fixed``, ``injection_unstated``, ``scan_start_given``."""


@dataclass(frozen=True, eq=False)
class Window:
    """The minutes that an SUVr stands for, and how the frames make it up."""

    start_min: float
    end_min: float
    """The window asked for, in minutes after injection; frames may cover a part of it only."""
    coverage: float
    """Share of it that frames cover, 0 to 1; NaN where times are not known (``assumed``)."""
    n_frames: int
    """Frames that are averaged."""
    weights: NDArray[np.float64]
    """(T,) seconds of each frame inside the window: the weights of the mean over frames. All of
    every frame where the times are assumed, 1 where not even a duration is known."""
    status: Status
    flags: tuple[str, ...]
    note: str
    """What is the matter and what to do, in a sentence or two; empty where nothing is."""

    @property
    def usable(self) -> bool:
        """Whether there is to be an SUVr."""
        return self.status != "mismatch"


def read_timing(fields: Fields, *, n_frames: int, scan_start_min: float | None = None) -> Timing:
    """Read when the frames were taken.

    Parameters
    ----------
    n_frames
        Volumes in the image; 1 for a 3-D image.
    scan_start_min
        When the user says that the scan started, in minutes after injection; it overrules
        ``InjectionStart``.

    Raises
    ------
    DataError
        The fields contradict each other, the image, or what times can be.
    UsageError
        ``scan_start_min`` is not a number of minutes from 0.
    """
    if scan_start_min is not None and not (math.isfinite(scan_start_min) and scan_start_min >= 0):
        raise UsageError(
            f"--pet-scan-start-min says that the scan started {scan_start_min:g} minutes after "
            "injection, needed is a number from 0. Give the minutes."
        )
    begin = fields.number("ScanStart", _SECONDS)
    injection = fields.number("InjectionStart", _SECONDS)
    starts, durations = _listed(fields, n_frames, begin, anywhere=scan_start_min is not None)
    flags = []
    if starts is not None and begin is not None and starts[0] < begin - SAME_TIME_S:
        starts = _from_time_zero(fields, starts, begin)
        flags.append("scanrelative_fixed")
    if begin is None and starts is not None:
        begin = float(starts[0])
    source: Source = "sidecar"
    if scan_start_min is not None:
        source, begin = "user", begin or 0.0
        injection = begin - 60 * scan_start_min
        flags.append("scan_start_given")
    elif injection is None:
        source, injection = "nowhere", 0.0
        flags.append("injection_unstated")
    return Timing(
        frames=_frames(fields, starts, durations, injection),
        injection_s=injection,
        scan_start_s=None if begin is None else begin - injection,
        injection_from=source,
        flags=tuple(flags),
    )


def place_window(timing: Timing, tracer: Tracer, *, window: Minutes | None = None) -> Window:
    """Say which frames make up the tracer's window, with which weights, and whether to trust it.

    Parameters
    ----------
    window
        First and last minute that the user wants in place of the tracer's own.

    Raises
    ------
    UsageError
        The window is not two ascending numbers from 0, or the tracer is a target without ligand
        and so has none.
    """
    minutes = window or tracer.window_min
    if minutes is None:
        raise UsageError(
            f"{tracer.name} names a target and no ligand, so that no time window is known of it. "
            f"Give one with {_option(tracer)}."
        )
    if not (0 <= minutes[0] < minutes[1] < math.inf):
        raise UsageError(
            f"--pet-window of {tracer.name} is {minutes[0]:g}-{minutes[1]:g}, needed are two "
            f"ascending numbers of minutes after injection. Write {_option(tracer)}."
        )
    frames = timing.frames
    if frames is None or _is_injection_lost(timing, frames, minutes):
        return _assumed(timing, tracer, minutes)
    weights = frames.overlaps(minutes)
    coverage = float(weights.sum() / (60 * (minutes[1] - minutes[0])))
    status = status_of(coverage)
    return Window(
        *minutes,
        coverage=coverage,
        n_frames=int((weights > 0).sum()),
        weights=weights,
        status=status,
        flags=(*timing.flags, *([] if status == "ok" else [f"window_{status}"])),
        note="" if status == "ok" else _short_of(frames, tracer, minutes, coverage),
    )


def status_of(coverage: float) -> Status:
    """Judge the share of the window that frames cover."""
    share = round(coverage, _DIGITS)
    if share < MIN_PARTIAL:
        return "mismatch"
    return "partial" if share < MIN_OK else "ok"


def _listed(
    fields: Fields, n_frames: int, begin: float | None, *, anywhere: bool
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Starts and durations as listed; both None for one frame that lacks either.

    A lone frame without ``FrameTimesStart`` starts with the scan, and with ``anywhere`` at 0:
    the user will say where that is.
    """
    starts = fields.numbers("FrameTimesStart", _SECONDS)
    durations = fields.numbers("FrameDuration", "seconds")
    if n_frames == 1 and starts is None and (anywhere or begin is not None):
        starts = np.array([begin or 0.0])
    for key, found in (("FrameTimesStart", starts), ("FrameDuration", durations)):
        if found is None and n_frames > 1:
            raise DataError(
                f"{fields.name}: {key} is not there, needed are {n_frames} numbers, one for each "
                "volume of the image. Add the field."
            )
        if found is not None and len(found) != n_frames:
            raise DataError(
                f"{fields.name}: {key} has {len(found)} numbers, needed are {n_frames}, one for "
                "each volume of the image. Correct the field; an image that is the mean of "
                "frames is one frame, from the start of the first to the end of the last."
            )
    return (None, None) if starts is None or durations is None else (starts, durations)


def _from_time_zero(
    fields: Fields, starts: NDArray[np.float64], begin: float
) -> NDArray[np.float64]:
    """Count frames from TimeZero that were counted from the start of the scan."""
    if abs(starts[0]) <= SAME_TIME_S:
        return starts + begin
    raise DataError(
        f"{fields.name}: FrameTimesStart begins with {starts[0]:g}, before ScanStart {begin:g}. "
        "Needed are frames inside the scan, both counted in seconds from TimeZero. Correct one "
        "of the fields."
    )


def _frames(
    fields: Fields,
    starts: NDArray[np.float64] | None,
    durations: NDArray[np.float64] | None,
    injection: float,
) -> Frames | None:
    if starts is None or durations is None:
        return None
    try:
        return Frames(starts - injection, durations)
    except DataError as error:
        raise DataError(f"{fields.name}: {error}") from error


def _problem(starts: NDArray[np.float64], durations: NDArray[np.float64]) -> str:
    """What is wrong with the times of frames, in the words of the sidecar; empty if nothing."""
    if starts.shape != durations.shape or starts.ndim != 1 or not starts.size:
        return (
            f"FrameTimesStart has {starts.size} numbers and FrameDuration {durations.size}, "
            "needed is one of each for every frame. Correct the fields."
        )
    if not (np.isfinite(starts).all() and np.isfinite(durations).all()):
        return "FrameTimesStart or FrameDuration is not finite, needed are seconds. Correct them."
    if durations.min() <= 0:
        return (
            f"FrameDuration[{durations.argmin()}] is {durations.min():g}, needed are seconds "
            "above 0. Correct the field."
        )
    ends = starts + durations
    if ends.max() > LATEST_S:
        return (
            f"the last frame ends {ends.max():g} s after injection by FrameTimesStart, "
            f"FrameDuration and InjectionStart, needed is at most {LATEST_S:g} s. Were "
            "milliseconds written? Write seconds."
        )
    if ends.max() <= 0:
        return (
            f"the last frame ends {abs(ends.max()):g} s before the injection by FrameTimesStart, "
            "FrameDuration and InjectionStart, needed is a scan after it. InjectionStart counts "
            "from TimeZero and is negative where TimeZero is the later start of the scan; "
            "correct it."
        )
    return _overlap(starts, ends, durations)


def _overlap(
    starts: NDArray[np.float64], ends: NDArray[np.float64], durations: NDArray[np.float64]
) -> str:
    early = np.flatnonzero(starts[1:] < ends[:-1] - SAME_TIME_S)
    if not early.size:
        return ""
    first = int(early[0])
    are_ends = np.allclose(durations[:-1], starts[1:] - starts[0], atol=SAME_TIME_S)
    return (
        f"FrameTimesStart[{first}] and FrameDuration[{first}] let a frame last until "
        f"{ends[first] - starts[0]:g} s of the scan, while FrameTimesStart[{first + 1}] starts "
        f"the next at {starts[first + 1] - starts[0]:g} s; needed are ascending frames that do "
        "not overlap. "
        + ("FrameDuration seems to hold the ends of the frames; w" if are_ends else "W")
        + "rite how long each frame lasts, in seconds."
    )


def _is_injection_lost(timing: Timing, frames: Frames, window: Minutes) -> bool:
    """A short scan that claims to start at the injection, of a tracer nobody looks at so early."""
    return (
        timing.injection_from != "user"
        and abs(frames.starts[0]) <= SAME_TIME_S
        and frames.durations[0] >= SHORTEST_STATIC_S
        and frames.ends[-1] - frames.starts[0] <= 60 * LONGEST_STATIC_MIN
        and window[0] >= EARLIEST_LATE_MIN
    )


def _assumed(timing: Timing, tracer: Tracer, window: Minutes) -> Window:
    frames = timing.frames
    stands_for = f"all of it is taken as {window[0]:g}-{window[1]:g} min after injection"
    if frames is None:
        n_frames, weights = 1, np.ones(1)
        note = (
            f"FrameTimesStart or FrameDuration is not given; {stands_for}. Write both to have "
            "that checked."
        )
    else:
        n_frames, weights = len(frames.starts), frames.durations
        note = (
            f"a scan of {(frames.ends[-1] - frames.starts[0]) / 60:.4g} min claims to start at "
            f"the injection, which is taken as lost; {stands_for}. If it was not, correct the "
            f"sidecar, or give --pet-scan-start-min {tracer.name}=MINUTES."
        )
    return Window(
        *window,
        coverage=math.nan,
        n_frames=n_frames,
        weights=weights,
        status="assumed",
        flags=(*timing.flags, "window_assumed"),
        note=note,
    )


def _short_of(frames: Frames, tracer: Tracer, window: Minutes, coverage: float) -> str:
    first, last = frames.starts[0] / 60, frames.ends[-1] / 60
    covered = [other for other in tracer.accepted_windows_min if _is_covered(frames, other)]
    options = " or ".join(f"--pet-window {tracer.name}={a:g}-{b:g}" for a, b in covered)
    return (
        f"the frames, {first:.4g} to {last:.4g} min after injection, cover {coverage:.0%} of "
        f"{window[0]:g}-{window[1]:g} min"
        + ("; there is no SUVr. " if status_of(coverage) == "mismatch" else ". ")
        + "Check InjectionStart and FrameTimesStart"
        + (
            f". Covered is another window in use, whose SUVr is not the same number: {options}."
            if covered
            else f", or say which minutes are wanted: {_option(tracer)}."
        )
    )


def _is_covered(frames: Frames, window: Minutes) -> bool:
    seconds = 60 * (window[1] - window[0])
    return status_of(float(frames.overlaps(window).sum()) / seconds) == "ok"


def _option(tracer: Tracer) -> str:
    return f"--pet-window {tracer.name}=FIRST-LAST"
