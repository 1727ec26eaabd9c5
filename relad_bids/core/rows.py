"""Rows of a VOI table by what they were divided by: the primary ones, and those beside them.

A tracer without a region free of its target has two ratios (pet-quantification, section 1.6),
and a corrected value stands beside an uncorrected one (section 1.7). Each is a row of its own,
so that no column ever holds both, and :func:`primary_rows` gives back the one row of each VOI
that everything else reads.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from relad_bids.core.scales import NO_CORRECTION
from relad_bids.core.suvr import Reference

SECOND_REFERENCE = "second_reference"
"""Flag of a row that was divided by another region than the tracer's reference."""

UNSTABLE = "pvc_unstable"
"""Flag of a corrected row that is not to be trusted."""

MOST_UNSTABLE = 0.1
"""Largest share of a VOI, or of a reference region, whose corrected values are unstable."""

RATIOS = ("mean", "median", "sd")
"""Statistics of the image that are divided by the mean of the reference region."""


def referred(table: pd.DataFrame, reference: Reference, *, name: str, method: str) -> pd.DataFrame:
    """Put the reference region of a VOI table into its rows.

    Parameters
    ----------
    table
        From :func:`relad_bids.core.suvr.voi_table`, of the same reference region.
    name, method
        Columns ``ref_region`` and ``ref_method``.

    Returns
    -------
    DataFrame
        With ``ref_*``, and the flags of the region before those of each row.
    """
    flags = [[*reference.flags(), *own] for own in table["flags"]]
    return table.assign(**reference.columns(name), ref_method=method, flags=flags)


def over_another(
    table: pd.DataFrame, reference: Reference, *, name: str, method: str
) -> pd.DataFrame:
    """Divide the same regional means by another reference region.

    Parameters
    ----------
    table
        From :func:`relad_bids.core.suvr.voi_table`; not yet :func:`referred`.

    Returns
    -------
    DataFrame
        As of :func:`referred`, each row flagged :data:`SECOND_REFERENCE`.
    """
    ratios = {f"suvr_{one}": table[one] / reference.mean for one in RATIOS}
    flags = [[SECOND_REFERENCE, *own] for own in table["flags"]]
    again = table.assign(**ratios, flags=flags)
    return referred(again, reference, name=name, method=method)


def without_values(table: pd.DataFrame) -> pd.DataFrame:
    """Keep regions and their volumes, and nothing that an image says of them.

    Parameters
    ----------
    table
        From :func:`relad_bids.core.suvr.voi_table`.
    """
    ratios = [f"suvr_{one}" for one in RATIOS]
    said = ["fov_fraction", "mean", "median", "sd", "p05", "p95", *ratios]
    return table.assign(**dict.fromkeys(said, np.nan))


def second_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the uncorrected rows that were divided by a second reference region."""
    return _plain(table)[_is_second(_plain(table))]


def with_instability(
    table: pd.DataFrame, shares: pd.Series, *, reference_share: float
) -> pd.DataFrame:
    """Flag the corrected rows that are not to be trusted.

    Parameters
    ----------
    table
        Corrected rows, from :func:`referred`.
    shares
        Share of each row's VOI that is unstable
        (:attr:`relad_bids.core.correction.Correction.unstable`); NaN for a row without a value.
    reference_share
        The same of the reference region.
    """
    doubted = (shares > MOST_UNSTABLE) | (table["mean"] <= 0)
    doubted |= reference_share > MOST_UNSTABLE
    flags = [
        [UNSTABLE, *own] if one else own for one, own in zip(doubted, table["flags"], strict=True)
    ]
    return table.assign(flags=flags)


def primary_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows that are neither corrected nor divided by a second reference region.

    One row a VOI, side and image is left, in the order of the table.

    Parameters
    ----------
    table
        VOI table of one or many images (:mod:`relad_bids.core.columns`); a missing ``pvc``
        means none.
    """
    plain = _plain(table)
    return plain[~_is_second(plain)]


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["pvc"].isna() | (table["pvc"] == NO_CORRECTION)]


def _is_second(table: pd.DataFrame) -> pd.Series:
    words = table["qc_flags"].fillna("").astype(str).str.split(";")
    return words.map(lambda flags: SECOND_REFERENCE in flags).astype(bool)
