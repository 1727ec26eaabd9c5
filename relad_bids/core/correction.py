"""Partial volume correction of one image of a head: which regions, what can be trusted of it.

The arithmetic is that of :mod:`relad_bids.core.partial_volume`; here stands what the regions
of a head are. All that takes up tracer beside the labels must be among them, or the cortex is
biased (pet-quantification, section 1.7): what the labels leave of the brain, by tissue, and the
shell of meninges around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.core.partial_volume import (
    MAX_AMPLIFICATION,
    MIN_GREY,
    RegionModel,
    gtm,
    iterative_yang,
    mueller_gaertner,
    rbv,
    region_model,
)
from relad_bids.errors import DataError

Method = Literal["none", "gtm", "rbv", "mg", "iy"]

NAMES: Mapping[str, str] = {"gtm": "GTM", "rbv": "RBV", "mg": "MG", "iy": "IY"}
"""What the column ``pvc`` calls a method; the labels of PETPVC and PETSurfer."""

LEFT_GM, LEFT_WM, LEFT_CSF, SHELL = 20001, 20002, 20003, 20004
"""Numbers of what has no label: grey matter, white matter and fluid of the brain, and the
shell of meninges around it. Above those of FreeSurfer."""

PART = 30000
"""Added to the labels of a reference region that is a part of them, so that its uptake is its
own."""

SHELL_MM = 4.0
"""Thickness of the shell (``meninges-ring`` of the VOI sets: 1-4 mm outside)."""

LEAST_GREY = 0.95
"""Least share of grey matter in the reference region of Mueller-Gaertner, as of what is inside
the field of view."""

ATLAS = 100_000
"""Added to the labels of an atlas that takes the place of the parcellation where it has any;
above :data:`PART` and every number of FreeSurfer."""

COVERED = 0.1
"""Share of a label from which on an atlas is another drawing of it, and no neighbour."""

RIM_MM = 3.0
"""How far the packaged labels are extended beyond where they were warped to; an atlas is not."""

MARGIN_MM = 20.0
"""What is kept of the image around the brain: more than twice the reach of a PSF of 10 mm."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A corrected image, and where it is not to be trusted."""

    image: NDArray[np.float32]
    """(I, J, K), in the unit of the activity; NaN where the method or the scan says nothing."""
    unstable: NDArray[np.bool_]
    """(I, J, K) labelled voxels whose region has a mean at or below 0, is smaller than the point
    spread, or lets errors of the image grow more than
    :data:`~relad_bids.core.partial_volume.MAX_AMPLIFICATION`-fold."""
    condition: float | None
    """Condition number of the geometric transfer matrix; None for a method without one."""


@dataclass(frozen=True, eq=False)
class Head:
    """A person's regions, all (I, J, K) on one grid."""

    labels: NDArray[np.integer]
    """Parcellation, cut by tissue; 0 where none."""
    reference: NDArray[np.bool_]
    """Reference region; may be a part of its labels."""
    brain: NDArray[np.bool_]
    csf: NDArray[np.floating]
    gm: NDArray[np.floating]
    wm: NDArray[np.floating]
    """Tissue probabilities in [0, 1]."""
    voxel_mm: Sequence[float]


def head_regions(head: Head) -> NDArray[np.int32]:
    """Number every voxel of the brain and the shell around it (I, J, K).

    Labels keep their numbers, plus :data:`PART` inside the reference region; the rest of the
    brain is sorted by its most probable tissue.
    """
    tissue = np.argmax(np.stack([head.gm, head.wm, head.csf]), axis=0)
    rest = np.array([LEFT_GM, LEFT_WM, LEFT_CSF])[tissue]
    outside_mm = ndimage.distance_transform_edt(~head.brain, sampling=head.voxel_mm)
    shell = np.where((outside_mm > 0) & (outside_mm <= SHELL_MM), SHELL, 0)
    around = np.where(head.brain, rest, shell)
    inside = head.labels + PART * head.reference
    return np.where(head.labels > 0, inside, around).astype(np.int32)


def with_atlas(head: Head, atlas: NDArray[np.integer]) -> Head:
    """Give a head the regions of another atlas, and its own where the atlas has none.

    What is left within :data:`RIM_MM` of a label that the atlas covers is a rim that no scanner
    tells from what it lies on: outside the reference region it is taken to be of the nearest
    region of the atlas.

    Parameters
    ----------
    atlas : (I, J, K) int
        Labels on the same grid, 0 where none; the k-th of them becomes :data:`ATLAS` + k.
    """
    inside = atlas > 0
    numbers = np.unique(atlas[inside])
    drawn = np.where(inside, ATLAS + np.searchsorted(numbers, atlas), head.labels)
    away, nearest = ndimage.distance_transform_edt(
        ~inside, sampling=head.voxel_mm, return_indices=True
    )
    size = np.bincount(head.labels.ravel())
    covered = np.bincount(head.labels[inside].ravel(), minlength=size.size) > COVERED * size
    rim = covered[head.labels] & (head.labels > 0) & ~inside & ~head.reference & (away <= RIM_MM)
    drawn = np.where(rim, drawn[tuple(nearest)], drawn)
    return replace(head, labels=drawn)


def corrected_image(
    activity: NDArray[np.floating], head: Head, *, method: Method, fwhm_mm: float
) -> NDArray[np.float32]:
    """Image of :func:`correct`."""
    return correct(activity, head, method=method, fwhm_mm=fwhm_mm).image


def correct(
    activity: NDArray[np.floating], head: Head, *, method: Method, fwhm_mm: float
) -> Correction:
    """Correct an image, so that its regional means are corrected means; judge its regions.

    Parameters
    ----------
    activity : (I, J, K) float
        Any linear unit whose zero is true zero; NaN where nothing was seen.
    method
        ``gtm``: each label has one value, that of the geometric transfer matrix. ``rbv``,
        ``iy``: voxelwise. ``mg``: grey matter alone, with the tissue probabilities as fractions.
    fwhm_mm
        Point spread function of the image, full width at half maximum.

    Raises
    ------
    DataError
        Regions cannot be told apart at this width, or the reference region of ``mg`` is not of
        grey matter.
    UsageError
        The width is that of no scanner, or below a voxel.
    """
    if method not in set(get_args(Method)) - {"none"}:
        raise ValueError(f"{method} is no partial volume correction")
    box = _around(head.brain, head.voxel_mm)
    made = np.full(activity.shape, np.nan, dtype=np.float32)
    near = _cropped(head, box)
    made[box], model = _corrected(activity[box], near, method, fwhm_mm)
    unstable = np.zeros(activity.shape, dtype=bool)
    unstable[box] = _unstable(made[box], near, fwhm_mm, model)
    return Correction(made, unstable, model.condition if model else None)


def _unstable(
    made: NDArray[np.float32], head: Head, fwhm_mm: float, model: RegionModel | None
) -> NDArray[np.bool_]:
    """Voxels of the regions, each label parted by the reference, that are not to be trusted."""
    regions = np.where(head.labels > 0, head_regions(head), 0)
    seen = np.isfinite(made) & (regions > 0)
    counts = np.bincount(regions[seen])
    means = np.bincount(regions[seen], made[seen]) / np.maximum(counts, 1)
    small = counts * np.prod(head.voxel_mm) < fwhm_mm**3
    doubtful = set(np.flatnonzero((counts > 0) & (small | (means <= 0))).tolist())
    if model:
        growing = model.numbers[model.amplification > MAX_AMPLIFICATION]
        doubtful |= set(growing.tolist()) & set(np.flatnonzero(counts).tolist())
    return np.isin(regions, list(doubtful)) & (regions > 0)


def _corrected(
    activity: NDArray[np.floating], head: Head, method: Method, fwhm_mm: float
) -> tuple[NDArray[np.float32], RegionModel | None]:
    """The image, and the model of the regions of a method that solves its matrix."""
    width = {"fwhm_mm": fwhm_mm, "voxel_mm": head.voxel_mm}
    if method == "mg":
        _require_grey(head)
        made = mueller_gaertner(activity, gm=head.gm, wm=head.wm, **width)  # type: ignore[arg-type]
        return made, None
    seen = np.isfinite(activity)
    regions = head_regions(head)
    model = region_model(regions, seen=seen, **width)  # type: ignore[arg-type]
    if method == "iy":
        return iterative_yang(activity, model), None
    if method == "rbv":
        return rbv(activity, model), model
    table = gtm(activity, model)["corrected"]
    values = table[model.numbers].to_numpy()
    painted = np.where(seen & (head.labels > 0), model.paint(values), np.nan)
    return np.asarray(painted, dtype=np.float32), model


def _require_grey(head: Head) -> None:
    """Raise :class:`DataError` where the reference region is not one of grey matter."""
    share = float((head.gm[head.reference] > MIN_GREY).mean()) if head.reference.any() else 0.0
    if share < LEAST_GREY:
        raise DataError(
            f"grey matter makes up {share:.0%} of the reference region, needed are "
            f"{LEAST_GREY:.0%}: Mueller-Gaertner has no value elsewhere, and what is left is "
            "another region. Choose one of grey matter (--ref-region TRACER=cerebellum-gm), or "
            "another --pvc."
        )


_Box = tuple[slice, ...]


def _around(brain: NDArray[np.bool_], voxel_mm: Sequence[float]) -> _Box:
    (found,) = ndimage.find_objects(brain.astype(np.uint8))
    margins = [int(np.ceil(MARGIN_MM / size)) for size in voxel_mm]
    return tuple(
        slice(max(one.start - margin, 0), one.stop + margin)
        for one, margin in zip(found, margins, strict=True)
    )


def _cropped(head: Head, box: _Box) -> Head:
    cut = {
        name: getattr(head, name)[box]
        for name in ("labels", "reference", "brain", "csf", "gm", "wm")
    }
    return replace(head, **cut)
