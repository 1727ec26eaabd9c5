"""JSON and text of a dataset, which anybody may have written."""

from __future__ import annotations

import json
from pathlib import Path

MAX_BYTES = 32 * 2**20
"""No sidecar comes near; what is larger is something else, and may not fit into memory."""


def read_json(path: Path) -> object:
    """Read a JSON file of any origin, UTF-8 with or without a mark of its byte order.

    Raises
    ------
    OSError
        It is not there, or no regular file (a folder, a pipe, a device).
    ValueError
        It is not JSON, too large, or nested too deeply.
    """
    text = read_text(path)
    try:
        found: object = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return found


def read_text(path: Path) -> str:
    """Read a text file of any origin; errors as in :func:`read_json`."""
    require_small(path)
    return path.read_text(encoding="utf-8-sig")


def printable(text: str) -> str:
    """Show characters that command a terminal or turn the reading order as escapes: ``\\x1b``.

    A file name may hold any of them, and an error tells the name of its file.
    """
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode()
        for one in text
    )


def require_small(path: Path) -> None:
    """Refuse what is no file or holds more than is ever read; errors as in :func:`read_json`."""
    require_regular(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"it holds {size / 1e6:.0f} MB, at most {MAX_BYTES / 1e6:.0f} are read")


def require_regular(path: Path) -> None:
    """Refuse what is no file: opening a pipe waits for ever, and a device never ends."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a pipe or a device, not a file")
