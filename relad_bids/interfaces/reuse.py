"""Derivatives in place of own steps, as Nipype steps with the fields of those steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from relad_bids.core.reuse import check_lesion, check_mask, check_warp
from relad_bids.data.template import SPACES, template_file
from relad_bids.files import copy
from relad_bids.interfaces.base import load, load_on, naming_files, out_path, save
from relad_bids.interfaces.mri import import_ants, resample_file

STRIDE = 7
"""Every seventh voxel of the brain tells whether two transforms undo each other."""


class _AdoptT1wInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w that was corrected by another program")


class _AdoptT1wOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="the same, nowhere negative")


class AdoptT1w(SimpleInterface):
    """Take a corrected T1w as it is, in place of N4; negative voxels become 0.

    A file without any is handed on untouched: header rounding is not added to.
    """

    input_spec = _AdoptT1wInputSpec
    output_spec = _AdoptT1wOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        data, grid = load(self.inputs.in_file)
        self._results["out_file"] = self.inputs.in_file
        if data.min() < 0:
            usable = np.maximum(data, np.float32(0))
            self._results["out_file"] = save(out_path(runtime, "t1w.nii.gz"), usable, grid)
        return runtime


class _AdoptMaskInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w")
    mask_file = File(exists=True, mandatory=True, desc="its brain, by another program")
    source = traits.Str(mandatory=True, desc="name of the derivatives")


class _AdoptMaskOutputSpec(TraitedSpec):
    mask = File(exists=True, desc="brain mask, T1w grid")
    t1w_to_mni_affine = File(exists=True, desc="first guess for the registration")
    facts = traits.Dict(desc="volume_ml, method, flags, symmetry, overlap, cut")


class AdoptMask(SimpleInterface):
    """Take a brain mask in place of the brain extraction, held against the same checks."""

    input_spec = _AdoptMaskInputSpec
    output_spec = _AdoptMaskOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.brain import judge_mask

        given = self.inputs
        with naming_files(mask=given.mask_file, t1w=given.in_file):
            t1w, grid = load(given.in_file)
            mask = load_on(grid, given.mask_file, ours="t1w", theirs="mask") > 0.5
            check_mask(mask, t1w, grid)
            saved = save(out_path(runtime, "mask.nii.gz"), mask.astype(np.uint8), grid)
            found = judge_mask(
                ants.image_read(given.in_file),
                ants.image_read(saved).numpy() > 0,
                out_dir=Path(runtime.cwd),
                method=f"derivatives:{given.source}",
            )
        self._results["mask"] = saved
        self._results["t1w_to_mni_affine"] = str(found.affine_file)
        self._results["facts"] = found.facts()
        return runtime


class _AdoptWarpInputSpec(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True, desc="T1w")
    mask = File(exists=True, mandatory=True, desc="its brain mask")
    space = traits.Enum(*SPACES, usedefault=True, desc="template space")
    forward_file = File(exists=True, mandatory=True, desc="ITK, by another program")
    inverse_file = File(exists=True, mandatory=True, desc="the way back")
    initial = File(exists=True, desc="not needed")
    lesion = File(exists=True, desc="not needed")


class _AdoptWarpOutputSpec(TraitedSpec):
    forward = File(exists=True, desc="ITK composite: resamples T1w onto the template")
    inverse = File(exists=True, desc="ITK composite: resamples the template onto T1w")


class AdoptWarp(SimpleInterface):
    """Take transforms in place of the registration, once they lay the brain on the template."""

    input_spec = _AdoptWarpInputSpec
    output_spec = _AdoptWarpOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import_ants()
        from relad_bids.mri.linear import apply_affine
        from relad_bids.mri.resample import carry_points

        given = self.inputs
        for name in ("forward", "inverse"):
            file = Path(getattr(given, f"{name}_file"))
            self._results[name] = str(out_path(runtime, f"{name}{file.suffix}"))
            copy(file, Path(self._results[name]))
        there, back = (Path(self._results[name]) for name in ("forward", "inverse"))
        with naming_files(forward=given.forward_file, inverse=given.inverse_file):
            mask, grid = load(given.mask)
            points = apply_affine(grid.affine, np.argwhere(mask > 0.5)[::STRIDE])
            returned = carry_points(carry_points(points, [back]), [there])
            brain = template_file("T1w", space=given.space)
            moved = self._on(runtime, given.mask, brain, there)
            seen = self._on(runtime, self._ones(runtime, mask, grid), brain, there)
            check_warp(moved & seen, (load(str(brain))[0] > 0) & seen, returned - points)
        return runtime

    def _ones(self, runtime: Any, mask: Any, grid: Any) -> str:
        return save(out_path(runtime, "seen.nii.gz"), np.ones_like(mask), grid)

    def _on(self, runtime: Any, file: str, brain: Path, there: Path) -> Any:
        target = out_path(runtime, "on_template.nii.gz")
        resample_file(file, str(brain), [str(there)], target, interpolation="linear")
        return load(str(target))[0] > 0.5


class _AdoptLesionInputSpec(BaseInterfaceInputSpec):
    lesion = File(exists=True, mandatory=True, desc="lesion mask, drawn on T1w or FLAIR")
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    mask = File(exists=True, mandatory=True, desc="its brain mask")
    xfm = File(exists=True, desc="resamples the FLAIR onto the T1w; left out for one of the T1w")


class _AdoptLesionOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="lesion, 0 / 1, T1w grid")
    facts = traits.Dict(desc="volume_ml")


class AdoptLesion(SimpleInterface):
    """Bring a lesion mask to the T1w's grid by its place in the scanner."""

    input_spec = _AdoptLesionInputSpec
    output_spec = _AdoptLesionOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        drawn, drawn_grid = load(given.lesion)
        plain = save(out_path(runtime, "plain.nii.gz"), (drawn > 0.5).astype(np.uint8), drawn_grid)
        path = out_path(runtime, "lesion.nii.gz")
        ways = [given.xfm] if isdefined(given.xfm) else []
        resample_file(plain, given.t1w, ways, path, interpolation="nearest")
        lesion, grid = load(str(path))
        with naming_files(lesion=given.lesion, t1w=given.t1w):
            mask = load_on(grid, given.mask, ours="t1w", theirs="mask") > 0.5
            volume_ml = check_lesion(lesion > 0.5, mask, grid, drawn_empty=not (drawn > 0.5).any())
        self._results["out_file"] = save(path, (lesion > 0.5).astype(np.uint8), grid)
        self._results["facts"] = {"volume_ml": volume_ml}
        return runtime
