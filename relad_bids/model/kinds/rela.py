"""RelA-Diffusion, corrected (model key ``rela``): a critic judges the clean prediction.

Against the published training (``rela-published``): fixed SUVr scale, zero terminal SNR and a
denoiser around the regression; losses inside the brain; a critic that sees MRI and tracer and has
no BatchNorm; R1 and R2 over all axes for each sample; critic and L1 only at the timesteps
at which the clean prediction carries information (method.md 2.11).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relad_bids.model.base import Turn
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import Draw, crop_alike
from relad_bids.model.kinds.ddpm import DDPM, DiffusionObjective
from relad_bids.model.learning.adversarial import Critic, critic_loss, relativistic_generator_loss
from relad_bids.model.networks.critic import ConditionalCritic


class RelA(DDPM):
    """DDPM + L1 + relativistic adversarial loss with R1 and R2 (arXiv 2602.21345, Eq. 11)."""

    @dataclass(frozen=True, kw_only=True)
    class Objective(DiffusionObjective):
        l1: float = 1.0
        adversarial: float = 0.3
        """Weight of the adversarial loss."""
        gamma: float = 1e-3
        """Weight of (R1 + R2) / 2, the squared RMS slopes of the mean logit per SD of a voxel."""
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

    def fit(self, batch: Batch, turn: Turn) -> None:
        look = self.look(self.draw(batch, turn), turn)
        drawn = look.drawn
        clean, c_out = self.clean_of(look, turn)
        terms = self.terms(drawn, clean, c_out, turn)
        seen = self.informative(drawn.t)
        plays = turn.step >= self.objective.adversarial_from and bool(seen.any())
        if plays:
            images = [self.shown(pet, look.m, drawn) for pet in (drawn.pet, clean)]
            parts = [part[seen] for part in (*images, drawn.mri)]
            real, fake, mri = crop_alike(
                parts, edge=self.objective.critic_crop, chance=drawn.chance.of(seen)
            )
            judge = self._judge(mri, drawn.tracer[seen])
            share = seen.float().mean()
            game = relativistic_generator_loss(judge(real).detach(), judge(fake))
            terms["adversarial"] = self.objective.adversarial * share * game
        loss = torch.stack(list(terms.values())).sum()
        turn.descend("network", loss, of=len(drawn.t), log=terms)
        if plays:
            self._teach(judge, real, fake, turn)

    def shown(self, pet: Tensor, m: Tensor, drawn: Draw) -> Tensor:
        """What the critic sees of a PET: how far it is from the estimate, in SD; 0 outside.

        On the network's own scale real and fake differ by a few hundredths, and a critic whose
        weights are held by a spectral norm hears none of it: its margin stayed at 1e-5 through a
        hundred steps.
        """
        return (pet - m) / self.sd[drawn.tracer].reshape(-1, 1, 1, 1, 1) * drawn.mask

    def _judge(self, mri: Tensor, tracer: Tensor) -> Critic:
        """The critic with conditions bound into it."""
        return lambda pet: self.critic(pet, mri, tracer)

    def _teach(self, judge: Critic, real: Tensor, fake: Tensor, turn: Turn) -> None:
        """Let the critic learn from the same images; tell whether it is alive."""
        game = critic_loss(judge, real, fake, gamma=self.objective.gamma, reduction="rms")
        log = {"margin": game.margin, "r1": game.r1, "r2": game.r2}
        turn.descend("critic", game.loss, of=len(real), log=log)
