"""Real pairs as training samples, read when their turn comes: nothing is kept between two."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import nibabel as nb
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from relad_bids.core.grid import Grid
from relad_bids.core.intensity import (
    BACKGROUND,
    MRIContract,
    normalise_mri,
    stack_mri,
    suvr_to_network,
)
from relad_bids.errors import DataError, ImageError, ReladError
from relad_bids.model.data import Sample
from relad_bids.pair import Pair

SEQUENCES = ("T1w", "FLAIR")
"""MRI channels in the order of the network."""

_UNREADABLE = (
    OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, WrapStructError,
)  # fmt: skip


def read_pair(
    pair: Pair, grid: Grid, *, suvr_max: Mapping[str, float], contract: MRIContract
) -> Sample:
    """Read one session as the network sees it.

    Parameters
    ----------
    pair
        Files; a missing FLAIR becomes -1 everywhere, as in prediction.
    grid
        The network's; nothing is resampled here.
    suvr_max
        Canonical tracer -> SUVr that becomes +1; the order gives the class numbers. A tracer
        that the session lacks is not available, one that is not named here is not read.
    contract
        Of the network that learns, which need not be that of the network the MRI was once
        prepared for.

    Raises
    ------
    ImageError
        A file cannot be read to its end.
    GridMismatchError
        An image lies on another grid.
    DataError
        The brain is empty, holds NaN, or has one intensity only; a PET is no SUVr in the range
        of the network.
    """
    mask = _read(pair.mask, grid) > 0
    if not mask.any():
        raise DataError(
            f"{pair.mask}: the brain mask is empty, needed is a brain to learn from. Prepare the "
            "session again, or leave it out."
        )
    files = {"T1w": pair.t1w, "FLAIR": pair.flair}
    mri = {
        name: None if path is None else _mri(path, grid, mask, contract)
        for name, path in files.items()
    }
    pet = np.full((len(suvr_max), *grid.shape), BACKGROUND, dtype=np.float32)
    for index, (tracer, upper) in enumerate(suvr_max.items()):
        if tracer in pair.pet:
            pet[index] = _target(pair.pet[tracer], grid, mask, suvr_max=upper)
    available = np.array([tracer in pair.pet for tracer in suvr_max])
    return Sample(mri=stack_mri(mri, SEQUENCES), pet=pet, available=available, mask=mask)


def _mri(
    path: Path, grid: Grid, mask: NDArray[np.bool_], contract: MRIContract
) -> NDArray[np.float32]:
    image = _read_brain(path, grid, mask)
    try:
        return normalise_mri(image, mask, contract).data
    except ReladError as error:
        error.add_note(f"MRI: {path}")
        raise


def _target(
    path: Path, grid: Grid, mask: NDArray[np.bool_], *, suvr_max: float
) -> NDArray[np.float32]:
    """Bring a measured SUVr to the network's scale; -1 outside the brain."""
    suvr = _read_brain(path, grid, mask)
    middle = float(np.median(suvr[mask]))
    if not 0 < middle < suvr_max:
        raise DataError(
            f"{path}: the median over the brain is {middle:.4g}, needed is SUVr with a median "
            f"between 0 and {suvr_max:g}, where the network's range of this tracer ends. An "
            "activity (Bq/mL) must be divided by its reference region first; if this is SUVr, "
            "raise suvr_max."
        )
    return np.where(mask, suvr_to_network(suvr, suvr_max=suvr_max), np.float32(BACKGROUND))


def _read_brain(path: Path, grid: Grid, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Read an image whose values in the brain must all be numbers."""
    image = _read(path, grid)
    if n_bad := int((~np.isfinite(image[mask])).sum()):
        raise DataError(
            f"{path}: {n_bad} of {int(mask.sum())} voxels of the brain are NaN or infinite, "
            "needed is a number in each. Was the brain cut off by the field of view? Mend the "
            "image, or leave it out."
        )
    return image


def _read(path: Path, grid: Grid) -> NDArray[np.float32]:
    try:
        image = nb.Nifti1Image.from_filename(path)
        data = np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    except _UNREADABLE as error:
        raise ImageError(
            f"{path}: cannot be read to its end ({error}). Needed is a whole NIfTI image; "
            "prepare the session again, or leave it out."
        ) from error
    found = Grid(shape=data.shape, affine=image.affine)
    grid.require_same(found, ours="the network's grid", theirs=str(path))
    return data
