"""Which voxels are brain, in a T1w with or without its scalp."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.errors import ImageError
from relad_bids.mri.bias import usable
from relad_bids.mri.head_affine import fit_affine, working_copy
from relad_bids.mri.head_template import HeadTemplate, head_template
from relad_bids.mri.resample import grid_of, like, resample
from relad_bids.mri.stages import Stage, register

LEAST_EMPTY = 0.5
"""Share of voxels that are 0 in an image whose scalp was removed."""

LARGEST_BRAIN_ML = 2100.0
"""More tissue than this is a head: large brains with their fluid reach about 2 L, and scalp, skull
and face add as much again."""

USUAL_ML = (900.0, 2000.0)
"""Inside of the skull of adults, wide; outside of it the mask is kept and flagged."""

POSSIBLE_ML = (300.0, 2600.0)
"""Outside of it there is no brain to work with."""

MOST_CUT = 0.1
"""Area of the mask in the first or last slice, as a share of its largest slice, from which on the
brain counts as cut off by the edge of the image."""

STIFF_WARP = Stage(transform="SyN[0.2,6,2]", iterations=(30,), shrink=(4,), sigmas=(2,))
"""Bends over centimetres only. A free warp lets the template's thin fluid follow the grey matter
and its skull the fluid of an atrophic brain (9 % of the truth lost, against 4 %)."""


@dataclass(frozen=True)
class BrainMask:
    """A brain mask, and what is known about it."""

    mask: ANTsImage
    """1 in the brain with its ventricles and the fluid between its folds, 0 elsewhere;
    float32 on the grid of the T1w."""
    volume_ml: float
    method: Literal["already-stripped", "template-head"]
    flags: tuple[str, ...]
    """Plain words for the report; empty when nothing is odd."""
    affine_file: Path
    """ITK ``.mat`` that resamples the T1w onto MNI152NLin2009cAsym, roughly."""


def brain_mask(
    t1w: ANTsImage, *, out_dir: Path, mode: Literal["auto", "skip", "force"] = "auto"
) -> BrainMask:
    """Find the brain.

    An image that is stripped already keeps what it holds. Any other is laid on a head made
    around the template brain (:mod:`relad_bids.mri.head_template`), whose brain is then carried
    back.

    Parameters
    ----------
    t1w
        T1w, best after :func:`relad_bids.mri.bias.correct_bias`; any orientation and voxel size.
    out_dir
        Existing folder for ``t1w_to_template_affine.mat``.
    mode
        ``skip`` takes the image as stripped, ``force`` as a whole head, ``auto`` finds out.

    Raises
    ------
    ImageError
        The image is constant, or what was found has the volume of no brain.
    """
    affine_file = out_dir / "t1w_to_template_affine.mat"
    stripped = is_stripped(t1w) if mode == "auto" else mode == "skip"
    template = head_template(stripped=stripped)
    head = working_copy(t1w)
    fit_affine(head, template, out_file=affine_file)
    if stripped:
        return _described(like(t1w, _solid(usable(t1w) > 0)), stripped, affine_file)
    mask = _carried_back(t1w, head, template, affine_file)
    return _described(like(t1w, mask), stripped, affine_file)


def is_stripped(t1w: ANTsImage) -> bool:
    """Tell whether scalp and face are gone: much exact zero, and a brain's worth of the rest."""
    values = usable(t1w)
    empty = float((values == 0).mean())
    if empty < LEAST_EMPTY:
        return False
    tissue_ml = float(_solid(values > 0).sum()) * float(np.prod(t1w.spacing)) / 1000
    return tissue_ml <= LARGEST_BRAIN_ML


def _carried_back(
    t1w: ANTsImage, head: ANTsImage, template: HeadTemplate, affine_file: Path
) -> NDArray[np.bool_]:
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "head_"
        register(
            template.head,
            head,
            [STIFF_WARP],
            prefix=prefix,
            initial=affine_file,
            fixed_mask=template.seen,
            composite=True,
        )
        soft = resample(template.brain, t1w, [Path(f"{prefix}InverseComposite.h5")])
    return _solid(soft.numpy() > 0.5)


def _solid(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest piece with its holes filled."""
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(mask))


def _described(mask: ANTsImage, stripped: bool, affine_file: Path) -> BrainMask:
    volume_ml = float(mask.sum()) * grid_of(mask).voxel_volume_mm3 / 1000
    low, high = POSSIBLE_ML
    if not low <= volume_ml <= high:
        raise ImageError(
            f"the brain found in a T1w of {mask.shape} voxels has {volume_ml:.0f} mL; a brain "
            f"has {low:.0f} to {high:.0f} mL. Check that the file is a T1w of a whole human head "
            f"and that its voxel sizes are right."
        )
    return BrainMask(
        mask=mask,
        volume_ml=volume_ml,
        method="already-stripped" if stripped else "template-head",
        flags=_flags(mask.numpy() > 0, volume_ml),
        affine_file=affine_file,
    )


def _flags(mask: NDArray[np.bool_], volume_ml: float) -> tuple[str, ...]:
    flags = []
    low, high = USUAL_ML
    if not low <= volume_ml <= high:
        flags.append(f"brain mask of {volume_ml:.0f} mL, usual are {low:.0f} to {high:.0f} mL")
    cut = _largest_cut(mask)
    if cut > MOST_CUT:
        flags.append(
            f"brain is cut off by the edge of the image (the cut has {100 * cut:.0f} % of the "
            f"area of the brain's largest slice)"
        )
    return tuple(flags)


def _largest_cut(mask: NDArray[np.bool_]) -> float:
    """Return the largest share that a first or last slice has of the largest slice of its axis."""
    shares = []
    for axis in range(mask.ndim):
        areas = mask.sum(axis=tuple(k for k in range(mask.ndim) if k != axis))
        shares.append(max(areas[0], areas[-1]) / areas.max())
    return float(max(shares))
