"""A statistic as it is written: one TSV, one JSON that explains each of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from relad_bids.bids.outputs import GROUP_STATISTICS, sidecar_path
from relad_bids.core.columns import GENERATED_BY, described
from relad_bids.files import json_text, write_table, write_text
from relad_bids.group.parquet import write_parquet

Columns = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Table:
    """One table of the group level."""

    key: str
    """Of :data:`relad_bids.bids.outputs.GROUP_STATISTICS`."""
    frame: pd.DataFrame
    columns: Columns
    """Column -> its entry in the dictionary."""
    facts: Columns = field(default_factory=dict)
    """More for the head of the dictionary."""

    @property
    def file(self) -> str:
        """Relative to the output folder."""
        return GROUP_STATISTICS[self.key]


def write_statistic(
    root: Path, table: Table, *, facts: Columns, statement: str, sources: list[str], parquet: bool
) -> Path:
    """Write one table and its dictionary, with ``facts`` of all tables; return its path."""
    path = root / table.file
    write_table(path, table.frame)
    dictionary = {
        **described({str(name): entry for name, entry in table.columns.items()}),
        **table.facts,
        **facts,
        "SyntheticDataStatement": statement,
        **GENERATED_BY,
        "Sources": sources,
    }  # fmt: skip
    write_text(sidecar_path(path), json_text(dictionary))
    if parquet:
        write_parquet(path, table.frame)
    return path
