"""Which voxels are brain, in a T1w with or without its scalp."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray

from relad_bids.core.brain_checks import (
    LEAST_KEPT,
    POSSIBLE_ML,
    BrainChecks,
    check_brain,
    dice,
    largest_piece,
)
from relad_bids.errors import ImageError
from relad_bids.mri.engine_mask import engine_mask
from relad_bids.mri.head_affine import fit_affine, working_copy
from relad_bids.mri.head_template import HeadTemplate, head_template
from relad_bids.mri.refine import refine
from relad_bids.mri.resample import like, resample
from relad_bids.mri.stages import Stage, register
from relad_bids.mri.stripped import is_stripped, stripped_brain

STIFF_WARP = Stage(transform="SyN[0.2,6,2]", iterations=(30,), shrink=(4,), sigmas=(2,))
"""Bends over centimetres only. A free warp lets the template's thin fluid follow the grey matter
and its skull the fluid of an atrophic brain (9 % of the truth lost, against 4 %)."""

Engine = Literal["template", "hd-bet", "synthstrip"]


@dataclass(frozen=True)
class BrainMask:
    """A brain mask, and what is known about it."""

    mask: ANTsImage
    """1 in the brain with its ventricles and the fluid between its folds, 0 elsewhere;
    float32 on the grid of the T1w."""
    method: str
    """``already-stripped``, ``template-head``, ``template-head-unrefined`` or an engine."""
    checks: BrainChecks
    flags: tuple[str, ...]
    """Words of :data:`relad_bids.core.brain_checks.FLAGS`; empty when nothing is odd."""
    affine_file: Path
    """ITK ``.mat`` that resamples the T1w onto MNI152NLin2009cAsym, roughly."""
    kept: float = np.nan
    """Dice of the mask that follows the image and the template's outline it began as; NaN where
    there is no such mask."""

    @property
    def volume_ml(self) -> float:
        return self.checks.volume_ml

    def facts(self) -> dict[str, object]:
        """Return what tables, sidecars and pages say of it; None for what is not known."""
        numbers = {
            "volume_ml": float(self.volume_ml),
            "symmetry": self.checks.symmetry,
            "overlap": self.checks.overlap,
            "cut": self.checks.cut,
            "kept": self.kept,
        }
        known = {name: None if np.isnan(x) else x for name, x in numbers.items()}
        return {"method": self.method, "flags": list(self.flags), **known}


def brain_mask(
    t1w: ANTsImage,
    *,
    out_dir: Path,
    mode: Literal["auto", "skip", "force"] = "auto",
    engine: Engine = "template",
) -> BrainMask:
    """Find the brain.

    An image that is stripped already keeps what it holds. Any other is laid on a head made
    around the template brain (:mod:`relad_bids.mri.head_template`), whose brain is carried back
    and then follows the image (:mod:`relad_bids.mri.refine`); where that mask fails its checks
    (:mod:`relad_bids.core.brain_checks`) and the outline passes, the outline is kept and flagged.
    An engine takes the place of both.

    Parameters
    ----------
    t1w
        T1w, best after :func:`relad_bids.mri.bias.correct_bias`; any orientation and voxel size.
    out_dir
        Existing folder for ``t1w_to_template_affine.mat``.
    mode
        ``skip`` takes the image as stripped, ``force`` as a whole head, ``auto`` finds out.
    engine
        Who finds the brain of a whole head.

    Raises
    ------
    ImageError
        The image is constant, or what was found has the volume of no brain.
    InputError, DataError
        The engine is missing or failed.
    """
    stripped = is_stripped(t1w) if mode == "auto" else mode == "skip"
    judge = _judge(t1w, stripped=stripped, out_dir=out_dir)
    if stripped:
        return judge.described(stripped_brain(t1w), "already-stripped")
    if engine != "template":
        return judge.described(engine_mask(t1w, engine), engine)
    outline = largest_piece(_carried_back(judge))
    refined = _refined(t1w, outline)
    kept = np.nan if refined is None else dice(refined, outline)
    if refined is None or kept < LEAST_KEPT or judge.prefers(outline, refined):
        found = judge.described(outline, "template-head-unrefined", "mask_unrefined")
    else:
        found = judge.described(refined, "template-head")
    return replace(found, kept=kept)


def judge_mask(
    t1w: ANTsImage, mask: NDArray[np.bool_], *, out_dir: Path, method: str
) -> BrainMask:
    """Hold the mask of another program against the checks of our own.

    Parameters
    ----------
    t1w, out_dir
        As in :func:`brain_mask`.
    mask : (I, J, K) bool
        On the grid of the T1w.
    method
        Who made it.

    Raises
    ------
    ImageError
        The image is constant, or the mask has the volume of no brain.
    """
    judge = _judge(t1w, stripped=is_stripped(t1w), out_dir=out_dir)
    return judge.described(mask, method)


def _judge(t1w: ANTsImage, *, stripped: bool, out_dir: Path) -> _Judge:
    """Lay a T1w on the template, by which masks are found and judged."""
    affine_file = out_dir / "t1w_to_template_affine.mat"
    template = head_template(stripped=stripped)
    head = working_copy(t1w)
    fit_affine(head, template, out_file=affine_file)
    return _Judge(t1w, head, template, affine_file, has_skull=not stripped)


def _refined(t1w: ANTsImage, outline: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Return the outline moved to where the image ends the brain; None where it cannot tell."""
    try:
        return refine(t1w, like(t1w, outline))
    except ImageError:
        return None


def _carried_back(judge: _Judge) -> NDArray[np.bool_]:
    """Return the template's brain, bent onto the T1w."""
    template = judge.template
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "head_"
        register(
            template.head,
            judge.head,
            [STIFF_WARP],
            prefix=prefix,
            initial=judge.affine_file,
            fixed_mask=template.seen,
            composite=True,
        )
        soft = resample(template.brain, judge.t1w, [Path(f"{prefix}InverseComposite.h5")])
    return np.asarray(soft.numpy() > 0.5)


@dataclass(frozen=True)
class _Judge:
    """What masks of one T1w are judged by."""

    t1w: ANTsImage
    head: ANTsImage
    """The same at the resolution of the registration."""
    template: HeadTemplate
    affine_file: Path
    has_skull: bool

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Where in the template the image shows anything."""
        return self._on_template(np.ones(self.t1w.shape))

    def checks(self, mask: NDArray[np.bool_]) -> BrainChecks:
        whole = largest_piece(mask)
        return check_brain(
            mask,
            self.t1w.numpy(),
            voxel_mm=self.t1w.spacing,
            in_template=self._on_template(whole),
            template=self.template.brain.numpy() > 0.5,
            seen=self.seen,
            has_skull=self.has_skull,
        )

    def prefers(self, outline: NDArray[np.bool_], refined: NDArray[np.bool_]) -> bool:
        """Tell whether the refined mask fails where the outline passes."""
        return bool(self.checks(refined).wrong()) and not self.checks(outline).wrong()

    def described(self, mask: NDArray[np.bool_], method: str, *flags: str) -> BrainMask:
        checks = self.checks(mask)
        low, high = POSSIBLE_ML
        if not low <= checks.volume_ml <= high:
            raise ImageError(
                f"the brain found ({method}) in a T1w of {self.t1w.shape} voxels has "
                f"{checks.volume_ml:.0f} mL; a brain has {low:.0f} to {high:.0f} mL. Check that "
                f"the file is a T1w of a whole human head and that its voxel sizes are right."
            )
        return BrainMask(
            mask=like(self.t1w, largest_piece(mask)),
            method=method,
            checks=checks,
            flags=(*flags, *checks.flags()),
            affine_file=self.affine_file,
        )

    def _on_template(self, values: NDArray) -> NDArray[np.bool_]:
        moved = resample(like(self.t1w, values), self.template.brain, [self.affine_file])
        return np.asarray(moved.numpy() > 0.5)
