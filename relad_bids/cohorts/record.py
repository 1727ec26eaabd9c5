"""Who had a say in a checkpoint, beside it on disk: they may never be asked about.

The labels stand in a table of their own, so that a checkpoint can be given away without them.
The card holds their number and a hash of the list.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from relad_bids.cohorts.sides import Sides, fingerprint_of
from relad_bids.errors import CheckpointError
from relad_bids.files import read_table, write_table
from relad_bids.model.card import Card
from relad_bids.model.learning.splits import PARTICIPANT

SEEN = "training_participants.tsv"
"""Start, train and validation, and those of the checkpoint that was fine-tuned."""
UNSEEN = "held_out_participants.tsv"
"""Who was set aside to be tested on; without rows if nobody was."""
HASH = "training_participants_sha256"
"""Key of the card's ``training`` that holds the hash of the first list."""


def write_participants(folder: Path, sides: Sides, before: Collection[str] = ()) -> str:
    """Write both lists; return the hash of the first.

    Parameters
    ----------
    before
        Who had a say in the fine-tuned checkpoint.
    """
    table = sides.table()
    tested = table["side"] == "test"
    earlier = sorted(set(before) - set(table[PARTICIPANT][~tested]))
    inherited = pd.DataFrame({PARTICIPANT: earlier, "side": "checkpoint"}, dtype=object)
    seen = pd.concat([table[~tested], inherited])
    write_table(folder / SEEN, seen)
    write_table(folder / UNSEEN, table[tested])
    return fingerprint_of(seen[PARTICIPANT])


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
    labels = tuple(read_table(folder / SEEN)[PARTICIPANT])
    if fingerprint_of(labels) != card.training[HASH]:
        raise CheckpointError(
            f"{folder / SEEN} is not the list that the card of {card.label} tells of: it was "
            "changed, or belongs to another checkpoint. Copy the checkpoint again from where it "
            "came from."
        )
    return labels
