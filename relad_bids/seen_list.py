"""Who had a say in a checkpoint: the list beside it on disk, read without the network.

The labels stand in a table of their own, so that a checkpoint can be given away without them.
The card holds their number and a hash of the list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from relad_bids.errors import CheckpointError
from relad_bids.files import read_table
from relad_bids.model.card import Card

SEEN = "training_participants.tsv"
"""Start, train and validation, and those of the checkpoint that was fine-tuned."""
UNSEEN = "held_out_participants.tsv"
"""Who was set aside to be tested on; without rows if nobody was."""
HASH = "training_participants_sha256"
"""Key of the card's ``training`` that holds the hash of the first list."""
SOURCES = ("phantom", "derivatives")
"""Data of a training whose participants are known."""


def fingerprint_of(participants: Iterable[str]) -> str:
    """SHA-256 of the sorted labels, one on a line: tells two lists apart and names nobody."""
    return hashlib.sha256("\n".join(sorted(participants)).encode()).hexdigest()


def seen_participants(folder: Path, card: Card) -> tuple[str, ...] | None:
    """Labels of the participants who had a say in a checkpoint; () if there were none.

    None if its card tells of participants and their list did not come with it.

    Raises
    ------
    CheckpointError
        The list is not the one the card tells of.
    """
    if HASH not in card.training:
        return ()
    if not (folder / SEEN).is_file():
        return None
    labels = tuple(read_table(folder / SEEN)["participant_id"])
    if fingerprint_of(labels) != card.training[HASH]:
        raise CheckpointError(
            f"{folder / SEEN} is not the list that the card of {card.label} tells of: it was "
            "changed, or belongs to another checkpoint. Copy the checkpoint again from where it "
            "came from."
        )
    return labels


def lessons(training: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The training of a checkpoint, of the one it was fine-tuned from, and so on."""
    while training:
        yield training
        training = training.get("fine_tuned_from", {}).get("training", {})


def sources_known(card: Card) -> bool:
    """Whether the card says where all of its training participants came from."""
    sources = [one.get("data", {}).get("source") for one in lessons(card.training)]
    return bool(sources) and all(source in SOURCES for source in sources)
