"""The kinds of model that a recipe or a checkpoint's card may name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relad_bids.errors import CheckpointError
from relad_bids.model.base import Model
from relad_bids.model.kinds.cyclegan import CycleGAN
from relad_bids.model.kinds.ddgan import DDGAN
from relad_bids.model.kinds.ddpm import DDPM, FICD
from relad_bids.model.kinds.mean import TrainingMean
from relad_bids.model.kinds.pix2pix import Pix2Pix
from relad_bids.model.kinds.rela import RelA
from relad_bids.model.kinds.rela_latent import RelALatent
from relad_bids.model.kinds.rela_published import RelAPublished
from relad_bids.model.kinds.ridge import Ridge
from relad_bids.model.kinds.unet import PosteriorMeanUNet

KINDS: dict[str, type[Model]] = {
    "mean": TrainingMean,
    "ridge": Ridge,
    "unet": PosteriorMeanUNet,
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
    "ddpm": DDPM,
    "ficd": FICD,
    "ddgan": DDGAN,
    "rela": RelA,
    "rela-latent": RelALatent,
    "rela-published": RelAPublished,
}


def build_model(
    kind: str,
    architecture: Mapping[str, Any],
    *,
    shape: tuple[int, int, int],
    diffusion: Mapping[str, Any] | None = None,
    sampler: Mapping[str, Any] | None = None,
    objective: Mapping[str, Any] | None = None,
    training: bool = False,
) -> Model:
    """Build an untrained model of a registered kind for a grid of ``shape``.

    Parameters
    ----------
    architecture
        Settings of the kind's networks.
    diffusion, sampler
        For the kinds that diffuse; their defaults if None.
    objective
        Weights of the losses; looked at if ``training``.
    training
        Whether to build what only training needs, such as a critic.

    Raises
    ------
    CheckpointError
        The kind is not registered, or does not take these settings.
    """
    if kind not in KINDS:
        raise CheckpointError(
            f"model kind {kind!r} is not known to this version; it knows {', '.join(KINDS)}."
        )
    more = {"diffusion": diffusion, "sampler": sampler}
    given = {name: value for name, value in more.items() if value is not None}
    if training and (objective or hasattr(KINDS[kind], "Objective")):
        given["objective"] = objective or {}
    try:
        return KINDS[kind](**architecture, shape=shape, **given)
    except TypeError as error:
        raise CheckpointError(f"model kind {kind!r} cannot be built so: {error}.") from error
