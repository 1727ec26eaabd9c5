"""Measured PET of a dataset: which scans are quantified, and what their sidecars decide."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

from relad_bids.bids.images import require_readable
from relad_bids.errors import DataError, ReladError
from relad_bids.pet.fields import Fields
from relad_bids.pet.reading import WindowMissedError, read_scan
from relad_bids.pet.selection import PETScan, require_single, select_scans, uncorrected
from relad_bids.pet.sharpness import Key as PSFKey
from relad_bids.pet.sharpness import Width, read_sharpness
from relad_bids.pet.tracer import tracer_of
from relad_bids.sessions import Measured, Scan, Unread, session_label
from relad_bids.tables import Tracer, Window, tracers
from relad_bids.untrusted import read_json, read_text
from relad_bids.vois import reference_of_tracer

WEIGHT_COLUMNS = ("weight", "weight_kg", "body_weight", "bodyweight")
"""Columns of ``participants.tsv``, the first that is there."""

_SHORT = {"tracer": "trc", "reconstruction": "rec", "run": "run"}
"""Entities that tell PET scans of a session apart: pybids' names -> those in file names."""


@dataclass(frozen=True)
class Wanted:
    """What the user said of measured PET."""

    tracer_labels: Sequence[str] = ()
    rec_labels: Sequence[str] = ()
    run_labels: Sequence[str] = ()
    windows: Mapping[str, Window] = field(default_factory=dict)
    """Canonical tracer -> first and last minute after injection."""
    scan_starts: Mapping[str, float] = field(default_factory=dict)
    """Canonical tracer -> minutes from injection to the start of the scan."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Canonical tracer -> reference region, where another than the default is wanted."""
    fwhm_mm: float | None = None
    """Common resolution to smooth to; None leaves each scan as it is."""
    psf: Mapping[PSFKey, Width] = field(default_factory=dict)
    """Resolutions from the user's table."""


def find_measured(
    root: Path, scans: Iterable[Scan], wanted: Wanted
) -> tuple[tuple[Measured, ...], tuple[Unread, ...]]:
    """Read the sidecar and header of every PET scan that was asked for.

    Parameters
    ----------
    root
        The dataset, above which no sidecar is looked for.
    scans
        Of the dataset; only those of suffix ``pet`` count.

    Returns
    -------
    Scans that can be quantified, and those that cannot, with the reason.

    Raises
    ------
    NothingSelectedError
        Labels were given and no scan has them.
    """
    pets = [
        PETScan(str(scan.path), scan.entities)
        for scan in scans
        if scan.entities["suffix"] == "pet"
    ]
    kept = select_scans(pets, rec_labels=wanted.rec_labels, run_labels=wanted.run_labels)
    weights = read_weights(root / "participants.tsv")
    opened = [_open(scan, root) for scan in kept]
    chosen = select_scans([one.scan for one in opened], tracer_labels=wanted.tracer_labels)
    paths = {scan.path for scan in chosen}
    found: list[Measured] = []
    unread = [_unread(scan, f"{scan.path}: {_NAC}") for scan in uncorrected(pets)]
    for session in _by_session(one for one in opened if one.scan.path in paths).values():
        for made in _of_session(session, wanted, weights):
            (found if isinstance(made, Measured) else unread).append(made)  # type: ignore[arg-type]
    return tuple(found), tuple(unread)


_NAC = (
    "rec-nac, not corrected for attenuation: the middle of the head reads low, so that no ratio "
    "of it is a measurement. It is never used; a corrected reconstruction is, where there is one."
)


@dataclass(frozen=True)
class _Opened:
    """A scan whose sidecar was read: the scan knows its tracer then, or there is a problem."""

    scan: PETScan
    fields: Fields
    problem: str = ""


def _open(scan: PETScan, root: Path) -> _Opened:
    try:
        fields = read_sidecar(Path(scan.path), root)
        tracer = tracer_of(fields, trc=scan.entities.get("tracer"))
    except ReladError as error:
        return _Opened(scan, Fields({}), str(error))
    return _Opened(replace(scan, tracer=tracer.name), fields)


def _by_session(scans: Iterable[_Opened]) -> dict[tuple[str, str], list[_Opened]]:
    found: dict[tuple[str, str], list[_Opened]] = defaultdict(list)
    for one in scans:
        found[one.scan.entities["subject"], one.scan.entities.get("session", "")].append(one)
    return found


def _of_session(
    session: Sequence[_Opened], wanted: Wanted, weights: Mapping[str, float]
) -> Iterator[Measured | Unread]:
    by_tracer: dict[str | None, list[_Opened]] = defaultdict(list)
    for one in session:
        by_tracer[one.scan.tracer].append(one)
    for one in by_tracer.pop(None, []):
        yield _unread(one.scan, one.problem)
    for group in by_tracer.values():
        try:
            require_single([one.scan for one in group])
            yield _measured(group[0].scan, group[0].fields, wanted, weights)
        except ReladError as error:
            yield from (_unread(one.scan, str(error)) for one in group)


def read_sidecar(path: Path, root: Path) -> Fields:
    """Read the JSON of an image by the inheritance principle: what lies nearer overrules.

    Raises
    ------
    DataError
        A file that applies is no JSON object, or none applies.
    """
    values: dict[str, Any] = {}
    found = []
    for folder in (root, *reversed([p for p in path.parents if p.is_relative_to(root)][:-1])):
        for sidecar in sorted(folder.glob("*pet.json"), key=lambda p: len(p.name)):
            if _applies(sidecar, path):
                values |= _object(sidecar)
                found.append(sidecar)
    if not found:
        raise DataError(
            f"{path}: the sidecar of the PET scan was looked for beside it and in the folders "
            f"above, and none was found. Needed is {_stem(path)}.json with TracerName, Units, "
            "FrameTimesStart and FrameDuration."
        )
    return Fields(values, str(found[-1]))


def read_weights(table: Path) -> dict[str, float]:
    """Body weights in kg of the participants table, by label; those that are no numbers lack.

    The table is not read by any rule of BIDS beyond ``participant_id``: a column named as in
    ``WEIGHT_COLUMNS`` is taken in kg, as it is in PET sidecars.
    """
    if not table.is_file():
        return {}
    try:
        rows = list(csv.DictReader(StringIO(read_text(table), newline=""), delimiter="\t"))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{table} cannot be read as a table ({error}). Needed is UTF-8 text with tabs between "
            "the columns; mend the file."
        ) from error
    found = {}
    for row in rows:
        told = next((row[name] for name in WEIGHT_COLUMNS if row.get(name)), "")
        with suppress(ValueError):
            found[str(row.get("participant_id")).removeprefix("sub-")] = float(told)
    return found


def _applies(sidecar: Path, image: Path) -> bool:
    """Whether all entities of the sidecar's name are in that of the image."""
    return set(sidecar.stem.split("_")) <= set(_stem(image).split("_"))


def _stem(path: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", path.name)


def _object(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as JSON ({error}). Needed is the sidecar of a PET scan; mend "
            "the file."
        ) from error
    if isinstance(content, dict):
        return content
    raise DataError(
        f"{path} holds a {type(content).__name__}, needed is an object with the fields of a PET "
        "scan; mend the file."
    )


def _measured(
    scan: PETScan, fields: Fields, wanted: Wanted, weights: Mapping[str, float]
) -> Measured | Unread:
    path = Path(scan.path)
    tracer = tracers()[str(scan.tracer)]
    reference_of_tracer(tracer.name, wanted.references)
    n_frames = require_readable(path, series=True).n_volumes
    session = scan.entities.get("session")
    entities = _entities(scan, tracer)
    key = (scan.entities["subject"], session or "", entities["trc"])
    problem = ""
    try:
        reading = read_scan(
            fields,
            tracer,
            n_frames=n_frames,
            window=wanted.windows.get(tracer.name),
            scan_start_min=wanted.scan_starts.get(tracer.name),
            weight_kg=weights.get(scan.entities["subject"]),
        )
    except WindowMissedError as error:
        reading, problem = error.reading, str(error)
    found = Measured(
        path=path,
        subject=scan.entities["subject"],
        session=session,
        tracer=tracer.name,
        entities=entities,
        sharpness=read_sharpness(fields, key, table=wanted.psf, target_mm=wanted.fwhm_mm),
        reading=reading,
    )
    return replace(_unread(scan, problem), missed=found) if problem else found


def _entities(scan: PETScan, tracer: Tracer) -> dict[str, str]:
    """Entities of the derivatives: those of the scan, and always a tracer."""
    found = {short: scan.entities[name] for name, short in _SHORT.items() if name in scan.entities}
    return {"trc": tracer.trc, **found}


def _unread(scan: PETScan, reason: str) -> Unread:
    label = session_label(scan.entities["subject"], scan.entities.get("session"))
    return Unread(label, Path(scan.path), reason)
