"""The training mean and what it leaves unexplained: the floor under every model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from relad_bids.core.intensity import BACKGROUND
from relad_bids.errors import DataError
from relad_bids.model.data import Batch
from relad_bids.model.learning.losses import Spread, squared_errors

CORE_SHARE = 0.97
"""Share of the participants in whose brain mask a voxel of the core lies."""


def training_mean(batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    """Voxelwise mean PET (R, I, J, K), and the core (I, J, K) bool in nearly every brain.

    A voxel in nobody's brain keeps the contract's zero.

    Raises
    ------
    DataError
        There is no core.
    """
    total, count, brains = (torch.zeros(()) for _ in range(3))
    people = 0
    for batch in batches:
        seen = batch.mask & batch.available[..., None, None, None]
        total = total + (batch.pet * seen).sum(0)
        count = count + seen.float().sum(0)
        brains = brains + batch.mask[:, 0].float().sum(0)
        people += len(batch.mask)
    core = brains >= CORE_SHARE * people
    if not core.any():
        raise DataError(
            f"no voxel lies in the brain masks of {CORE_SHARE:.0%} of the {people} participants; "
            "training needs scans registered to one template. Look at the masks."
        )
    return torch.where(count > 0, total / count.clamp_min(1), BACKGROUND), core


def spread_around(mean: Tensor, batches: Iterable[Batch]) -> Spread:
    """What a training mean (R, I, J, K) leaves unexplained, over the scans there are."""
    rows = [(*squared_errors(mean.expand_as(b.pet), b), b.available) for b in batches]
    voxel, coarse, available = (torch.cat(column) for column in zip(*rows, strict=True))
    scans = available.sum(0).clamp_min(1)
    return Spread(
        *((error * available).sum(0).div(scans).clamp_min(1e-8) for error in (voxel, coarse))
    )
