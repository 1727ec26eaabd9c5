"""RelA-Diffusion as it was published (model key ``rela-published``), faults included.

Noise prediction on a schedule that never ends in pure noise, losses over the whole field of view,
a critic with BatchNorm that sees the PET alone, and penalties whose sum leaves out an axis
(method.md 2.2 to 2.7). To reproduce, and to be compared with; ``rela`` is the one to use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from relad_bids.model.base import Model, Turn
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.draws import draw_samples
from relad_bids.model.diffusion.noising import draw
from relad_bids.model.diffusion.schedule import build_schedule
from relad_bids.model.learning.adversarial import critic_loss, relativistic_generator_loss
from relad_bids.model.learning.floor import spread_around, training_mean
from relad_bids.model.learning.losses import Spread
from relad_bids.model.networks.critic import PublishedCritic
from relad_bids.model.networks.diffusion_unet import ConditionalDiffusionUNet


class RelAPublished(Model):
    """The official recipe: L_noise + L_img + w L_G, and its critic (method.md 2.4)."""

    stochastic = True
    training_only = ("critic",)

    @dataclass(frozen=True, kw_only=True)
    class Objective:
        adversarial: float = 1.0
        """Weight of both adversarial losses; 1 in the code's settings, 0.1 in its notebook."""
        gamma: float = 1e-3
        reduction: str = "official"
        """``official`` leaves out an axis as the published code does; ``full`` does not."""
        adversarial_from: int = 2280
        """First step at which the critic plays: 20 epochs of 114 steps (method.md 2.6)."""

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        diffusion: Mapping[str, Any],
        objective: Mapping[str, Any] | None = None,
        sampler: Mapping[str, Any] | None = None,
        **network: Any,
    ) -> None:
        super().__init__()
        self.diffusion = dict(diffusion)
        self.schedule = build_schedule(diffusion)
        self.objective = self.Objective(**(objective or {}))
        self.sampler = {
            "name": "ancestral", "steps": self.schedule.n_steps, "spacing": "trailing",
            **(sampler or {}),
        }  # fmt: skip
        self.network = ConditionalDiffusionUNet(**network)
        if objective is not None:
            self.critic = PublishedCritic()

    def parts(self) -> Mapping[str, Iterable[torch.nn.Parameter]]:
        return {"network": self.network.parameters(), "critic": self.critic.parameters()}

    def prepare(self, batches: Iterable[Batch], *, missing_flair: float) -> Spread:
        mean, _ = training_mean(batches)
        return spread_around(mean, batches)

    def fit(self, batch: Batch, turn: Turn) -> None:
        every_scan_alike = torch.ones(batch.available.shape[1])
        drawn = draw(
            batch, self.schedule, weight=every_scan_alike, share_at_end=0, chance=turn.chance
        )
        with turn.precision():
            noise = self.network(drawn.noisy, drawn.mri, drawn.t, drawn.tracer)
        clean = self.schedule.clean(drawn.noisy, noise, drawn.t)
        terms = {"noise": mse_loss(noise, drawn.noise), "l1": l1_loss(clean, drawn.pet)}
        plays = turn.step >= self.objective.adversarial_from
        if plays:
            game = relativistic_generator_loss(self._judge(drawn.pet), self._judge(clean))
            terms["adversarial"] = self.objective.adversarial * game
        loss = torch.stack(list(terms.values())).sum()
        turn.descend("network", loss, of=len(drawn.t), log=terms)
        if plays:
            self._teach(drawn.pet, clean, turn)

    def _judge(self, pet: Tensor) -> Tensor:
        return self.critic(pet, pet, torch.empty(0))

    def _teach(self, real: Tensor, fake: Tensor, turn: Turn) -> None:
        game = critic_loss(
            self._judge,
            real,
            fake,
            gamma=self.objective.gamma,
            reduction=self.objective.reduction,
            alone=True,
        )
        log = {"margin": game.margin, "r1": game.r1, "r2": game.r2}
        turn.descend("critic", self.objective.adversarial * game.loss, of=len(real), log=log)

    def predict(
        self,
        mri: Tensor,
        tracer: int,
        *,
        n_samples: int = 1,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        index = torch.full((1,), tracer, device=mri.device)

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            return self.schedule.clean(x_t, self.network(x_t, mri, t, index), t)

        return draw_samples(
            denoise, mri[:, :1], self.schedule, self.sampler,
            n_samples=n_samples, steps=steps, generator=generator,
        )  # fmt: skip
