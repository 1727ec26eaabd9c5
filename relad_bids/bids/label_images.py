"""Images of label numbers, whoever wrote them."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from relad_bids.bids.images import MAX_VOXELS
from relad_bids.core.grid import Grid
from relad_bids.errors import ImageError
from relad_bids.untrusted import require_regular

WHOLE = 1e-3
"""How far a stored number may be from a whole one; scaled integers come back with 1e-5."""


def read_label_image(path: Path | str) -> tuple[NDArray[np.int32], Grid]:
    """Read a label image: NIfTI or MGH, whole numbers in any type.

    Returns
    -------
    Numbers, (I, J, K) int32, and where they lie in RAS+ mm.

    Raises
    ------
    ImageError
        It cannot be read, has more than three axes, more voxels than a head, or holds fractions.
    """
    try:
        require_regular(Path(path))
        image: Any = nb.load(path)
        if (n_voxels := prod(image.shape)) > MAX_VOXELS:
            raise ValueError(
                f"its header tells of {n_voxels} voxels, at most {MAX_VOXELS} are read"
            )
        data = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise ImageError(f"{path} cannot be read as an image of labels ({error}).") from error
    if data.ndim < 3 or data.size != np.prod(data.shape[:3]):
        raise ImageError(
            f"{path} has shape {data.shape}, needed is one image of label numbers with three axes."
        )
    i, j, k = data.shape[:3]
    data = data.reshape(i, j, k)
    numbers = np.rint(data)
    if not np.allclose(numbers, data, rtol=0, atol=WHOLE):  # NaN is no number, either
        raise ImageError(
            f"{path} holds fractions, needed are whole label numbers. Was it interpolated?"
        )
    return numbers.astype(np.int32), Grid(shape=(i, j, k), affine=image.affine)
