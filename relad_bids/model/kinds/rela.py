"""RelA-Diffusion, corrected (model key ``rela``): a critic judges the clean prediction.

Against the published training (``rela-published``): fixed SUVr scale, zero terminal SNR and a
denoiser around the regression; losses inside the brain; a critic that sees MRI and tracer and has
no BatchNorm; R1 and R2 summed over all axes for each sample; critic and L1 only at the timesteps
at which the clean prediction carries information (method.md 2.11).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relad_bids.core.intensity import BACKGROUND
from relad_bids.model.base import Turn
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import crop_alike
from relad_bids.model.kinds.ddpm import DDPM, DiffusionObjective
from relad_bids.model.learning.adversarial import Critic, critic_loss, relativistic_generator_loss
from relad_bids.model.networks.critic import ConditionalCritic


class RelA(DDPM):
    """DDPM + L1 + relativistic adversarial loss with R1 and R2 (arXiv 2602.21345, Eq. 11)."""

    @dataclass(frozen=True, kw_only=True)
    class Objective(DiffusionObjective):
        l1: float = 1.0
        adversarial: float = 0.1
        """Weight of the adversarial loss."""
        gamma: float = 1.0
        """Weight of (R1 + R2) / 2, in squared logits per squared unit of the network's scale."""
        critic_channels: int = 32
        critic_crop: int = 0
        """Edge in voxels of the box, another one for each participant and step, that the critic
        judges; 0 is the whole grid. Its penalties cost most of a step on a CPU."""
        adversarial_from: int = 0
        """First step at which the critic plays."""

    objective: Objective
    training_only = ("critic",)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if settings.get("objective") is not None:
            self.critic = ConditionalCritic(
                n_sequences=settings["n_sequences"],
                n_tracers=settings["n_tracers"],
                channels=self.objective.critic_channels,
            )

    def parts(self) -> Mapping[str, Iterable[torch.nn.Parameter]]:
        return {**super().parts(), "critic": self.critic.parameters()}

    def fit(self, batch: Batch, turn: Turn) -> dict[str, float]:
        drawn = self.draw(batch, turn)
        m = self.estimate(drawn.mri, drawn.tracer)
        clean, c_out = self.clean(
            drawn.noisy, m, drawn.mri, drawn.t, drawn.tracer, precision=turn.precision
        )
        terms = self.terms(drawn, clean, c_out, turn)
        seen = self.informative(drawn.t)
        plays = turn.step >= self.objective.adversarial_from and bool(seen.any())
        if plays:
            fake = torch.where(drawn.mask, clean, BACKGROUND)
            parts = [part[seen] for part in (drawn.pet, fake, drawn.mri)]
            real, fake, mri = crop_alike(
                parts, edge=self.objective.critic_crop, generator=turn.generator
            )
            judge = self._judge(mri, drawn.tracer[seen])
            share = seen.float().mean()
            game = relativistic_generator_loss(judge(real).detach(), judge(fake))
            terms["adversarial"] = self.objective.adversarial * share * game
        turn.descend("network", torch.stack(list(terms.values())).sum())
        log = {name: float(value.detach()) for name, value in terms.items()}
        return log | (self._teach(judge, real, fake, turn) if plays else {})

    def _judge(self, mri: Tensor, tracer: Tensor) -> Critic:
        """The critic with conditions bound into it."""
        return lambda pet: self.critic(pet, mri, tracer)

    def _teach(self, judge: Critic, real: Tensor, fake: Tensor, turn: Turn) -> dict[str, float]:
        """Let the critic learn from the same images; tell whether it is alive."""
        game = critic_loss(judge, real, fake, gamma=self.objective.gamma, reduction="full")
        turn.descend("critic", game.loss)
        return {"margin": float(game.margin), "r1": float(game.r1), "r2": float(game.r2)}
