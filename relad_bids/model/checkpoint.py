"""A checkpoint is a folder: ``model.safetensors`` (weights) and ``model.json`` (card).

Nothing pickled is ever read: safetensors holds tensors and their names, nothing that runs.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from relad_bids.errors import CheckpointError, InputError
from relad_bids.files import whole, write_text
from relad_bids.model.base import Model
from relad_bids.model.card import Card, read_card
from relad_bids.model.registry import build_model

WEIGHTS, CARD = "model.safetensors", "model.json"


IMAGE_NUMBERS = 100_000
"""A buffer of more numbers holds images of a brain: the training mean, a regression's patterns."""


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, for the record beside every synthetic image."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_checkpoint(folder: Path, network: Model, card: Card) -> Card:
    """Write weights, then the card with their hash; return that card.

    The card is written last and by renaming: a folder with a card is a whole checkpoint.
    """
    with whole(folder / WEIGHTS) as part:
        tensors = network.answering_state().items()
        save_file({name: _compact(value).contiguous() for name, value in tensors}, part)
    card = replace(card, sha256=fingerprint(folder / WEIGHTS))
    write_text(folder / CARD, card.to_json())
    return card


def round_weights(network: Model) -> None:
    """Round what was learned, and images, to half precision, in place: half the room in a file.

    To be done before the figures of the card are measured, so that they hold for what is written.
    What is small and has a closed form keeps its digits. An image in [-1, 1] is rounded by 2**-12
    at most, 6e-4 SUVr of a tracer that ends at 5, in each voxel by itself.
    """
    # Only what is stored: a buffer that is made anew at each start would come back unrounded.
    stored = [value for value in network.state_dict().values() if value.is_floating_point()]
    images = [value for value in stored if value.numel() >= IMAGE_NUMBERS]
    with torch.no_grad():
        for weight in (*network.parameters(), *images):
            weight.copy_(weight.half())


def _compact(value: Tensor) -> Tensor:
    """As float16 where that loses nothing; it is float32 again once loaded."""
    half = value.half() if value.dtype == torch.float32 else value
    return half if torch.equal(half.to(value.dtype), value) else value


def verify_checkpoint(folder: Path) -> Card:
    """Read the card and check the weights against it, without building the network.

    Raises
    ------
    InputError
        The folder or one of its two files is missing.
    CheckpointError
        The weights are not those the card was written for.
    """
    missing = [name for name in (CARD, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"a checkpoint was looked for in {folder}; {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not there. A checkpoint is a folder with "
            f"{CARD} and {WEIGHTS}: give its path with --model-dir."
        )
    card = read_card(folder / CARD)
    if (found := fingerprint(folder / WEIGHTS)) != card.sha256:
        raise CheckpointError(
            f"{folder / WEIGHTS} has SHA-256 {found[:16]}..., its card says "
            f"{card.sha256[:16]}...: the file is damaged or was exchanged. Copy the checkpoint "
            "again from where it came from."
        )
    return card


def load_checkpoint(folder: Path) -> tuple[Model, Card]:
    """Verify, build the network of the card and fill it; in evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        Names the tensors that do not fit the architecture.
    """
    card = verify_checkpoint(folder)
    network = build_model(
        card.kind,
        card.architecture,
        shape=card.shape,
        diffusion=card.diffusion,
        sampler=card.sampler if card.diffusion else None,
    )
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise CheckpointError(f"{folder / WEIGHTS} is not a safetensors file: {error}.") from error
    if wrong := _misfits(weights, network.state_dict()):
        shown = "\n  ".join(wrong[:5])
        raise CheckpointError(f"{folder}: {len(wrong)} tensors do not fit, first:\n  {shown}")
    network.load_state_dict(weights)
    return network.eval(), card


def _misfits(have: dict[str, Tensor], want: dict[str, Tensor]) -> list[str]:
    wrong = [f"missing {name}" for name in want if name not in have]
    wrong += [f"unexpected {name}" for name in have if name not in want]
    return wrong + [
        f"{name} is {tuple(have[name].shape)}, needs {tuple(want[name].shape)}"
        for name in want
        if name in have and have[name].shape != want[name].shape
    ]
