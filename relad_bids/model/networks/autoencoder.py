"""A small picture of what a PET adds to an estimate of it, and the way back (MONAI's)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn
from torch.nn.functional import interpolate

from relad_bids.core.intensity import BACKGROUND
from relad_bids.errors import ConfigError
from relad_bids.model.learning.chance import Chance
from relad_bids.model.networks.grids import pad_to_multiple
from relad_bids.model.networks.regional import cell_means


@dataclass(frozen=True, eq=False)
class Posterior:
    """What the encoder says of an image; i, j, k count cells."""

    level: Tensor
    """(B, 1, i, j, k) mean over the brain in each cell, known without doubt."""
    mean: Tensor
    """(B, Z - 1, i, j, k) of the learned channels, float32."""
    sd: Tensor
    """(B, Z - 1, i, j, k) of the learned channels, float32."""
    inside: Tensor
    """(B, 1, i, j, k) bool, the cells that hold any brain."""

    def draw(self, chance: Chance) -> Tensor:
        """One latent of each image, (B, Z, i, j, k)."""
        return torch.cat([self.level, self.mean + self.sd * chance.normal(self.mean)], 1)

    def divergence(self) -> Tensor:
        """KL(posterior || standard normal) in nats of one image, () float32."""
        nats = (self.mean.square() + self.sd.square() - 1) / 2 - self.sd.log()
        return (nats * self.inside).flatten(1).sum(1).mean()


class DeviationAutoencoder(nn.Module):
    r"""MONAI's AutoencoderKL around cell means that pass by it.

    Encoded is how far a PET deviates from an estimate. The first latent channel is not learned: it
    is the mean of the deviation over the brain in each cell. The others are, and what the decoder
    makes of a latent :math:`u` is only how the voxels of a cell differ. With :math:`D` MONAI's
    decoder, :math:`M` the cell means spread over their cells and :math:`c` the mean latent,

    .. math:: \hat x = u_0 + (1 - M) (D(u) - D(c))

    - No level is lost. MONAI's blocks hold group norms, which divide by a spread over the whole
      volume; whether uptake is raised everywhere is what they see least, and an SUVr most.
    - Cell means of the decoded mean are the mean of the decoded cell means, as if the decoder
      were linear: one pass to a posterior mean in the latent is one in every cell.
    - The mean latent without a level is no deviation, exactly, whatever was learned.

    Shortcuts without weights past both halves are those of Chen et al. (arXiv 2410.10733).

    Parameters
    ----------
    channels
        Feature maps per level, from full to coarsest resolution. A cell has an edge of
        ``2**(levels - 1)`` voxels; three levels are f = 4.
    n_residual_units
        Residual units per level.
    norm_groups
        Groups of the group norms; divides every number of channels.
    latent_channels
        Z, the level among them.

    Raises
    ------
    ConfigError
        Names every setting that does not fit the others.
    """

    moments: Tensor

    def __init__(
        self,
        *,
        channels: Sequence[int],
        n_residual_units: int,
        norm_groups: int,
        latent_channels: int = 4,
    ) -> None:
        super().__init__()
        problems = [
            f"{name} {value} is below {least}"
            for name, value, least in (
                ("channels", min(channels, default=0), 1),
                ("n_residual_units", n_residual_units, 1),
                ("norm_groups", norm_groups, 1),
                ("latent_channels", latent_channels, 2),
            )
            if value < least
        ] or [
            f"channels {width} is no multiple of norm_groups {norm_groups}"
            for width in channels
            if width % norm_groups
        ]
        if problems:
            raise ConfigError("the autoencoder cannot be built: " + "; ".join(problems))
        self.edge = 2 ** (len(channels) - 1)
        # Nothing attends: its cost grows with the square of the cells. What the encoder says of
        # the first channel is not used; its decoder reads the level from there.
        self.network = AutoencoderKL(
            spatial_dims=3,
            num_res_blocks=n_residual_units,
            channels=tuple(channels),
            attention_levels=(False,) * len(channels),
            latent_channels=latent_channels,
            norm_num_groups=norm_groups,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        # Mean and mean square of each channel.
        self.register_buffer("moments", torch.tensor([[0.0], [1.0]]).repeat(1, latent_channels))

    @property
    def centre(self) -> Tensor:
        """Mean of each latent channel, (Z, 1, 1, 1)."""
        return self.moments[0][:, None, None, None]

    @property
    def scale(self) -> Tensor:
        """SD of each latent channel, (Z, 1, 1, 1)."""
        variance = self.moments[1] - self.moments[0].square()
        return variance.clamp_min(1e-8).sqrt()[:, None, None, None]

    def inside(self, brain: Tensor) -> Tensor:
        """Which cells hold any brain, (B, 1, i, j, k) bool."""
        return cell_means(brain.float(), brain, self.edge)[1] > 0

    def posterior(self, x: Tensor, brain: Tensor) -> Posterior:
        """Encode deviations x (B, 1, I, J, K) in the brain (B, 1, I, J, K) bool."""
        level, _ = cell_means(x, brain, self.edge)
        both, _ = pad_to_multiple(torch.cat([x, brain.to(x)], 1), self.edge)
        mean, sd = self.network.encode(torch.where(both[:, 1:] > 0, both[:, :1], 0))
        return Posterior(level, mean[:, 1:].float(), sd[:, 1:].float(), self.inside(brain))

    def decode(self, latent: Tensor, brain: Tensor, at_rest: Tensor) -> Tensor:
        """Latents (B, Z, i, j, k) -> deviations (B, 1, I, J, K) float32, 0 outside the brain.

        Parameters
        ----------
        brain : (B, 1, I, J, K) bool
            Cells without brain are not looked at.
        at_rest : (1, 1, ...)
            The result of :meth:`at_rest`, which many draws share.
        """
        inside = self.inside(brain)
        detail = self._field(torch.where(inside, latent, self.centre)) - at_rest
        i, j, k = brain.shape[-3:]
        level, _ = cell_means(detail[..., :i, :j, :k], brain, self.edge)
        shift = interpolate(latent[:, :1] - level, scale_factor=self.edge, mode="nearest")
        return (detail + shift)[..., :i, :j, :k] * brain

    def at_rest(self, cells: tuple[int, ...]) -> Tensor:
        """What the decoder says of the mean latent, on ``cells`` (i, j, k) of a padded grid."""
        return self._field(self.centre.expand(1, -1, *cells))

    def _field(self, latent: Tensor) -> Tensor:
        return self.network.decode(latent).float()

    def to_units(self, latent: Tensor, inside: Tensor) -> Tensor:
        """Shift and scale to mean 0 and SD 1 per channel; -1, background, outside the brain."""
        return torch.where(inside, (latent - self.centre) / self.scale, BACKGROUND)

    def from_units(self, latent: Tensor) -> Tensor:
        """Undo :meth:`to_units` within the brain."""
        return self.centre + self.scale * latent

    @torch.no_grad()
    def measure(self, latent: Tensor, inside: Tensor, *, weight: float) -> None:
        """Let the running moments be ``weight`` parts of these latents' and the rest as before.

        The level's mean stays 0: that is where the estimate is.
        """
        values = latent.movedim(1, 0)[:, inside[:, 0]]
        now = torch.stack([values.mean(1), values.square().mean(1)])
        now[0, 0] = 0
        self.moments.lerp_(now, weight)
