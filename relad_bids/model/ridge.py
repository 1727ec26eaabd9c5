"""Ridge regression on regional MRI means, as a model of its own (model key ``ridge``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relad_bids.model.base import Model, Turn, only_one
from relad_bids.model.data import Batch
from relad_bids.model.losses import Spread
from relad_bids.model.regional import RegionalRegression
from relad_bids.model.regional_fit import fit_regional


class Ridge(Model):
    """What is linear in regional MRI means: the floor that a network must beat.

    Takes the settings of :class:`~relad_bids.model.regional.RegionalRegression`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.regression = RegionalRegression(**settings)

    def prepare(self, batches: Iterable[Batch], *, missing_flair: float) -> Spread:
        return fit_regional(self.regression, batches, missing_flair=missing_flair)

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {}

    def fit(self, batch: Batch, turn: Turn) -> dict[str, float]:
        return {}

    def predict(
        self,
        mri: Tensor,
        tracer: int,
        *,
        n_samples: int = 1,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        only_one("the ridge regression", n_samples, steps)
        return self.regression(mri)[:, tracer : tracer + 1]
