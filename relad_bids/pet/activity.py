"""What the voxels of a PET image are: unit, decay, and what makes them an SUV.

An SUVr needs none of this but the decay between its frames. An SUV needs all of it, and where a
part is missing there is a reason in words and no number (pet-quantification 1.1).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from relad_bids.errors import DataError, UsageError
from relad_bids.pet.fields import Fields
from relad_bids.pet.timing import Timing, Window
from relad_bids.tables import Tracer

Kind = Literal["activity", "suv", "suvr", "linear", "unknown"]
ReferenceBy = Literal["injection time", "ADMIN", "nothing"]

_ACTIVITY = {"bq": 1.0, "kbq": 1e3, "mbq": 1e6, "nci": 37.0, "uci": 37e3}
"""Unit of activity -> Bq."""
_VOLUMES = frozenset({"/ml", "ml", "/cc", "/cm3", "/cm^3", "*ml^-1", "ml^-1", "ml-1"})
"""As in ``Bq/mL``, and ``BQML`` of DICOM."""
_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        **dict.fromkeys(("suv", "suvbw", "g/ml", "gml"), "suv"),
        "suvr": "suvr",
        **dict.fromkeys(("unitless", "cnts", "counts", "propcnts", "cps", "propcps"), "linear"),
    }
)
_DOSES = {"bq": 1.0, "kbq": 1e3, "mbq": 1e6, "gbq": 1e9, "uci": 37e3, "mci": 37e6}
"""Unit of dose -> Bq, without case: nobody is given millibecquerel."""

DOSES_MBQ = (5.0, 2500.0)
"""What is injected for PET of a brain; converters have written becquerel and called them MBq."""
WEIGHTS_KG = (2.0, 400.0)
SAME_HALF_LIFE = 0.05
"""Headers differ by 0.15 % (1220.04 s in OpenNeuro ds004869); minutes, or another nuclide of
PET, are farther away."""
SAME_REFERENCE_S = 10.0
"""Decay references closer than this are one: 0.6 % of C-11."""


@dataclass(frozen=True)
class Units:
    """What ``Units`` says of the voxels."""

    text: str
    """As in the sidecar; ``n/a`` where it says nothing."""
    kind: Kind
    """``activity``: per volume. ``suv``: in g/mL already. ``suvr``: divided by a reference
    already. ``linear``: counts and the like, zero is zero. ``unknown``: none of these."""
    scale: float
    """Factor to Bq/mL for ``activity``, else 1."""

    @property
    def flags(self) -> tuple[str, ...]:
        return ("units_unknown",) if self.kind == "unknown" else ()


@dataclass(frozen=True, eq=False)
class Decay:
    """How the decay of a scan is, or is to be, corrected."""

    factors: NDArray[np.float64]
    """(T,) what to multiply each frame with, so that all are corrected to one time; 1 where the
    scanner did it."""
    reference_s: float | None
    """That time, in seconds after injection; None where it is not known, which no SUVr minds."""
    reference_by: ReferenceBy
    """``injection time``: right as far as the injection time is. ``ADMIN``: the scanner
    corrected to the injection, whenever that was."""
    half_life_s: float
    flags: tuple[str, ...]
    """``nodecay``: corrected here. ``decay_unknown``: not said, taken as corrected."""
    note: str
    """Why ``reference_s`` is None; else empty."""


@dataclass(frozen=True)
class SUVScale:
    """What makes an SUV of the image, or why nothing does."""

    factor: float | None
    """g/mL per Bq/mL, for an image times :attr:`Units.scale` and :attr:`Decay.factors`; 1 where
    the image is an SUV already."""
    reason: str
    """Why there is no factor; else empty."""


def read_units(fields: Fields) -> Units:
    """Read the unit of the voxels, in any spelling of it."""
    text = fields.text("Units")
    if text is None:
        return Units("n/a", "unknown", 1.0)
    plain = _plain(text)
    for activity, scale in _ACTIVITY.items():
        if plain.startswith(activity) and plain.removeprefix(activity) in _VOLUMES:
            return Units(text, "activity", scale)
    return Units(text, _KINDS.get(plain, "unknown"), 1.0)


def decay_factors(
    starts: NDArray[np.float64], durations: NDArray[np.float64], half_life_s: float
) -> NDArray[np.float64]:
    r"""Return what undoes the decay until and during each frame.

    .. math:: D = e^{\lambda t} \, \frac{\lambda \Delta t}{1 - e^{-\lambda \Delta t}},
              \qquad \lambda = \ln 2 / T_{1/2}

    the inverse of the mean of :math:`e^{-\lambda t}` over the frame.

    Parameters
    ----------
    starts : (T,) float
        Seconds after the time that is corrected to; negative before it.
    durations : (T,) float
        Seconds, above 0.
    half_life_s
        Seconds.

    Returns
    -------
    (T,) float64
    """
    rate = math.log(2) / half_life_s
    return np.asarray(np.exp(rate * starts) * rate * durations / -np.expm1(-rate * durations))


def read_decay(fields: Fields, timing: Timing, tracer: Tracer) -> Decay:
    """Decide whether decay is to be corrected, and to which time the frames then are.

    Frames without correction are corrected to the injection. Where the injection time is lost
    that is wrong by one gain for all frames, which cancels in an SUVr.

    Raises
    ------
    DataError
        The fields contradict each other, or the half-life is not that of the tracer.
    UsageError
        The tracer is a target without ligand.
    """
    half_life = read_half_life(fields, tracer)
    is_corrected = _is_corrected(fields)
    frames = timing.frames
    if is_corrected is False and frames is not None:
        factors = decay_factors(frames.starts, frames.durations, half_life)
        return Decay(factors, 0.0, "injection time", half_life, ("nodecay",), "")
    factors = np.ones(1 if frames is None else len(frames.starts))
    if is_corrected is False:
        note = "decay is not corrected, and FrameTimesStart or FrameDuration is not given"
        return Decay(factors, None, "nothing", half_life, ("nodecay",), note)
    if is_corrected is None:
        note = "neither ImageDecayCorrected nor DecayCorrection says whether decay is corrected"
        return Decay(factors, None, "nothing", half_life, ("decay_unknown",), note)
    reference, by, note = _reference(fields, timing)
    return Decay(factors, reference, by, half_life, (), note)


def read_half_life(fields: Fields, tracer: Tracer) -> float:
    """Return the half-life in seconds: the sidecar's before the table's.

    Raises
    ------
    DataError
        The sidecar's is not that of the tracer's nuclide.
    UsageError
        The tracer is a target without ligand.
    """
    known = tracer.half_life_s
    if known is None:
        raise UsageError(
            f"{tracer.name} names a target and no ligand, so that no half-life is known of it. "
            "Measured PET needs the name of its ligand in TracerName."
        )
    found = fields.number("RadionuclideHalfLife", "seconds")
    if found is None:
        return known
    if abs(found / known - 1) > SAME_HALF_LIFE:
        raise fields.error(
            "RadionuclideHalfLife", found, f"about {known:g} s, the half-life of "
            f"{tracer.radionuclide} in {tracer.name}",
        )  # fmt: skip
    return found


def suv_scale(
    fields: Fields,
    units: Units,
    decay: Decay,
    *,
    timing: Timing,
    window: Window,
    weight_kg: float | None = None,
) -> SUVScale:
    r"""Return what makes an SUV of an image, or why there is none.

    .. math:: \mathrm{SUV} = C \, \frac{\mathrm{weight}}{\mathrm{dose} \; e^{-\lambda r}}

    with the activity :math:`C` and the dose both corrected to :math:`r` seconds after injection.

    Parameters
    ----------
    timing, window
        Of the same scan: a decay reference after a lost injection time means nothing.
    weight_kg
        From the participants table; what the sidecar says of the day of the scan goes before it.
    """
    if units.kind == "suv":
        return SUVScale(1.0, "")
    try:
        if units.kind != "activity":
            raise DataError(f"Units is {units.text!r}, needed is activity such as Bq/mL.")
        dose_bq = _dose_bq(fields)
        weight_g = 1e3 * _weight_kg(fields, weight_kg)
        reference_s = _trusted_reference(decay, timing, window)
    except DataError as error:
        return SUVScale(None, str(error))
    remaining = math.exp(-math.log(2) * reference_s / decay.half_life_s)
    return SUVScale(weight_g / (dose_bq * remaining), "")


def _plain(text: str) -> str:
    """Return a unit without case, spaces, dots, Greek and raised digits."""
    text = unicodedata.normalize("NFKC", text).replace("\N{GREEK SMALL LETTER MU}", "u")
    return re.sub(r"[\s.]", "", text.lower())


def _is_corrected(fields: Fields) -> bool | None:
    told = fields.truth("ImageDecayCorrected")
    word = _correction(fields)
    if word is None:
        return told
    if told is not None and told != (word != "NONE"):
        raise DataError(
            f"{fields.name}: ImageDecayCorrected is {told} and DecayCorrection is {word}; needed "
            "are fields that agree whether decay is corrected. Correct the one that is wrong."
        )
    return word != "NONE"


def _correction(fields: Fields) -> str | None:
    """Return DICOM's word for what decay is corrected to: ADMIN, START or NONE."""
    text = fields.text("DecayCorrection")
    if text is None:
        return None
    word = text.strip().upper()
    if word in ("ADMIN", "START", "NONE"):
        return word
    raise fields.error("DecayCorrection", text, "ADMIN, START or NONE")


def _reference(fields: Fields, timing: Timing) -> tuple[float | None, ReferenceBy, str]:
    """Return the time that an image is corrected to, what that rests on, and else why not."""
    time = fields.number("ImageDecayCorrectionTime", "seconds from TimeZero")
    by_time = None if time is None else time - timing.injection_s
    word = _correction(fields)
    by_word = {"ADMIN": 0.0, "START": timing.scan_start_s}.get(word or "")
    if by_word is None and by_time is None:
        missing = "ScanStart, which DecayCorrection START means," if word else "DecayCorrection"
        note = f"neither ImageDecayCorrectionTime nor {missing} says to what decay is corrected"
        return None, "nothing", note
    if by_word is None:
        return by_time, "injection time", ""
    if by_time is not None and abs(by_time - by_word) > SAME_REFERENCE_S:
        note = (
            f"decay is corrected to {by_word:g} s after injection by DecayCorrection {word}, and "
            f"to {by_time:g} s by ImageDecayCorrectionTime"
        )
        return None, "nothing", note
    return by_word, "ADMIN" if word == "ADMIN" else "injection time", ""


def _trusted_reference(decay: Decay, timing: Timing, window: Window) -> float:
    if decay.reference_s is None:
        raise DataError(f"{decay.note}.")
    is_known = timing.injection_from == "user" or (
        timing.injection_from == "sidecar" and window.status != "assumed"
    )
    if is_known or decay.reference_by == "ADMIN":
        return decay.reference_s
    raise DataError(
        "the injection time is not known, needed to bring dose and activity to one time. Correct "
        "InjectionStart, or give --pet-scan-start-min."
    )


def _dose_bq(fields: Fields) -> float:
    """Return the injected dose in Bq, at the injection."""
    dose = fields.number("InjectedRadioactivity", "the injected dose")
    unit = fields.text("InjectedRadioactivityUnits")
    if dose is None or unit is None:
        raise DataError("InjectedRadioactivity or InjectedRadioactivityUnits is not given.")
    if (scale := _DOSES.get(_plain(unit))) is None:
        raise fields.error("InjectedRadioactivityUnits", unit, "MBq, kBq, Bq, GBq, mCi or uCi")
    low, high = DOSES_MBQ
    if not low <= dose * scale / 1e6 <= high:
        raise DataError(
            f"InjectedRadioactivity is {dose:g} {unit}, needed are {low:g} to {high:g} MBq. Were "
            "other units meant?"
        )
    return dose * scale


def _weight_kg(fields: Fields, of_table: float | None) -> float:
    """Return the body weight: of the sidecar (``PatientWeight`` is what dcm2niix calls it)."""
    for key in ("BodyWeight", "PatientWeight"):
        if (weight := fields.number(key, "the body weight in kg")) is not None:
            break
    else:
        key, weight = "the weight of the participants table", of_table
    if weight is None or math.isnan(weight):
        raise DataError("the body weight is not given, by the sidecar or participants.tsv.")
    low, high = WEIGHTS_KG
    if not low <= weight <= high:
        raise DataError(f"{key} is {weight:g}, needed are {low:g} to {high:g} kg.")
    return weight
