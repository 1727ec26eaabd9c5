"""antsRegistration, one stage a line.

``ants.registration`` offers ready-made recipes, ignores ``random_seed=`` and swallows misspelt
settings without a word. Its list form hands an argument list to antsRegistration as it is, and
that is what is used here: every setting is written out, the seed among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ants
from ants import ANTsImage
from ants.internal import get_pointer_string

from relad_bids.errors import DataError
from relad_bids.mri.determinism import pin_itk


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One transform, its metric and its pyramid from coarse to fine."""

    transform: str
    """As antsRegistration writes it: ``Rigid[0.1]``, ``Affine[0.1]``, ``SyN[0.2,3,0]``."""
    iterations: tuple[int, ...]
    shrink: tuple[int, ...]
    sigmas: tuple[float, ...]
    """Smoothing before shrinking, in voxels."""
    metric: str = "Mattes"
    """``Mattes`` (bins 32), ``CC`` (radius 2 voxels) or ``GC``."""
    sampling: float = 1.0
    """Share of the voxels that a linear stage looks at, on a regular lattice."""
    converged: float = 1e-6

    def arguments(
        self,
        fixed: ANTsImage,
        moving: ANTsImage,
        fixed_mask: ANTsImage | None,
        moving_mask: ANTsImage | None,
    ) -> list[str]:
        """Return the stage's part of the command line."""
        setting = 2 if self.metric == "CC" else 32
        pair = f"{get_pointer_string(fixed)},{get_pointer_string(moving)}"
        sampled = "" if self.sampling == 1.0 else f",Regular,{self.sampling:g}"
        masks = [
            get_pointer_string(mask) if mask is not None else "NA"
            for mask in (fixed_mask, moving_mask)
        ]
        return [
            *("--metric", f"{self.metric}[{pair},1,{setting}{sampled}]"),
            *("--transform", self.transform),
            *("--convergence", f"[{_crossed(self.iterations)},{self.converged:g},10]"),
            *("--shrink-factors", _crossed(self.shrink)),
            *("--smoothing-sigmas", _crossed(self.sigmas)),
            *("--masks", f"[{masks[0]},{masks[1]}]"),
        ]


def register(
    fixed: ANTsImage,
    moving: ANTsImage,
    stages: Sequence[Stage],
    *,
    prefix: Path,
    initial: Path | None = None,
    fixed_mask: ANTsImage | None = None,
    moving_mask: ANTsImage | None = None,
    composite: bool = False,
) -> None:
    """Run antsRegistration; transform files appear under ``prefix``.

    The cost is that of voxels inside both masks. Histograms are never matched: a healthy
    template's would take the lesions of the image with it. Without ``initial`` the two header
    positions are taken as they are. With ``composite`` the whole chain is written both ways as
    ``<prefix>Composite.h5`` and ``<prefix>InverseComposite.h5``, else as
    ``<prefix>0GenericAffine.mat`` (and warps).

    Raises
    ------
    DataError
        antsRegistration gave up, most often because the images do not overlap.
    """
    fixed, moving = fixed.clone("float"), moving.clone("float")
    masks = [(mask != 0) if mask is not None else None for mask in (fixed_mask, moving_mask)]
    arguments = ["--dimensionality", "3", "--float", "1", "--random-seed", str(pin_itk())]
    arguments += ["--collapse-output-transforms", "1", "--output", str(prefix)]
    arguments += ["--write-composite-transform", str(int(composite))]
    arguments += ["--use-histogram-matching", "0"]
    if initial is not None:
        arguments += ["--initial-moving-transform", str(initial)]
    for stage in stages:
        arguments += stage.arguments(fixed, moving, *masks)
    try:
        failed = ants.registration(arguments, None)
    except RuntimeError as error:
        failed = str(error)
    if failed:
        raise DataError(
            f"antsRegistration of a {moving.shape} image to a {fixed.shape} image gave up "
            f"({failed}). It needs two images of the same head that overlap: look at both files, "
            f"and at their orientation."
        )


def _crossed(values: Sequence[float]) -> str:
    return "x".join(f"{value:g}" for value in values)
