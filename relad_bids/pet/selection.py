"""Which of the PET scans of a dataset are quantified."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from relad_bids.errors import InputError, NothingSelectedError, UsageError
from relad_bids.tables import find_tracer

SHOWN = 10
"""Labels listed in a message before it stops."""

_FLAGS = {"tracer": "--tracer-label", "reconstruction": "--rec-label", "run": "--run-label"}
_PREFIX = {"tracer": "trc-", "reconstruction": "rec-", "run": "run-"}


@dataclass(frozen=True)
class PETScan:
    """One PET image of the dataset."""

    path: str
    entities: Mapping[str, str]
    """Long names (``subject``, ``session``, ``tracer``, ``reconstruction``, ``run`` ...) -> text
    as in the file name; what the name does not say is not there."""
    tracer: str | None = None
    """Canonical name; None before anybody read the sidecar, or where it names none."""


def select_scans(
    scans: Sequence[PETScan],
    *,
    tracer_labels: Sequence[str] = (),
    rec_labels: Sequence[str] = (),
    run_labels: Sequence[str] = (),
) -> tuple[PETScan, ...]:
    """Keep the scans that were asked for, and of these what is corrected for attenuation.

    ``rec-nac*`` is never quantified: without attenuation correction the middle of the head, the
    cerebellum in it, reads low.

    Parameters
    ----------
    tracer_labels, rec_labels, run_labels
        Labels with or without ``trc-``, ``rec-``, ``run-``; empty means all. A tracer may be
        given in any spelling and meets scans of that tracer whatever their names say; ``run`` is
        compared as a number.

    Raises
    ------
    NothingSelectedError
        Labels were given and no scan has them.
    """
    asked = {"tracer": tracer_labels, "reconstruction": rec_labels, "run": run_labels}
    usable = [scan for scan in scans if not _is_uncorrected(scan)]
    kept = [
        scan for scan in usable if all(_has(scan, key, labels) for key, labels in asked.items())
    ]
    if kept or not any(asked.values()):
        return tuple(kept)
    wanted = ", ".join(
        f"{_FLAGS[key]} {' '.join(labels)}" for key, labels in asked.items() if labels
    )
    raise NothingSelectedError(
        f"{wanted} was looked for among {len(usable)} PET scans and none has it. Found: "
        f"{'; '.join(_found(usable, key) for key, labels in asked.items() if labels)}. Give "
        "labels that are there; rec-nac*, without attenuation correction, is never used."
    )


def uncorrected(scans: Sequence[PETScan]) -> tuple[PETScan, ...]:
    """Scans without attenuation correction, ``rec-nac*``, which are passed over."""
    return tuple(scan for scan in scans if _is_uncorrected(scan))


def require_single(scans: Sequence[PETScan]) -> None:
    """Refuse two scans of one tracer in one session of a participant.

    Raises
    ------
    InputError
        Names the scans, and the flags by which they differ.
    """
    groups: dict[tuple[str, str, str], list[PETScan]] = defaultdict(list)
    for scan in scans:
        if scan.tracer is not None:
            where = (scan.entities["subject"], scan.entities.get("session", ""), scan.tracer)
            groups[where].append(scan)
    for (subject, session, tracer), group in groups.items():
        if len(group) > 1:
            label = f"sub-{subject}" + (f"_ses-{session}" if session else "")
            names = ", ".join(sorted(scan.path for scan in group))
            raise InputError(
                f"{label} has {len(group)} PET scans of {tracer} ({names}); exactly one is "
                f"needed. Choose with {_choice(group)}."
            )


def _is_uncorrected(scan: PETScan) -> bool:
    return scan.entities.get("reconstruction", "").lower().startswith("nac")


def _has(scan: PETScan, key: str, labels: Sequence[str]) -> bool:
    return not labels or any(_is(scan, key, label.removeprefix(_PREFIX[key])) for label in labels)


def _is(scan: PETScan, key: str, label: str) -> bool:
    value = scan.entities.get(key)
    if key == "tracer":
        return label == value or _is_tracer(scan, label)
    if key == "run" and value is not None and value.isdecimal() and label.isdecimal():
        return int(label) == int(value)
    return label == value


def _is_tracer(scan: PETScan, label: str) -> bool:
    """Compare canonical names; the name of the file counts while the sidecar is not read."""
    told = scan.tracer or scan.entities.get("tracer", "")
    try:
        return find_tracer(label).name == find_tracer(told).name
    except UsageError:
        return False


def _found(scans: Sequence[PETScan], key: str) -> str:
    values = sorted({scan.entities.get(key, "(none)") for scan in scans})
    if key == "tracer":
        values += sorted({scan.tracer for scan in scans if scan.tracer} - set(values))
    more = f", ... ({len(values)} in all)" if len(values) > SHOWN else ""
    return f"{_PREFIX[key]} {', '.join(values[:SHOWN]) or 'nothing'}{more}"


def _choice(group: Sequence[PETScan]) -> str:
    """Name the flags by which the scans differ, with a label to give."""
    return " or ".join(_choices(group)) or "--bids-filter-file"


def _choices(group: Sequence[PETScan]) -> Iterator[str]:
    for key in _FLAGS:
        values = sorted({scan.entities.get(key, "") for scan in group})
        if len(values) > 1:
            yield f"{_FLAGS[key]} {values[-1]}"
