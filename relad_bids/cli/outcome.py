"""What became of each session, and the one exit code that follows from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relad_bids import errors
from relad_bids.errors import InputError, MemoryShortError, ReladError, Stopped
from relad_bids.sessions import Left, Unit

_ERROR = re.compile(r"^\s*relad_bids\.errors\.(\w+): (.*)", re.MULTILINE | re.DOTALL)
_SIGNALLED = 128
"""Codes above it stand for signals, as shells count them."""
_NO_MEMORY = re.compile(r"MemoryError|bad_alloc|[Aa]llocate memory|DefaultCPUAllocator")
"""How Python, C++, the kernel, ITK and torch say that there is no memory left."""
_NODE = re.compile(r"^Node: (\S+)$", re.MULTILINE)


IO_ERROR = 74
"""Of sysexits: the work folder cannot be written or read any more."""


UNFORESEEN = ReladError.exit_code
"""Of a step that stopped with an error that is none of this package's."""


@dataclass(frozen=True)
class Outcome:
    """Sessions by what became of them."""

    done: tuple[Unit, ...]
    left: tuple[Left, ...]
    """Skipped (``exit_code`` 0) and failed ones."""
    partly: tuple[Left, ...] = ()
    """What failed of sessions that are done as far as they could be."""

    @property
    def failed(self) -> tuple[Left, ...]:
        return tuple(left for left in (*self.left, *self.partly) if left.exit_code)

    def exit_code(self) -> int:
        """0 when every session asked for is done or was left out on request.

        Sessions that failed for one reason give that reason's code, several reasons give 1;
        when nothing was done at all although nothing failed, the input was missing (66). A run
        that was stopped by a signal says so (143 for SIGTERM), whatever else went wrong.
        """
        codes = {left.exit_code for left in self.failed}
        if stopped := [code for code in codes if code > _SIGNALLED]:
            return max(stopped)
        if codes:
            return codes.pop() if len(codes) == 1 else 1
        return 0 if self.done else InputError.exit_code

    def last_line(self) -> str:
        failed = sum(bool(left.exit_code) for left in self.left)
        skipped, whole = len(self.left) - failed, len(self.done) - len(self.partly)
        partly = f", {len(self.partly)} done in part" if self.partly else ""
        return f"{whole} done{partly}, {skipped} left out, {failed} failed"


def crash_files(folder: Path, units: Sequence[Unit]) -> dict[str, list[Path]]:
    """Sort Nipype's crash files by session label, oldest first.

    Their names hold the step alone; the session stands in the text.
    """
    by_name = {unit.graph_name: unit.label for unit in units}
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("crash-*.txt"), key=lambda p: p.stat().st_mtime_ns):
        for part in _node(_text(path)).split("."):
            if part in by_name:
                found.setdefault(by_name[part], []).append(path)
    return found


def read_crashes(folder: Path, units: Sequence[Unit]) -> dict[str, Left]:
    """Read Nipype's crash files: session label -> why it failed.

    A crash of a step whose session had crashed before (a follow-up) is not told twice.
    """
    by_label = {unit.label: unit for unit in units}
    return {
        label: _failure(by_label[label], first)
        for label, (first, *_) in crash_files(folder, units).items()
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _node(text: str) -> str:
    """Full name of the step that crashed: ``relad_wf.sub_01_wf.synthesise``."""
    found = _NODE.search(text)
    return found.group(1) if found else ""


def not_reached(unit: Unit) -> Left:
    """A session that was stopped before its turn, or of which no crash was told."""
    reason = "was not finished: another session stopped the run (--stop-on-first-crash), or a "
    reason += "worker was killed (memory?). Run it again; finished steps are kept."
    return Left(unit.label, unit.subject, unit.session, "not_reached", reason, 1)


def ended(unit: Unit, error: BaseException) -> Left:
    """A session that was under way, or waited, when the whole run ended."""
    if isinstance(error, Stopped):
        flag, code = "stopped", error.exit_code
        reason = f"was not finished when the run was stopped ({error})."
    else:
        flag, code = "failed", IO_ERROR
        reason = f"was not finished: the run ended with {type(error).__name__}: {error}."
    reason += " Run the same command again; finished sessions and steps are kept."
    return Left(unit.label, unit.subject, unit.session, flag, reason, code)


def _failure(unit: Unit, path: Path) -> Left:
    text = _text(path)
    node, last = _node(text).rpartition(".")[2], text.rstrip().splitlines()[-1]
    reason, code = (
        f"the step {node} stopped with: {last.strip()}. The whole story is in {path}.",
        UNFORESEEN,
    )
    if _NO_MEMORY.search(last):
        reason = (
            f"the step {node} was not given the memory that it asked for ({last.strip()}). Grant "
            "more memory, or do less at once with --nprocs and --mem. Run the same command again."
        )
        code = MemoryShortError.exit_code
    if match := _ERROR.search(text):
        reason = _message(match.group(2))
        code = getattr(errors, match.group(1), ReladError).exit_code
    return Left(unit.label, unit.subject, unit.session, "failed", reason, code)


def _message(tail: str) -> str:
    """The message and its notes, up to the traceback's end."""
    lines = tail.strip().splitlines()
    end = next((i for i, line in enumerate(lines) if not line.strip()), len(lines))
    return "\n  ".join(line.strip() for line in lines[:end])
