"""Intervals around regional SUVr, by factors that were measured in people with a real PET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pandas as pd

LEVEL = 0.9
"""Share of people whose value lies in the interval: that of the columns ``suvr_pi90_*``."""

Times = Literal["spread", "SUVr"]
"""What a factor multiplies: the standard deviation over a network's samples, or nothing."""


def with_intervals(
    table: pd.DataFrame, factors: Mapping[str, float], *, times: Times
) -> pd.DataFrame:
    """Give the rows of a VOI table their intervals.

    Parameters
    ----------
    table
        From :func:`relad_bids.core.suvr.voi_table`, with ``suvr_sd_samples`` if ``times`` is
        ``spread``.
    factors
        VOI -> factor, from :func:`relad_bids.core.calibration.conformal_factors`. They were
        measured in both sides together: one side alone has no interval.

    Returns
    -------
    DataFrame
        With ``suvr_pi90_low`` and ``suvr_pi90_high``, NaN where there is no factor.
    """
    factor = table["voi"].map(dict(factors)).where(table["hemi"] == "B").astype(float)
    half = factor * table["suvr_sd_samples"] if times == "spread" else factor
    middle = table["suvr_mean"]
    return table.assign(suvr_pi90_low=middle - half, suvr_pi90_high=middle + half)
