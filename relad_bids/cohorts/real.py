"""Measured pairs as training samples, and the table that they are dealt to sides by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from relad_bids import __version__
from relad_bids.bids.pairs import Pairs, find_pairs, join_pairs
from relad_bids.cohorts.kept import digest
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract
from relad_bids.errors import InputError
from relad_bids.files import read_table
from relad_bids.model.data import Sample
from relad_bids.model.learning.paired import read_pair
from relad_bids.model.learning.recipe import PairData
from relad_bids.model.learning.splits import join_groups
from relad_bids.pair import Pair


@dataclass(frozen=True)
class PairReader:
    """Read session ``index`` of a cohort."""

    pairs: tuple[Pair, ...]
    grid: Grid
    suvr_max: Mapping[str, float]
    mri: MRIContract

    def __call__(self, index: int) -> Sample:
        return read_pair(self.pairs[index], self.grid, suvr_max=self.suvr_max, contract=self.mri)

    def keys(self) -> tuple[str, ...]:
        """Name of each session that changes with its files and with how they are read.

        Files are told apart by path, size and time of the last change; none is read.
        """
        how = [self.grid, dict(self.suvr_max), self.mri, __version__]
        return tuple(f"{pair.label}_{digest([_files(pair), *how])}" for pair in self.pairs)


def _files(pair: Pair) -> dict[str, list[object]]:
    images = {"T1w": pair.t1w, "FLAIR": pair.flair, "mask": pair.mask, **pair.pet}
    return {
        role: [str(path.absolute()), (facts := path.stat()).st_size, facts.st_mtime_ns]
        for role, path in images.items()
        if path is not None
    }


def find_cohort(
    data: PairData, *, grid: Grid, space: str, resolution: str, tracers: Sequence[str]
) -> Pairs:
    """Find the pairs of all folders of a recipe, without the participants it leaves out.

    Raises
    ------
    InputError
        A folder holds no pair, or one who is to be left out is in none.
    DataError
        PET of one tracer was divided by different reference regions.
    """
    found = [
        find_pairs(
            root, grid=grid, space=space, resolution=resolution, tracers=tracers,
            leave_out=data.leave_out,
        )
        for root in data.root
    ]  # fmt: skip
    if unknown := [
        label for label in data.leave_out if not any((r / label).is_dir() for r in data.root)
    ]:
        raise InputError(
            f"data.leave_out names {', '.join(unknown)}, and no folder of that name is in "
            f"{', '.join(map(str, data.root))}. Correct the label, or take it off the list."
        )
    return join_pairs(found)


def session_table(found: Pairs, data: PairData) -> pd.DataFrame:
    """One row per pair in their order: labels, tracers, and the columns that a recipe names.

    Raises
    ------
    InputError
        There is no list of participants, and columns of it are named.
    DataError
        The list lacks a column or a participant.
    """
    table = found.table()
    columns = [name for name in dict.fromkeys((*data.groups, *data.stratify)) if name not in table]
    if not columns:
        return table
    if data.participants_tsv:
        lists = [_list_of_participants([data.participants_tsv])]
    else:
        lists = [_list_of_participants(_places(root)) for root in data.root]
    # A dataset that was processed twice lists its participants twice, in the same words.
    listed = pd.concat([read_table(path) for path in lists]).drop_duplicates()
    return join_groups(table, listed, columns)


def _places(root: Path) -> list[Path]:
    """Where the list may be: beside the derivatives, or in the dataset they were made from."""
    folders = [root, root / "sourcedata", root / "sourcedata" / "raw"]
    if root.absolute().parent.name == "derivatives":
        folders.append(root.absolute().parents[1])
    return [folder / "participants.tsv" for folder in folders]


def _list_of_participants(places: Sequence[Path]) -> Path:
    if found := [path for path in places if path.is_file()]:
        return found[0]
    raise InputError(
        f"the list of participants was looked for at {', '.join(map(str, places))} and is not "
        "there. It is needed for the columns that data.groups and data.stratify name; say with "
        "data.participants_tsv where it is, or name no columns."
    )
