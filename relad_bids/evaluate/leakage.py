"""Whom a checkpoint has seen: nobody among them may be asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relad_bids.cohorts.phantoms import VALIDATION_SEED
from relad_bids.errors import DataError, InputError
from relad_bids.evaluate.phantoms import phantom_label
from relad_bids.files import read_table
from relad_bids.model.card import Card
from relad_bids.seen_list import UNSEEN, lessons, seen_participants, sources_known

SHOWN = 10
"""Participants named in a message before it stops."""


@dataclass(frozen=True)
class Seen:
    """Participants who had a say in a checkpoint: it learned from them, or was chosen on them."""

    people: frozenset[str]
    """``sub-01`` ..."""
    phantoms: frozenset[str]
    """By :func:`relad_bids.evaluate.phantoms.phantom_label`, with ``sub-``."""
    known: bool
    """Whether the people are known: a list can be left behind, an imported checkpoint has none."""

    def __contains__(self, participant_id: str) -> bool:
        return participant_id in self.people or participant_id in self.phantoms


def seen_by(folder: Path, card: Card) -> Seen:
    """Read from a checkpoint, and from what it was fine-tuned from, who had a say in it.

    Phantoms are known by seed and number alone: the people of all presets are the same, and
    only their MRI differs.

    Raises
    ------
    CheckpointError
        The list of participants is not the one that the card tells of.
    """
    people = seen_participants(folder, card)
    phantoms = {
        f"sub-{label}"
        for training in lessons(card.training)
        if training.get("data", {}).get("source") == "phantom"
        for label in _phantoms_of(training)
    }
    known = people is not None and sources_known(card)
    return Seen(frozenset(people or ()), frozenset(phantoms), known)


def held_out_of(folder: Path) -> frozenset[str]:
    """Who was set aside when a checkpoint was trained, to be tested on.

    Raises
    ------
    InputError
        There is no such list, or nobody in it.
    """
    path = folder / UNSEEN
    people = frozenset(read_table(path)["participant_id"]) if path.is_file() else frozenset()
    if not people:
        raise InputError(
            f"{path} should name who was held out of the training, and "
            f"{'is empty' if path.is_file() else 'is not there'}. Name the participants with "
            "--participant-label."
        )
    return people


def require_unseen(model: str, seen: Iterable[Seen], participants: Iterable[str]) -> None:
    """Refuse to ask a model about those whom all of its checkpoints have seen.

    Parameters
    ----------
    model
        Named in the message.
    seen
        Of its checkpoint, or of each fold of a cross-validation.
    participants
        Who is to be asked about.

    Raises
    ------
    DataError
        Names them.
    """
    every = list(seen)
    known = sorted({who for who in participants if all(who in one for one in every)})
    if known:
        more = f", ... ({len(known)} in all)" if len(known) > SHOWN else ""
        raise DataError(
            f"{model} was trained on, or chosen by, {', '.join(known[:SHOWN])}{more}, and was to "
            "be evaluated on them: it would be asked its own lessons. Evaluate it on others "
            "(another --seed of phantoms, --held-out, or --participant-label), or give the "
            "folder of a cross-validation, whose checkpoints answer for those they have not seen."
        )


def _phantoms_of(training: Mapping[str, Any]) -> Iterator[str]:
    data, seed = training["data"], int(training["seed"])
    for index in range(int(data["n_start"]) + int(data["n_train"])):
        yield phantom_label(seed, index)
    for index in range(int(data["n_validation"])):
        yield phantom_label(seed + VALIDATION_SEED, index)
