"""Conditional diffusion in voxels, around the regional regression (model keys ddpm and ficd)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from relad_bids.core.intensity import BACKGROUND
from relad_bids.model.base import Model, Turn
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.draws import draw_samples
from relad_bids.model.diffusion.noising import Draw, crop_brain, draw, of_tracer
from relad_bids.model.diffusion.schedule import build_schedule
from relad_bids.model.learning.losses import Spread, masked_mean, squares_of
from relad_bids.model.learning.regional_fit import fit_regional
from relad_bids.model.learning.spectral_fit import fit_spectrum
from relad_bids.model.networks.diffusion_unet import ConditionalDiffusionUNet
from relad_bids.model.networks.grids import position_channels
from relad_bids.model.networks.regional import RegionalRegression
from relad_bids.model.networks.residuals import ResidualSpectrum

DIFFUSION: Mapping[str, Any] = {
    "name": "cosine",
    "signal_sd": 0.05,
    "n_steps": 1000,
    "zero_terminal_snr": True,
    "prediction": "sample",
    "clip": True,
}
"""Ends in pure noise, so that one pass from there is the posterior mean (method.md 4.2). PET
varies by about 0.05 of the network's scale around the regression: there the noise levels lie."""


@dataclass(frozen=True, kw_only=True)
class DiffusionObjective:
    """Weights of the losses, and which timesteps they see."""

    share_at_end: float = 0.25
    """Share of the draws at pure noise, where the one-pass answer is made."""
    coarse: float = 1.0
    """Weight of the squared error in coarse cells beside that in voxels."""
    l1: float = 0.0
    """Weight of the L1 on the clean prediction, the constraint of FICD (method.md 3.1)."""
    informative: float = 0.5
    """Share of the timesteps, from the least noise on, at which the clean prediction carries
    information about texture: L1 and critic look at these (method.md 2.11)."""


@dataclass(frozen=True, eq=False)
class Look:
    """What one step learns from."""

    drawn: Draw
    m: Tensor
    """(B, 1, I, J, K) the regression's estimate."""
    expected: Tensor
    """As ``drawn.noisy``: from :meth:`DDPM.expected`."""
    position: Tensor | None
    """(B, 3, I, J, K) of boxes; None for the whole grid."""


class DDPM(Model):
    r"""Diffusion whose denoiser starts from the exact one of Gaussian residuals.

    With :math:`m` the regression's estimate and residuals around it that are Gaussian and
    stationary inside the brain, :math:`E[x_0|x_t] = m + C_\text{skip} (x_t - \alpha m)` with a
    filter :math:`C_\text{skip}` that passes what the scanner resolves
    (:class:`~relad_bids.model.networks.residuals.ResidualSpectrum`). The network learns the rest,
    in units of the SD :math:`c_\text{out}` that is then left: the preconditioning of Karras et al.
    2022 (Table 1) around a conditional mean and for residuals that hang together in space,

    .. math:: \hat x_0 = m + C_\text{skip} (x_t - \alpha m) + c_\text{out} F(x_t, m, \text{MRI}, t)

    At pure noise :math:`C_\text{skip} = 0` and one pass is a posterior-mean network.

    Parameters
    ----------
    n_sequences, n_tracers, rank, shape
        As in :class:`~relad_bids.model.networks.regional.RegionalRegression`.
    diffusion
        Settings of :func:`~relad_bids.model.diffusion.schedule.build_schedule`.
    objective
        Fields of the class's ``Objective``; only training looks at them.
    sampler
        ``name`` and ``spacing`` for more than one step.
    network
        Further settings of
        :class:`~relad_bids.model.networks.diffusion_unet.ConditionalDiffusionUNet`.
    """

    stochastic = True
    learns_from_boxes = True
    Objective: type[DiffusionObjective] = DiffusionObjective
    sd: Tensor
    tracer_weight: Tensor
    position: Tensor

    def __init__(
        self,
        *,
        n_sequences: int,
        n_tracers: int,
        rank: int,
        shape: tuple[int, int, int],
        diffusion: Mapping[str, Any] = DIFFUSION,
        objective: Mapping[str, Any] | None = None,
        sampler: Mapping[str, Any] | None = None,
        **network: Any,
    ) -> None:
        super().__init__()
        self.diffusion = dict(diffusion)
        self.schedule = build_schedule(diffusion)
        self.objective = self.Objective(**(objective or {}))
        self.sampler = {"name": "dpmpp2m", "steps": 1, "spacing": "log_snr", **(sampler or {})}
        self.regression = RegionalRegression(
            n_sequences=n_sequences, n_tracers=n_tracers, rank=rank, shape=shape
        )
        # Beside the MRI the network sees the regression's estimate (1), what Gaussian residuals
        # would add to it (1) and where it is (3).
        self.network = ConditionalDiffusionUNet(
            n_sequences=n_sequences + 5, n_tracer_classes=n_tracers, **network
        )
        self.residuals = ResidualSpectrum(n_tracers=n_tracers, shape=shape)
        self.register_buffer("sd", torch.ones(n_tracers))
        self.register_buffer("tracer_weight", torch.ones(n_tracers))
        self.register_buffer("position", position_channels(shape), persistent=False)

    def parts(self) -> Mapping[str, Iterable[torch.nn.Parameter]]:
        return {"network": self.network.parameters()}

    def prepare(self, batches: Iterable[Batch], *, missing_flair: float) -> Spread:
        spread = fit_regional(self.regression, batches, missing_flair=missing_flair)
        self.prepare_residuals(batches)
        self.sd.copy_(spread.voxel.sqrt())
        scans = sum(batch.available.sum(0) for batch in batches)
        self.tracer_weight.copy_(1 / torch.as_tensor(scans))
        return spread

    def prepare_residuals(self, batches: Iterable[Batch]) -> None:
        """Fit how what the regression leaves hangs together in space."""
        fit_spectrum(self.residuals, batches, self.regression)

    def estimate(self, mri: Tensor, tracer: Tensor) -> Tensor:
        """What the regression says, m (B, 1, I, J, K)."""
        return of_tracer(self.regression(mri), tracer)

    def expected(self, x_t: Tensor, m: Tensor, mri: Tensor, t: Tensor, tracer: Tensor) -> Tensor:
        """E[x0 | x_t] (B, 1, I, J, K) if residuals were Gaussian and stationary in the brain.

        Always of the whole grid.
        """
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        deviation = torch.where(brain_of(mri), x_t - alpha * m, 0)
        return m + self.residuals.expected(deviation, tracer, alpha, sigma)

    def clean(
        self,
        x_t: Tensor,
        m: Tensor,
        expected: Tensor,
        mri: Tensor,
        t: Tensor,
        tracer: Tensor,
        *,
        position: Tensor | None = None,
        precision: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> tuple[Tensor, Tensor]:
        """Estimate of the clean PET (B, 1, I, J, K), not clamped; ``c_out`` (B, 1, 1, 1, 1).

        ``expected`` is that of :meth:`expected`. ``position`` (B, 3, I, J, K) is that of boxes;
        by default that of the whole grid.
        """
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        s = self.sd[tracer].reshape(-1, 1, 1, 1, 1)
        noisy = (x_t - alpha * m) / (alpha.square() * s.square() + sigma.square()).sqrt()
        if position is None:
            position = self.position.expand(len(mri), -1, -1, -1, -1)
        conditions = torch.cat([mri, m, (expected - m) / s, position], 1)
        with precision():
            learned = self.network(noisy, conditions, t, tracer)
        c_out = self.residuals.left(tracer, alpha, sigma)
        return expected + c_out * learned, c_out

    def fit(self, batch: Batch, turn: Turn) -> None:
        seen = self.look(self.draw(batch, turn), turn)
        clean, c_out = self.clean_of(seen, turn)
        terms = self.terms(seen.drawn, clean, c_out, turn)
        loss = torch.stack(list(terms.values())).sum()
        turn.descend("network", loss, of=len(seen.drawn.t), log=terms)

    def clean_of(self, seen: Look, turn: Turn) -> tuple[Tensor, Tensor]:
        """:meth:`clean` of what is learned from."""
        drawn = seen.drawn
        return self.clean(
            drawn.noisy, seen.m, seen.expected, drawn.mri, drawn.t, drawn.tracer,
            position=seen.position, precision=turn.precision,
        )  # fmt: skip

    def look(self, drawn: Draw, turn: Turn) -> Look:
        """What is learned from: the whole grid, or a box for each participant.

        The regression and the residuals' filter see all in any case.
        """
        m = self.estimate(drawn.mri, drawn.tracer)
        expected = self.expected(drawn.noisy, m, drawn.mri, drawn.t, drawn.tracer)
        if not turn.patch:
            return Look(drawn, m, expected, None)
        images = [
            drawn.mri, drawn.pet, drawn.mask, drawn.noise, drawn.noisy, m, expected,
            self.position.expand(len(m), -1, -1, -1, -1),
        ]  # fmt: skip
        mri, pet, mask, noise, noisy, m, expected, position = crop_brain(
            images, drawn.mask, edge=turn.patch, chance=drawn.chance
        )
        drawn = replace(drawn, mri=mri, pet=pet, mask=mask, noise=noise, noisy=noisy)
        return Look(drawn, m, expected, position)

    def draw(self, batch: Batch, turn: Turn) -> Draw:
        return draw(
            batch,
            self.schedule,
            weight=self.tracer_weight,
            share_at_end=self.objective.share_at_end,
            chance=turn.chance,
        )

    def terms(self, drawn: Draw, clean: Tensor, c_out: Tensor, turn: Turn) -> dict[str, Tensor]:
        """The losses to be added, each () and about 1 where nothing is learned."""
        units = c_out.flatten()
        error = clean - drawn.pet
        voxel, coarse = (part[:, 0] for part in squares_of(error, drawn.mask))
        # In cells the floor's error is smaller by a factor that is known; its share is kept.
        cells = coarse * (turn.spread.voxel / turn.spread.coarse)[drawn.tracer]
        terms = {"voxel": (voxel / units**2).mean()}
        if self.objective.coarse:
            terms["coarse"] = self.objective.coarse * (cells / units**2).mean()
        seen = self.informative(drawn.t)
        if self.objective.l1 and seen.any():
            size = masked_mean(error.abs(), drawn.mask)[seen, 0] / self.sd[drawn.tracer][seen]
            terms["l1"] = self.objective.l1 * size.sum() / len(seen)
        return terms

    def informative(self, t: Tensor) -> Tensor:
        """Whether the clean prediction at ``t`` (B,) carries information about texture."""
        return t < self.objective.informative * self.schedule.n_steps

    def predict(
        self,
        mri: Tensor,
        tracer: int,
        *,
        n_samples: int = 1,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        brain = brain_of(mri)
        index = torch.full((1,), tracer, device=mri.device)
        m = self.estimate(mri, index)

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            expected = self.expected(x_t, m, mri, t, index)
            clean, _ = self.clean(x_t, m, expected, mri, t, index)
            clean = clean.clamp(-1, 1) if self.schedule.clip else clean
            return torch.where(brain, clean, BACKGROUND)

        return draw_samples(
            denoise, m, self.schedule, self.sampler,
            n_samples=n_samples, steps=steps, generator=generator,
        )  # fmt: skip

    def linear_part(self) -> RegionalRegression:
        return self.regression


def brain_of(mri: Tensor) -> Tensor:
    """Where a prepared MRI (B, S, I, J, K) shows a brain, (B, 1, I, J, K) bool."""
    return (mri != BACKGROUND).any(1, keepdim=True)


class FICD(DDPM):
    """DDPM with an L1 on the clean prediction (Yu et al. 2024, arXiv 2405.02504)."""

    @dataclass(frozen=True, kw_only=True)
    class Objective(DiffusionObjective):
        l1: float = 1.0
