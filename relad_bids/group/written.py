"""A statistic as it is written: one TSV, one JSON that explains each of its columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from relad_bids import __version__
from relad_bids.bids.outputs import GROUP_STATISTICS, sidecar_path
from relad_bids.errors import UsageError
from relad_bids.files import whole, write_table, write_text

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


def require_parquet() -> None:
    """Refuse ``--parquet`` before anything is computed where it cannot be written.

    Raises
    ------
    UsageError
        pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise UsageError(
            "--parquet needs the package pyarrow, which is not installed here. Install it "
            "(pip install 'relad-bids[parquet]'), or leave --parquet out; the same tables are "
            "written as TSV."
        )


def write_statistic(
    root: Path, table: Table, *, statement: str, sources: list[str], parquet: bool
) -> Path:
    """Write one table and its dictionary; return the path of the TSV."""
    path = root / table.file
    write_table(path, table.frame)
    dictionary = {
        **{str(name): {"LongName": str(name), **entry, "Derivative": True}
           for name, entry in table.columns.items()},
        **table.facts,
        "SyntheticDataStatement": statement,
        "GeneratedBy": {"Name": "relad-bids", "Version": __version__},
        "Sources": sources,
    }  # fmt: skip
    write_text(sidecar_path(path), as_json(dictionary))
    if parquet:
        write_parquet(path, table.frame)
    return path


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write the same rows beside a TSV, with types."""
    with whole(path.with_suffix(".parquet")) as part:
        frame.to_parquet(part, index=False)


def as_json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"
