"""Fit the regional regression to a cohort, in closed form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold

from relad_bids.errors import DataError
from relad_bids.model.data import Batch
from relad_bids.model.learning.floor import spread_around, training_mean
from relad_bids.model.learning.losses import Spread
from relad_bids.model.networks.regional import (
    MRI_CELL,
    PET_CELL,
    RegionalRegression,
    cell_means,
    inside,
    is_shown,
)

PENALTIES = tuple(10.0**exponent for exponent in np.arange(1, 6.5, 0.5))
"""Ridge penalties to choose from, for standardised features."""
FOLDS = 5
FLAIR = 1
"""Channel of the FLAIR."""


@dataclass(frozen=True, eq=False)
class _Cohort:
    """A cohort in numbers; S sequences, R tracers, F and C cells of MRI and PET in the core."""

    mri: NDArray[np.float64]
    """(N, S, F) cell means."""
    shown: NDArray[np.bool_]
    """(N, S) whether there is the sequence."""
    pet: NDArray[np.float32]
    """(N, R, C) cell means of PET minus the training mean."""
    available: NDArray[np.bool_]
    """(N, R)."""


@torch.no_grad()
def fit_regional(
    regression: RegionalRegression, batches: Iterable[Batch], *, missing_flair: float
) -> Spread:
    """Fit core, mean and regression in place; return what the training mean leaves unexplained.

    The penalty is chosen for each tracer by cross-validation over participants.

    Parameters
    ----------
    batches
        The participants, (B, ...) at a time; walked through three times.
    missing_flair
        Share of the participants who will come without FLAIR: the weight of a second row of
        each, in which FLAIR says nothing.

    Raises
    ------
    DataError
        No voxel lies in nearly every brain mask, or a tracer has fewer scans than there are
        folds.
    """
    mean, core = training_mean(batches)
    regression.prior.copy_(mean)
    regression.core.copy_(core)
    cohort = _summarise(regression, batches)
    features = _standardise(regression, cohort)
    coefficients = _ridge(cohort, features, missing_flair)
    _reduce_rank(regression, features, coefficients)
    return spread_around(mean, batches)


def _summarise(regression: RegionalRegression, batches: Iterable[Batch]) -> _Cohort:
    rows = []
    core, prior = regression.core.cpu(), regression.prior.cpu()
    of_mri, of_pet = inside(core, MRI_CELL), inside(core, PET_CELL)
    weight = core[None, None]
    for batch in batches:
        deviation = batch.pet - prior
        rows.append(
            (
                cell_means(batch.mri, weight, MRI_CELL)[0][..., of_mri].double(),
                is_shown(batch.mri),
                cell_means(deviation, weight, PET_CELL)[0][..., of_pet],
                batch.available,
            )
        )
    return _Cohort(*(torch.cat(column).numpy() for column in zip(*rows, strict=True)))


def _standardise(regression: RegionalRegression, cohort: _Cohort) -> NDArray[np.float64]:
    """Set centre and scale; return z-scores (N, S, F), 0 where a sequence is missing."""
    weight = cohort.shown[..., None].astype(float)
    n = np.maximum(weight.sum(0), 1)
    centre = (cohort.mri * weight).sum(0) / n
    sd = np.sqrt(((cohort.mri - centre) ** 2 * weight).sum(0) / n)
    # A cell that hardly varies, or lies outside, must not be blown up.
    floor = 0.2 * np.median(sd[sd > 0]) if np.any(sd > 0) else 1.0
    scale = np.maximum(sd, floor)
    taken = inside(regression.core, MRI_CELL)
    regression.centre[:, taken] = torch.from_numpy(centre).to(regression.centre)
    regression.scale[:, taken] = torch.from_numpy(scale).to(regression.scale)
    return np.asarray((cohort.mri - centre) / scale * weight)


def _ridge(
    cohort: _Cohort, features: NDArray[np.float64], missing_flair: float
) -> NDArray[np.float64]:
    """Return coefficients (R, C, S * F), each tracer with its own penalty."""
    without = features.copy()
    without[:, FLAIR] = 0
    n = len(features)
    x = np.concatenate([features, without]).reshape(2 * n, -1)
    weight = np.repeat([1 - missing_flair, missing_flair], n)
    person = np.tile(np.arange(n), 2)
    rows_of = np.tile(cohort.available, (2, 1)) & (weight > 0)[:, None]
    found = []
    for tracer in range(cohort.pet.shape[1]):
        rows = rows_of[:, tracer]
        y = np.tile(cohort.pet[:, tracer], (2, 1))[rows]
        scans = np.unique(person[rows]).size
        if scans < FOLDS:
            raise DataError(
                f"tracer number {tracer} has {scans} scans to start from, the cross-validation "
                f"of its regression needs {FOLDS}. Give more participants with that tracer."
            )
        search = GridSearchCV(
            Ridge(fit_intercept=False),
            {"alpha": PENALTIES},
            scoring="neg_mean_squared_error",
            cv=GroupKFold(FOLDS),
        )
        search.fit(x[rows], y, groups=person[rows], sample_weight=weight[rows])
        found.append(search.best_estimator_.coef_)
    return np.stack(found)


def _reduce_rank(
    regression: RegionalRegression,
    features: NDArray[np.float64],
    coefficients: NDArray[np.float64],
) -> None:
    """Keep the patterns that carry most of what the regression says about the cohort."""
    whole = coefficients.reshape(-1, coefficients.shape[-1])  # (R * C, S * F)
    said = features.reshape(len(features), -1) @ whole.T
    _, _, patterns = np.linalg.svd(said, full_matrices=False)
    rank = min(len(regression.loadings), len(patterns))
    patterns = patterns[:rank]
    for target, values, edge in (
        (regression.patterns, patterns, PET_CELL),
        (regression.loadings, patterns @ whole, MRI_CELL),
    ):
        taken = inside(regression.core, edge)
        target.zero_()
        values = values.reshape(rank, target.shape[1], -1)
        target[:rank, :, taken] = torch.from_numpy(values).to(target)
