"""Floors from the cohort itself, where nobody's training set is at hand.

Everybody is predicted from the measured PET of others alone. Frames of pairs are those of
:mod:`relad_bids.core.evaluation`, where a floor is one column more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from relad_bids.core.evaluation import require_columns

Values = NDArray[np.float64]

N_FOLDS = 10
ALPHAS = tuple(np.logspace(-1, 5, 13).tolist())
"""Penalties tried, for standardised predictors; chosen among the others by leaving one out."""
MIN_FOR_RIDGE = 20
"""Fewest participants with volumes and measured PET."""


def left_out(pairs: pd.DataFrame, covariates: Sequence[str] = ()) -> pd.Series:
    """Predict each participant from all others by least squares, per tracer and VOI.

    Without covariates it is the mean of the others. The scans of a participant are averaged
    first, so that each counts once. The closed form of leaving one out: a residual divided by
    1 - its leverage.

    Parameters
    ----------
    pairs
        ``participant_id tracer voi truth`` and the covariates, as numbers.

    Returns
    -------
    Series
        Aligned with ``pairs``; NaN where a covariate is missing, or no degree of freedom is left.
    """
    require_columns(pairs, ["participant_id", "tracer", "voi", "truth", *covariates])
    found = np.full(len(pairs), np.nan)
    for where in pairs.groupby(["tracer", "voi"], observed=True).indices.values():
        rows = pairs.iloc[where]
        known = rows.dropna(subset=["truth", *covariates])
        each = known.groupby("participant_id", observed=True)[["truth", *covariates]].mean()
        if len(each) < 2 + len(covariates):
            continue
        design = np.column_stack([np.ones(len(each)), each[[*covariates]].to_numpy(float)])
        q, _ = np.linalg.qr(design)
        truth = each["truth"].to_numpy(dtype=np.float64)
        leverage = (q**2).sum(axis=1)
        left = (truth - q @ (q.T @ truth)) / np.where(leverage > 1 - 1e-9, np.nan, 1 - leverage)
        predicted = pd.Series(truth - left, index=each.index)
        found[where] = rows["participant_id"].map(predicted).to_numpy(dtype=np.float64)
    return pd.Series(found, index=pairs.index)


def ridge_on(
    pairs: pd.DataFrame, predictors: pd.DataFrame, *, rng: np.random.Generator
) -> pd.Series:
    """Predict by ridge regression on what is known of each scan, such as MRI volumes.

    Ten folds of participants; scaling and penalty are chosen inside the other nine.

    Parameters
    ----------
    pairs
        ``participant_id tracer voi truth scan``; one row per scan and VOI.
    predictors : (scans, P)
        Index ``scan``; scans with a hole are left out.

    Returns
    -------
    Series
        Aligned with ``pairs``; NaN below :data:`MIN_FOR_RIDGE` participants.
    """
    require_columns(pairs, ["participant_id", "tracer", "voi", "truth", "scan"])
    complete = predictors.dropna()
    found = np.full(len(pairs), np.nan)
    people = pairs["participant_id"].unique()
    fold_of = pd.Series(rng.permutation(len(people)) % N_FOLDS, index=people)
    together: dict[tuple[object, bytes], list[NDArray[np.integer]]] = {}
    for (tracer, _), where in pairs.groupby(["tracer", "voi"], observed=True).indices.items():
        rows = pairs.iloc[where]
        usable = where[(rows["truth"].notna() & rows["scan"].isin(complete.index)).to_numpy()]
        scans = complete.index.get_indexer(pairs["scan"].iloc[usable])
        if pairs["participant_id"].iloc[usable].nunique() >= MIN_FOR_RIDGE:
            # Regions of the same scans share their predictors, and one fit.
            together.setdefault((tracer, scans.tobytes()), []).append(usable)
    for places in together.values():
        kept = pairs.iloc[places[0]]
        x = complete.loc[kept["scan"]].to_numpy(dtype=np.float64)
        y = np.stack([pairs["truth"].iloc[at].to_numpy(dtype=np.float64) for at in places], axis=1)
        predicted = _out_of_fold(x, y, kept["participant_id"].map(fold_of).to_numpy())
        for at, column in zip(places, predicted.T, strict=True):
            found[at] = column
    return pd.Series(found, index=pairs.index)


def _out_of_fold(x: Values, y: Values, fold: NDArray[np.integer]) -> Values:
    """Predictions (N, V) of the values y (N, V), each region with a penalty of its own."""
    predicted = np.full(y.shape, np.nan)
    for one in np.unique(fold):
        out = fold == one
        ridge = RidgeCV(alphas=ALPHAS, alpha_per_target=True)
        model = make_pipeline(StandardScaler(), ridge).fit(x[~out], y[~out])
        predicted[out] = model.predict(x[out]).reshape(predicted[out].shape)
    return predicted


def permuted(pairs: pd.DataFrame, *, rng: np.random.Generator) -> pd.Series:
    """The estimate of another participant of the same tracer and VOI.

    Participants are put in a circle in random order, and each is given the next one's answer
    (its first scan's): nobody keeps their own.
    """
    require_columns(pairs, ["participant_id", "tracer", "voi", "estimate"])
    found = np.full(len(pairs), np.nan)
    people = np.sort(pairs["participant_id"].unique())
    order = pd.Series(rng.permutation(len(people)), index=people)
    for where in pairs.groupby(["tracer", "voi"], observed=True).indices.values():
        rows = pairs.iloc[where]
        first = rows.dropna(subset=["estimate"]).drop_duplicates("participant_id")
        circle = first.sort_values("participant_id", key=lambda who: who.map(order))
        if len(circle) < 2:
            continue
        others = pd.Series(
            np.roll(circle["estimate"].to_numpy(dtype=np.float64), -1),
            index=circle["participant_id"],
        )
        found[where] = rows["participant_id"].map(others).to_numpy(dtype=np.float64)
    return pd.Series(found, index=pairs.index)
