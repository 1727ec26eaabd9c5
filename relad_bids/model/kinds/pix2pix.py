"""A conditional GAN around the posterior-mean network (model key ``pix2pix``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relad_bids.core.intensity import BACKGROUND
from relad_bids.model.base import Turn
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import choose_tracer, of_tracer
from relad_bids.model.kinds.unet import PosteriorMeanUNet
from relad_bids.model.learning.losses import masked_mean
from relad_bids.model.networks.critic import ConditionalCritic


class Pix2Pix(PosteriorMeanUNet):
    """Least-squares GAN + 100 L1 (Isola et al. 2017, Eq. 4; Mao et al. 2017, Eq. 9).

    The generator is the network of ``unet``, so that the two differ in what they are trained for.
    One pass, no latent noise: Isola et al. found that a generator learns to ignore it.
    """

    training_only = ("critic",)

    @dataclass(frozen=True, kw_only=True)
    class Objective:
        l1: float = 100.0
        critic_channels: int = 32

    def __init__(self, *, objective: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        if objective is not None:
            self.objective = self.Objective(**objective)
            self.critic = ConditionalCritic(
                n_sequences=settings["n_sequences"],
                n_tracers=settings["n_tracers"],
                channels=self.objective.critic_channels,
            )

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {
            "network": [*self.unet.parameters(), self.gain],
            "critic": self.critic.parameters(),
        }

    def fit(self, batch: Batch, turn: Turn) -> None:
        chance = turn.chance.of(batch.available.any(1))
        batch = batch.with_scans()
        even = torch.ones(batch.available.shape[1])
        tracer = choose_tracer(batch.available, even, chance)
        batch, start, position, _ = self.look(batch, chance, turn)
        real = torch.where(batch.mask, of_tracer(batch.pet, tracer), BACKGROUND)
        with turn.precision():
            answer = of_tracer(self.refine(batch.mri, start, position), tracer)
        fake = torch.where(batch.mask, answer, BACKGROUND)

        m, sd = of_tracer(start, tracer), turn.spread.voxel[tracer].sqrt()

        def judge(pet: Tensor) -> Tensor:
            # In SD around the start, as the critic of ``rela``: else it hears nothing.
            deviation = (pet - m) / sd.reshape(-1, 1, 1, 1, 1)
            return self.critic(deviation * batch.mask, batch.mri, tracer)

        adversarial = (judge(fake) - 1).square().mean()
        l1 = masked_mean((fake - real).abs(), batch.mask).mean()
        n = len(tracer)
        log = {"l1": l1, "adversarial": adversarial}
        turn.descend("network", adversarial + self.objective.l1 * l1, of=n, log=log)
        on_real, on_fake = judge(real), judge(fake.detach())
        critic = ((on_real - 1).square().mean() + on_fake.square().mean()) / 2
        turn.descend("critic", critic, of=n, log={"margin": on_real.mean() - on_fake.mean()})
