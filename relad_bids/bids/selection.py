"""What a user asks for: participant and session labels, and a BIDS filter file.

Nothing here reads a dataset. Labels are text: ``01`` and ``1`` are two participants. The filter
file is that of the NiPreps: one query per kind of image, in the long entity names of pybids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from relad_bids.errors import ConfigError, InputError, UsageError
from relad_bids.untrusted import read_json, read_text

SUFFIXES = {"t1w": "T1w", "flair": "FLAIR", "pet": "pet"}
"""Key in a filter file -> BIDS suffix of the images it picks from."""

_OTHER_APPS = frozenset(
    {"asl", "bold", "dwi", "fmap", "m0scan", "roi", "sbref", "t1map", "t2w", "unit1"}
)
"""Keys of fMRIPrep, QSIPrep and ASLPrep: one filter file often serves several programs."""

_ENTITIES = frozenset(
    {
        *("subject", "session", "sample", "task", "acquisition", "ceagent", "tracer"),
        *("reconstruction", "direction", "run", "modality", "echo", "flip", "inv", "mt"),
        *("part", "space", "chunk", "suffix", "datatype", "extension"),
    }
)
"""Long names of pybids that the name of an image can carry."""

_NUMBERED = frozenset({"run", "echo", "flip", "inv", "chunk"})
"""Entities whose value BIDS calls an index: ``run-1`` and ``run-01`` are the same run."""

_PREFIX = {"subject": "sub-", "session": "ses-"}
_ABSENT = frozenset({None, "Query.NONE"})
_PRESENT = frozenset({"*", "Query.ANY"})

Query = Mapping[str, object]
"""Entity -> text, number, list of these, or ``null`` (the entity must be absent)."""


def read_labels(values: Sequence[str], *, prefix: str = "sub-") -> tuple[str, ...]:
    """Return labels without prefix, in the order given, each once.

    A value is a label with or without ``prefix``, or the path of a ``.txt`` file with one label
    per line (empty lines and lines that start with ``#`` are skipped).

    Raises
    ------
    InputError
        A label file is not there.
    UsageError
        A label holds something other than letters, digits and ``+``, or a file holds no label.
    """
    texts = [text for value in values for text in _texts(value)]
    return tuple(dict.fromkeys(_label(text, prefix) for text in texts))


def _texts(value: str) -> list[str]:
    if not value.endswith(".txt"):
        return [value]
    try:
        lines = read_text(Path(value)).splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"the label file {value} cannot be read: {getattr(error, 'strerror', None) or error}. "
            f"Needed is a text file with one label per line; check the path."
        ) from error
    if labels := [text for line in lines if (text := line.strip()) and text[0] != "#"]:
        return labels
    raise UsageError(
        f"the label file {value} holds no label. Write one label per line, such as 01 or sub-01."
    )


def _label(text: str, prefix: str) -> str:
    label = text.strip().rstrip("/").removeprefix(prefix)
    if re.fullmatch(r"[A-Za-z0-9+]+", label):
        return label
    raise UsageError(
        f"{text!r} is not a BIDS label: found characters other than letters, digits and '+'. "
        f"Give labels separated by spaces, such as 01 02 or {prefix}01 {prefix}02, "
        f"or a .txt file with one label per line."
    )


def read_filters(path: Path) -> dict[str, dict[str, object]]:
    """Read a BIDS filter file and return its queries under ``t1w``, ``flair`` and ``pet``.

    Keys that other programs know (``bold``, ``t2w``, ...) are left out.

    Raises
    ------
    InputError
        The file is not there.
    ConfigError
        It is not a JSON object of objects, or names an image kind or an entity nobody knows.
    """
    try:
        found: Any = read_json(path)
    except OSError as error:
        raise InputError(
            f"the filter file {path} cannot be read: {error.strerror or error}. Check the path."
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"the filter file {path} is not valid JSON ({error}). Needed is an object such as "
            f'{{"t1w": {{"acquisition": "mprage"}}}}.'
        ) from error
    if problems := _problems(found):
        raise ConfigError("\n  ".join([f"the filter file {path} cannot be used:", *problems]))
    return {key: query for key, query in found.items() if key in SUFFIXES}


def _problems(found: object) -> list[str]:
    if not isinstance(found, dict):
        return [
            "it holds no object at its top level; needed is one with the keys t1w, flair, pet."
        ]
    known = ", ".join(SUFFIXES)
    unknown = [key for key in found if key not in SUFFIXES and key not in _OTHER_APPS]
    lines = [f"{key!r} is no kind of image it knows; use {known}." for key in unknown]
    for key in (key for key in SUFFIXES if key in found):
        if not isinstance(found[key], dict):
            lines.append(f"{key!r} holds {found[key]!r}; needed is an object of entities.")
            continue
        lines += _query_problems(key, found[key])
    return lines


def _query_problems(key: str, query: Query) -> Iterator[str]:
    for name, wanted in query.items():
        if name not in _ENTITIES:
            known = ", ".join(sorted(_ENTITIES))
            yield f"{key!r} asks for {name!r}, which is no entity; use {known}."
        values = wanted if isinstance(wanted, list) else [wanted]
        if not all(value is None or isinstance(value, str | int) for value in values):
            yield f"{key!r} asks for {name!r} as {wanted!r}; use text, a number, null or a list."


def matches(entities: Mapping[str, str], query: Query) -> bool:
    """Say whether the entities of one image satisfy every line of ``query``."""
    return all(_allows(name, wanted, entities.get(name)) for name, wanted in query.items())


def _allows(name: str, wanted: object, value: str | None) -> bool:
    options = wanted if isinstance(wanted, list) else [wanted]
    return any(_is(name, option, value) for option in options)


def _is(name: str, option: object, value: str | None) -> bool:
    if option == "Query.OPTIONAL":
        return True
    if value is None or option in _ABSENT:
        return value is None and option in _ABSENT
    return option in _PRESENT or _same(name, str(option), value)


def _same(name: str, option: str, value: str) -> bool:
    if name in _NUMBERED and option.isdecimal() and value.isdecimal():
        return int(option) == int(value)
    return option.removeprefix(_PREFIX.get(name, "")) == value
