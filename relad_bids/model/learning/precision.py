"""In which precision networks compute."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch.nn.functional import conv3d

from relad_bids.errors import ConfigError
from relad_bids.model.learning.config import PRECISIONS

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def around_networks(
    precision: str, device: torch.device
) -> Callable[[], AbstractContextManager[None]]:
    """What is to be put around the calls of a network.

    Raises
    ------
    ConfigError
        The device has no convolution in that precision.
    """
    half = DTYPES.get(precision)
    casts = partial(torch.autocast, device.type, dtype=half, enabled=half is not None)
    if half is not None:
        others = " or ".join(name for name in PRECISIONS if name != precision)
        try:
            _try_convolution(casts, device)
        except RuntimeError as error:
            raise ConfigError(
                f"train.precision is {precision!r}, and the device {device} has no convolution in "
                f"it: {error}. Take {others}."
            ) from error
    return casts


def _try_convolution(
    casts: Callable[[], AbstractContextManager[None]], device: torch.device
) -> None:
    """There and back on a few voxels: some devices can store half precision and not convolve."""
    image = torch.zeros(1, 1, 4, 4, 4, device=device)
    kernel = torch.zeros(1, 1, 3, 3, 3, device=device, requires_grad=True)
    with casts():
        answer = conv3d(image, kernel)
    answer.float().sum().backward()
