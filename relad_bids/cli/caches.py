"""Where the libraries may keep what they keep.

A container has no home that every user may write, and a folder below ``/tmp`` that was made for
one user is closed to the next one on the same node. What cannot be written, or belongs to
somebody else, is replaced by a folder for this run alone, before any library is imported.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

CACHES = (
    "MPLCONFIGDIR", "NIPYPE_CONFIG_DIR", "NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
)  # fmt: skip
"""Variables that name a folder which a library writes into."""

COLLECTIONS = ("HF_HOME", "TEMPLATEFLOW_HOME", "TORCH_HOME")
"""Those that name a folder which may have been filled by others and is then only read."""


def private_caches(environ: MutableMapping[str, str] = os.environ) -> Path | None:
    """Replace what is no folder of ours in ``environ``; return the folder made for this run.

    Where a variable is not set, its library keeps to the home; if that cannot be written, the
    variable is set. The folder is removed when this process ends.
    """
    at_home = _ours(Path(environ.get("HOME") or "/"))
    unfit = [name for name in CACHES if not _fits(environ.get(name), at_home=at_home)]
    unfit += [
        name
        for name in COLLECTIONS
        if not (_filled(environ.get(name)) or _fits(environ.get(name), at_home=at_home))
    ]
    if not unfit:
        return None
    folder = Path(tempfile.mkdtemp(prefix="relad-bids-"))
    atexit.register(_remove, folder, os.getpid())
    for name in unfit:
        (folder / name).mkdir()
        environ[name] = str(folder / name)
    return folder


def _fits(told: str | None, *, at_home: bool) -> bool:
    if not told:
        return at_home
    try:
        Path(told).mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return _ours(Path(told))


def _ours(folder: Path) -> bool:
    """What others own they may fill with settings of theirs: no place to read settings from."""
    try:
        return os.access(folder, os.W_OK | os.X_OK) and folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def _filled(told: str | None) -> bool:
    try:
        return any(Path(told).iterdir()) if told else False
    except OSError:
        return False


def _remove(folder: Path, owner: int) -> None:
    """A forked worker inherits the order to remove, and must not carry it out."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
