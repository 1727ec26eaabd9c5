"""The participants' tables: found, joined byte by byte, and read once as one frame.

A large cohort has a million rows in ten thousand files. Their bytes are copied, not parsed and
written again; what the statistics need is then read from the joined file.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from relad_bids.bids.outputs import PRODUCTS
from relad_bids.core.columns import COLUMNS
from relad_bids.errors import DataError, NothingSelectedError
from relad_bids.files import read_table, whole, write_table

OWN_ENTITIES = ("sub", "ses", "trc", "rec", "run")
"""Entities of one scan; a table of all participants has none of them."""

READ = {
    "participant_id": "category", "session_id": "category", "run": "category",
    "tracer": "category", "source": "category", "checkpoint_id": "category", "atlas": "category",
    "voi_source": "category", "family": "category", "voi": "category", "hemi": "category",
    "n_voxels": "float64", "volume_mm3": "float64", "fov_fraction": "float64",
    "unit": "category", "ref_region": "category", "ref_mean": "float64",
    "suvr_mean": "float64", "pvc": "category",
    "window_status": "category", "centiloid": "float64", "centaurz": "float64",
    "qc_flags": "category",
}  # fmt: skip
"""Columns that the statistics need -> how they are held: words once, rows as numbers."""


AS_TEXT = {"run": "str", "voi": "str"}
"""Words that may be made of digits: read as categories, ``01`` would become 1."""


@dataclass(frozen=True)
class Joined:
    """One long table of all participants."""

    path: Path
    sources: tuple[Path, ...]
    """The participants' tables, in the order of the rows."""
    statements: tuple[str, ...]
    """What their rows say must be known before the numbers are used."""


def participant_folders(root: Path, participants: Sequence[str]) -> list[Path]:
    """Folders of the derivatives, in order.

    Raises
    ------
    NothingSelectedError
        A participant was asked for that is not there.
    """
    folders = sorted(path for path in root.glob("sub-*") if path.is_dir())
    if not participants:
        return folders
    wanted = {f"sub-{label}" for label in participants}
    if missing := sorted(wanted - {path.name for path in folders}):
        raise NothingSelectedError(
            f"{root} was searched for {', '.join(missing)}, which it does not hold; it holds "
            f"{', '.join(path.name for path in folders[:10]) or 'no participant'}."
        )
    return [path for path in folders if path.name in wanted]


def find_tables(folders: Sequence[Path], key: str) -> dict[str, list[Path]]:
    """Tables of one kind by the name that a table of all participants has.

    Parameters
    ----------
    key
        One of :data:`relad_bids.bids.outputs.PRODUCTS`. Each parcellation has a table of its own.
    """
    product = PRODUCTS[key]
    ending = f"_desc-{product.entities['desc']}_{product.suffix}{product.extension}"
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob(f"*{ending}")):
            found.setdefault(common_name(path.name), []).append(path)
    return found


def common_name(name: str) -> str:
    """Leave out what is of one scan.

    >>> common_name("sub-01_ses-a_trc-11CPIB_atlas-DKT_desc-synth_kinpar.tsv")
    'atlas-DKT_desc-synth_kinpar.tsv'
    """
    return re.sub(rf"(?:^|(?<=_))(?:{'|'.join(OWN_ENTITIES)})-[^_]+_", "", name)


def join_tables(paths: Sequence[Path], target: Path) -> Joined:
    """Write one table of all; tables of several versions get the columns of all of them."""
    if not _copied(paths, target):
        tables = [read_table(path).astype(object) for path in paths]
        names = list(dict.fromkeys(name for table in tables for name in table))
        in_order = [name for name in COLUMNS if name in names]
        joined = pd.concat(tables, ignore_index=True)
        write_table(target, joined[[*in_order, *(n for n in names if n not in COLUMNS)]])
    statements = dict.fromkeys(text for path in paths for text in _statement(path))
    return Joined(target, tuple(paths), tuple(sorted(statements)))


def _copied(paths: Sequence[Path], target: Path) -> bool:
    """Put the rows below one another as they are; False where the columns differ."""
    with whole(target) as part, part.open("wb") as out:
        header = None
        for path in paths:
            first, newline, rest = path.read_bytes().partition(b"\n")
            if header is None:
                header = first
                out.write(first + newline)
            elif first != header:
                return False
            out.write(rest)
    return True


def _statement(path: Path) -> Iterator[str]:
    """What the first row of a table says; all its rows say the same."""
    with path.open(encoding="utf-8", errors="replace", newline="") as text:
        row = next(csv.DictReader(text, delimiter="\t"), {})
    if (told := row.get("statement")) not in (None, "n/a"):
        yield str(told)


def read_rows(joined: Sequence[Joined]) -> pd.DataFrame:
    """Read what the statistics need of the joined tables.

    Raises
    ------
    DataError
        A table lacks a column.
    """
    frames = []
    for one in joined:
        header = pd.read_csv(one.path, sep="\t", nrows=0, encoding_errors="replace").columns
        if missing := [name for name in READ if name not in header]:
            raise DataError(
                f"{one.path} lacks the columns {', '.join(missing)}: its tables were made by "
                "another program or version. Run the participant level again."
            )
        frame = pd.read_csv(
            one.path, sep="\t", usecols=list(READ), dtype={**READ, **AS_TEXT}, na_values=["n/a"],
            keep_default_na=False,
        )  # fmt: skip
        frames.append(frame.astype({name: READ[name] for name in AS_TEXT}))
    return _together(frames)


def _together(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate, keeping words as categories."""
    words = [name for name, kind in READ.items() if kind == "category"]
    of_all: Mapping[str, pd.Index] = {
        name: pd.Index(sorted({str(c) for f in frames for c in f[name].cat.categories}), dtype=str)
        for name in words
    }
    same = [
        frame.assign(
            **{
                name: frame[name]
                .cat.rename_categories(frame[name].cat.categories.astype(str))
                .cat.set_categories(of_all[name])
                for name in words
            }
        )
        for frame in frames
    ]
    return pd.concat(same, ignore_index=True)[list(READ)]
