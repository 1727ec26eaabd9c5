"""Whether a checkpoint had seen the people whose PET it estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from relad_bids.errors import DataError, InputError
from relad_bids.model.card import read_card
from relad_bids.seen_list import seen_participants, sources_known

CARD = "model.json"
SHOWN = 10

SEEN_COLUMN: Mapping[str, object] = {
    "Description": "Whether the checkpoint learned from this participant, or was chosen on them",
    "Levels": {
        "yes": "its answer about them is no estimate: it had their measured PET",
        "no": "it had not",
        "unknown": "the checkpoint, or the list of its participants, was not given",
    },
}


@dataclass(frozen=True)
class Checkpoints:
    """Those that were given, by the label in the column ``checkpoint_id``."""

    people: Mapping[str, frozenset[str] | None]
    """Who had a say in it; None where that is not known."""
    vouched: bool = False
    """Whether the user says that nobody here had a say in those not known."""

    def seen(self, rows: pd.DataFrame) -> pd.Series:
        """``yes``, ``no`` or ``unknown`` for each row of ``participant_id checkpoint_id``."""
        keys = rows[["participant_id", "checkpoint_id"]].astype(object)
        each = keys.drop_duplicates()
        answers = [
            self._one(str(who), checkpoint)
            for who, checkpoint in each.itertuples(index=False, name=None)
        ]
        table = dict(zip(map(tuple, each.to_numpy()), answers, strict=True))
        found = [table[key] for key in map(tuple, keys.to_numpy())]
        return pd.Series(found, index=rows.index, dtype=object)

    def _one(self, who: str, checkpoint: object) -> str:
        people = self.people.get(str(checkpoint))
        if people is None:
            return "no" if self.vouched else "unknown"
        return "yes" if who in people else "no"


def read_checkpoints(folders: Sequence[Path], *, vouched: bool) -> Checkpoints:
    """Read cards and lists of checkpoints, and of the folds of a cross-validation.

    Raises
    ------
    InputError
        A folder holds no checkpoint.
    CheckpointError
        A list is not the one its card tells of.
    """
    people: dict[str, frozenset[str] | None] = {}
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob(f"fold-*/{CARD}"))
        parts = [folder] if (folder / CARD).is_file() else inside
        if not parts:
            raise InputError(
                f"--checkpoints names {folder}, which holds neither {CARD} nor fold-*/{CARD}. "
                "Give the folders of the checkpoints that made the synthetic PET."
            )
        for part in parts:
            card = read_card(part / CARD)
            labels = seen_participants(part, card)
            known = labels is not None and sources_known(card)
            people[card.label] = frozenset(labels or ()) if known else None
    return Checkpoints(people, vouched)


def require_unseen(rows: pd.DataFrame, checkpoints: Checkpoints, purpose: str) -> None:
    """Refuse synthetic PET of people whom its checkpoint has seen, or may have.

    A model that is told of PET which had looked at the measured one would see that, too
    (pet-quantification, section 5.5).

    Parameters
    ----------
    rows
        ``participant_id checkpoint_id`` of the synthetic PET that is to be used.
    purpose
        What for, in the message.

    Raises
    ------
    DataError
        Names participants and checkpoint.
    """
    seen = checkpoints.seen(rows)
    for answer, why in (
        ("yes", "was trained on, or chosen by, them"),
        ("unknown", "is not among the checkpoints given, or does not tell whom it has seen"),
    ):
        mine = rows[seen == answer]
        if mine.empty:
            continue
        who = sorted(mine["participant_id"].astype(str).unique())
        more = f", ... ({len(who)} in all)" if len(who) > SHOWN else ""
        names = ", ".join(sorted(mine["checkpoint_id"].astype(str).unique())[:3])
        raise DataError(
            f"{purpose} was asked for with the synthetic PET of {', '.join(who[:SHOWN])}{more}; "
            f"{names} {why}. Needed is synthetic PET of a checkpoint that never saw them: give "
            "its folder, or that of the cross-validation whose folds left them out, with "
            "--checkpoints; or leave them out with --participant-label. Where you know that "
            "nobody here was in its training, say so with --unseen."
        )
