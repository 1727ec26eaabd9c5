"""Writing so that a file under its final name is always whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from relad_bids.errors import OutputError

FLOAT_FORMAT = "%.6g"
"""Six significant digits: finer than any scanner, coarser than the last bits of a sum."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a name to write to; it becomes ``path`` only when the block ends well.

    The temporary name lies in the same folder (renaming is atomic only there) and is unique,
    so that two jobs writing one root file cannot mix their bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a BIDS table: tabs, ``n/a`` for missing, LF, no index column."""
    with whole(path) as part:
        table.to_csv(
            part, sep="\t", na_rep="n/a", index=False, lineterminator="\n",
            float_format=FLOAT_FORMAT,
        )  # fmt: skip


def read_table(path: Path) -> pd.DataFrame:
    """Read a BIDS table; labels stay text (``01`` is not 1), ``n/a`` becomes missing."""
    return pd.read_csv(
        path, sep="\t", na_values=["n/a"], keep_default_na=False,
        dtype={"participant_id": str, "session_id": str, "run": str, "labels": str,
               "labels_missing": str},
    )  # fmt: skip


def copy(source: Path, target: Path) -> None:
    with whole(target) as part:
        shutil.copyfile(source, part)


def require_writable(folder: Path) -> None:
    """Make the folder and prove that a file can be made in it, before anything is computed.

    Raises
    ------
    OutputError
        Names the folder and what the system said.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"the output folder {folder} cannot be written ({error.strerror or error}); nothing "
            "was computed. Choose another folder, or give this user the right to write there."
        ) from error
