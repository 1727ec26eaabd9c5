"""Warped labels that reach as far as the participant's own tissue does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.core.regions import CUT_OF_TISSUE

REACH_MM = 3.0
"""How far from a warped label its tissue may take it: about the thickness of the cortex.

Cortex is as thin as a registration is wrong, so that cutting alone leaves half of it. Dice of the
whole cortex of an elderly head with published labels: warped .56, cut .57, filled within 2 mm .78,
3 mm .80, 4 mm .80; of 42 VOIs of a simulated head with their truth (mean): .69, .70, .81, .83,
.83."""


def fill_by_tissue(
    warped: NDArray[np.integer],
    cut: NDArray[np.integer],
    tissue_of: Mapping[int, str],
    *,
    gm: NDArray[np.floating],
    wm: NDArray[np.floating],
    voxel_mm: Sequence[float],
) -> NDArray[np.int32]:
    """Give grey and white matter that has no label that of the nearest warped one.

    Parameters
    ----------
    warped : (I, J, K) int
        Parcellation in the participant's space, as the registration brought it.
    cut : (I, J, K) int
        The same after :func:`relad_bids.core.regions.cut_by_tissue`; its labels are kept.
    tissue_of
        Label number -> tissue (``labels_fs.tsv``).
    gm, wm : (I, J, K) float
        Tissue probabilities in [0, 1] on the same grid; 0 outside the brain.
    voxel_mm
        Edges of a voxel.

    Returns
    -------
    (I, J, K) int32
        A label reaches at most :data:`REACH_MM` beyond where it was warped to, and only into its
        own tissue: cortex into grey matter, white matter into white matter.
    """
    filled = cut.astype(np.int32)
    # From centre to centre: a label ends half a voxel beyond the centre of its last one.
    reach_mm = REACH_MM + min(voxel_mm) / 2
    box = _box(warped > 0, voxel_mm)
    numbers, labels, kept = np.unique(warped), warped[box], cut[box]
    for tissue, share in (("gm", gm[box]), ("wm", wm[box])):
        own = [n for n in numbers if CUT_OF_TISSUE.get(tissue_of.get(int(n), "")) == tissue]
        if not own:
            continue
        away_mm, nearest = ndimage.distance_transform_edt(
            ~np.isin(labels, own), sampling=voxel_mm, return_indices=True
        )
        wanted = (kept == 0) & (share > 0.5) & (away_mm <= reach_mm)
        filled[box][wanted] = labels[tuple(index[wanted] for index in nearest)]
    return filled


def _box(labelled: NDArray[np.bool_], voxel_mm: Sequence[float]) -> tuple[slice, ...]:
    """Where labels are, and as far around them as they may reach."""
    found = ndimage.find_objects(labelled.astype(np.uint8))
    if not found:
        return tuple(slice(0, 0) for _ in voxel_mm)
    margins = [int(np.ceil(REACH_MM / mm)) + 1 for mm in voxel_mm]
    return tuple(
        slice(max(0, one.start - n), one.stop + n)
        for one, n in zip(found[0], margins, strict=True)
    )
