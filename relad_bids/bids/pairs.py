"""Sessions to learn from: prepared MRI and measured PET on one grid, in derivatives of this app.

The MRI is ``desc-preproc`` on the network's grid with its brain mask, not ``desc-norm``: the
latter was clipped by the contract of the network that once ran, and cannot be brought to the
contract of the one that learns. Original intensities, mask and contract give exactly what the
app will show that network. PET counts as a target only by ``desc-measured`` in its name and a
sidecar that does not say otherwise.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from relad_bids.bids.headers import read_header
from relad_bids.bids.images import require_readable
from relad_bids.bids.outputs import PRODUCTS, product_path, sidecar_path
from relad_bids.core.grid import Grid
from relad_bids.errors import DataError, InputError, ReladError, UsageError
from relad_bids.pair import Pair
from relad_bids.pet.sharpness import FIELD as FWHM
from relad_bids.sessions import session_label
from relad_bids.tables import find_tracer
from relad_bids.untrusted import read_json

LOGGER = logging.getLogger(__name__)

SHOWN = 10
"""Sessions listed in a message before it stops."""

_ALSO = frozenset({"trc", "rec", "run"})
"""Entities of a measured PET beyond those that say what it is."""


@dataclass(frozen=True)
class Pairs:
    """What can be learned from, and what every session lacks."""

    pairs: tuple[Pair, ...]
    """Sorted by participant and session."""
    lacks: Mapping[str, tuple[str, ...]]
    """``sub-01_ses-a`` -> what is missing or unusable, and why. A session that lacks a FLAIR or
    some tracers only is among ``pairs``, too."""
    tracers: tuple[str, ...]
    """Canonical names that were looked for."""
    references: Mapping[str, str]
    """Canonical tracer -> the reference region that every target of it was divided by."""

    def fwhm_mm(self) -> float | None:
        """Resolution in mm that the sidecars of all targets tell of; None if they differ or not
        all tell.

        What is learned from images of one resolution has it, too; of a mixture it has none that
        could be undone.
        """
        told = {_told(path).get(FWHM) for pair in self.pairs for path in pair.pet.values()}
        only = told.pop() if len(told) == 1 else None
        return float(only) if isinstance(only, int | float) else None

    def resolutions(self) -> Mapping[str, Mapping[str, int]]:
        """Tracer -> FWHM in words -> how many of its targets have it."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for pair in self.pairs:
            for tracer, path in pair.pet.items():
                width = _told(path).get(FWHM)
                known = isinstance(width, int | float)
                found[tracer][f"{width:g} mm" if known else "unknown width"] += 1
        return found

    def table(self) -> pd.DataFrame:
        """One row per pair, in their order: labels as in BIDS tables, and what there is of it."""
        return pd.DataFrame(
            {
                "participant_id": [f"sub-{pair.subject}" for pair in self.pairs],
                "session_id": [f"ses-{p.session}" if p.session else None for p in self.pairs],
                "flair": [pair.flair is not None for pair in self.pairs],
                **{name: [name in p.pet for p in self.pairs] for name in self.tracers},
            }
        )


def find_pairs(
    root: Path,
    *,
    grid: Grid,
    space: str,
    resolution: str,
    tracers: Sequence[str],
    leave_out: Collection[str] = (),
) -> Pairs:
    """Find every session with T1w, brain mask and at least one measured PET.

    Only names, headers and sidecars are read (a few milliseconds a file), so that all that is
    wrong with a cohort is known before the training starts.

    Parameters
    ----------
    root
        Output folder of ``relad-bids``.
    grid
        The network's. Two networks may share ``space`` and ``res`` and cut the brain
        differently, so an image counts only if its header says this grid.
    space, resolution
        Template space and ``res`` label in the names.
    tracers
        Canonical names of what is to be learned; other PET is passed over.
    leave_out
        Participants (``sub-01``) who are not looked at.

    Raises
    ------
    InputError
        The folder is not there, holds no participant, or nothing in it can be learned from.
    DataError
        PET of one tracer was divided by different reference regions.
    """
    where = _Where(root, grid, space, resolution, tuple(tracers))
    pairs, lacks = [], {}
    references: dict[str, dict[str, list[str]]] = {tracer: defaultdict(list) for tracer in tracers}
    for subject, session in _sessions(root):
        if f"sub-{subject}" in leave_out:
            continue
        found = _Session(where, subject, session)
        pair = found.pair()
        if found.lacks:
            lacks[found.label] = tuple(found.lacks)
        if pair is not None:
            pairs.append(pair)
            for tracer in pair.pet:
                references[tracer][found.references[tracer]].append(found.label)
    if not pairs:
        lines = (f"{label}: {' '.join(reasons)}" for label, reasons in lacks.items())
        raise InputError("\n  ".join([_nothing(where), *list(lines)[:SHOWN]]))
    found_pairs = Pairs(
        tuple(pairs),
        lacks,
        where.tracers,
        {tracer: _one_reference(tracer, found) for tracer, found in references.items() if found},
    )
    for tracer, widths in found_pairs.resolutions().items():
        if len(widths) > 1:
            told = ", ".join(f"{n} of {width}" for width, n in widths.items())
            LOGGER.warning(
                "the measured PET of %s in %s has several resolutions (FWHM): %s; a network that "
                "learns from it has none that can be told or undone. Quantify the sessions again "
                "with --pet-fwhm to bring them to one.", tracer, root, told,
            )  # fmt: skip
    return found_pairs


def join_pairs(found: Sequence[Pairs]) -> Pairs:
    """Put what several folders hold together; a label in two of them is one participant.

    Raises
    ------
    DataError
        PET of one tracer was divided by different reference regions.
    """
    references: dict[str, dict[str, list[str]]] = {}
    lacks: dict[str, tuple[str, ...]] = {}
    for one in found:
        for tracer, region in one.references.items():
            labels = [pair.label for pair in one.pairs if tracer in pair.pet]
            references.setdefault(tracer, {}).setdefault(region, []).extend(labels)
        for label, reasons in one.lacks.items():
            lacks[label] = (*lacks.get(label, ()), *reasons)
    return Pairs(
        tuple(pair for one in found for pair in one.pairs),
        lacks,
        found[0].tracers,
        {tracer: _one_reference(tracer, regions) for tracer, regions in references.items()},
    )


@dataclass(frozen=True)
class _Where:
    root: Path
    grid: Grid
    space: str
    resolution: str
    tracers: tuple[str, ...]


class _Session:
    """One session while it is looked through; ``lacks`` grows as things are not found."""

    def __init__(self, where: _Where, subject: str, session: str | None) -> None:
        self.where, self.subject, self.session = where, subject, session
        self.label = session_label(subject, session)
        self.lacks: list[str] = []
        self.references: dict[str, str] = {}

    def pair(self) -> Pair | None:
        t1w, mask = self._mri("t1w_mni", "T1w"), self._mri("mask_mni", "brain mask")
        flair = self._mri("flair_mni", "FLAIR")
        candidates = self._candidates()
        targets = {tracer: self._target(tracer, candidates) for tracer in self.where.tracers}
        pet = {tracer: path for tracer, path in targets.items() if path is not None}
        if t1w is None or mask is None or not pet:
            return None
        return Pair(self.subject, self.session, t1w, flair, mask, pet)

    def _mri(self, key: str, what: str) -> Path | None:
        return self._usable(what, self._path(key), self._on_grid)

    def _target(self, tracer: str, candidates: Mapping[str, list[Path]]) -> Path | None:
        paths = candidates.get(tracer, [])
        if len(paths) != 1:
            names = ", ".join(path.name for path in paths)
            self.lacks.append(
                f"{tracer}: found {len(paths)} measured images ({names}), needed is one; keep one."
                if paths
                else f"{tracer}: found no measured image in this space and resolution."
            )
            return None

        def check(path: Path) -> None:
            self._on_grid(path)
            self.references[tracer] = _reference_of_measured(path)

        return self._usable(tracer, paths[0], check)

    def _usable(self, what: str, path: Path, check: Callable[[Path], None]) -> Path | None:
        try:
            check(path)
        except ReladError as error:
            self.lacks.append(f"{what}: {error}")
            return None
        return path

    def _on_grid(self, path: Path) -> None:
        """Raise unless the header is that of a whole image on the network's grid."""
        if not (path.exists() or path.is_symlink()):
            raise InputError(f"found no {path.relative_to(self.where.root)}.")
        found = Grid(require_readable(path).shape, read_header(path).get_best_affine())
        self.where.grid.require_same(found, ours="the network's grid", theirs=str(path))

    def _candidates(self) -> dict[str, list[Path]]:
        """Measured PET by canonical tracer: its label in any spelling, any ``rec`` or ``run``."""
        example = self._path("suvr_mni", desc="measured")
        told = _entities(example)
        found: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(example.parent.glob(f"*_{_SUFFIX}")):
            entities = _entities(path)
            fixed = {key: value for key, value in entities.items() if key not in _ALSO}
            if fixed == told and (tracer := _tracer(entities.get("trc", ""))):
                found[tracer].append(path)
        return found

    def _path(self, key: str, **extra: str) -> Path:
        where = self.where
        return where.root / product_path(
            key, self.label, space=where.space, resolution=where.resolution, extra=extra
        )


_SUFFIX = PRODUCTS["suvr_mni"].suffix + PRODUCTS["suvr_mni"].extension


def _sessions(root: Path) -> Iterator[tuple[str, str | None]]:
    """Participants and sessions by their folders; a participant without any is one session."""
    subjects = _labels(root, "sub") if root.is_dir() else []
    if not subjects:
        raise InputError(
            f"{root} was searched for derivatives of relad-bids (folders sub-*) and has none. Run "
            "'relad-bids BIDS_DIR OUTPUT_DIR participant' first, and give its output folder."
        )
    for subject in subjects:
        folder = root / f"sub-{subject}"
        sessions = _labels(folder, "ses")
        if not sessions or (folder / "anat").is_dir() or (folder / "pet").is_dir():
            yield subject, None
        for session in sessions:
            yield subject, session


def _labels(folder: Path, key: str) -> list[str]:
    names = (path.name for path in folder.glob(f"{key}-*") if path.is_dir())
    found = (re.fullmatch(rf"{key}-([A-Za-z0-9+]+)", name) for name in names)
    return sorted(match[1] for match in found if match)


def _entities(path: Path) -> dict[str, str]:
    """Entities in a file name; parts that are none keep their whole text as key."""
    parts = path.name.removesuffix(f"_{_SUFFIX}").split("_")
    return {key: value for key, _, value in (part.partition("-") for part in parts)}


def _tracer(label: str) -> str | None:
    try:
        return find_tracer(label).name
    except UsageError:
        return None


def _reference_of_measured(path: Path) -> str:
    """Read the reference region from the sidecar of a PET that must have been measured.

    Raises
    ------
    DataError
        There is no sidecar, or it says that a network made the image, or no reference region.
    """
    facts, sidecar = _told(path), sidecar_path(path)
    if facts.get("Synthetic"):
        raise DataError(
            f"{path} is named measured, but its sidecar says Synthetic: a network made it, and "
            "no network may learn from it. Remove it."
        )
    if not (isinstance(region := facts.get("ReferenceRegion"), str) and region):
        raise DataError(
            f"{sidecar} names no ReferenceRegion, needed is the region whose mean is SUVr 1."
        )
    return region


def _told(path: Path) -> dict[str, Any]:
    """Read the sidecar of a PET that may be learned from."""
    sidecar = sidecar_path(path)
    try:
        facts: Any = read_json(sidecar)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{sidecar} cannot be read ({error}), needed is a sidecar that tells measured PET "
            "from synthetic and names its ReferenceRegion."
        ) from error
    return facts if isinstance(facts, dict) else {}


def _one_reference(tracer: str, found: Mapping[str, Sequence[str]]) -> str:
    if len(found) == 1:
        return next(iter(found))
    regions = "; ".join(f"{region} ({_some(labels)})" for region, labels in found.items())
    raise DataError(
        f"the measured PET of {tracer} was divided by different reference regions: {regions}. "
        "Needed is one scale for all targets; quantify the sessions again with one region "
        f"(--ref-region {tracer}=NAME), or leave some out."
    )


def _some(labels: Sequence[str]) -> str:
    more = f", ... ({len(labels)} in all)" if len(labels) > SHOWN else ""
    return ", ".join(labels[:SHOWN]) + more


def _nothing(where: _Where) -> str:
    return (
        f"{where.root}: no session has T1w, brain mask and measured PET of "
        f"{', '.join(where.tracers)} in space-{where.space}_res-{where.resolution} on the "
        "network's grid. Run relad-bids with a checkpoint of that grid on data with PET. Lacking:"
    )
