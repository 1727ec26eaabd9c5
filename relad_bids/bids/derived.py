"""Files of derivatives that belong to one session, by the rules that all of them share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relad_bids.bids.headers import read_header
from relad_bids.core.grid import Grid
from relad_bids.errors import ImageError
from relad_bids.sessions import Unit, session_label


def lone_subjects(units: Sequence[Unit]) -> frozenset[str]:
    """Participants with one session here: what lies outside sessions can only be theirs.

    With several, nobody knows from which T1w a file of the participant was made.
    """
    counts = Counter(unit.subject for unit in units)
    return frozenset(subject for subject, n in counts.items() if n == 1)


def anat_folders(root: Path, unit: Unit, *, alone: bool) -> list[tuple[Path, str]]:
    """Folders of a session and heads of the names in them, the session's own first.

    A participant without sessions in derivatives serves a single session.
    """
    heads = [session_label(unit.subject, unit.session)]
    if unit.session and alone:
        heads.append(session_label(unit.subject, None))
    return [(root.joinpath(*head.split("_"), "anat"), head) for head in heads]


def named(folder: Path, head: str, tail: str, *, spaces: Sequence[str | None]) -> list[Path]:
    """Files ``<head>_*<tail>`` whose entity ``space`` is one of ``spaces`` (None: absent)."""
    whole = re.compile(rf"{re.escape(head)}_(?:[^_]+_)*{tail}")
    return [
        path
        for path in sorted(folder.glob(f"{head}_*"))
        if whole.fullmatch(path.name) and entity(path, "space") in spaces
    ]


def entity(path: Path, key: str) -> str | None:
    """Value of an entity in a file's name."""
    found = re.search(rf"(?:^|_){key}-([A-Za-z0-9+]+)(?:_|$)", path.name.split(".")[0])
    return found.group(1) if found else None


def header_grid(path: Path) -> Grid:
    """Where the voxels of an image lie, from its header."""
    header = read_header(path)
    shape = header.get_data_shape()
    if len(shape) < 3:
        raise ImageError(f"{path}: has shape {shape}, needed is an image with three axes.")
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def overlapping(one: Grid, other: Grid) -> bool:
    """Say whether the middle of each of two images lies inside the other."""
    return _holds_middle(one, other) and _holds_middle(other, one)


def _holds_middle(grid: Grid, other: Grid) -> bool:
    middle = other.corners_mm().mean(axis=0)
    inverse = np.linalg.inv(grid.affine)
    index = inverse[:3, :3] @ middle + inverse[:3, 3]
    return bool(np.all((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)))


def uri(name: str, root: Path, path: Path) -> str:
    """BIDS URI of a file of a dataset of derivatives."""
    return f"bids:{name}:{path.relative_to(root).as_posix()}"
