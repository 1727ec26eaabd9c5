"""One step's draw for the diffusion models: whose PET, of which tracer, under how much noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relad_bids.core.intensity import BACKGROUND
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.schedule import Schedule


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


def choose_tracer(available: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one of the tracers that each participant has, (B,) int64.

    Parameters
    ----------
    available : (B, R) bool
        At least one in each row.
    weight : (R,) float
        One over the number of scans makes every tracer as frequent as the others.
    """
    chances = available.cpu() * weight.cpu()
    return torch.multinomial(chances, 1, generator=generator)[:, 0].to(available.device)


def draw(
    batch: Batch,
    schedule: Schedule,
    *,
    weight: Tensor,
    share_at_end: float,
    generator: torch.Generator,
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
    batch = batch.with_scans()
    tracer = choose_tracer(batch.available, weight, generator)
    pet = torch.where(batch.mask, of_tracer(batch.pet, tracer), BACKGROUND)
    n = len(pet)
    at_end = torch.rand(n, generator=generator) < share_at_end
    t = torch.randint(schedule.n_steps, (n,), generator=generator)
    t = torch.where(at_end, schedule.n_steps - 1, t).to(pet.device)
    noise = torch.randn(pet.shape, generator=generator).to(pet.device)
    noisy = schedule.add_noise(pet, noise, t)
    return Draw(batch.mri, pet, batch.mask, tracer, t, noise, noisy)


def of_tracer(images: Tensor, tracer: Tensor) -> Tensor:
    """Each participant's image of its tracer: (B, R, I, J, K) and (B,) -> (B, 1, I, J, K)."""
    return images[torch.arange(len(images)), tracer][:, None]


def crop_alike(images: Sequence[Tensor], *, edge: int, generator: torch.Generator) -> list[Tensor]:
    """Cut a box of ``edge`` voxels, another one for each participant, out of all images.

    Images are (B, C, I, J, K) of one B and grid; sides shorter than ``edge`` stay whole, 0 cuts
    nothing.
    """
    if not edge:
        return list(images)
    sides = [min(edge, side) for side in images[0].shape[-3:]]
    boxes = []
    for _ in range(len(images[0])):
        starts = [
            int(torch.randint(whole - side + 1, (), generator=generator))
            for whole, side in zip(images[0].shape[-3:], sides, strict=True)
        ]
        boxes.append([slice(a, a + side) for a, side in zip(starts, sides, strict=True)])
    return [
        torch.stack([one[(..., *box)] for one, box in zip(image, boxes, strict=True)])
        for image in images
    ]
