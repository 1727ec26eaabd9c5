"""MRI preparation as Nipype steps around :mod:`relad_bids.mri`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from relad_bids.bids.images import require_usable
from relad_bids.core.below_zero import lifted
from relad_bids.data.template import SPACES
from relad_bids.interfaces.base import (
    grid_from,
    load,
    naming_files,
    out_path,
    save,
    write_image,
)
from relad_bids.mri.determinism import pin_itk

if TYPE_CHECKING:
    from relad_bids.mri.registration import RigidResult


def import_ants() -> Any:
    """Import ants with its seed and its one thread set: ITK reads both when it is loaded."""
    pin_itk()
    import ants

    return ants


def resample_file(
    moving: str,
    reference: str,
    transforms: Sequence[str],
    out_file: Path,
    *,
    interpolation: str,
) -> str:
    """Resample one image file onto the grid of another, in one interpolation."""
    ants = import_ants()
    from relad_bids.mri.resample import resample

    made = resample(
        ants.image_read(str(moving)),
        ants.image_read(str(reference)),
        [Path(t) for t in transforms],
        interpolation=interpolation,  # type: ignore[arg-type]
    )
    write_image(made, str(out_file))
    return str(out_file)


def rigid_results(found: RigidResult, text: Path) -> dict[str, Any]:
    """Write a rigid transform as ITK text; return ``xfm`` and ``facts`` (cost, init) of a step."""
    ants = import_ants()
    ants.write_transform(ants.read_transform(str(found.transform_file)), str(text))
    return {"xfm": str(text), "facts": {"cost": float(found.cost), "init": found.start}}


class _CheckImageInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="image of the dataset")


class _CheckImageOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="3-D float image, same grid")


class CheckImage(SimpleInterface):
    """Read every voxel once; hand on a plain 3-D float image, or stop with the reason.

    Where z-scoring put tissue below zero, it is lifted above it again.
    """

    input_spec = _CheckImageInputSpec
    output_spec = _CheckImageOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        require_usable(Path(self.inputs.in_file))
        data, grid = load(self.inputs.in_file)
        checked = save(out_path(runtime, "checked.nii.gz"), lifted(data), grid)
        self._results["out_file"] = checked
        return runtime


class _CorrectBiasInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="MRI, arbitrary units")


class _CorrectBiasOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="MRI without bias field, nowhere negative")


class CorrectBias(SimpleInterface):
    """Divide out the coils' bias field (N4)."""

    input_spec = _CorrectBiasInputSpec
    output_spec = _CorrectBiasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.bias import correct_bias

        with naming_files(in_file=self.inputs.in_file):
            corrected = correct_bias(ants.image_read(self.inputs.in_file))
        self._results["out_file"] = str(out_path(runtime, "n4.nii.gz"))
        write_image(corrected, self._results["out_file"])
        return runtime


class _ExtractBrainInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    mode = traits.Enum("auto", "skip", "force", usedefault=True, desc="--skull-strip")
    engine = traits.Enum(
        "template", "hd-bet", "synthstrip", usedefault=True, desc="--skull-strip-engine"
    )


class _ExtractBrainOutputSpec(TraitedSpec):
    mask = File(exists=True, desc="brain mask, T1w grid")
    t1w_to_mni_affine = File(exists=True, desc="first guess for the registration")
    facts = traits.Dict(desc="volume_ml, method, flags, symmetry, overlap, cut")


class ExtractBrain(SimpleInterface):
    """Find the brain in a T1w."""

    input_spec = _ExtractBrainInputSpec
    output_spec = _ExtractBrainOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.brain import brain_mask

        with naming_files(in_file=self.inputs.in_file):
            found = brain_mask(
                ants.image_read(self.inputs.in_file),
                out_dir=Path(runtime.cwd),
                mode=self.inputs.mode,
                engine=self.inputs.engine,
            )
        self._results["mask"] = str(out_path(runtime, "mask.nii.gz"))
        write_image(found.mask, self._results["mask"])
        self._results["t1w_to_mni_affine"] = str(found.affine_file)
        self._results["facts"] = found.facts()
        return runtime


class _RegisterFlairInputSpec(BaseInterfaceInputSpec):
    flair = File(exists=True, mandatory=True, desc="bias-corrected FLAIR")
    t1w = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    mask = File(exists=True, mandatory=True, desc="brain mask of the T1w")


class _RegisterFlairOutputSpec(TraitedSpec):
    xfm = File(exists=True, desc="rigid ITK transform: resamples FLAIR onto T1w")
    facts = traits.Dict(desc="cost, initialisation")


class RegisterFlair(SimpleInterface):
    """Rigid FLAIR -> T1w."""

    input_spec = _RegisterFlairInputSpec
    output_spec = _RegisterFlairOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.registration import register_rigid

        with naming_files(flair=self.inputs.flair, t1w=self.inputs.t1w):
            found = register_rigid(
                ants.image_read(self.inputs.flair),
                ants.image_read(self.inputs.t1w),
                fixed_mask=ants.image_read(self.inputs.mask),
                out_dir=Path(runtime.cwd),
            )
        self._results |= rigid_results(found, out_path(runtime, "flair_to_t1w.txt"))
        return runtime


class _RegisterTemplateInputSpec(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    mask = File(exists=True, mandatory=True, desc="its brain mask")
    space = traits.Enum(*SPACES, usedefault=True, desc="template space")
    initial = File(exists=True, desc="affine first guess")
    lesion = File(exists=True, desc="voxels that do not count, T1w grid")
    sloppy = traits.Bool(False, usedefault=True, desc="coarse and quick, for tests")


class _RegisterTemplateOutputSpec(TraitedSpec):
    forward = File(exists=True, desc="ITK composite: resamples T1w onto the template")
    inverse = File(exists=True, desc="ITK composite: resamples the template onto T1w")


class RegisterTemplate(SimpleInterface):
    """T1w -> template (SyN on the brain)."""

    input_spec = _RegisterTemplateInputSpec
    output_spec = _RegisterTemplateOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.registration import register_to_template

        initial = Path(self.inputs.initial) if isdefined(self.inputs.initial) else None
        lesion = ants.image_read(self.inputs.lesion) if isdefined(self.inputs.lesion) else None
        with naming_files(t1w=self.inputs.t1w, mask=self.inputs.mask):
            found = register_to_template(
                ants.image_read(self.inputs.t1w),
                ants.image_read(self.inputs.mask),
                space=self.inputs.space,
                initial=initial,
                lesion=lesion,
                out_dir=Path(runtime.cwd),
                sloppy=self.inputs.sloppy,
            )
        self._results["forward"] = str(found.forward)
        self._results["inverse"] = str(found.inverse)
        return runtime


class _SegmentTissueInputSpec(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    mask = File(exists=True, mandatory=True, desc="its brain mask")


class _SegmentTissueOutputSpec(TraitedSpec):
    csf = File(exists=True, desc="probability of CSF")
    gm = File(exists=True, desc="probability of grey matter")
    wm = File(exists=True, desc="probability of white matter")


class SegmentTissue(SimpleInterface):
    """Three tissue classes of a T1w."""

    input_spec = _SegmentTissueInputSpec
    output_spec = _SegmentTissueOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.tissue import segment_tissue

        with naming_files(t1w=self.inputs.t1w, mask=self.inputs.mask):
            maps = segment_tissue(
                ants.image_read(self.inputs.t1w), ants.image_read(self.inputs.mask)
            )
        for name in ("csf", "gm", "wm"):
            self._results[name] = str(out_path(runtime, f"{name}.nii.gz"))
            write_image(getattr(maps, name), self._results[name])
        return runtime


class _ResampleToGridInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="image in its original voxels")
    transforms = traits.List(
        File(exists=True), mandatory=True, desc="ITK files, the last one applied first"
    )
    grid = traits.Dict(desc="shape and affine of the grid wanted")
    reference = File(exists=True, desc="image on the grid wanted, in place of `grid`")
    interpolation = traits.Enum("linear", "nearest", "genericLabel", usedefault=True)


class _ResampleToGridOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="image on the wanted grid")


class ResampleToGrid(SimpleInterface):
    """Through all transforms at once: one interpolation from the original voxels."""

    input_spec = _ResampleToGridInputSpec
    output_spec = _ResampleToGridOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        reference = self.inputs.reference
        if not isdefined(reference):
            grid = grid_from(self.inputs.grid)
            empty = np.zeros(grid.shape, dtype=np.uint8)
            reference = save(out_path(runtime, "reference.nii.gz"), empty, grid)
        self._results["out_file"] = resample_file(
            self.inputs.in_file,
            reference,
            self.inputs.transforms,
            out_path(runtime, "resampled.nii.gz"),
            interpolation=self.inputs.interpolation,
        )
        return runtime
