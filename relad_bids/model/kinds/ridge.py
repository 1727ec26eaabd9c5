"""Ridge regression on regional MRI means, as a model of its own (model key ``ridge``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from relad_bids.model.base import ClosedForm
from relad_bids.model.data import Batch
from relad_bids.model.learning.losses import Spread
from relad_bids.model.learning.regional_fit import fit_regional
from relad_bids.model.networks.regional import RegionalRegression


class Ridge(ClosedForm):
    """What is linear in regional MRI means: the floor that a network must beat.

    Takes the settings of :class:`~relad_bids.model.networks.regional.RegionalRegression`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.regression = RegionalRegression(**settings)

    def prepare(self, batches: Iterable[Batch], *, missing_flair: float) -> Spread:
        return fit_regional(self.regression, batches, missing_flair=missing_flair)

    def answer(self, mri: Tensor, tracer: int) -> Tensor:
        return self.regression(mri)[:, tracer : tracer + 1]
