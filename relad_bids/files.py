"""Writing so that a file under its final name is always whole."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.errors import DataError, OutputError
from relad_bids.owners import is_gone, own_token, token_in
from relad_bids.untrusted import require_small

FLOAT_FORMAT = "%.6g"
"""Six significant digits: finer than any scanner, coarser than the last bits of a sum."""

ROWS = 10_000
"""Of a table that are text at a time: a table of a million rows is not held twice."""

PART = ".part"
"""Ending of what is not whole yet."""

_TARGET = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
"""What only the file written to can be the reason of, not one that is read."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a name to write to; it becomes ``path`` only when the block ends well.

    The temporary name lies in the same folder (renaming is atomic only there) and is unique,
    so that two jobs writing one root file cannot mix their bytes. It names the process that
    writes, so that what a killed one left behind can be told and removed (:func:`sweep`). The
    bytes are on the disk before the name is: a machine that loses power leaves no empty file.

    Raises
    ------
    OutputError
        The disk is full, the quota is used up, or the folder cannot be written any more.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[:_NAME]}.{own_token()}.", suffix=PART, dir=path.parent
        )
    os.close(handle)
    part = Path(name)
    try:
        try:
            yield part
        except OSError as error:
            if error.errno in _TARGET:
                raise _unwritable(path, error) from error
            raise
        with writing(path):
            part.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner may read
            _sync(part)
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


_NAME = 150
"""Letters of the final name in the temporary one: file systems take 255 for all."""


def _sync(part: Path) -> None:
    handle = os.open(part, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell in words what keeps a file from being written."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written ({error.strerror or error}); nothing stands under its name "
        "that is not whole. Make room or give the right to write there, and run the same command "
        "again: what is finished is kept."
    )


def sweep(folders: Iterable[Path]) -> None:
    """Remove what processes of this machine that were killed left half-written."""
    for folder in folders:
        for part in folder.rglob(f".*{PART}") if folder.is_dir() else ():
            if (token := token_in(part.name)) and is_gone(token):
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
        for start in range(0, max(1, len(table)), ROWS):
            _as_text(table.iloc[start : start + ROWS]).to_csv(
                part, sep="\t", na_rep="n/a", index=False, lineterminator="\n",
                mode="a" if start else "w", header=not start,
            )  # fmt: skip


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The numbers that :func:`write_table` writes, as numbers."""
    found = table.copy(deep=False)
    for place, text in _texts(table):
        found.isetitem(place, text.astype(np.float64))
    return found


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers with a point as they are written; pandas takes a function call for each of them."""
    found = table.copy(deep=False)
    for place, text in _texts(table):
        found.isetitem(place, text)
    return found


def _texts(table: pd.DataFrame) -> Iterator[tuple[int, NDArray[np.object_]]]:
    """Each column of numbers with a point: its place, and its texts, None where missing."""
    for place, kind in enumerate(table.dtypes):
        if isinstance(kind, np.dtype) and kind.kind == "f":
            values = table.iloc[:, place].to_numpy(dtype=np.float64)
            known = ~np.isnan(values)
            numbers = tuple(values[known].tolist())
            text = np.full(len(values), None, dtype=object)
            text[known] = (f"{FLOAT_FORMAT}\t" * len(numbers) % numbers).split("\t")[:-1]
            yield place, text


def read_table(path: Path) -> pd.DataFrame:
    """Read a BIDS table; labels stay text (``01`` is not 1), ``n/a`` becomes missing.

    Raises
    ------
    DataError
        The file is no table of text.
    """
    try:
        return pd.read_csv(
            path, sep="\t", na_values=["n/a"], keep_default_na=False,
            dtype={"participant_id": str, "session_id": str, "run": str, "labels": str,
                   "labels_missing": str},
        )  # fmt: skip
    except ValueError as error:  # empty, not UTF-8, rows that do not fit
        raise no_table(path, error) from error


def read_users_table(path: Path) -> pd.DataFrame:
    """Read a table that anybody may have written: as :func:`read_table`, and never a pipe, a
    device, or more than a table of people can hold."""
    try:
        require_small(path)
    except (OSError, ValueError) as error:
        raise no_table(path, error) from error
    return read_table(path)


def no_table(path: Path, error: Exception) -> DataError:
    """Say that a file is no table, and what one is."""
    return DataError(
        f"{path}: cannot be read as a table ({error}). Needed is text in UTF-8 with one row a "
        "line, its columns divided by tabs and named in the first line; mend the file."
    )


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


def json_text(content: object) -> str:
    """Return the text of a JSON file; what is not a number becomes null, since JSON has no NaN."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
