"""Samples kept on disk: made or read once, then mapped into memory when their turn comes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.grid import Grid
from relad_bids.core.intensity import BACKGROUND, MRIContract
from relad_bids.errors import OutputError
from relad_bids.files import whole
from relad_bids.model.data import Sample
from relad_bids.model.learning.paired import SEQUENCES


class Kept:
    """Keep each sample in a file of a folder, as float16: 7 MB for three tracers at 2 mm.

    No sample stays in memory, so that it does not grow with the cohort; the files are not
    compressed, so that all but the first reading takes milliseconds. Processes may share the
    folder: a file under its name is whole, and whoever comes second writes the same bytes.

    Parameters
    ----------
    make
        Index -> sample, in [-1, 1].
    key
        Index -> name of the file. It must change with anything that changes the sample: a
        file is trusted by its name.
    folder
        Where the files go. It may be removed whenever no training runs.

    Raises
    ------
    OutputError
        There is no room for a file.
    """

    def __init__(
        self, make: Callable[[int], Sample], key: Callable[[int], str], folder: Path
    ) -> None:
        self.make, self.key, self.folder = make, key, folder

    def __call__(self, index: int) -> Sample:
        path = self.folder / f"{self.key(index)}.npy"
        try:
            stack = np.asarray(np.load(path, mmap_mode="r"))
        except (OSError, EOFError, ValueError):  # not there yet, or cut short by a full disk
            stack = _stacked(self.make(index))
            _write(path, stack)
        return _sample(stack)


def _write(path: Path, stack: NDArray[np.float16]) -> None:
    try:
        with whole(path) as part, part.open("wb") as file:
            np.save(file, stack)
    except (OSError, OutputError) as error:
        reason = getattr(error.__cause__ or error, "strerror", None) or error
        raise OutputError(
            f"{path.parent} cannot keep what the training reads ({reason}), "
            f"{stack.nbytes / 1e6:.3g} MB for each session or phantom. Make room there, or train "
            "into a folder on another disk."
        ) from error


def _stacked(sample: Sample) -> NDArray[np.float16]:
    """MRI, PET and mask (S + R + 1, I, J, K); PET that was not scanned is NaN."""
    pet = np.where(sample.available[:, None, None, None], sample.pet, np.nan)
    return np.concatenate([sample.mri, pet, sample.mask[None]]).astype(np.float16)


def _sample(stack: NDArray[np.float16]) -> Sample:
    n = len(SEQUENCES)
    pet = stack[n:-1].astype(np.float32)
    available = ~np.isnan(pet[:, 0, 0, 0])
    pet[~available] = BACKGROUND
    return Sample(
        mri=stack[:n].astype(np.float32), pet=pet, available=available, mask=stack[-1] > 0
    )


def digest(facts: Any) -> str:
    """First digits of the SHA-256 of facts, the same in any process.

    Order counts in mappings, too: that of the tracers gives them their places.
    """
    text = json.dumps(facts, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Grid):
        return [list(value.shape), value.affine.tolist()]
    if isinstance(value, MRIContract):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no place in the name of a file")
