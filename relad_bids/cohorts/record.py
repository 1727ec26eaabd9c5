"""Who had a say in a checkpoint, beside it on disk: they may never be asked about.

The labels stand in a table of their own, so that a checkpoint can be given away without them.
The card holds their number and a hash of the list.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from relad_bids.cohorts.sides import Sides
from relad_bids.files import write_table
from relad_bids.model.learning.splits import PARTICIPANT
from relad_bids.seen_list import SEEN, UNSEEN, fingerprint_of


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
