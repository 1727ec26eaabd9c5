"""Critics, from MONAI's PatchDiscriminator, behind one call: PET and conditions in, logits out."""

from __future__ import annotations

import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.nn.utils.parametrizations import spectral_norm

N_LAYERS = 2
"""Blocks after the first convolution: strides 2, 2, 1, 1, so that a logit sees 34 voxels."""


class PublishedCritic(nn.Module):
    """The critic of RelA-Diffusion (method.md 2.5): 11,573 parameters, sees the PET alone.

    Its tensors have the names of the published file, so the state dict loads as it is.

    In training mode its BatchNorm lets the samples of a batch see each other, and, as real and
    fake PET pass in batches of their own, takes away part of what differs between them in level
    and contrast. The published weights are nearly inert (method.md 2.6). Kept to reproduce that
    training; :class:`ConditionalCritic` is the one to use.
    """

    def __init__(self) -> None:
        super().__init__()
        network = PatchDiscriminator(
            spatial_dims=3, channels=4, in_channels=1, num_layers_d=N_LAYERS, norm="BATCH"
        )
        # The layers become this module's own children: a prefix would rename every tensor.
        for name, layer in network.named_children():
            self.add_module(name, layer)

    def forward(self, pet: Tensor, mri: Tensor, tracer: Tensor) -> Tensor:
        """PET (B, 1, I, J, K) in [-1, 1] -> logits (B, 1, I // 4 - 2, ...).

        MRI and tracer are taken for the sake of one interface and not looked at.
        """
        logits = pet
        for layer in self.children():
            logits = layer(logits)
        return logits


class ConditionalCritic(nn.Module):
    """A critic that sees what the generator saw: is this PET real *for this MRI and tracer*?

    Without the conditions a generator may answer with anyone's PET, of any tracer.

    Parameters
    ----------
    n_sequences
        MRI channels S.
    n_tracers
        Tracers R.
    channels
        Feature maps of the first convolution; doubled twice.
    """

    def __init__(self, *, n_sequences: int, n_tracers: int, channels: int = 32) -> None:
        super().__init__()
        self.n_tracers = n_tracers
        # No norm at all. Each kind subtracts a mean and divides by a spread taken over more than
        # the patch, over the batch (BatchNorm) or the volume (group, instance): a logit would
        # depend on places far outside its patch, and an uptake that is too high or too flat
        # everywhere, the error that an SUVr must not have, would reach the critic weakened. What
        # a norm is otherwise for, steady scales, the spectral norm does from the weights alone
        # (Miyato et al. 2018). Without a norm's shift the convolutions need their own bias.
        self.network = PatchDiscriminator(
            spatial_dims=3,
            channels=channels,
            in_channels=1 + n_sequences + n_tracers,
            num_layers_d=N_LAYERS,
            norm=None,
            bias=True,
        )
        for layer in list(self.network.modules()):
            if isinstance(layer, nn.Conv3d):
                spectral_norm(layer)

    def forward(self, pet: Tensor, mri: Tensor, tracer: Tensor) -> Tensor:
        """PET (B, 1, I, J, K), MRI (B, S, I, J, K), tracer (B,) -> logits (B, 1, I // 4 - 2, ...).

        Images in [-1, 1], tracer index int64; each side of the grid has at least 12 voxels.
        """
        # The tracer is one constant channel per tracer, 1 for its own and 0 elsewhere: what it
        # means is learned by the first convolution and shapes all that follow. Against an
        # embedding it has no scale of its own by which it could outgrow the spectral norm, and
        # against a projection of the last features it may change what is looked for.
        own = one_hot(tracer, self.n_tracers).to(pet)[..., None, None, None]
        planes = own.expand(-1, -1, *pet.shape[2:])
        logits: Tensor = self.network(torch.cat([pet, mri, planes], 1))[-1]
        return logits
