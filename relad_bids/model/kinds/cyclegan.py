"""A GAN that learns without pairs, by going there and back (model key ``cyclegan``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn.functional import one_hot

from relad_bids.core.intensity import BACKGROUND
from relad_bids.model.base import Turn
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import choose_tracer, of_tracer
from relad_bids.model.kinds.unet import PosteriorMeanUNet
from relad_bids.model.learning.losses import masked_mean
from relad_bids.model.networks.critic import ConditionalCritic
from relad_bids.model.networks.grids import pad_to_multiple
from relad_bids.model.networks.regional import is_shown


class CycleGAN(PosteriorMeanUNet):
    r"""Least-squares GANs both ways + 10 times what a round trip loses (Zhu et al. 2017, Eq. 3).

    With MRI :math:`x`, the PET :math:`y` of somebody else, :math:`G: x \to y`, :math:`F: y \to x`:

    .. math:: L_{G,F} = (D_Y(G(x)) - 1)^2 + (D_X(F(y)) - 1)^2
        + \lambda \left(|F(G(x)) - x|_1 + |G(F(y)) - y|_1\right)

    and the critics learn 1 for real and 0 for fake (Mao et al. 2017, Eq. 9). All four are told the
    tracer: it says which kind of PET, and which participants'. No loss compares a participant's
    MRI with their own PET.

    G is the network of ``unet``, so that the two differ in what they are trained for; it starts
    from the same regression, which did see pairs. The history of 50 fakes that Zhu et al. show
    their critics is left out.

    Who meets whom is settled within what a process holds at once (``batch_size``, less if several
    processes share a step): let it be two participants at least, or all meet themselves.
    """

    training_only = ("critic", "inverse")
    # The way back ends in an MRI of which the regression must see all.
    learns_from_boxes = False

    @dataclass(frozen=True, kw_only=True)
    class Objective:
        cycle: float = 10.0
        """Weight lambda of both round trips."""
        identity: float = 0.0
        """Weight of |G(PET in every channel) - PET| + |F(T1w) - T1w|: 0 to 5 in Zhu et al., whose
        two kinds of image have the same channels. MRI and PET have not."""
        critic_channels: int = 32

    def __init__(self, *, objective: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        if objective is not None:
            self.objective = self.Objective(**objective)
            self.n_tracers = settings["n_tracers"]
            self.inverse = UNet(
                spatial_dims=3,
                in_channels=3 + self.n_tracers,
                out_channels=settings["n_sequences"],
                channels=tuple(settings["channels"]),
                strides=(2,) * (len(settings["channels"]) - 1),
                num_res_units=settings["n_residual_units"],
                norm=("group", {"num_groups": 1}),
            )
            # A critic takes an image and what stands beside it: with PET nothing, with T1w FLAIR.
            beside = {"pet": 0, "mri": settings["n_sequences"] - 1}
            self.critic = nn.ModuleDict(
                {
                    kind: ConditionalCritic(
                        n_sequences=n,
                        n_tracers=self.n_tracers,
                        channels=self.objective.critic_channels,
                    )
                    for kind, n in beside.items()
                }
            )

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {
            "network": [*self.unet.parameters(), self.gain, *self.inverse.parameters()],
            "critic": self.critic.parameters(),
        }

    def back(self, pet: Tensor, tracer: Tensor) -> Tensor:
        """F: PET (B, 1, I, J, K) and tracer index (B,) int64 -> MRI (B, S, I, J, K)."""
        own = one_hot(tracer, self.n_tracers).bool()[..., None, None, None]
        position = self.position.expand(len(pet), -1, -1, -1, -1)
        known = torch.cat([position, torch.where(own, pet, BACKGROUND)], 1)
        padded, crop = pad_to_multiple(known, self.multiple)
        return self.inverse(padded)[(..., *crop)].float()

    def judge(self, kind: str, image: Tensor, tracer: Tensor) -> Tensor:
        """D_Y of PET (B, 1, I, J, K) or D_X of MRI (B, S, I, J, K): logits (B, 1, i, j, k)."""
        return self.critic[kind](image[:, :1], image[:, 1:], tracer)

    def fit(self, batch: Batch, turn: Turn) -> None:
        chance = turn.chance.of(batch.available.any(1))
        batch = batch.with_scans()
        even = torch.ones(batch.available.shape[1])
        tracer = choose_tracer(batch.available, even, chance)
        # To each one's PET the MRI of the one before; only who is alone gets their own.
        x_mask, y_mask = batch.mask.roll(1, 0), batch.mask
        x = torch.where(x_mask, batch.mri.roll(1, 0), BACKGROUND)
        y = torch.where(y_mask, of_tracer(batch.pet, tracer), BACKGROUND)
        with turn.precision():
            fake_y = torch.where(x_mask, self(x, tracer), BACKGROUND)
            fake_x = torch.where(y_mask, self.back(y, tracer), BACKGROUND)
            again_x, again_y = self.back(fake_y, tracer), self(fake_x, tracer)
        # What is missing in x is no example of FLAIR: no round trip ends there, and for the
        # critic the fake misses it, too.
        shown = is_shown(x)
        seen_x = torch.where(shown[..., None, None, None], fake_x, BACKGROUND)
        games = {"pet": (y, fake_y), "mri": (x, seen_x)}
        adversarial = torch.stack(
            [_square(self.judge(kind, fake, tracer) - 1) for kind, (_, fake) in games.items()]
        ).sum()
        lost_x = masked_mean((again_x - x).abs(), x_mask)[shown].mean()
        cycle = lost_x + masked_mean((again_y - y).abs(), y_mask).mean()
        loss = adversarial + self.objective.cycle * cycle
        if self.objective.identity:
            with turn.precision():
                same_y, same_x = self(y.expand_as(x), tracer), self.back(x[:, :1], tracer)
            identity = (
                masked_mean((same_y - y).abs(), y_mask).mean()
                + masked_mean((same_x - x)[:, :1].abs(), x_mask).mean()
            )
            loss = loss + self.objective.identity * identity
        log = {"cycle": cycle, "adversarial": adversarial}
        turn.descend("network", loss, of=len(tracer), log=log)
        self._teach(games, tracer, turn)

    def _teach(
        self, games: Mapping[str, tuple[Tensor, Tensor]], tracer: Tensor, turn: Turn
    ) -> None:
        """Let both critics learn from the same images; tell whether they are alive."""
        logits = {
            kind: [self.judge(kind, image.detach(), tracer) for image in game]
            for kind, game in games.items()
        }
        losses = [(_square(real - 1) + _square(fake)) / 2 for real, fake in logits.values()]
        margins = {kind: (real - fake).mean() for kind, (real, fake) in logits.items()}
        log = {"margin": margins["pet"], "margin of MRI": margins["mri"]}
        turn.descend("critic", torch.stack(losses).sum(), of=len(tracer), log=log)


def _square(error: Tensor) -> Tensor:
    return error.square().mean()
