"""Losses over the brain, in units of what the training mean leaves unexplained."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import avg_pool3d

from relad_bids.model.data import Batch

POOL = 4
"""Edge of the coarse cells in voxels: 8 mm on a 2 mm grid, about a small VOI."""


@dataclass(frozen=True, eq=False)
class Spread:
    """Mean squared deviation from the training mean, per tracer (R,): the floor's own error."""

    voxel: Tensor
    coarse: Tensor


def squared_errors(predicted: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean squared error per participant and tracer (B, R), by voxel and by coarse cell.

    Both have the posterior mean as their minimiser, so their sum has, too; the coarse one
    counts what a VOI sees, where voxel noise has averaged out.
    """
    return squares_of(predicted - batch.pet, batch.mask)


def squares_of(error: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean square of an error (B, C, I, J, K) in the mask (B, 1, I, J, K), each (B, C).

    By voxel and by coarse cell.
    """
    mask = mask.to(error.dtype)
    error = error * mask
    weight = avg_pool3d(mask, POOL)
    cell = avg_pool3d(error, POOL) / weight.clamp_min(1e-6)
    return _mean(error.square(), mask), _mean(cell.square() * weight, weight)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, C, I, J, K) in the mask (B, 1, I, J, K), (B, C)."""
    mask = mask.to(values.dtype)
    return _mean(values * mask, mask)


def relative_error(predicted: Tensor, batch: Batch, spread: Spread) -> Tensor:
    """Squared error over that of the training mean, averaged over the scans there are.

    1 is "no better than the training mean"; 1 minus it is the skill score.
    """
    voxel, coarse = squared_errors(predicted, batch)
    ratio = (voxel / spread.voxel + coarse / spread.coarse) / 2
    available = batch.available.to(ratio.dtype)
    return (ratio * available).sum() / available.sum().clamp_min(1)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return values.sum((-3, -2, -1)) / weight.sum((-3, -2, -1)).clamp_min(1e-6)
