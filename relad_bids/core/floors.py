"""Floors: what is predicted without an image.

Frames of pairs are those of :mod:`relad_bids.core.evaluation`, where a floor is one column more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.core.evaluation import require_columns
from relad_bids.errors import DataError

Values = NDArray[np.float64]


def trained_floor(
    training: pd.DataFrame, pairs: pd.DataFrame, covariates: Sequence[str] = ()
) -> pd.Series:
    """Predict from the training set what can be known without an image, per tracer and VOI.

    Without covariates it is the training mean; with age and sex it is the floor that a network
    must beat to be better than demographics. Each training participant counts once, however
    often scanned.

    Parameters
    ----------
    training
        ``participant_id tracer voi truth`` and the covariates, as numbers.
    pairs
        ``participant_id tracer voi`` and the covariates, of other participants.

    Returns
    -------
    Series
        Aligned with ``pairs``; NaN where a covariate is missing, or the training set has fewer
        participants than coefficients.

    Raises
    ------
    DataError
        A participant is in both.
    """
    keys = ["participant_id", "tracer", "voi"]
    require_columns(training, [*keys, "truth", *covariates])
    require_columns(pairs, [*keys, *covariates])
    _require_disjoint(training["participant_id"], pairs["participant_id"])
    found = np.full(len(pairs), np.nan)
    known = dict(list(training.dropna(subset=["truth", *covariates]).groupby(["tracer", "voi"])))
    for key, where in pairs.groupby(["tracer", "voi"]).indices.items():
        if key in known:
            found[where] = _predict(known[key], pairs.iloc[where], covariates)
    return pd.Series(found, index=pairs.index)


def _predict(training: pd.DataFrame, wanted: pd.DataFrame, covariates: Sequence[str]) -> Values:
    """Ordinary least squares over participants, with an intercept."""
    person = training["participant_id"]
    if person.nunique() < 1 + len(covariates):
        return np.full(len(wanted), np.nan)
    root = np.sqrt(1 / person.map(person.value_counts()).to_numpy(dtype=np.float64))
    design, truth = _design(training, covariates), training["truth"].to_numpy(dtype=np.float64)
    coefficients = np.linalg.lstsq(design * root[:, None], truth * root)[0]
    return np.asarray(_design(wanted, covariates) @ coefficients)


def _design(frame: pd.DataFrame, covariates: Sequence[str]) -> Values:
    columns = [frame[name].to_numpy(dtype=np.float64) for name in covariates]
    return np.stack([np.ones(len(frame)), *columns], axis=1)


def _require_disjoint(training: pd.Series, other: pd.Series) -> None:
    if shared := sorted(set(training) & set(other)):
        raise DataError(
            f"{len(shared)} participants are both in the training set and in the table to "
            f"predict, first {shared[0]}; a floor must not know them. Split by participant."
        )
