"""The equations from SUVr to Centiloid and CenTauR z that ship with the package.

Where they come from stands in ``relad_bids/data/README.md``.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

from relad_bids.core.scales import Equation


@cache
def centiloid_equations() -> tuple[Equation, ...]:
    """Return the equations of ``centiloid.tsv``, in the order of the table."""
    return _equations("Centiloid", "centiloid.tsv")


@cache
def centaurz_equations() -> tuple[Equation, ...]:
    """Return the equations of ``centaurz.tsv``; their VOIs are the masks of CenTauR."""
    return _equations("CenTauR z", "centaurz.tsv")


def _equations(scale: str, name: str) -> tuple[Equation, ...]:
    text = (files("relad_bids") / "data" / name).read_text(encoding="utf-8")
    return tuple(
        Equation(
            scale=scale,
            tracer=row["tracer"],
            pipeline=row["pipeline"],
            voi=row["voi"],
            reference=row["reference"],
            slope=_number(row["slope"]),
            intercept=_number(row["intercept"]),
            status=row["status"],
            source=row["source"],
        )
        for row in csv.DictReader(text.splitlines(), delimiter="\t")
    )


def _number(text: str) -> float | None:
    return None if text == "n/a" else float(text)
