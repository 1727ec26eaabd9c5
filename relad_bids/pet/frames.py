"""The frames of a PET scan, read one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from relad_bids.errors import DataError

ReadFrame = Callable[[int], NDArray[np.floating]]
"""Number of a frame -> its voxels (I, J, K)."""

HIGH_MM, HIGH_DEG = 3.0, 3.0
"""Motion beyond either has the flag ``motion_high`` (pet-quantification 1.4)."""


def motion_flags(max_shift_mm: float, max_rotation_deg: float) -> list[str]:
    """Flag of a scan whose frames had to be moved far."""
    high = max_shift_mm > HIGH_MM or max_rotation_deg > HIGH_DEG
    return ["motion_high"] if high else []


def worst_frame(shift_mm: Sequence[float], rotation_deg: Sequence[float]) -> int:
    """Place in the list of the frame that had moved most; 3 mm and 3 degrees weigh the same."""
    far = np.maximum(np.divide(shift_mm, HIGH_MM), np.divide(rotation_deg, HIGH_DEG))
    return int(far.argmax())


def weighted_sum(read: ReadFrame, weights: Sequence[float]) -> NDArray[np.float32]:
    r"""Add up frames, :math:`\sum_i w_i C_i`; one is held in memory at a time.

    Frames of weight 0 are not read: what lies outside the window may be damaged.

    Parameters
    ----------
    read
        Gives the voxels of frame i.
    weights : (T,)
        At least one above 0.

    Returns
    -------
    (I, J, K) float32
        In the unit of frames times weights.

    Raises
    ------
    DataError
        A voxel of a frame that counts is not finite, or nothing is above 0 in the sum.
    """
    total: NDArray[np.float64] | None = None
    for number, weight in enumerate(weights):
        if weight == 0:
            continue
        frame = np.asarray(read(number), dtype=np.float64)
        if bad := int(frame.size - np.isfinite(frame).sum()):
            raise DataError(
                f"frame {number + 1} of {len(weights)} has {bad} voxels that are NaN or infinite, "
                "needed are numbers everywhere. Reconstruct or convert the scan again."
            )
        total = weight * frame if total is None else total + weight * frame
    if total is None or total.max() <= 0:
        raise DataError(
            f"the mean of the frames in the window is nowhere above 0 (weights "
            f"{', '.join(f'{weight:.3g}' for weight in weights)}), needed is an image of uptake. "
            "Reconstruct or convert the scan again."
        )
    return total.astype(np.float32)
