"""4 x 4 matrices in scanner millimetres, and the ITK files that hold them."""

from __future__ import annotations

from pathlib import Path

import ants
import numpy as np
from numpy.typing import NDArray

from relad_bids.mri.resample import RAS_TO_LPS


def apply_affine(affine: NDArray, points: NDArray) -> NDArray[np.float64]:
    """Carry ``points`` (N, 3) through ``affine`` (4, 4)."""
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])


def write_affine(affine: NDArray[np.float64], path: Path) -> Path:
    """Write a (4, 4) map between RAS+ mm spaces as an ITK ``.mat`` file.

    Like every ITK transform it maps points of the *fixed* space to points of the *moving* one.
    """
    transform = ants.create_ants_transform(
        transform_type="AffineTransform",
        dimension=3,
        matrix=RAS_TO_LPS @ affine[:3, :3] @ RAS_TO_LPS,
        translation=RAS_TO_LPS @ affine[:3, 3],
        precision="double",
    )
    ants.write_transform(transform, str(path))
    return path


def read_affine(path: Path) -> NDArray[np.float64]:
    """Return the (4, 4) map in RAS+ mm that an ITK file of a linear transform holds.

    Files keep 12 numbers and a centre of rotation; rigid files of antsRegistration are stored
    as affine ones too.
    """
    transform = ants.read_transform(str(path))
    numbers = np.asarray(transform.parameters, dtype=np.float64)
    centre = np.asarray(transform.fixed_parameters, dtype=np.float64)
    matrix = numbers[:9].reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = RAS_TO_LPS @ matrix @ RAS_TO_LPS
    affine[:3, 3] = RAS_TO_LPS @ (numbers[9:] + centre - matrix @ centre)
    return affine
