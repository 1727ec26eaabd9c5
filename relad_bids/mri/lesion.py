"""Lesions in a registration: nothing that looks like them is in the template."""

from __future__ import annotations

import numpy as np
from ants import ANTsImage
from scipy import ndimage

from relad_bids.mri.resample import like, resample

RIM_MM = 4.0
"""How far around a lesion the cost does not count either: images are smoothed before they are
compared, by 4 mm at the coarsest level."""

FILL_MM = 12.0
"""Standard deviation of the surroundings that a lesion is filled with."""


def without_lesion(
    brain: ANTsImage, lesion: ANTsImage | None
) -> tuple[ANTsImage, ANTsImage | None]:
    """Return the brain with the lesion filled, and where the cost of a registration counts.

    A cost mask alone (Brett et al. 2001) is not enough for SyN, whose metrics look at the
    neighbourhood of a voxel. A dark ball of 34 mL in the template's own brain, against the warp
    without it, mean error inside / in the 10 mm around it: not told 3.1 / 1.7 mm; mask 3.3 / 2.5;
    filled and mask 1.4 / 0.7; filled and mask with its rim 0.5 / 0.3.

    Parameters
    ----------
    brain
        T1w, 0 outside the brain.
    lesion
        Above 0 in the lesion, any grid in the same space; None without one.

    Returns
    -------
    Both on the grid of ``brain``; no mask where there is nothing to leave out.
    """
    if lesion is None:
        return brain, None
    inside = resample(lesion, brain, [], interpolation="nearest").numpy() > 0
    if not inside.any():
        return brain, None
    values = brain.numpy()
    known = (~inside & (values > 0)).astype(np.float32)
    sigma = [FILL_MM / mm for mm in brain.spacing]
    around = ndimage.gaussian_filter(values * known, sigma)
    weight = ndimage.gaussian_filter(known, sigma)
    filled = np.where(inside, around / np.maximum(weight, 1e-6), values)
    away_mm = ndimage.distance_transform_edt(~inside, sampling=brain.spacing)
    return like(brain, filled), like(brain, away_mm > RIM_MM)
