"""The dataset: which images it holds. The only module that speaks pybids, and it asks once.

The index lives in memory and covers only what can be used: the T1w, FLAIR and pet images of the
participants asked for. ``derivatives``, ``sourcedata``, ``code`` and all other data types are
never entered, so a large dataset costs what its participants cost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids.layout import BIDSLayout, BIDSLayoutIndexer, parse_file_entities
from bids.layout.models import Config

from relad_bids.bids.selection import SUFFIXES, Query, matches, read_labels
from relad_bids.errors import InputError, NotBIDSError, NothingSelectedError
from relad_bids.sessions import Scan
from relad_bids.untrusted import read_json

SHOWN = 10
"""Labels listed in a message before it stops."""


@dataclass(frozen=True)
class Dataset:
    """A raw BIDS dataset, and what of it was asked for."""

    root: Path
    name: str
    participants: tuple[str, ...]
    """Labels without ``sub-``, sorted; every one found, or every one asked for."""
    scans: tuple[Scan, ...]
    """Sorted by path."""


def find_scans(
    bids_dir: Path,
    *,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    filters: Mapping[str, Query] | None = None,
) -> Dataset:
    """Find the T1w, FLAIR and pet images of a raw BIDS dataset.

    Parameters
    ----------
    bids_dir
        Folder that holds ``dataset_description.json``.
    participants, sessions
        Labels with or without ``sub-`` / ``ses-``, or ``.txt`` files that list them; empty
        means all. An image outside any session is kept where its participant has one of
        ``sessions``: BIDS lets such an image serve all of them.
    filters
        What ``read_filters`` returns; an image must satisfy the query of its kind as well.

    Raises
    ------
    InputError
        The folder is not there, or holds no participant or no usable image at all.
    NotBIDSError
        It is not a raw BIDS dataset.
    NothingSelectedError
        A label matches nothing, or a filter leaves none of the images of its kind.
    """
    root = bids_dir.absolute()
    name = _dataset_name(root)
    asked = read_labels(participants, prefix="sub-")
    selected = _select_participants(root, asked)
    scans = _index(root, asked)
    if not scans:
        raise InputError(
            f"{root}: looked for T1w, FLAIR and pet images of {_some(selected)} and found none. "
            f"Needed are files such as sub-<label>/[ses-<label>/]anat/*_T1w.nii.gz; "
            f"check the names, and that the data were downloaded."
        )
    scans = _in_sessions(root, scans, read_labels(sessions, prefix="ses-"))
    for key, query in (filters or {}).items():
        scans = _filtered(root, scans, key, query)
    return Dataset(root, name, selected, tuple(scans))


def _dataset_name(root: Path) -> str:
    """Read ``Name`` after checking that this is a raw BIDS dataset."""
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise InputError(
            f"the BIDS dataset was looked for at {root} and {found} was found there. "
            f"Needed is a folder with dataset_description.json; check the path "
            f"(in a container: is it mounted?)."
        )
    described = _description(root)
    if described.get("DatasetType") == "derivative":
        raise NotBIDSError(
            f"{root}: dataset_description.json says DatasetType 'derivative', needed is a raw "
            f"dataset. Give the dataset these derivatives were made from."
        )
    if lacking := [key for key in ("Name", "BIDSVersion") if not described.get(key)]:
        raise NotBIDSError(
            f"{root}: dataset_description.json has no {' and no '.join(lacking)}, which BIDS "
            f"requires. Add to it, for example "
            f'{{"Name": "My study", "BIDSVersion": "1.10.0"}}.'
        )
    return str(described["Name"])


def _description(root: Path) -> dict[str, object]:
    path = root / "dataset_description.json"
    try:
        described = read_json(path)
    except FileNotFoundError as error:
        above = (root.parent / path.name).is_file()
        todo = f"Give the folder above, {root.parent}" if above else f"Write {path.name}"
        raise NotBIDSError(
            f"{root} is not a BIDS dataset: found no dataset_description.json, which every "
            f"BIDS dataset has at its top. {todo}."
        ) from error
    except (OSError, ValueError) as error:
        raise NotBIDSError(
            f"{path} cannot be read as JSON ({error}). Needed is an object with Name and "
            f"BIDSVersion; mend the file."
        ) from error
    if isinstance(described, dict):
        return described
    raise NotBIDSError(
        f"{path} holds a {type(described).__name__}, needed is an object with Name and "
        f"BIDSVersion; mend the file."
    )


def _select_participants(root: Path, asked: Sequence[str]) -> tuple[str, ...]:
    folders = (path for path in root.iterdir() if re.fullmatch(r"sub-[A-Za-z0-9+]+", path.name))
    found = sorted(path.name.removeprefix("sub-") for path in folders if path.is_dir())
    if not found:
        raise InputError(
            f"{root}: looked for participant folders and found none. Needed is at least one "
            f"folder named sub-<label>; check that this is the raw dataset and was downloaded."
        )
    if missing := [label for label in asked if label not in set(found)]:
        raise NothingSelectedError(
            f"{root}: no folder for participant {_some(missing)}. Asked for: {_some(asked)}. "
            f"Found: {_some(found)}. Labels are compared as text, so 01 and 1 differ; "
            f"give labels that are there with --participant-label."
        )
    return tuple(sorted(asked) or found)


def _index(root: Path, asked: Sequence[str]) -> list[Scan]:
    """Ask pybids once, in memory, for the images of these participants (none named: of all).

    The entities are read from the path below ``root``: pybids searches the absolute path, where
    a folder such as ``/data/sub-study/`` above the dataset would pass for the participant.
    """
    layout = BIDSLayout(
        root,
        validate=False,
        indexer=BIDSLayoutIndexer(
            validate=False, index_metadata=False, ignore=[_everything_but(asked)]
        ),
    )
    rules = Config.load("bids")
    paths = sorted(Path(path) for path in layout.get(return_type="filename"))
    return [Scan(path, _entities(path.relative_to(root), rules)) for path in paths]


def _entities(inside: Path, rules: Config) -> dict[str, str]:
    found = parse_file_entities(f"/{inside.as_posix()}", config=rules)
    return {name: str(value) for name, value in found.items()}


def _everything_but(asked: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern for pybids' ``ignore``: it matches every path we have no use for.

    pybids tests folders and files alike, as ``/sub-01/anat``, and does not enter what matches.
    """
    who = "|".join(re.escape(label) for label in asked) or "[A-Za-z0-9+]+"
    image = r"(/(?P=who)_([^/]*_)?{}\.nii(\.gz)?)?"
    kinds = f"/anat{image.format('(T1w|FLAIR)')}|/pet{image.format('pet')}"
    return re.compile(rf"^(?!/(?P<who>sub-({who}))(/ses-[^/]+)?({kinds})?$)")


def _in_sessions(root: Path, scans: list[Scan], asked: Sequence[str]) -> list[Scan]:
    if not asked:
        return scans
    having: dict[str, set[str]] = {}
    for scan in scans:
        if session := scan.entities.get("session"):
            having.setdefault(session, set()).add(scan.entities["subject"])
    if missing := [label for label in asked if label not in having]:
        raise NothingSelectedError(
            f"{root}: no T1w, FLAIR or pet image in session {_some(missing)}. Asked for: "
            f"{_some(asked)}. Found: {_some(sorted(having))}. Labels are compared as text, so "
            f"01 and 1 differ; give labels that are there with --session-label."
        )
    subjects = {subject for label in asked for subject in having[label]}
    return [
        scan
        for scan in scans
        if scan.entities.get("session", asked[0]) in asked and scan.entities["subject"] in subjects
    ]


def _filtered(root: Path, scans: list[Scan], key: str, query: Query) -> list[Scan]:
    of_kind = [scan for scan in scans if scan.entities["suffix"] == SUFFIXES[key]]
    kept = [scan for scan in of_kind if matches(scan.entities, query)]
    if of_kind and not kept:
        raise NothingSelectedError(
            f"{root}: the filter {key!r} {json.dumps(dict(query))} selects none of the "
            f"{len(of_kind)} {SUFFIXES[key]} images. Found: {'; '.join(_values(of_kind, query))}. "
            f"Change the filter file, or leave {key!r} out of it."
        )
    rest = [scan for scan in scans if scan.entities["suffix"] != SUFFIXES[key]]
    return sorted([*rest, *kept], key=lambda scan: scan.path)


def _values(scans: Sequence[Scan], query: Query) -> Iterator[str]:
    for name in query:
        values = sorted({scan.entities.get(name, "(none)") for scan in scans})
        yield f"{name} {_some(values)}"


def _some(labels: Sequence[str]) -> str:
    """Return ``01, 02, 03``, cut after ``SHOWN`` labels with the count of all."""
    more = f", ... ({len(labels)} in all)" if len(labels) > SHOWN else ""
    return (", ".join(labels[:SHOWN]) or "none") + more
