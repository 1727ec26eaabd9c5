"""The diffusion network, MONAI's, behind one call: noisy PET, MRI, timestep and tracer in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from monai.networks.nets import DiffusionModelUNet
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn

from relad_bids.errors import ConfigError
from relad_bids.model.networks.grids import pad_to_multiple

PUBLISHED: Mapping[str, Any] = MappingProxyType(
    {
        "n_sequences": 2,
        "n_tracer_classes": 4,
        "channels": [16, 32, 64],
        "attention_levels": [False, False, True],
        "n_residual_units": 2,
        "norm_groups": 8,
        "head_channels": 64,
        "transformers": True,
    }
)
"""The architecture of the published RelA-Diffusion weights (method.md 2.2): 3,038,017
parameters. Its fourth tracer class was never trained."""


class ConditionalDiffusionUNet(nn.Module):
    """A U-Net that estimates what its schedule asks for (noise, image or v) from noisy PET.

    MRI enters as more channels beside the noisy PET, the tracer as a learned vector that is
    added to that of the timestep.

    Parameters
    ----------
    n_sequences
        MRI channels S.
    n_tracer_classes
        Learned tracer vectors; a tracer's class number is below it.
    channels
        Feature maps per level, from full to coarsest resolution. The input is padded to
        multiples of ``2**(levels - 1)``.
    attention_levels
        Whether a level attends; its cost grows with the square of the level's voxels. If one
        does, the middle block on the coarsest level does, too; if none does, nothing attends.
    n_residual_units
        Residual units per level.
    norm_groups
        Groups of the group norms; divides every number of channels.
    head_channels
        Feature maps per attention head; without meaning where nothing attends.
    transformers
        Attend as the published network does: transformer blocks, self-attention followed by a
        cross-attention. There is no context to look at, so that the latter is a second
        self-attention (method.md 2.2) and every level that attends must be as wide as the last.
    patch
        Edge of the blocks of voxels that the network takes as one, as channels: 2 makes its
        finest level eight times smaller and a step on a CPU about as much faster (Hoogeboom et
        al. 2023, section 3.3). 1 as published.

    Raises
    ------
    ConfigError
        Names every setting that does not fit the others.
    """

    def __init__(
        self,
        *,
        n_sequences: int,
        n_tracer_classes: int,
        channels: Sequence[int],
        attention_levels: Sequence[bool],
        n_residual_units: int,
        norm_groups: int,
        head_channels: int = 32,
        transformers: bool = False,
        patch: int = 1,
    ) -> None:
        super().__init__()
        widths = _attending(channels, attention_levels)
        problems = _below_one(
            n_sequences=n_sequences,
            n_tracer_classes=n_tracer_classes,
            channels=min(channels, default=0),
            n_residual_units=n_residual_units,
            norm_groups=norm_groups,
            head_channels=head_channels,
            patch=patch,
        ) or [
            *_level_problems(channels, attention_levels, norm_groups),
            *_attention_problems(widths, head_channels, transformers=transformers),
        ]
        if problems:
            raise ConfigError("the diffusion network cannot be built: " + "; ".join(problems))
        self.patch = patch
        self.multiple = patch * 2 ** (len(channels) - 1)
        # By name only: the order of arguments differs between the versions of this class.
        self.unet = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=(1 + n_sequences) * patch**3,
            out_channels=patch**3,
            num_res_blocks=n_residual_units,
            channels=tuple(channels),
            attention_levels=tuple(attention_levels),
            norm_num_groups=norm_groups,
            num_head_channels=head_channels if widths else 1,
            with_conditioning=transformers,
            cross_attention_dim=channels[-1] if transformers else None,
            num_class_embeds=n_tracer_classes,
            use_flash_attention=True,
        )
        if not widths:
            # MONAI's middle block attends whatever the levels do (hence one channel a head above,
            # which always fits).
            self.unet.middle_block.attention = nn.Identity()

    def forward(self, x_t: Tensor, mri: Tensor, t: Tensor, tracer: Tensor) -> Tensor:
        """Noisy PET and its conditions -> the network's estimate, (B, 1, I, J, K) float32.

        Parameters
        ----------
        x_t : (B, 1, I, J, K) float32
            PET with the noise of timestep ``t``.
        mri : (B, S, I, J, K) float32
            In [-1, 1]; a missing sequence is -1 everywhere.
        t : (B,) int64
            Training timestep, 0 the least noise.
        tracer : (B,) int64
            Class number.
        """
        x, crop = pad_to_multiple(torch.cat([x_t, mri], 1), self.multiple)
        blocks = pixelunshuffle(x, 3, self.patch)
        output = self.unet(x=blocks, timesteps=t, context=None, class_labels=tracer)
        cropped: Tensor = pixelshuffle(output, 3, self.patch)[(..., *crop)]
        return cropped.float()


def _attending(channels: Sequence[int], attention_levels: Sequence[bool]) -> set[int]:
    """Widths of everything that attends: of the chosen levels, and then of the middle block."""
    widths = {width for width, attends in zip(channels, attention_levels, strict=False) if attends}
    return widths | {channels[-1]} if widths else widths


def _below_one(**settings: int) -> list[str]:
    return [f"{name} {value} is below 1" for name, value in settings.items() if value < 1]


def _level_problems(
    channels: Sequence[int], attention_levels: Sequence[bool], norm_groups: int
) -> list[str]:
    found = [
        f"channels {width} is no multiple of norm_groups {norm_groups}"
        for width in channels
        if width % norm_groups
    ]
    if len(channels) != len(attention_levels):
        found.append(
            f"channels has {len(channels)} levels, attention_levels {len(attention_levels)}"
        )
    return found


def _attention_problems(widths: set[int], head_channels: int, *, transformers: bool) -> list[str]:
    found = [
        f"attention on {width} channels cannot be split into heads of {head_channels}"
        for width in sorted(widths)
        if width % head_channels
    ]
    if transformers and not widths:
        found.append("transformers were asked for on no level")
    if transformers and len(widths) > 1:
        found.append(
            "transformers need one width on the last level and all that attend, got "
            f"{', '.join(map(str, sorted(widths)))}"
        )
    return found
