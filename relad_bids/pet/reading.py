"""All that a sidecar decides about one measured scan, before a voxel is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relad_bids.errors import DataError
from relad_bids.pet.activity import Decay, Units, read_decay, read_units, suv_scale
from relad_bids.pet.fields import Fields
from relad_bids.pet.timing import Window, place_window, read_timing
from relad_bids.tables import Tracer
from relad_bids.tables import Window as Minutes

ACTIVITY_UNIT = "Bq/mL"


@dataclass(frozen=True)
class Reading:
    """How the frames of a scan become one image, and what is said beside its numbers."""

    weights: tuple[float, ...]
    """One for each frame: their weighted sum is the mean over the window, corrected for decay,
    in ``unit``."""
    unit: str
    """``Bq/mL`` for any unit of activity, else what the sidecar says."""
    suv_factor: float | None
    """g/mL per ``unit``; None where something is missing for it."""
    suv_reason: str
    """Why there is no factor; else empty."""
    columns: Mapping[str, float | str | None]
    """``window_start_min window_end_min window_coverage window_status`` of the VOI table."""
    n_frames: int
    """Frames that are averaged."""
    flags: tuple[str, ...]
    note: str
    """What is the matter with the timing and what to do; empty where nothing is."""


class WindowMissedError(DataError):
    """Frames cover less of the tracer's window than an SUVr needs."""

    def __init__(self, text: str, reading: Reading) -> None:
        super().__init__(text)
        self.reading = reading
        """Its window and flags; no frame has a weight."""


def read_scan(
    fields: Fields,
    tracer: Tracer,
    *,
    n_frames: int,
    window: Minutes | None = None,
    scan_start_min: float | None = None,
    weight_kg: float | None = None,
) -> Reading:
    r"""Read how a scan is averaged over its tracer's window.

    .. math:: \overline{C} = \sum_i w_i D_i C_i \,/\, \sum_i w_i

    with seconds :math:`w_i` of frame i inside the window and decay factors :math:`D_i`
    (pet-quantification 1.1).

    Parameters
    ----------
    n_frames
        Volumes of the image.
    window, scan_start_min
        Minutes after injection that overrule the tracer's window and the sidecar.
    weight_kg
        Body weight of the participants table; the sidecar's goes before it.

    Raises
    ------
    DataError
        The sidecar contradicts itself or the image.
    WindowMissedError
        Too little of the window was scanned for an SUVr.
    UsageError
        An overruling value is none, or the tracer is a target without ligand.
    """
    timing = read_timing(fields, n_frames=n_frames, scan_start_min=scan_start_min)
    placed = place_window(timing, tracer, window=window)
    units = read_units(fields)
    decay = read_decay(fields, timing, tracer)
    if not placed.usable:
        raise WindowMissedError(f"{fields.name}: {placed.note}", _nothing(placed, units, decay))
    suv = suv_scale(fields, units, decay, timing=timing, window=placed, weight_kg=weight_kg)
    weights = placed.weights * decay.factors * units.scale / placed.weights.sum()
    return Reading(
        weights=tuple(float(weight) for weight in weights),
        unit=_unit(units),
        suv_factor=suv.factor,
        suv_reason=suv.reason,
        columns=_columns(placed),
        n_frames=placed.n_frames,
        flags=(*placed.flags, *units.flags, *decay.flags),
        note=placed.note,
    )


def _nothing(placed: Window, units: Units, decay: Decay) -> Reading:
    """What is told of a scan of which no frame is averaged."""
    return Reading(
        weights=(),
        unit=_unit(units),
        suv_factor=None,
        suv_reason="",
        columns=_columns(placed),
        n_frames=0,
        flags=(*placed.flags, *units.flags, *decay.flags),
        note=placed.note,
    )


def _unit(units: Units) -> str:
    return ACTIVITY_UNIT if units.kind == "activity" else units.text


def _columns(window: Window) -> dict[str, float | str | None]:
    return {
        "window_start_min": window.start_min,
        "window_end_min": window.end_min,
        "window_coverage": window.coverage,
        "window_status": window.status,
    }
