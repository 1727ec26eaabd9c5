"""Atlases that the user adds: from a dataset or file, or from TemplateFlow by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from relad_bids.bids.label_images import read_label_image
from relad_bids.bids.outputs import ATLAS
from relad_bids.core.suit import SUIT_KEEP
from relad_bids.data.template import SPACES
from relad_bids.errors import DataError, InputError, UsageError
from relad_bids.sessions import Atlas
from relad_bids.untrusted import read_text

INDEX, NAME = ("index", "ROI Label"), ("name", "ROI Name")
"""Columns of a label table: those of BIDS, and those of the Schaefer atlas as it is given away."""

N_LOBULES = max(SUIT_KEEP)

_TOLD_APART = ("atlas", "seg", "scale", "desc")
"""Entities by which parcellations of one dataset differ."""


def find_atlases(
    datasets: Mapping[str, Path], names: Sequence[str], *, space: str
) -> tuple[Atlas, ...]:
    """Read the atlases of one run.

    Parameters
    ----------
    datasets
        Name -> a ``*_dseg.nii.gz``, or a folder that holds such; labels in a ``.tsv`` beside it.
    names
        Atlases of TemplateFlow, such as ``Schaefer2018:100Parcels7Networks``.
    space
        Of the checkpoint; an atlas in that space goes before one that has to be warped to it.

    Raises
    ------
    InputError
        Nothing is there, or it could not be fetched.
    UsageError
        No space that this version knows, or two atlases whose files would have one name.
    DataError
        The label image or its table cannot be used.
    """
    found = [atlas for name, path in datasets.items() for atlas in _of_dataset(name, path, space)]
    found += [_of_templateflow(name, space) for name in names]
    taken = {f"atlas-{ATLAS}"}
    for atlas in found:
        if atlas.label in taken:
            raise UsageError(
                f"the atlas {atlas.path} would be named {atlas.label}, as another one is. Give it "
                "another name, with --atlas-dataset NAME=PATH of this very file."
            )
        taken.add(atlas.label)
    return tuple(found)


def find_suit(path: Path | None, atlases: Sequence[Atlas], *, space: str) -> Atlas | None:
    """Read the lobules of SUIT: the user's image, or the added atlas that is called ``suit``.

    Raises
    ------
    InputError, UsageError, DataError
        As in :func:`find_atlases`; the numbers are not those of SUIT.
    """
    named = [atlas for atlas in atlases if atlas.entities["atlas"].lower() == "suit"]
    if path is None and not named:
        return None
    found = named[0] if path is None else _plain_atlas("suit", path, space)
    numbers = {int(number) for number in np.unique(read_label_image(found.path)[0])} - {0}
    if not numbers or not numbers <= set(range(1, N_LOBULES + 1)):
        raise DataError(
            f"{found.path} holds the labels {_some(numbers)}, needed are those of the SUIT atlas, "
            f"1 to {N_LOBULES}. Give its maximum-probability image to --suit-atlas."
        )
    return found


def _plain_atlas(name: str, path: Path, space: str) -> Atlas:
    """An atlas whose names nobody asks for."""
    images = sorted(path.rglob("*_dseg.nii*")) if path.is_dir() else [path]
    if not images or not path.exists():
        raise InputError(
            f"the atlas {name} was looked for at {path}, and no *_dseg.nii.gz is there. Check the "
            "path (in a container: is it mounted?)."
        )
    image = _nearest(images, space)
    return Atlas(image, space_of(image), {"atlas": name}, (), f"bids:{name}:{image.name}")


def _of_dataset(name: str, path: Path, space: str) -> Iterator[Atlas]:
    if not path.exists():
        raise InputError(
            f"the atlas {name} was looked for at {path}, and nothing is there. Check the path of "
            "--atlas-dataset (in a container: is it mounted?)."
        )
    root = path if path.is_dir() else path.parent
    images = sorted(path.rglob("*_dseg.nii*")) if path.is_dir() else [path]
    if not images:
        raise InputError(
            f"the atlas {name}: {path} was searched for *_dseg.nii.gz, and none was found."
        )
    groups: dict[tuple[str, ...], list[Path]] = {}
    for image in images:
        told = entities_of(image)
        groups.setdefault(tuple(told.get(key, "") for key in _TOLD_APART), []).append(image)
    for key, group in groups.items():
        told = dict(zip(_TOLD_APART, key, strict=True)) if len(groups) > 1 else {}
        inside = f"bids:{name}:"
        yield _atlas(name, told, _nearest(group, space), root, inside)


def _atlas(name: str, told: Mapping[str, str], path: Path, root: Path, uri: str) -> Atlas:
    """``desc`` becomes ``seg``: in the files that are written ``desc`` says synthetic or not."""
    seg = told.get("seg") or told.get("desc")
    more = {"seg": seg, "scale": told.get("scale")}
    return Atlas(
        path=path,
        space=space_of(path),
        entities={"atlas": _label(name), **{key: value for key, value in more.items() if value}},
        regions=regions_of(path, root),
        uri=f"{uri}{path.relative_to(root).as_posix()}",
    )


def _label(name: str) -> str:
    """A name as a BIDS label: letters and digits only."""
    if label := re.sub(r"[^A-Za-z0-9]", "", name):
        return label
    raise UsageError(f"the atlas name {name!r} has no letter and no digit; give another one.")


def entities_of(path: Path) -> dict[str, str]:
    """``key-value`` pairs of a file name."""
    parts = re.sub(r"\.nii(\.gz)?$", "", path.name).split("_")
    return dict(part.split("-", 1) for part in parts if "-" in part)


def space_of(path: Path) -> str:
    """The template space that the name of an atlas tells.

    Raises
    ------
    UsageError
        It tells none, or one to which no way is known.
    """
    told = entities_of(path)
    space = told.get("space", told.get("tpl", ""))
    if space in SPACES:
        return space
    found = f"says {space}" if space else "has no space- and no tpl-"
    raise UsageError(
        f"the atlas {path} {found}; known are {' and '.join(SPACES)}. Give the atlas in one of "
        "these, and name it so, for example atlas-X_space-MNI152NLin6Asym_dseg.nii.gz."
    )


def _nearest(images: Sequence[Path], space: str) -> Path:
    """The file that is warped least: in the space wanted, else a known one; finest first."""
    known = [path for path in images if _space_told(path) in SPACES]
    return min(
        known or images,
        key=lambda path: (_space_told(path) != space, entities_of(path).get("res", ""), path),
    )


def _space_told(path: Path) -> str:
    told = entities_of(path)
    return told.get("space", told.get("tpl", ""))


def regions_of(path: Path, root: Path) -> tuple[tuple[int, str], ...]:
    """Numbers of the image and their names; a number without name is called by itself.

    Raises
    ------
    InputError
        There is no table of names.
    DataError
        It lacks a column, has a number twice, or none of its numbers is in the image.
    """
    table = _table_of(path, root)
    names = _names(table)
    numbers = {int(number) for number in np.unique(read_label_image(path)[0]) if number > 0}
    if not numbers & names.keys():
        raise DataError(
            f"{path} holds the labels {_some(numbers)}, its table {table} names {_some(names)}: "
            "none is in both. Give the table of this image."
        )
    return tuple((n, names.get(n, str(n))) for n in sorted(numbers))


def _table_of(path: Path, root: Path) -> Path:
    """The table beside an atlas, or above it by the inheritance principle."""
    words = set(re.sub(r"\.nii(\.gz)?$", "", path.name).split("_"))
    folders = [folder for folder in path.parents if folder.is_relative_to(root)]
    for folder in folders:
        tables = [*folder.glob("*dseg.tsv"), *folder.glob("*_labels.[ct]sv")]
        fitting = [table for table in tables if set(table.stem.split("_")) - {"labels"} <= words]
        if fitting:
            return max(sorted(fitting), key=lambda table: len(table.stem.split("_")))
    raise InputError(
        f"the names of the labels of {path} were looked for beside it, and none were found. "
        f"Needed is {re.sub(r'[.]nii([.]gz)?$', '', path.name)}.tsv with the columns index and "
        "name."
    )


def _names(table: Path) -> dict[int, str]:
    try:
        text = StringIO(read_text(table))
        rows = pd.read_csv(text, sep="," if table.suffix == ".csv" else "\t", dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"{table} cannot be read as a table ({error}); mend the file.") from error
    columns = [next((c for c in known if c in rows), None) for known in (INDEX, NAME)]
    if None in columns:
        raise DataError(
            f"{table} has the columns {', '.join(rows)}, needed are index and name; mend the file."
        )
    try:
        numbers = [int(text) for text in rows[columns[0]]]
    except ValueError as error:
        raise DataError(f"{table} has an index that is no whole number ({error}).") from error
    if len(set(numbers)) < len(numbers):
        raise DataError(f"{table} has a number of its index twice; needed is one name for each.")
    names = rows[columns[1]].fillna("").str.strip()
    return {n: name or str(n) for n, name in zip(numbers, names, strict=True) if n > 0}


def _some(numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    return ", ".join(map(str, ordered[:8])) + (", ..." if len(ordered) > 8 else "")


def _of_templateflow(asked: str, space: str) -> Atlas:
    """Ask TemplateFlow, whose files are fetched where its home does not hold them."""
    name, _, desc = asked.partition(":")
    client = _client(asked)
    query = {"atlas": name, "suffix": "dseg"}
    held = {one: [*map(Path, client.ls(one, extension=".nii.gz", **query))] for one in SPACES}
    named = {one for one in SPACES if client.ls(one, extension=".tsv", **query)}
    # Harvard-Oxford has its names in one of its spaces only.
    ordered = sorted(filter(held.get, SPACES), key=lambda one: (one not in named, one != space))
    if not ordered:
        raise UsageError(
            f"--atlases {asked}: TemplateFlow has no dseg of an atlas {name} in "
            f"{' or '.join(SPACES)}. Names are written as there; an atlas of your own is given "
            "with --atlas-dataset NAME=PATH."
        )
    images = _of_kind(asked, held[ordered[0]], desc)
    image = min(images, key=lambda path: entities_of(path).get("res", ""))
    told = {"desc": entities_of(image)["desc"]} if "desc" in entities_of(image) else {}
    for path in (image, *map(Path, client.ls(ordered[0], extension=".tsv", **query, **told))):
        _fetch(client, ordered[0], path, query)
    return _atlas(name, told, image, image.parent, "bids:templateflow:")


def _of_kind(asked: str, images: Sequence[Path], desc: str) -> list[Path]:
    """Those of one ``desc``; where there are several, the user says which."""
    kinds = {entities_of(path).get("desc", "") for path in images}
    wanted = desc or min(kinds)
    if wanted not in kinds or (len(kinds) > 1 and not desc):
        name = asked.partition(":")[0]
        raise UsageError(
            f"--atlases {asked}: TemplateFlow has "
            f"{', '.join(f'{name}:{kind}' for kind in sorted(kinds))}. Give one of these."
        )
    return [path for path in images if entities_of(path).get("desc", "") == wanted]


def _client(asked: str) -> Any:
    """Importing TemplateFlow makes its home: only where an atlas is asked for by name."""
    try:
        from templateflow.client import TemplateFlowClient

        return TemplateFlowClient(autoupdate=False)
    except OSError as error:
        raise InputError(
            f"--atlases {asked}: TemplateFlow's folder cannot be made ({error}). Let "
            "TEMPLATEFLOW_HOME name a folder that can be written, or one that is filled."
        ) from error


def _fetch(client: Any, space: str, path: Path, query: Mapping[str, str]) -> None:
    """Download a file that TemplateFlow's home knows by name alone; the only use of a network."""
    if path.is_file() and path.stat().st_size:
        return
    told = entities_of(path)
    more = {"desc": told["desc"]} if "desc" in told else {}
    more |= {"resolution": int(told["res"])} if "res" in told else {}  # type: ignore[dict-item]
    extension = ".tsv" if path.suffix == ".tsv" else ".nii.gz"
    try:
        client.get(space, extension=extension, **query, **more)
    except Exception as error:
        raise InputError(
            f"TemplateFlow's {path.name} is not on this machine and could not be fetched "
            f"({type(error).__name__}). Ask for it once where there is a network, or let "
            "TEMPLATEFLOW_HOME name a folder that holds it."
        ) from error
