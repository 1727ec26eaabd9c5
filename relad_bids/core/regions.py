"""Regions: label numbers to VOIs, cutting by tissue, the geometric inferior cerebellum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.grid import Grid
from relad_bids.core.resolution import point_spread
from relad_bids.errors import DataError

Hemisphere = Literal["L", "R", "B"]
Cut = Literal["gm", "wm", "not-csf", "none"]

CEREBELLAR_GM = (8, 47)
CEREBELLUM = (7, 8, 46, 47)

INFERIOR_SLOPE = 0.35
INFERIOR_MARGIN_MM = 5.0
"""Plane of the geometric inferior cerebellum (pet-quantification, section 1.5): Dice 0.92 with
the SUIT recipe on the same labels, 99 % of its voxels inside it."""


@dataclass(frozen=True)
class VOI:
    """A named set of labels, or of other VOIs whose means are averaged."""

    family: str
    name: str
    labels: tuple[int, ...]
    hemi: Hemisphere = "B"
    parts: tuple[str, ...] = ()
    """Names of VOIs whose means are averaged without weights; empty for a voxel-pooled mean."""


def by_hemisphere(voi: VOI, hemi_of: Mapping[int, str]) -> Iterable[VOI]:
    """Give the bilateral VOI and its two halves, where it has both."""
    yield voi
    halves = {h: tuple(n for n in voi.labels if hemi_of.get(n) == h) for h in ("L", "R")}
    if not voi.parts and all(halves.values()):
        for hemi in ("L", "R"):
            yield VOI(voi.family, voi.name, halves[hemi], hemi)


def inferior_cerebellum(
    labels: NDArray[np.integer],
    grid: Grid,
    *,
    to_mni: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda points: points,
) -> NDArray[np.bool_]:
    r"""Cut the cerebellar grey matter below a tilted plane, in MNI space.

    .. math:: z + 0.35\,(y - y_c) < z_c + 5\ \mathrm{mm}

    with :math:`(y_c, z_c)` the centroid of labels 8 and 47 in RAS+ mm. Needs no licence, where
    the SUIT recipe does; keeps clear of the superior cerebellum, which catches off-target and
    occipital spill-in of tau tracers (Baker et al. 2017).

    Parameters
    ----------
    labels : (I, J, K) int
        FreeSurfer numbers.
    grid
        Its grid.
    to_mni
        Carries (N, 3) points from the space of the labels to MNI, RAS+ mm; left out where the
        labels lie there.

    Returns
    -------
    (I, J, K) bool
    """
    inside = np.isin(labels, CEREBELLAR_GM)
    index = np.argwhere(inside)
    if not len(index):
        raise DataError("the parcellation has no cerebellar grey matter (labels 8 and 47).")
    _, y, z = to_mni(index @ grid.affine[:3, :3].T + grid.affine[:3, 3]).T
    keep = z + INFERIOR_SLOPE * (y - y.mean()) < z.mean() + INFERIOR_MARGIN_MM
    mask = np.zeros(labels.shape, dtype=bool)
    mask[tuple(index[keep].T)] = True
    return mask


ERODED_FWHM_MM = 8.0
ERODED_ABOVE = 0.7
"""White matter that stays above 0.7 when its mask is smoothed by 8 mm lies out of reach of the
cortex (pipeline code of UCSF and ADNI, ``save_mask_eroded_subcortwm``)."""


def eroded_white(white: NDArray[np.bool_], *, voxel_mm: Sequence[float]) -> NDArray[np.bool_]:
    """Keep of a white matter mask (I, J, K) what is far from its border, in mm, not voxels."""
    smooth = point_spread(ERODED_FWHM_MM, voxel_mm).blur(white.astype(np.float32))
    return white & (smooth > ERODED_ABOVE)


CUT_OF_TISSUE: Mapping[str, Cut] = {
    "cortex": "gm",
    "cerebellar-gm": "gm",
    "wm": "wm",
    "cerebellar-wm": "wm",
    # Deep grey and brain stem lie between grey and white matter on T1w: a threshold on the
    # grey class would cut holes into thalamus and pallidum, so only CSF is taken away.
    "subcortical-gm": "not-csf",
    "subcortical-mixed": "not-csf",
    "brainstem": "not-csf",
}


def cut_by_tissue(
    labels: NDArray[np.integer],
    tissue_of: Mapping[int, str],
    *,
    csf: NDArray[np.floating],
    gm: NDArray[np.floating],
    wm: NDArray[np.floating],
) -> NDArray[np.int32]:
    """Keep of a warped parcellation what the participant's own tissue confirms.

    A label warped from the template covers sulcal CSF and white matter where the person
    differs from it; uncut, both dilute the cortical SUVr.

    Parameters
    ----------
    labels : (I, J, K) int
        Parcellation in the participant's space.
    tissue_of
        Label number -> tissue (``labels_fs.tsv``); labels not named are kept whole.
    csf, gm, wm : (I, J, K) float
        Tissue probabilities in [0, 1] on the same grid; a class confirms above 0.5.

    Returns
    -------
    (I, J, K) int32
        Labels, 0 where the tissue contradicts.
    """
    keep_where: Mapping[Cut, NDArray[np.bool_] | bool] = {
        "gm": gm > 0.5,
        "wm": wm > 0.5,
        "not-csf": csf <= 0.5,
        "none": True,
    }
    size = int(labels.max(initial=0)) + 1
    names = [CUT_OF_TISSUE.get(tissue_of.get(number, ""), "none") for number in range(size)]
    cuts = np.array([_CUTS.index(name) for name in names])
    cut = cuts[labels]
    keep = np.zeros(labels.shape, dtype=bool)
    for code, name in enumerate(_CUTS):
        keep |= (cut == code) & keep_where[name]
    return np.where(keep, labels, 0).astype(np.int32)


_CUTS: tuple[Cut, ...] = ("gm", "wm", "not-csf", "none")
