"""The SUVr cut-offs of positivity that ship with the package (``data/cutoffs.tsv``)."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from relad_bids.tables import tracers


@cache
def cutoffs() -> Mapping[tuple[str, str], float]:
    """(tracer, VOI) -> SUVr from which a scan is positive, by the tracer's default reference.

    A cut-off belongs to one ligand, VOI and reference region (pet-quantification, section 0.4).
    A tracer whose ligand is not declared has none, nor has one without an accepted cut-off.
    """
    text = (files("relad_bids") / "data" / "cutoffs.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t")
    return MappingProxyType(
        {
            (row["tracer"], row["voi"]): float(row["value"])
            for row in rows
            if tracers()[row["tracer"]].reference == row["reference"]
        }
    )
