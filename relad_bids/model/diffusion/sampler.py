"""The reverse process: from noise to an image, for any function that estimates the clean one.

Every sampler walks explicit pairs (t, t_next); schedulers that work out the next timestep by
themselves are wrong when steps are few (method.md 2.9).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from relad_bids.errors import UsageError
from relad_bids.model.diffusion.schedule import Schedule

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, C, I, J, K), t (B,) int64) -> estimate of the clean image, shaped like x_t.

Clamped already where the schedule says so, its conditions (MRI, tracer) bound by the caller.
"""

Method = Literal["ancestral", "ddim", "dpmpp2m", "one-pass"]
Spacing = Literal["trailing", "log_snr", "karras"]

CLEAN = -1
"""The ``t_next`` of the last pair: no noise is left."""
LEAST_LOG_SNR = -2 * math.log(80)
"""Lowest log-SNR that a grid is spread over: noise 80 times the signal (Karras et al. 2022,
Table 1). Below it nothing is decided, and zero terminal SNR would be infinitely far away."""
RHO = 7
"""Crowding of the Karras grid towards little noise; Karras et al. 2022, Eq. 5."""


def timestep_pairs(schedule: Schedule, steps: int, spacing: Spacing) -> list[tuple[int, int]]:
    """Where a walk of ``steps`` denoiser calls stands and where it goes next.

    Parameters
    ----------
    schedule
        Of T timesteps.
    steps
        From 1 to T. Where several points of the grid round to one timestep, one of them is
        kept, so there may be fewer pairs.
    spacing
        ``trailing``: even in t (Lin et al. 2024, Table 2); ``log_snr``: even in log-SNR
        (Lu et al., arXiv 2206.00927); ``karras``: even in (noise over signal)^(1/7)
        (Karras et al. 2022, Eq. 5).

    Returns
    -------
    list of (t, t_next)
        t strictly falling, from T - 1 on; the last t_next is ``CLEAN``. The last t is 0 if
        ``steps`` is above 1; with ``trailing`` it is T/steps - 1, and the long step from there
        to clean shrinks the spread of the samples whatever the method.

    Raises
    ------
    UsageError
        The spacing is unknown, or there are not so many steps.
    """
    _require_offered("spacing", spacing, get_args(Spacing))
    n = schedule.n_steps
    if not 1 <= steps <= n:
        raise UsageError(
            f"{steps} sampling steps were asked for; the schedule {schedule.name} has {n} "
            f"timesteps. Ask for 1 to {n}."
        )
    if spacing == "trailing":
        path = [round(n * left / steps) - 1 for left in range(steps, 0, -1)]
    else:
        path = [n - 1, *_nearest_timesteps(schedule, steps, spacing)[1:]]
    return list(pairwise([*sorted(set(path), reverse=True), CLEAN]))


def _nearest_timesteps(schedule: Schedule, steps: int, spacing: Spacing) -> list[int]:
    log_snr = schedule.log_snr().numpy()
    ends = max(log_snr[-1], LEAST_LOG_SNR), log_snr[0]
    if spacing == "log_snr":
        grid = np.linspace(*ends, steps)
    else:  # noise over signal is exp(-log_snr / 2)
        root, last_root = (math.exp(-end / (2 * RHO)) for end in ends)
        grid = -2 * RHO * np.log(np.linspace(root, last_root, steps))
    return [round(t) for t in np.interp(-grid, -log_snr, np.arange(schedule.n_steps))]


@torch.no_grad()
def sample(
    denoise: Denoiser,
    noise: Tensor,
    schedule: Schedule,
    *,
    method: Method,
    steps: int,
    spacing: Spacing,
    generator: torch.Generator,
) -> Tensor:
    """Walk from noise to a clean image.

    Parameters
    ----------
    denoise
        The estimate of the clean image; called once per pair of :func:`timestep_pairs`. What
        it says last is the result.
    noise : (B, C, I, J, K)
        Standard normal; result and walk have its device and dtype.
    schedule
        The one ``denoise`` was trained with.
    method
        ``ancestral``: draws from the posterior of each step (Ho et al. 2020, Alg. 2); with all
        T steps in ``trailing`` spacing the chain of the published code, up to the float32
        rounding of the latter's coefficients (1e-4 after 1000 steps). ``ddim``: follows the
        probability flow, first order (Song et al. 2021). ``dpmpp2m``: the same, second order
        (DPM-Solver++, Lu et al., arXiv 2211.01095, Alg. 2); for few steps. ``one-pass``: the
        estimate from pure noise.
    steps, spacing
        As in :func:`timestep_pairs`; ``one-pass`` takes one step.
    generator
        On the CPU, whatever the device: a seed means the same everywhere. Only ``ancestral``
        draws: one normal field per pair, none for the last.

    Returns
    -------
    (B, C, I, J, K)
        The clean image.

    Raises
    ------
    UsageError
        The method or spacing is unknown, or does not take so many steps.
    """
    _require_offered("method", method, get_args(Method))
    if method == "one-pass" and steps != 1:
        raise UsageError(
            f"the method one-pass was asked for {steps} steps and takes 1; ask for one step or "
            "choose another method."
        )
    log_snr = schedule.log_snr()
    x, earlier = noise, None
    for t, t_next in timestep_pairs(schedule, steps, spacing):
        clean = denoise(x, torch.full((len(x),), t, device=x.device))
        if method == "ancestral":
            x = _draw_posterior(x, clean, schedule, (t, t_next), generator)
        elif t_next == CLEAN:
            x = clean
        else:
            estimate = clean
            if method == "dpmpp2m" and earlier is not None:
                t_before, before = earlier
                estimate = _extrapolate(before, clean, log_snr[[t_before, t, t_next]])
            x = _follow_flow(x, estimate, schedule, (t, t_next))
        earlier = t, clean
    return x


def _draw_posterior(
    x: Tensor, clean: Tensor, schedule: Schedule, pair: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Draw from q(x_next | x_t, x_0), for any two timesteps; Ho et al. 2020, Eqs. 6 and 7.

    The clean image is the last draw's mean: all of the estimate, up to the schedule's rounding.
    """
    t, t_next = pair
    now = float(schedule.alphas_cumprod[t])
    after = 1.0 if t_next == CLEAN else float(schedule.alphas_cumprod[t_next])
    new = schedule.beta(t) if t_next == t - 1 else 1 - now / after
    old = (1 - after) / (1 - now)
    mean = math.sqrt(after) * new / (1 - now) * clean
    if t_next == CLEAN:
        return mean
    noise = torch.randn(x.shape, generator=generator).to(x)
    return mean + math.sqrt(1 - new) * old * x + math.sqrt(old * new) * noise


def _follow_flow(x: Tensor, clean: Tensor, schedule: Schedule, pair: tuple[int, int]) -> Tensor:
    """Keep the noise that ``clean`` leaves in ``x`` and change its level; DDIM, Eq. 12.

    Written in levels instead of log-SNR it holds at zero terminal SNR, too.
    """
    kept = schedule.alphas_cumprod[list(pair)]
    (alpha, alpha_next), (sigma, sigma_next) = kept.sqrt().tolist(), (1 - kept).sqrt().tolist()
    shrink = sigma_next / sigma
    return shrink * x + (alpha_next - shrink * alpha) * clean


def _extrapolate(before: Tensor, clean: Tensor, log_snr: Tensor) -> Tensor:
    """Clean estimate half a step ahead, on the line in log-SNR through the last two.

    ``log_snr`` (3,) is that of both and of the step's end; DPM-Solver++, Alg. 2. A step that
    came from pure noise was infinitely long: such a line is flat, its weight 0.
    """
    last_step, step = log_snr.diff().tolist()
    return clean + step / (2 * last_step) * (clean - before)


def _require_offered(what: str, asked: str, offered: tuple[str, ...]) -> None:
    if asked not in offered:
        raise UsageError(f"the {what} {asked!r} was asked for; choose {', '.join(offered)}.")
