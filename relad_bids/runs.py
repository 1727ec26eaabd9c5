"""Several images of one kind in a session: which one is used.

Runs of one protocol repeat each other, and any of them will do. Images that differ in anything
else (another acquisition, a contrast agent, another reconstruction) are not the same image twice,
and only the user knows which was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from relad_bids.config import RunChoice
from relad_bids.core.run_quality import RunQuality

REPEATED = frozenset({"run", "extension"})
"""Entities in which repetitions of one image may differ."""


class Named(Protocol):
    """A file and the BIDS entities in its name."""

    @property
    def path(self) -> Path: ...

    @property
    def entities(self) -> Mapping[str, str]: ...


Measure = Callable[[Path], RunQuality | None]


@dataclass(frozen=True)
class Choice:
    """The run that is used, and those that are not."""

    used: Path
    left: tuple[Path, ...]
    rule: RunChoice
    figures: tuple[RunQuality | None, ...] = ()
    """Of the one used, then of those left, where the rule asked for them; None: unusable."""

    @property
    def text(self) -> str:
        """``first of 2 runs``, ``best of 3 runs (1 mm 0.412; 1 mm 0.455; unusable)``."""
        many = f"of {1 + len(self.left)} runs"
        if not self.figures:
            return f"first {many}"
        return f"best {many} ({self.figures_text})"

    @property
    def figures_text(self) -> str:
        """Figures in order, semicolons between them."""
        return "; ".join(str(one) if one else "unusable" for one in self.figures)


def differing(scans: Sequence[Named]) -> tuple[str, ...]:
    """Name the entities, other than the run, in which images differ; sorted."""
    names = sorted({name for scan in scans for name in scan.entities} - REPEATED)
    return tuple(n for n in names if len({scan.entities.get(n) for scan in scans}) > 1)


def repeats(scans: Sequence[Named]) -> bool:
    """Say whether images are runs of one protocol, each with a run number of its own."""
    runs = {scan.entities.get("run") for scan in scans}
    return len(runs) == len(scans) and not differing(scans)


def choose_run(scans: Sequence[Named], *, rule: RunChoice, measure: Measure) -> Choice:
    """Choose among :func:`repeats`.

    ``first`` takes the lowest run number, an image without one before all others; ``quality``
    the best figures, among equals the first. Runs that cannot be used lose; where none can, the
    first is taken and will say why.
    """
    ordered = sorted(scans, key=lambda scan: _order(scan.entities))
    if rule == "first":
        used, *left = (scan.path for scan in ordered)
        return Choice(used, tuple(left), rule)
    judged = [(measure(scan.path), place, scan.path) for place, scan in enumerate(ordered)]
    best, *rest = sorted(judged, key=lambda one: (one[0] is None, one[0] or _NONE, one[1]))
    return Choice(best[2], tuple(r[2] for r in rest), rule, (best[0], *(r[0] for r in rest)))


_NONE = RunQuality(0.0, 0.0)


def _order(entities: Mapping[str, str]) -> tuple[int, str]:
    run = entities.get("run")
    if run is None:
        return (-1, "")
    return (int(run), "") if run.isdecimal() else (10**9, run)
