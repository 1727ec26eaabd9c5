"""The training mean of each tracer: the floor under every model (model key ``mean``)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from relad_bids.core.intensity import BACKGROUND
from relad_bids.model.base import ClosedForm
from relad_bids.model.data import Batch
from relad_bids.model.learning.floor import spread_around, training_mean
from relad_bids.model.learning.losses import Spread


class TrainingMean(ClosedForm):
    """Answers with the mean PET of the training participants, whoever is asked about."""

    mean: Tensor

    def __init__(self, *, n_tracers: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((n_tracers, *shape), BACKGROUND))

    def prepare(self, batches: Iterable[Batch], *, missing_flair: float) -> Spread:
        mean, _ = training_mean(batches)
        self.mean.copy_(mean)
        return spread_around(mean, batches)

    def answer(self, mri: Tensor, tracer: int) -> Tensor:
        return self.mean[None, None, tracer].repeat(len(mri), 1, 1, 1, 1)
