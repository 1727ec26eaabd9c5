"""Activations that are worked out again on the way back, in place of being kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from monai.networks.blocks import Convolution, ResidualUnit
from monai.networks.blocks.spatialattention import SpatialAttentionBlock
from monai.networks.nets.autoencoderkl import AEKLResBlock
from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock, SpatialTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from relad_bids.model.base import Model

BLOCKS = (
    ResidualUnit,
    Convolution,
    DiffusionUNetResnetBlock,
    AEKLResBlock,
    SpatialTransformer,
    SpatialAttentionBlock,
)
"""MONAI's blocks of several layers: of them all networks here are built."""


@contextmanager
def recomputed(model: Model) -> Iterator[None]:
    """Let the blocks of a model's networks keep what they are given and nothing else.

    What lies within a block is worked out again when its gradient is. Critics are left as they
    are: they are asked again for the slope of their slope, and to be asked moves their norms.
    """
    critics = {id(weight) for weight in model.parts().get("critic", ())}
    blocks = [block for block in _outermost(model) if not _holds(block, critics)]
    for block in blocks:
        # Nothing in a network draws: there is no state of chance to go back to.
        again = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
        block.forward = again
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    """Blocks that do not lie in others; a convolution alone keeps only what it is given."""
    for child in module.children():
        if isinstance(child, BLOCKS) and len(list(child.children())) > 1:
            yield child
        else:
            yield from _outermost(child)


def _holds(block: nn.Module, weights: set[int]) -> bool:
    return any(id(weight) in weights for weight in block.parameters())
