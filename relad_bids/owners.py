"""Who writes this file, and does that process still live? Asked where no lock can be had.

File locks do not hold on many network file systems. What holds everywhere is that a name can be
made once only (``O_EXCL``) and that a process of this machine either lives or does not.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_TOKEN = re.compile(r"([0-9a-f]{8})-(\d+)-(\d+)")
_PROC = Path("/proc")


def own_token() -> str:
    """Name this process for good: machine since its start, process, when that began.

    A number of a process is given again to others, but not at the same time of its machine.
    """
    return f"{_machine()}-{os.getpid()}-{_began(os.getpid())}"


def is_gone(token: str) -> bool:
    """Whether the process of a token has certainly ended.

    Of a process on another machine nothing is known, and nothing is claimed.
    """
    found = _TOKEN.fullmatch(token)
    if not found or found[1] != _machine():
        return False
    return _began(int(found[2])) != int(found[3])


def token_in(name: str) -> str | None:
    """The token that a file name carries."""
    found = _TOKEN.search(name)
    return found.group() if found else None


@cache
def _machine() -> str:
    """Eight digits of this machine, its start, and the name space in which processes are
    numbered: containers count from 1 by themselves."""
    parts = [os.uname().nodename]
    for path in (_PROC / "sys/kernel/random/boot_id", _PROC / "self/ns/pid"):
        try:
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text())
        except OSError:  # not every system tells
            parts.append("")
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:8]


def _began(pid: int) -> int:
    """Clock ticks from the machine's start to that of a process; 0 where there is none.

    The name of the program, in brackets, may hold anything; field 22 is counted from behind it.
    """
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return 0
    state, *fields = stat.rpartition(")")[2].split()
    return 0 if state == "Z" else int(fields[18])


@contextmanager
def claimed(folder: Path, names: Iterable[str]) -> Iterator[bool]:
    """Claim names in a folder for the length of a block; give whether all were free.

    A claim is a file ``<name>@<n>`` that only one can make. That of a process which is gone is
    passed over by the next number. Where one name is another's, none is kept.
    """
    mine: list[Path] = []
    try:
        free = all(_claim(folder, name, mine) for name in names)
        if not free:
            _release(mine)
        yield free
    finally:
        _release(mine)


def _claim(folder: Path, name: str, mine: list[Path]) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    before = _claims(folder, name)
    if not all(map(_is_stale, before)):
        return False
    number = max((int(path.name.rpartition("@")[2]) for path in before), default=0) + 1
    path = folder / f"{name}@{number}"
    try:
        with path.open("x") as file:
            file.write(own_token())
    except FileExistsError:
        return False
    mine.append(path)
    for stale in before:
        stale.unlink(missing_ok=True)
    return _claims(folder, name) == [path]


def _claims(folder: Path, name: str) -> list[Path]:
    numbered = re.compile(re.escape(name) + r"@\d+")
    return sorted(path for path in folder.iterdir() if numbered.fullmatch(path.name))


def _is_stale(path: Path) -> bool:
    try:
        return is_gone(path.read_text())
    except OSError:  # it was released a moment ago
        return False


def _release(mine: list[Path]) -> None:
    while mine:
        mine.pop().unlink(missing_ok=True)
