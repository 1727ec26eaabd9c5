"""The main VOIs of one PET as they are printed: rounded, both sides, flags in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pandas as pd

from relad_bids.core.columns import COLUMNS

MISSING = "n/a"
_PERCENT = "\N{NARROW NO-BREAK SPACE}%"
_DRAWN = {
    "labels": "drawn from the labels of the parcellation",
    "suit": "drawn from the lobules of the SUIT atlas",
    "eroded": "white matter out of reach of the cortex",
    "mean-of-parts": "eroded white matter, brain stem and cerebellum, each a third",
    "geometric": "drawn below a tilted plane through the cerebellar grey matter",
}


@dataclass(frozen=True, kw_only=True)
class VOIRow:
    """One printed row; text is ready to be read, :data:`MISSING` where nothing is known."""

    voi: str
    suvr: str
    """Both sides together; with the spread over samples where the network gave several."""
    left: str
    right: str
    volume_ml: str
    coverage: str
    """Share of the VOI inside the field of view, in percent."""
    flags: tuple[str, ...]
    """What holds for this region and not for all; see :func:`shared_flags`."""
    bar_percent: float | None
    """Length of the bar, of a track from 0 to the largest SUVr of the colour scale."""


def main_rows(table: pd.DataFrame, vois: Sequence[str], *, suvr_max: float) -> tuple[VOIRow, ...]:
    """Print the rows of the main VOIs, in the order asked for.

    Parameters
    ----------
    table
        A VOI table (:mod:`relad_bids.core.columns`).
    vois
        Names of its column ``voi``; one that the table lacks is printed as missing, so that
        nobody takes an absent region for one without finding.
    suvr_max
        SUVr at the end of the bars.
    """
    shared = _shared_words(table)
    return tuple(_row(voi, table[table["voi"] == voi], suvr_max, shared) for voi in vois)


def shared_flags(table: pd.DataFrame) -> tuple[str, ...]:
    """Flags that every row carries, in words: said once, so that a row's own stand out."""
    return flags_of(_shared_words(table))


def _shared_words(table: pd.DataFrame) -> tuple[str, ...]:
    sets = [_words(row) for row in table["qc_flags"].unique()]
    return tuple(word for word in (sets[0] if sets else ()) if all(word in own for own in sets))


def _words(qc_flags: object) -> list[str]:
    return str(qc_flags).split(";")


def _row(voi: str, found: pd.DataFrame, suvr_max: float, shared: tuple[str, ...]) -> VOIRow:
    side = {hemi: rows.iloc[0] for hemi, rows in found.groupby("hemi")}
    both = side.get("B", pd.Series(dtype=object))
    suvr = _number(both, "suvr_mean")
    spread = _number(both, "suvr_sd_samples")
    own = [word for word in _words(both.get("qc_flags", "ok")) if word not in shared]
    return VOIRow(
        voi=voi,
        suvr=_text(suvr, 2) + ("" if spread is None else f" \N{PLUS-MINUS SIGN} {spread:.2f}"),
        left=_text(_number(side.get("L", both[:0]), "suvr_mean"), 2),
        right=_text(_number(side.get("R", both[:0]), "suvr_mean"), 2),
        volume_ml=_text(_number(both, "volume_mm3"), 1, factor=1e-3),
        coverage=_text(
            _number(both, "fov_fraction"), 0, factor=100, unit="\N{NARROW NO-BREAK SPACE}%"
        ),
        flags=("not in the table",) if both.empty else flags_of(own),
        bar_percent=None if suvr is None else 100 * min(max(suvr / suvr_max, 0.0), 1.0),
    )


def _number(row: pd.Series, column: str) -> float | None:
    value = float(row.get(column, math.nan))
    return value if math.isfinite(value) else None


def _text(value: float | None, digits: int, *, factor: float = 1.0, unit: str = "") -> str:
    return MISSING if value is None else f"{factor * value:.{digits}f}{unit}"


def flags_of(words: Iterable[str]) -> tuple[str, ...]:
    """Put flags into words; a flag without a description stays as it is, ``ok`` is none."""
    meaning = cast(Mapping[str, str], COLUMNS["qc_flags"]["Levels"])
    return tuple(meaning.get(word, word) for word in words if word not in ("ok", "", "nan"))


def reference_line(table: pd.DataFrame, ref_region: str) -> str:
    """Name the denominator of every ratio, with its volume and how it was drawn."""
    first = table.iloc[0] if len(table) else pd.Series(dtype=object)
    facts = [ref_region]
    if (volume := _number(first, "ref_volume_mm3")) is not None:
        facts.append(f"{volume / 1000:.1f} mL")
    if (method := str(first.get("ref_method", ""))) not in ("", "nan"):
        facts.append(_DRAWN.get(method, f"drawn by {method}"))
    return ", ".join(facts)
