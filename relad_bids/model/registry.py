"""The kinds of network that a checkpoint's card may name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from relad_bids.errors import CheckpointError
from relad_bids.model.networks import PosteriorMeanUNet

KINDS: dict[str, type[nn.Module]] = {"unet": PosteriorMeanUNet}


def build_network(
    kind: str, architecture: Mapping[str, Any], *, shape: tuple[int, int, int]
) -> nn.Module:
    """Build an untrained network of a registered kind for a grid of ``shape``.

    Raises
    ------
    CheckpointError
        The kind is not registered, or does not take these settings.
    """
    if kind not in KINDS:
        raise CheckpointError(
            f"model kind {kind!r} is not known to this version; it knows {', '.join(KINDS)}."
        )
    try:
        return KINDS[kind](**architecture, shape=shape)
    except TypeError as error:
        raise CheckpointError(f"model kind {kind!r} cannot be built so: {error}.") from error
