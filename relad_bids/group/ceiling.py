"""How high a correlation with measured PET can be, given how well two scans of it agree."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from relad_bids.group.written import Table

CEILING_COLUMNS: Mapping[str, dict[str, Any]] = {
    "tracer": {"Description": "Canonical tracer name"},
    "voi": {"Description": "Volume of interest"},
    "ref_region": {"Description": "Reference region"},
    "icc_real": {"Description": "ICC(A,1) of two scans of measured PET"},
    "icc_synthetic": {
        "Description": "ICC(A,1) of two syntheses of one person; n/a: not known, taken as 1"
    },
    "r_max": {
        "Description": "sqrt(icc_real icc_synthetic): the correlation of a synthesis without "
        "error of its own; n/a where an ICC is not above 0"
    },
    "r_max_low": {"Description": "The same at the lower bound of icc_real"},
    "r_max_high": {"Description": "The same at the upper bound of icc_real"},
    "n": {"Description": "Participants with two scans of measured PET"},
    "origin": {"Description": "Repeated scans of this dataset, or the literature"},
}


@cache
def published_icc() -> tuple[Mapping[str, Any], ...]:
    """Rows of ``data/retest_icc.tsv``."""
    text = (files("relad_bids") / "data" / "retest_icc.tsv").read_text(encoding="utf-8")
    numbers = ("icc", "abs_diff_percent", "n")
    return tuple(
        {name: float(value) if name in numbers else value for name, value in row.items()}
        for row in csv.DictReader(text.splitlines(), delimiter="\t")
    )


def ceiling_table(pairs: pd.DataFrame, retest: pd.DataFrame | None) -> Table:
    """Ceiling of each tracer and VOI for which an ICC is known.

    Parameters
    ----------
    pairs
        ``tracer voi ref_region`` of what is compared.
    retest
        :func:`relad_bids.core.repeats.retest_table` of this dataset, whose own scans go before
        the literature; None if there are none.
    """
    there = pairs[["tracer", "voi", "ref_region"]].drop_duplicates()
    own = {} if retest is None else _own(retest)
    keys = there.itertuples(index=False, name=None)
    rows = [_row(tracer, voi, region, own) for tracer, voi, region in keys]
    frame = pd.DataFrame([row for row in rows if row], columns=list(CEILING_COLUMNS))
    return Table("ceiling", frame, CEILING_COLUMNS)


def _own(retest: pd.DataFrame) -> dict[tuple[str, str, str], Any]:
    icc = retest[(retest["metric"] == "icc_a1") & retest["value"].notna()]
    return {(row.source, row.tracer, row.voi): row for row in icc.itertuples()}


def _row(
    tracer: str, voi: str, region: str, own: Mapping[tuple[str, str, str], Any]
) -> dict[str, Any] | None:
    real, synthetic = (own.get((source, tracer, voi)) for source in ("real", "synthetic"))
    head = {"tracer": tracer, "voi": voi, "ref_region": region}
    of_synthesis = synthetic.value if synthetic else np.nan
    factor = of_synthesis if synthetic else 1.0
    if real:
        bounds = {
            "r_max_low": _root(real.low, factor),
            "r_max_high": _root(real.high, factor),
        }
        icc, n, origin = real.value, real.n, "repeated scans of this dataset"
    else:
        known = next(
            (row for row in published_icc()
             if (row["tracer"], row["voi"], row["reference"]) == (tracer, voi, region)), None
        )  # fmt: skip
        if known is None:
            return None
        bounds, icc, n, origin = {}, known["icc"], int(known["n"]), known["source"]
    return {
        **head, "icc_real": icc, "icc_synthetic": of_synthesis, "r_max": _root(icc, factor),
        **bounds, "n": n, "origin": origin,
    }  # fmt: skip


def _root(icc: float, factor: float) -> float:
    product = icc * factor
    return float(np.sqrt(product)) if icc > 0 and factor > 0 else np.nan
