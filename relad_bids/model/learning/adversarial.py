"""The relativistic adversarial game: two losses and the gradient penalty that tames them.

A critic gives one logit per patch, (B, 1, i, j, k): how real the place looks. Real and fake are
always of one participant, place and tracer, so their logits are compared pair by pair
(Jolicoeur-Martineau 2019; method.md 2.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from relad_bids.errors import ConfigError, DataError

Critic = Callable[[Tensor], Tensor]
"""PET (B, 1, I, J, K) -> patch logits (B, 1, i, j, k); MRI and tracer are already bound."""

REDUCTIONS = ("full", "official", "rms")


def relativistic_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean softplus(D(real) - D(fake)) over all patches: ln 2 where the critic sees nothing."""
    return softplus(_advantage(real_logits, fake_logits)).mean()


def relativistic_critic_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean softplus(D(fake) - D(real)) over all patches, without the penalty."""
    return softplus(-_advantage(real_logits, fake_logits)).mean()


def critic_margin(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean D(real) - D(fake) in logits, for the log: near 0 all along means an inert critic."""
    return _advantage(real_logits, fake_logits).mean()


def gradient_penalty(critic: Critic, x: Tensor, *, reduction: str) -> Tensor:
    """Zero-centred penalty on the slope of the critic at ``x``; R1 at real, R2 at fake PET.

    With g = grad_x sum_p D(x)_p over patches p, differentiable in the critic's weights; nothing
    flows into ``x``. Compute it in float32: a squared gradient has no digits to spare.

    A critic whose samples see each other (BatchNorm) has no penalty of one sample in a batch.
    The published code passed every sample alone here: wrap the critic in :func:`each_alone`.

    Parameters
    ----------
    critic
        One answer per sample or many, of any shape.
    x : (B, C, I, J, K) float
        Where the slope is taken.
    reduction
        ``full``: mean over the batch of |g|^2, for any rank of ``x``. ``official``: g^2 summed
        over the axes 1, 2, 3 alone and averaged over what is left, (B, K), as the published
        code does with a list of axes made for images (method.md 2.4). For volumes this is
        1/K of ``full``: its gamma of 1e-3 acts as 6.25e-6 at K = 160.
        ``rms``: ``full`` times N / P^2, for N voxels and P patches of a sample: the square of the
        RMS slope, N dD/dx_v, of the mean logit D that the game is about. The game's loss is a mean
        over patches while ``full`` grows with P^2 / N: the gamma that lets a critic of 4 mm images
        learn silences that of 2 mm boxes, whose patches are 16 times as many.

    Returns
    -------
    () float
        Squared logits per squared unit of ``x``.

    Raises
    ------
    ConfigError
        The reduction is none of these.
    """
    if reduction not in REDUCTIONS:
        raise ConfigError(
            f"gradient penalty: reduction {reduction!r} is not one of {', '.join(REDUCTIONS)}; "
            "take full unless the published training is to be reproduced."
        )
    x = x.detach().requires_grad_()
    logits = critic(x)
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    squared = slope.square()
    if reduction == "official":
        return squared.sum((1, 2, 3)).mean()
    full = squared.flatten(1).sum(1).mean()
    return full if reduction == "full" else full * x[0].numel() / logits[0].numel() ** 2


def each_alone(critic: Critic) -> Critic:
    """Let no sample of a batch see another, whatever the critic does within a batch."""
    return lambda x: torch.cat([critic(sample) for sample in x.split(1)])


@dataclass(frozen=True, eq=False)
class CriticLoss:
    """The critic's loss and what it is made of, each () float."""

    loss: Tensor
    """What to minimise; the only part that carries a graph."""
    r1: Tensor
    """Gradient penalty at the real PET, before gamma / 2."""
    r2: Tensor
    """Gradient penalty at the fake PET, before gamma / 2."""
    margin: Tensor
    """Mean D(real) - D(fake)."""


def critic_loss(
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    *,
    gamma: float,
    reduction: str,
    alone: bool = False,
) -> CriticLoss:
    """Relativistic loss + gamma / 2 (R1 + R2), the critic's half of the game (method.md 2.4).

    Nothing flows into ``real`` or ``fake``: the generator has its own half.

    Parameters
    ----------
    critic
        See :data:`Critic`.
    real, fake : (B, 1, I, J, K) float
        Same participants, grid and tracers, in [-1, 1].
    gamma
        Weight of the penalties; what it means depends on ``reduction``.
    reduction
        See :func:`gradient_penalty`.
    alone
        Pass each sample alone for its penalty: needed with BatchNorm, and possible only where
        no conditions of a whole batch are bound into the critic.
    """
    real, fake = real.detach(), fake.detach()
    logits = critic(real), critic(fake)
    penalised = each_alone(critic) if alone else critic
    r1 = gradient_penalty(penalised, real, reduction=reduction)
    r2 = gradient_penalty(penalised, fake, reduction=reduction)
    return CriticLoss(
        loss=relativistic_critic_loss(*logits) + gamma / 2 * (r1 + r2),
        r1=r1.detach(),
        r2=r2.detach(),
        margin=critic_margin(*logits).detach(),
    )


def _advantage(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    # Broadcasting would compare a patch with another place or participant, and say nothing.
    if real_logits.shape != fake_logits.shape:
        raise DataError(
            f"relativistic loss: logits of real PET are {tuple(real_logits.shape)}, of fake PET "
            f"{tuple(fake_logits.shape)}; they are compared patch by patch: give both images "
            "of the same participants on one grid."
        )
    return real_logits - fake_logits
