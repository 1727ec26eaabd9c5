"""The quality figures as they are printed: value, usual range, and a word that says which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from relad_bids.core.quality_columns import FIGURES, Figure
from relad_bids.files import read_table
from relad_bids.reports.group_rows import Printed

MISSING = "n/a"


@dataclass(frozen=True, kw_only=True)
class QualityRow:
    """One printed figure."""

    about: str
    """``T1w``, ``T1w on the template`` or ``FLAIR``."""
    title: str
    value: str
    usual: str
    """The range in words."""
    verdict: str
    """``usual``, ``outside``, ``not judged`` or ``not known``: no colour stands alone."""
    note: str
    """Meaning of the flag that was raised, else empty."""


def quality_rows(qc: Path) -> tuple[QualityRow, ...]:
    """Print the figures of a session; those of a sequence it has none of are left out.

    Parameters
    ----------
    qc
        The session's row of ``desc-relad_qc.tsv``.
    """
    values = read_table(qc).iloc[0].to_dict()
    known = {figure.about for name, figure in FIGURES.items() if not _missing(values.get(name))}
    return tuple(
        _row(figure, values.get(name)) for name, figure in FIGURES.items() if figure.about in known
    )


def _row(figure: Figure, value: Any) -> QualityRow:
    unusual = figure.state(value) == "unusual"
    return QualityRow(
        about=figure.about,
        title=figure.title,
        value=_text(value, figure.units),
        usual=figure.range_text(),
        verdict=_verdict(figure, value),
        note=figure.warning if unusual else "",
    )


def _verdict(figure: Figure, value: Any) -> str:
    if _missing(value):
        return "not known"
    if not figure.judged:
        return "not judged"
    return "outside" if figure.state(value) == "unusual" else "usual"


def _missing(value: Any) -> bool:
    return bool(pd.isna(value))


def _text(value: Any, units: str) -> str:
    if _missing(value):
        return MISSING
    digits = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{digits} {units}".rstrip()


def quality_summary(qc: pd.DataFrame) -> Printed:
    """Print each figure over all sessions: n, median, range, usual range, how many outside.

    Parameters
    ----------
    qc
        Rows of the QC table; figures that nobody has are left out.
    """
    rows = []
    for name, figure in FIGURES.items():
        values = pd.to_numeric(qc.get(name, pd.Series(dtype=float)), errors="coerce").dropna()
        if values.empty:
            continue
        outside = sum(figure.state(float(value)) == "unusual" for value in values)
        spread = (values.median(), values.min(), values.max())
        rows.append(
            (
                f"{figure.about}: {figure.title}",
                str(len(values)),
                *(_text(value, "") for value in spread),
                figure.range_text(),
                str(outside) if figure.judged else MISSING,
            )
        )
    head = ("Figure", "Sessions", "Median", "Least", "Largest", "Usual range", "Outside")
    return Printed(head, tuple(rows))
