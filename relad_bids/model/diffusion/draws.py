"""K draws of a diffusion model for one participant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from relad_bids.model.diffusion.sampler import Denoiser, sample
from relad_bids.model.diffusion.schedule import Schedule


def draw_samples(
    denoise: Denoiser,
    like: Tensor,
    schedule: Schedule,
    sampler: Mapping[str, Any],
    *,
    n_samples: int,
    steps: int | None,
    generator: torch.Generator | None,
) -> Tensor:
    """Draw one after the other, so that memory does not grow with their number.

    Parameters
    ----------
    like : (1, 1, I, J, K)
        Shape and device of a draw.
    sampler
        ``name``, ``spacing`` and ``steps`` of :func:`relad_bids.model.diffusion.sampler.sample`.
    steps
        In place of the sampler's own number.
    generator
        On the CPU; one of seed 0 if None.

    Returns
    -------
    (n_samples, 1, I, J, K) float32
    """
    generator = generator or torch.Generator().manual_seed(0)
    steps = sampler["steps"] if steps is None else steps
    draws = []
    for _ in range(n_samples):
        noise = torch.randn(like.shape, generator=generator).to(like.device)
        draws.append(
            sample(
                denoise, noise, schedule, method=sampler["name"], steps=steps,
                spacing=sampler["spacing"], generator=generator,
            )
        )  # fmt: skip
    return torch.cat(draws)
