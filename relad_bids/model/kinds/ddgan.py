"""A diffusion of few long steps whose denoiser plays against a critic (model key ``ddgan``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from relad_bids.errors import ConfigError, UsageError
from relad_bids.model.base import Model, Turn
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import Draw, draw
from relad_bids.model.diffusion.schedule import Schedule
from relad_bids.model.kinds.ddpm import DDPM
from relad_bids.model.learning.adversarial import Critic, gradient_penalty
from relad_bids.model.learning.losses import Spread, masked_mean
from relad_bids.model.networks.critic import ConditionalCritic
from relad_bids.model.networks.regional import RegionalRegression

DIFFUSION: Mapping[str, Any] = {
    "name": "vp",
    "n_steps": 4,
    "beta_min": 0.1,
    "beta_max": 20.0,
    "signal_sd": 0.05,
    "zero_terminal_snr": True,
    "prediction": "sample",
    "clip": True,
}
"""The rates of Xiao et al. 2022 and of its kin for MRI (method.md 3.2), at the signal-to-noise
ratios that they give to data of SD 1. PET varies by about 0.05 around the regression: as the rates
stand, that is gone after the first of the four steps. The last is pure noise, as in ``ddpm``."""


class DDGAN(Model):
    r"""Denoising diffusion GAN: few steps, each too long for a Gaussian (Xiao et al. 2022).

    The denoiser estimates :math:`\hat x_0(x_t, \text{MRI}, t)` and a critic judges what the
    posterior makes of it, one step on: with :math:`x'_{t-1} \sim q(x_{t-1}|x_t, \hat x_0)` and
    :math:`x_{t-1} \sim q(x_{t-1}|x_t, x_0)`,

    .. math:: L_G = \text{softplus}(-D(x'_{t-1}, x_t, t)) + 0.5 |\hat x_0 - x_0|_1

    .. math:: L_D = \text{softplus}(-D(x_{t-1}, x_t, t)) + \text{softplus}(D(x'_{t-1}, x_t, t))
        + \tfrac{\gamma}{2} |\nabla_{x_{t-1}} D(x_{t-1}, x_t, t)|^2

    with R1's slope that of the mean logit in its RMS over voxels. The L1 is that of its kin for
    MRI, here in SD of a voxel around the regression. The denoiser is
    that of ``ddpm``; it has no latent z, so that the draws differ by the noise of the walk alone.
    The critic sees both images as the denoiser does: how far they are from the regression's
    estimate, in the SD of their timestep, inside the brain. On the network's own scale real and
    fake differ by a few hundredths, which it does not hear (see ``rela``).

    Parameters
    ----------
    n_sequences, n_tracers
        MRI channels S, tracers R.
    diffusion
        Settings of :func:`~relad_bids.model.diffusion.schedule.build_schedule`; T is few.
    objective
        Fields of ``Objective``; a critic is built if they are given.
    sampler
        May say what it is anyway: ``ancestral`` over all T steps, ``trailing``.
    settings
        Further settings of :class:`~relad_bids.model.kinds.ddpm.DDPM`.

    Raises
    ------
    ConfigError
        The sampler is another one.
    """

    stochastic = True
    learns_from_boxes = True
    training_only = ("critic",)

    @dataclass(frozen=True, kw_only=True)
    class Objective:
        l1: float = 0.5
        adversarial: float = 1.0
        gamma: float = 0.01
        """Weight of R1 / 2, the squared RMS slope of the mean logit per SD of a voxel."""
        penalty_every: int = 10
        """Steps from one penalty to the next. As in the published code it is not made larger for
        being rare, so that on average gamma is this many times less."""
        critic_channels: int = 32

    def __init__(
        self,
        *,
        n_sequences: int,
        n_tracers: int,
        diffusion: Mapping[str, Any] = DIFFUSION,
        objective: Mapping[str, Any] | None = None,
        sampler: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.n_tracers = n_tracers
        self.diffusion = dict(diffusion)
        self.sampler = {
            "name": "ancestral", "steps": diffusion.get("n_steps"), "spacing": "trailing"
        }  # fmt: skip
        if {**self.sampler, **(sampler or {})} != self.sampler:
            raise ConfigError(
                f"ddgan was given the sampler {dict(sampler or {})}; it learns the steps of one "
                f"walk and takes no other: {self.sampler}. Leave the sampler out."
            )
        self.denoiser = DDPM(
            n_sequences=n_sequences,
            n_tracers=n_tracers,
            diffusion=diffusion,
            sampler=self.sampler,
            **settings,
        )
        if objective is not None:
            self.objective = self.Objective(**objective)
            # x_t stands beside the MRI, and each timestep of a tracer is a class of its own.
            self.critic = ConditionalCritic(
                n_sequences=1 + n_sequences,
                n_tracers=n_tracers * self.schedule.n_steps,
                channels=self.objective.critic_channels,
            )

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {**self.denoiser.parts(), "critic": self.critic.parameters()}

    def prepare(self, batches: Iterable[Batch], *, missing_flair: float) -> Spread:
        return self.denoiser.prepare(batches, missing_flair=missing_flair)

    def linear_part(self) -> RegionalRegression:
        return self.denoiser.linear_part()

    def fit(self, batch: Batch, turn: Turn) -> None:
        drawn = draw(
            batch,
            self.schedule,
            weight=self.denoiser.tracer_weight,
            share_at_end=0,
            chance=turn.chance,
        )
        look = self.denoiser.look(drawn, turn)
        drawn, m = look.drawn, look.m
        clean, _ = self.denoiser.clean_of(look, turn)
        # The same noise in both: they differ as their clean images do, and by no other chance.
        noise = drawn.chance.normal(drawn.pet)
        before = share_before(self.schedule, drawn.t)
        real, fake = (
            self._shown(x, m, drawn, before)
            for x in (
                draw_posterior(drawn.noisy, x0, noise, self.schedule, drawn.t)
                for x0 in (drawn.pet, clean)
            )
        )
        judge = self._judge(m, drawn)
        adversarial = softplus(-judge(fake)).mean()
        size = masked_mean((clean - drawn.pet).abs(), drawn.mask)[:, 0]
        l1 = (size / self.denoiser.sd[drawn.tracer]).mean()
        terms = {
            "l1": self.objective.l1 * l1,
            "adversarial": self.objective.adversarial * adversarial,
        }
        loss = torch.stack(list(terms.values())).sum()
        turn.descend("network", loss, of=len(drawn.t), log=terms)
        self._teach(judge, real, fake.detach(), turn)

    def _shown(self, x: Tensor, m: Tensor, drawn: Draw, kept: Tensor) -> Tensor:
        """How far ``x`` is from the estimate, in the SD of its timestep; 0 outside the brain.

        ``kept`` (B,) is the share of the signal's variance that is left in ``x``.
        """
        variance = self.denoiser.sd[drawn.tracer].double().square()
        levels = kept.sqrt(), (kept * variance + 1 - kept).sqrt()
        alpha, spread = (level.float()[:, None, None, None, None] for level in levels)
        return (x - alpha * m) / spread * drawn.mask

    def _judge(self, m: Tensor, drawn: Draw) -> Critic:
        """D(., x_t, t) with MRI and tracer bound into it."""
        now = self.schedule.alphas_cumprod.to(drawn.t.device)[drawn.t]
        beside = torch.cat([self._shown(drawn.noisy, m, drawn, now), drawn.mri], 1)
        kind = drawn.t * self.n_tracers + drawn.tracer
        return lambda x: self.critic(x, beside, kind)

    def _teach(self, judge: Critic, real: Tensor, fake: Tensor, turn: Turn) -> None:
        """Let the critic learn from the same images; tell whether it is alive."""
        on_real, on_fake = judge(real), judge(fake)
        loss = softplus(-on_real).mean() + softplus(on_fake).mean()
        log = {"margin": (on_real - on_fake).mean()}
        if turn.step % self.objective.penalty_every == 0:
            r1 = gradient_penalty(judge, real, reduction="rms")
            loss = loss + self.objective.gamma / 2 * r1
            log["r1"] = r1
        turn.descend("critic", loss, of=len(real), log=log)

    def predict(
        self,
        mri: Tensor,
        tracer: int,
        *,
        n_samples: int = 1,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        if steps not in (None, self.schedule.n_steps):
            raise UsageError(
                f"ddgan was asked for {steps} steps; it learned to walk "
                f"{self.schedule.n_steps} and no other number. Leave the number of steps out."
            )
        return self.denoiser.predict(mri, tracer, n_samples=n_samples, generator=generator)


def draw_posterior(
    x_t: Tensor, x0: Tensor, noise: Tensor, schedule: Schedule, t: Tensor
) -> Tensor:
    """Draw x_{t-1} of q(x_{t-1} | x_t, x_0) for each participant's own t; x_0 itself at t = 0.

    Ho et al. 2020, Eqs. 6 and 7, as ``ancestral`` walks it. Drawn after x_t of q(x_t | x_0) the
    two are distributed as if x_0 had been noised to t - 1 first and on to t from there.

    Parameters
    ----------
    x_t, x0, noise : (B, 1, I, J, K) float32
        ``noise`` is standard normal.
    t : (B,) int64
    """
    now, before = schedule.alphas_cumprod.to(t.device)[t], share_before(schedule, t)
    new, old = 1 - now / before, (1 - before) / (1 - now)
    levels = before.sqrt() * new / (1 - now), (1 - new).sqrt() * old, (old * new).sqrt()
    of_x0, of_x_t, of_noise = (level.float()[:, None, None, None, None] for level in levels)
    return of_x0 * x0 + of_x_t * x_t + of_noise * noise


def share_before(schedule: Schedule, t: Tensor) -> Tensor:
    """Share of the signal's variance (B,) float64 left one step before ``t`` (B,); 1 before 0."""
    kept = schedule.alphas_cumprod.to(t.device)
    return torch.where(t > 0, kept[t - 1], 1.0)
