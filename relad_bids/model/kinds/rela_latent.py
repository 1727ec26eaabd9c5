"""RelA-Diffusion in the latent of an autoencoder (model key ``rela-latent``), the fast variant.

The published paper names a latent variant and does not describe it (method.md 1.9); this one
follows Rombach et al. 2022. A step of the walk costs a sixty-fourth of the voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from monai.networks.nets import PatchDiscriminator
from monai.networks.utils import pixelunshuffle
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d
from torch.nn.utils.parametrizations import spectral_norm

from relad_bids.core.intensity import BACKGROUND
from relad_bids.errors import ConfigError
from relad_bids.model.base import Turn
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.draws import draw_samples
from relad_bids.model.diffusion.noising import Draw
from relad_bids.model.kinds.ddpm import DIFFUSION as DIFFUSION_OF_VOXELS
from relad_bids.model.kinds.ddpm import brain_of
from relad_bids.model.kinds.rela import RelA
from relad_bids.model.learning.adversarial import Critic
from relad_bids.model.learning.losses import masked_mean
from relad_bids.model.networks.autoencoder import DeviationAutoencoder
from relad_bids.model.networks.critic import ConditionalCritic
from relad_bids.model.networks.diffusion_unet import ConditionalDiffusionUNet
from relad_bids.model.networks.grids import pad_to_multiple, position_channels
from relad_bids.model.networks.regional import cells

DIFFUSION: Mapping[str, Any] = {**DIFFUSION_OF_VOXELS, "signal_sd": 1.0}
"""As in voxels, but a latent has SD 1."""
WINDOW = 50
"""Steps over which the latent's moments are averaged: some thousand cells in each."""
DETAIL = 4.0
"""Gain on how the voxels of a cell differ in MRI and m: a quarter of the network's scale is much
there, and a network that takes them as about 1, like the latent, finds them in far fewer steps."""


class RelALatent(RelA):
    r"""The losses of ``rela`` on the latent of what a PET adds to the regression.

    Encoded is the residual :math:`(x - m) / s` of one tracer, not the PET: m is known wherever a
    latent is decoded, so its anatomy and level take up no channel, the decoder adds to it, and
    all tracers have one unit. A latent :math:`z` of mean 0 and SD 1 per channel makes the
    preconditioning of ``ddpm`` short,

    .. math:: \hat z = \alpha z_t + \sigma F(z_t, m, \text{MRI}, t)

    and while F says nothing, one pass from pure noise gives :math:`z = 0`, the regression.

    Training has two stages. First the autoencoder learns alone, L1 + KL (method.md 3.4), and the
    moments of its latent are measured; then it stands still and the diffusion learns. Draws of
    its posterior are what is diffused: those were measured, and the decoder learned from them.

    The critic judges latents. Through a frozen decoder they are all that the denoiser can change;
    decoded PET would show the critic what the autoencoder loses, which gives every fake away and
    which no denoiser can mend; and decoding would cost more than all the rest (Sauer et al.,
    arXiv 2403.12015).

    Parameters
    ----------
    n_sequences, n_tracers, rank, shape, sampler
        As in :class:`~relad_bids.model.kinds.ddpm.DDPM`.
    autoencoder
        Settings of :class:`~relad_bids.model.networks.autoencoder.DeviationAutoencoder`.
    diffusion
        As in ``DDPM``; ``clip`` is for the decoded PET, a latent has no bounds.
    objective
        Fields of ``Objective``; a critic is built if they are given.
    network
        Further settings of
        :class:`~relad_bids.model.networks.diffusion_unet.ConditionalDiffusionUNet`.

    Raises
    ------
    ConfigError
        The critic was to see a crop.
    """

    @dataclass(frozen=True, kw_only=True)
    class Objective(RelA.Objective):
        """``coarse`` weighs the squared error of the level beside that of all channels, ``l1`` and
        ``gamma`` are in units of the latent's SD."""

        autoencoder_steps: int = 500
        """Steps of the first stage. The second should be long against the running average's
        memory of 1 / (1 - ema) steps: the answer is decoded with averaged weights."""
        kl: float = 1e-6
        """Weight of the KL divergence in nats of an image, beside the mean L1 in SD."""

    objective: Objective
    # What is encoded is the whole image, and the cells of a box would be other cells.
    learns_from_boxes = False

    def __init__(
        self,
        *,
        n_sequences: int,
        n_tracers: int,
        rank: int,
        shape: tuple[int, int, int],
        autoencoder: Mapping[str, Any],
        diffusion: Mapping[str, Any] = DIFFUSION,
        objective: Mapping[str, Any] | None = None,
        sampler: Mapping[str, Any] | None = None,
        **network: Any,
    ) -> None:
        super().__init__(
            n_sequences=n_sequences, n_tracers=n_tracers, rank=rank, shape=shape,
            diffusion=diffusion, objective=objective, sampler=sampler, **network,
        )  # fmt: skip
        if self.objective.critic_crop:
            raise ConfigError(
                f"rela-latent was given the critic_crop {self.objective.critic_crop}; its critic "
                "judges the whole latent, which is small already. Leave critic_crop out."
            )
        self.autoencoder = DeviationAutoencoder(**autoencoder)
        edge, self.n_channels = self.autoencoder.edge, len(self.autoencoder.centre)
        self.cells = i, j, k = cells(shape, edge)
        self.position = position_channels((i, j, k))
        # In place of those for voxels; a latent is taken as white.
        del self.residuals
        self.network = LatentDiffusionUNet(
            n_channels=self.n_channels,
            n_conditions=(n_sequences + 1) * (1 + edge**3) + 3,
            n_tracer_classes=n_tracers,
            **network,
        )
        if objective is not None:
            self.critic = LatentCritic(
                n_channels=self.n_channels,
                n_sequences=n_sequences,
                n_tracers=n_tracers,
                channels=self.objective.critic_channels,
            )

    def prepare_residuals(self, batches: Iterable[Batch]) -> None:
        pass

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        network = [*self.autoencoder.parameters(), *self.network.parameters()]
        return {**super().parts(), "network": network}

    def fit(self, batch: Batch, turn: Turn) -> None:
        if turn.step < self.objective.autoencoder_steps:
            self._fit_autoencoder(batch, turn)
        else:
            super().fit(batch, turn)

    def _fit_autoencoder(self, batch: Batch, turn: Turn) -> None:
        drawn = super().draw(batch, turn)
        deviation = self._deviation(drawn)
        with turn.precision():
            posterior = self.autoencoder.posterior(deviation, drawn.mask)
            latent = posterior.draw(drawn.chance)
            at_rest = self.autoencoder.at_rest(self.cells)
            decoded = self.autoencoder.decode(latent, drawn.mask, at_rest)
        l1 = masked_mean((decoded - deviation).abs(), drawn.mask).mean()
        kl = posterior.divergence()
        log = {"decoded l1": l1, "kl": kl}
        turn.descend("network", l1 + self.objective.kl * kl, of=len(drawn.t), log=log)
        self.autoencoder.measure(latent, posterior.inside, weight=1 / min(turn.step + 1, WINDOW))

    def draw(self, batch: Batch, turn: Turn) -> Draw:
        """Draw as in voxels, then encode: ``pet``, ``noise``, ``noisy``, ``mask`` are of cells."""
        drawn = super().draw(batch, turn)
        with torch.no_grad(), turn.precision():
            posterior = self.autoencoder.posterior(self._deviation(drawn), drawn.mask)
        latent = self.autoencoder.to_units(posterior.draw(drawn.chance), posterior.inside)
        noise = drawn.chance.normal(latent)
        noisy = self.schedule.add_noise(latent, noise, drawn.t)
        return replace(drawn, pet=latent, mask=posterior.inside, noise=noise, noisy=noisy)

    def _deviation(self, drawn: Draw) -> Tensor:
        """What the PET adds to the regression, in SD (B, 1, I, J, K); 0 outside the brain."""
        s = self.sd[drawn.tracer].reshape(-1, 1, 1, 1, 1)
        return (drawn.pet - self.estimate(drawn.mri, drawn.tracer)) / s * drawn.mask

    def expected(self, x_t: Tensor, m: Tensor, mri: Tensor, t: Tensor, tracer: Tensor) -> Tensor:
        """E[z0 | z_t] (B, Z, i, j, k) of a latent that is standard normal everywhere."""
        return self.schedule.alpha(t) * x_t

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
        """Estimate of the clean latent (B, Z, i, j, k), its SD without F; MRI and m of voxels.

        Always of the whole grid: there is no ``position`` of boxes.
        """
        sigma = self.schedule.sigma(t)
        with precision():
            learned = self.network(x_t, self._conditions(mri, m), t, tracer)
        return expected + sigma * learned, sigma

    def _conditions(self, mri: Tensor, m: Tensor) -> Tensor:
        """MRI, m and position by cells, (B, C, i, j, k).

        Cell means, and how the voxels of a cell differ from them, each voxel a channel: nothing
        is lost, and the first convolution learns what to keep.
        """
        edge = self.autoencoder.edge
        images, _ = pad_to_multiple(torch.cat([mri, m], 1), edge)
        means = avg_pool3d(images, edge)
        detail = pixelunshuffle(images, 3, edge) - means.repeat_interleave(edge**3, 1)
        position = self.position.expand(len(mri), -1, -1, -1, -1)
        return torch.cat([means, DETAIL * detail, position], 1)

    def terms(self, drawn: Draw, clean: Tensor, c_out: Tensor, turn: Turn) -> dict[str, Tensor]:
        error = clean - drawn.pet
        squares = masked_mean(error.square(), drawn.mask) / c_out.flatten(1).square()
        terms = {"latent": squares.mean()}
        if self.objective.coarse:
            terms["coarse"] = self.objective.coarse * squares[:, 0].mean()
        seen = self.informative(drawn.t)
        if self.objective.l1 and seen.any():
            size = masked_mean(error.abs(), drawn.mask).mean(1)[seen]
            terms["l1"] = self.objective.l1 * size.sum() / len(seen)
        return terms

    def shown(self, pet: Tensor, m: Tensor, drawn: Draw) -> Tensor:
        return torch.where(drawn.mask, pet, BACKGROUND)  # a latent is a deviation in SD

    def _judge(self, mri: Tensor, tracer: Tensor) -> Critic:
        edge = self.autoencoder.edge
        means = avg_pool3d(pad_to_multiple(mri, edge)[0], edge)
        return lambda latent: self.critic(latent, means, tracer)

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
        inside = self.autoencoder.inside(brain)

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            expected = self.expected(x_t, m, mri, t, index)
            clean, _ = self.clean(x_t, m, expected, mri, t, index)
            return torch.where(inside, clean, BACKGROUND)

        latents = draw_samples(
            denoise, m.new_empty(1, self.n_channels, *self.cells), self.schedule, self.sampler,
            n_samples=n_samples, steps=steps, generator=generator,
        )  # fmt: skip
        at_rest = self.autoencoder.at_rest(self.cells)

        def decode(latent: Tensor) -> Tensor:
            deviation = self.autoencoder.decode(
                self.autoencoder.from_units(latent), brain, at_rest
            )
            pet = m + self.sd[tracer] * deviation
            return torch.where(brain, pet.clamp(-1, 1) if self.schedule.clip else pet, BACKGROUND)

        # One after the other, as they were drawn: voxels are where the memory goes.
        return torch.cat([decode(latent) for latent in latents.split(1)])


class LatentDiffusionUNet(ConditionalDiffusionUNet):
    """A diffusion network for latents of several channels.

    Parameters
    ----------
    n_channels
        Channels Z of the latent, in ``x_t`` and in the estimate.
    n_conditions
        Channels of what takes the place of the MRI.
    settings
        The others of :class:`~relad_bids.model.networks.diffusion_unet.ConditionalDiffusionUNet`.
    """

    def __init__(self, *, n_channels: int, n_conditions: int, **settings: Any) -> None:
        super().__init__(n_sequences=n_channels - 1 + n_conditions, **settings)
        last = self.unet.out[-1].conv
        wider = nn.Conv3d(last.in_channels, n_channels * last.out_channels, 3, padding=1)
        # As MONAI's own: a network says nothing before it has learned.
        for weights in wider.parameters():
            nn.init.zeros_(weights)
        self.unet.out[-1] = wider


class LatentCritic(ConditionalCritic):
    """A critic for latents.

    The strides of that for voxels would leave no patch of so small a grid: a logit of this one
    sees 11 cells, 44 voxels at f = 4. MRI enters as cell means, not as all voxels of each cell:
    the spectral norm bounds the gain on all inputs together, and a hundred channels of MRI would
    leave the latent little of it.

    Parameters
    ----------
    n_channels
        Channels Z of the latent.
    n_sequences, n_tracers, channels
        As in :class:`~relad_bids.model.networks.critic.ConditionalCritic`.
    """

    def __init__(
        self, *, n_channels: int, n_sequences: int, n_tracers: int, channels: int
    ) -> None:
        n_images = n_channels + n_sequences
        super().__init__(n_sequences=n_images - 1, n_tracers=n_tracers, channels=channels)
        self.network = PatchDiscriminator(
            spatial_dims=3,
            channels=channels,
            in_channels=n_images + n_tracers,
            num_layers_d=1,
            kernel_size=3,
            norm=None,
            bias=True,
        )
        for layer in list(self.network.modules()):
            if isinstance(layer, nn.Conv3d):
                spectral_norm(layer)
