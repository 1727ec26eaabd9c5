"""How sharp a measured PET image is, who says so, and to what it is smoothed."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from relad_bids.core.resolution import SAME_FWHM_MM
from relad_bids.errors import DataError, InputError
from relad_bids.pet.fields import Fields
from relad_bids.untrusted import read_text

FIELD = "FullWidthHalfMaximum"

WIDTHS_MM = (1.0, 20.0)
"""What scanners of the brain have; a value beyond is another unit, or another field."""

PSF_COLUMNS = ("psf_x", "psf_y", "psf_z")
"""Of the user's table, as Clinica has them; along the voxel axes of the image."""

Width = tuple[float, float, float]
Key = tuple[str, str, str]
"""Participant, session and tracer label without prefix; empty where the table does not say."""


@dataclass(frozen=True)
class Sharpness:
    """Resolution of one scan."""

    native_mm: Width | None = None
    """Full width at half maximum along the voxel axes; None where nothing says it."""
    source: str = ""
    """Where that stands: a sidecar's field, or the user's table."""
    target_mm: float | None = None
    """What it is smoothed to; None where it is not."""
    flags: tuple[str, ...] = ()
    """``lowres``: less sharp than was asked for, and left as it is."""

    @property
    def fwhm_mm(self) -> float | None:
        """Of the image that is quantified, one number for all directions.

        The root mean square of the axes: as the image is turned onto the T1w, that mean stays.
        """
        if self.target_mm is not None or self.native_mm is None:
            return self.target_mm
        return math.sqrt(sum(width**2 for width in self.native_mm) / 3)

    @property
    def facts(self) -> dict[str, object]:
        """For the sidecars of its images; empty where nothing is known."""
        if self.native_mm is None:
            return {}
        native = list(self.native_mm)
        told = {FIELD: self.fwhm_mm, f"{FIELD}Source": self.source}
        return told | {f"Native{FIELD}": native, "SmoothedBeforeInterpolation": bool(self.smooth)}

    @property
    def smooth(self) -> dict[str, object]:
        """Input of the step that smooths; empty where nothing is smoothed."""
        if self.target_mm is None or self.native_mm is None:
            return {}
        return {"native_fwhm_mm": list(self.native_mm), "target_fwhm_mm": self.target_mm}


UNKNOWN = Sharpness()
"""Of a scan that nothing says anything of."""


def read_sharpness(
    fields: Fields,
    key: Key,
    *,
    table: Mapping[Key, Width] | None = None,
    target_mm: float | None = None,
) -> Sharpness:
    """Decide how sharp a scan is and whether it is smoothed to a common resolution.

    The user's table goes before the sidecar. No resolution is guessed from the model of the
    scanner: it depends on the reconstruction as much (pet-quantification 4.2).

    Parameters
    ----------
    key
        Participant, session (empty for none) and tracer label.
    target_mm
        ``--pet-fwhm``; None for as it is.

    Raises
    ------
    DataError
        A width that no scanner has, or a target for a scan whose resolution nothing says.
    """
    native, source = _native(fields, key, table or {})
    if target_mm is None:
        return Sharpness(native, source)
    if native is None:
        raise DataError(
            f"{fields.name}: --pet-fwhm {target_mm:g} was asked for, and the resolution of the "
            f"scan was looked for in {FIELD} and in --pet-psf-tsv, and is in neither. Needed is "
            "one of them; or leave --pet-fwhm out, and do not pool the scan with others."
        )
    if max(native) > target_mm + SAME_FWHM_MM:
        return Sharpness(native, source, flags=("lowres",))
    return Sharpness(native, source, target_mm)


def _native(fields: Fields, key: Key, table: Mapping[Key, Width]) -> tuple[Width | None, str]:
    subject, session, trc = key
    for known in ((subject, session, trc), (subject, session, ""), (subject, "", trc),
                  (subject, "", "")):  # fmt: skip
        if known in table:
            return _checked(table[known], "the table of --pet-psf-tsv"), "user's table"
    told = fields.numbers(FIELD, "the resolution in mm, one or three")
    if told is None:
        return None, ""
    return _checked(told.tolist(), f"{fields.name}: {FIELD}"), FIELD


def _checked(widths: Sequence[float], where: str) -> Width:
    low, high = WIDTHS_MM
    if len(widths) in (1, 3) and all(low <= width <= high for width in widths):
        i, j, k = widths if len(widths) == 3 else (*widths,) * 3
        return float(i), float(j), float(k)
    raise DataError(
        f"{where} is {list(widths)}, needed are one or three widths in mm, of {low:g} to "
        f"{high:g}. Correct it."
    )


def read_psf_table(path: Path) -> dict[Key, Width]:
    """Read resolutions from a table: ``participant_id``, ``psf_x psf_y psf_z`` in mm.

    ``session_id`` and ``trc_label`` (or Clinica's ``acq_label``) narrow a row down; a row
    without holds for all of a participant.

    Raises
    ------
    InputError
        There is no such file.
    DataError
        A column is missing, or a width is no number.
    """
    if not path.is_file():
        raise InputError(f"--pet-psf-tsv: {path} was looked for and is not there. Give a table.")
    try:
        rows = list(csv.DictReader(StringIO(read_text(path), newline=""), delimiter="\t"))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table ({error}); mend the file.") from error
    needed = ("participant_id", *PSF_COLUMNS)
    if not rows or not set(needed) <= set(rows[0]):
        found = ", ".join(map(str, rows[0])) if rows else "no row"
        raise DataError(
            f"{path} holds {found}; needed are the columns {', '.join(needed)}, separated by tabs."
        )
    return {_key(row): _widths(row, path) for row in rows}


def _key(row: Mapping[str, str | None]) -> Key:
    def plain(name: str, prefix: str) -> str:
        text = (row.get(name) or "").strip()
        return "" if text == "n/a" else text.removeprefix(prefix)

    trc = plain("trc_label", "trc-") or plain("acq_label", "trc-")
    return plain("participant_id", "sub-"), plain("session_id", "ses-"), trc


def _widths(row: Mapping[str, str | None], path: Path) -> Width:
    try:
        i, j, k = (float(row[name] or "") for name in PSF_COLUMNS)
    except ValueError as error:
        raise DataError(
            f"{path}: the row of {row['participant_id']} has {[row[n] for n in PSF_COLUMNS]} in "
            f"{', '.join(PSF_COLUMNS)}, needed are numbers of mm."
        ) from error
    return i, j, k
