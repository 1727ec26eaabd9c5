"""One step's draw for the diffusion models: whose PET, of which tracer, under how much noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relad_bids.core.intensity import BACKGROUND
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.schedule import Schedule
from relad_bids.model.learning.chance import Chance


@dataclass(frozen=True, eq=False)
class Draw:
    """A batch with one tracer chosen for each participant, and its PET noised."""

    mri: Tensor
    """(B, S, I, J, K)."""
    pet: Tensor
    """(B, 1, I, J, K) x0; -1 outside the brain."""
    mask: Tensor
    """(B, 1, I, J, K) bool."""
    tracer: Tensor
    """(B,) int64."""
    t: Tensor
    """(B,) int64."""
    noise: Tensor
    """(B, 1, I, J, K) standard normal."""
    noisy: Tensor
    """(B, 1, I, J, K) x_t."""
    chance: Chance
    """That of these participants, to draw more."""


def choose_tracer(available: Tensor, weight: Tensor, chance: Chance) -> Tensor:
    """Draw one of the tracers that each participant has, (B,) int64.

    Parameters
    ----------
    available : (B, R) bool
        At least one in each row.
    weight : (R,) float
        One over the number of scans makes every tracer as frequent as the others.
    """
    return chance.choice(available * weight.to(available.device))


def draw(
    batch: Batch,
    schedule: Schedule,
    *,
    weight: Tensor,
    share_at_end: float,
    chance: Chance,
) -> Draw:
    """Choose tracer and timestep of every participant and noise the PET.

    Participants without any PET are left out.

    Parameters
    ----------
    weight : (R,) float
        See :func:`choose_tracer`.
    share_at_end
        Share of the draws at the noisiest timestep, from where a single pass starts; the others
        are uniform over all timesteps.
    """
    chance = chance.of(batch.available.any(1))
    batch = batch.with_scans()
    tracer = choose_tracer(batch.available, weight, chance)
    pet = torch.where(batch.mask, of_tracer(batch.pet, tracer), BACKGROUND)
    at_end = chance.uniform() < share_at_end
    t = torch.where(at_end, schedule.n_steps - 1, chance.integers(schedule.n_steps)).to(pet.device)
    noise = chance.normal(pet)
    noisy = schedule.add_noise(pet, noise, t)
    return Draw(batch.mri, pet, batch.mask, tracer, t, noise, noisy, chance)


def of_tracer(images: Tensor, tracer: Tensor) -> Tensor:
    """Each participant's image of its tracer: (B, R, I, J, K) and (B,) -> (B, 1, I, J, K)."""
    return images[torch.arange(len(images)), tracer][:, None]


def crop_alike(images: Sequence[Tensor], *, edge: int, chance: Chance) -> list[Tensor]:
    """Cut a box of ``edge`` voxels, another one for each participant, out of all images.

    Images are (B, C, I, J, K) of one B and grid; sides shorter than ``edge`` stay whole, 0 cuts
    nothing.
    """
    if not edge:
        return list(images)
    shape = images[0].shape[-3:]
    starts = [chance.integers(max(whole - edge, 0) + 1).tolist() for whole in shape]
    return _cut(images, zip(*starts, strict=True), edge)


def crop_brain(
    images: Sequence[Tensor], mask: Tensor, *, edge: int, chance: Chance
) -> list[Tensor]:
    """Cut a box of ``edge`` voxels around a brain voxel of each participant out of all images.

    As :func:`crop_alike`, but for where: every voxel of the mask (B, 1, I, J, K) is as likely to
    be the middle, as far as the box then lies on the grid. So none is without brain.
    """
    if not edge:
        return list(images)
    shape = mask.shape[-3:]
    brains = [one.flatten().nonzero()[:, 0] for one in mask]
    drawn = chance.integers([len(voxels) for voxels in brains]).tolist()
    middles = [int(voxels[n]) for voxels, n in zip(brains, drawn, strict=True)]
    starts = [
        [
            min(max(int(middle) - edge // 2, 0), max(whole - edge, 0))
            for middle, whole in zip(np.unravel_index(flat, shape), shape, strict=True)
        ]
        for flat in middles
    ]
    return _cut(images, starts, edge)


def _cut(images: Sequence[Tensor], starts: Iterable[Sequence[int]], edge: int) -> list[Tensor]:
    """The box of each participant, from its first corner on; the grid's end cuts it short."""
    boxes = [[slice(a, a + edge) for a in corner] for corner in starts]
    return [
        torch.stack([one[(..., *box)] for one, box in zip(image, boxes, strict=True)])
        for image in images
    ]
