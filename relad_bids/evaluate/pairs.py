"""Real participants to ask about, read when their turn comes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.bids.headers import require_intact
from relad_bids.bids.images import require_readable, require_usable
from relad_bids.core.grid import Grid
from relad_bids.evaluate.cases import Case, Images
from relad_bids.pair import Pair

_SEX = {"f": 1.0, "female": 1.0, "m": 0.0, "male": 0.0}


def pair_case(pair: Pair, grid: Grid, covariates: Mapping[str, float]) -> Case:
    """One session of the derivatives as a case; its files are read when its turn comes.

    Parameters
    ----------
    grid
        The networks'; a file on another grid is an error, nothing is resampled.
    covariates
        As in :class:`relad_bids.evaluate.cases.Case`.
    """
    return Case(
        subject=pair.subject,
        session=pair.session,
        tracers=tuple(pair.pet),
        images=partial(_images, pair, grid),
        covariates=covariates,
    )


def covariates_of(participants: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Age and sex of every row of ``participants.tsv`` that has both, by ``participant_id``.

    BIDS writes ages above 89 as ``89+``; such a row, whose age is not known, has none.
    """
    if not {"participant_id", "age", "sex"} <= set(participants):
        return {}
    age = pd.to_numeric(participants["age"], errors="coerce")
    female = participants["sex"].astype(str).str.strip().str.lower().map(_SEX)
    known = age.notna() & female.notna()
    rows = zip(participants["participant_id"][known], age[known], female[known], strict=True)
    return {str(person): {"age": float(a), "female": float(f)} for person, a, f in rows}


def _images(pair: Pair, grid: Grid) -> Images:
    for path in (pair.t1w, pair.flair, pair.mask):
        if path is not None:
            require_usable(path)
    for path in pair.pet.values():  # which may be NaN outside its field of view
        require_readable(path)
        require_intact(path)
    mask = _read(pair.mask, grid) > 0
    return Images(
        t1w=_read(pair.t1w, grid),
        flair=None if pair.flair is None else _read(pair.flair, grid),
        mask=mask,
        suvr={tracer: np.where(mask, _read(path, grid), 0) for tracer, path in pair.pet.items()},
    )


def _read(path: Path, grid: Grid) -> NDArray[np.float32]:
    image = nb.Nifti1Image.from_filename(path)
    data = np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    found = Grid(data.shape, image.affine)
    grid.require_same(found, ours="the network's grid", theirs=str(path))
    return data
