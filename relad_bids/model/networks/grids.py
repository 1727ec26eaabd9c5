"""What networks need to know of a grid: sides they can halve, and where each voxel lies."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, tuple[slice, ...]]:
    """Pad the last three axes at their ends with -1 (background); return also the crop back."""
    shape = x.shape[-3:]
    missing = [-side % multiple for side in shape]
    pads = [amount for extra in reversed(missing) for amount in (0, extra)]
    return functional.pad(x, pads, value=-1.0), tuple(slice(side) for side in shape)


def position_channels(shape: tuple[int, int, int]) -> Tensor:
    """Where each voxel is, (1, 3, I, J, K) from -1 to 1 along each axis."""
    axes = [torch.linspace(-1, 1, side) for side in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
