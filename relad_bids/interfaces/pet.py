"""Measured PET as Nipype steps: frames to one image, that image onto the T1w."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nibabel as nb
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from numpy.typing import NDArray

from relad_bids.core.coregistration import coregistration
from relad_bids.core.resolution import smooth_to
from relad_bids.interfaces.base import (
    grid_from,
    grid_of_file,
    load,
    load_on,
    naming_files,
    out_path,
    save,
)
from relad_bids.interfaces.mri import import_ants, resample_file, rigid_results
from relad_bids.pet.frames import ReadFrame, weighted_sum, worst_frame


class _RealignPETInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="PET of the dataset, 3-D or 4-D")
    weights = traits.List(traits.Float, mandatory=True, desc="of each frame")


class _RealignPETOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="mean over the window, frames laid on each other, 3-D")
    xfms = traits.List(File(exists=True), desc="ITK transform of each frame that counts")
    facts = traits.Dict(desc="max_shift_mm, max_rotation_deg")
    trace = traits.Dict(desc="motion of each frame and pictures of it; empty for a lone frame")


class RealignPET(SimpleInterface):
    """Lay the frames of the window on their mean; one is held in memory at a time.

    A lone frame stays where it is.
    """

    input_spec = _RealignPETInputSpec
    output_spec = _RealignPETOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.linear import write_affine
        from relad_bids.pet.motion import PASSES, motion, register_frame

        frames = _Frames(self.inputs.in_file, self.inputs.weights, runtime)
        xfms = [write_affine(np.eye(4), out_path(runtime, f"frame{n}.mat")) for n in frames.used]
        mean = frames.unmoved()
        moved = [(0.0, 0.0)]
        for _ in range(PASSES if len(frames.used) > 1 else 0):
            target = ants.image_read(mean)
            for number, xfm in zip(frames.used, xfms, strict=True):
                frame = ants.image_read(frames.file(number))
                register_frame(frame, target, initial=xfm, out_file=xfm)
            moved = [motion(xfm, target) for xfm in xfms]
            mean = frames.mean(xfms)
        self._results["out_file"] = mean
        self._results["xfms"] = [str(xfm) for xfm in xfms]
        shifts, rotations = zip(*moved, strict=True)
        self._results["facts"] = {
            "max_shift_mm": float(max(shifts)),
            "max_rotation_deg": float(max(rotations)),
        }
        many = len(frames.used) > 1
        self._results["trace"] = frames.trace(xfms, shifts, rotations, mean) if many else {}
        return runtime


class _ResampleFramesInputSpec(_RealignPETInputSpec):
    xfms = traits.List(File(exists=True), mandatory=True, desc="of each frame that counts")
    transforms = traits.List(
        File(exists=True), mandatory=True, desc="from the mean on, the last one applied first"
    )
    reference = File(exists=True, desc="image on the grid wanted")
    grid = traits.Dict(desc="shape and affine of the grid wanted, in place of `reference`")
    smooth = traits.Dict(desc="`native_fwhm_mm` and `target_fwhm_mm`; left out for as it is")


class _ResampleFramesOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="mean on the wanted grid, NaN outside the field of view")


class ResampleFrames(SimpleInterface):
    """Average frames on another grid: each of its voxels is interpolated once in each frame.

    Smoothing comes before, on the scan's own voxels, along whose axes its resolution is known.
    """

    input_spec = _ResampleFramesInputSpec
    output_spec = _ResampleFramesOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        reference = given.reference
        if not isdefined(reference):
            wanted = grid_from(given.grid)
            empty = np.zeros(wanted.shape, dtype=np.uint8)
            reference = save(out_path(runtime, "reference.nii.gz"), empty, wanted)
        smooth = given.smooth if isdefined(given.smooth) else {}
        frames = _Frames(given.in_file, given.weights, runtime, smooth)
        mean = frames.mean(given.xfms, onto=(reference, given.transforms))
        self._results["out_file"] = mean
        return runtime


class _Frames:
    """The frames of a scan that count, each as a file of its own while it is needed."""

    def __init__(
        self,
        path: str,
        weights: Sequence[float],
        runtime: Any,
        smooth: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.path, self.weights, self.runtime, self.smooth = path, weights, runtime, smooth
        self.image: Any = nb.load(path, keep_file_open=True)
        self.grid = grid_of_file(path)
        self.used = [number for number, weight in enumerate(weights) if weight]

    def read(self, number: int) -> NDArray[np.floating]:
        shape = self.image.shape
        index = np.unravel_index(number, shape[3:]) if len(shape) > 3 else ()
        return np.asarray(self.image.dataobj[(..., *index)]).reshape(self.grid.shape)

    def file(self, number: int) -> str:
        frame = self.read(number).astype(np.float32)
        if self.smooth:
            voxel_mm = np.linalg.norm(self.grid.affine[:3, :3], axis=0).tolist()
            frame = smooth_to(frame, voxel_mm=voxel_mm, **self.smooth)
        return save(out_path(self.runtime, "frame.nii"), frame, self.grid)

    def unmoved(self) -> str:
        """Weighted sum of the frames as they lie; each of them is checked."""
        with naming_files(in_file=self.path):
            plain = weighted_sum(self.read, self.weights)
        return save(out_path(self.runtime, "unmoved.nii.gz"), plain, self.grid)

    def trace(
        self,
        xfms: Sequence[Path],
        shifts: Sequence[float],
        rotations: Sequence[float],
        after: str,
    ) -> dict[str, Any]:
        """Motion of each frame, and the one that moved most before and after it was laid back."""
        place = worst_frame(shifts, rotations)
        before, moved = (out_path(self.runtime, f"worst_{k}.nii.gz") for k in ("before", "after"))
        save(before, self.read(self.used[place]).astype(np.float32), self.grid)
        resample_file(str(before), str(before), [str(xfms[place])], moved, interpolation="linear")
        return {
            "frames": [number + 1 for number in self.used],
            "shift_mm": [float(value) for value in shifts],
            "rotation_deg": [float(value) for value in rotations],
            "before": str(out_path(self.runtime, "unmoved.nii.gz")),
            "after": after,
            "worst_before": str(before),
            "worst_after": str(moved),
        }

    def mean(
        self, xfms: Sequence[Path | str], onto: tuple[str, Sequence[str]] | None = None
    ) -> str:
        """Weighted sum of the frames, each through its transform, on the scan's or another grid.

        NaN where any of them was not seen, on another grid; on the scan's own 0.
        """
        ones = np.ones(self.grid.shape, np.uint8)
        seen = save(out_path(self.runtime, "ones.nii"), ones, self.grid)
        reference, transforms = onto or (seen, [])
        by_number = dict(zip(self.used, xfms, strict=True))

        def moved(number: int) -> NDArray[np.float32]:
            through = [*transforms, str(by_number[number])]
            inside, frame = (
                load(
                    resample_file(
                        file, reference, through, out_path(self.runtime, f"{how}.nii"),
                        interpolation=how,
                    )
                )[0]
                for file, how in ((seen, "nearest"), (self.file(number), "linear"))
            )  # fmt: skip
            return np.where(inside > 0, frame, np.nan)

        return self._summed(moved, reference, missing=0.0 if onto is None else np.nan)

    def _summed(self, moved: ReadFrame, reference: str, *, missing: float) -> str:
        total = sum(
            self.weights[number] * moved(number).astype(np.float64) for number in self.used
        )
        mean = np.where(np.isnan(total), missing, total).astype(np.float32)
        return save(out_path(self.runtime, "mean.nii.gz"), mean, grid_of_file(reference))


class _ScorePETInputSpec(BaseInterfaceInputSpec):
    pet = File(exists=True, mandatory=True, desc="PET on the T1w, NaN outside the field of view")
    t1w = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    mask = File(exists=True, mandatory=True, desc="its brain mask")


class _ScorePETOutputSpec(TraitedSpec):
    facts = traits.Dict(desc="score, as a sidecar says it")
    flags = traits.List(traits.Str, desc="coreg_suspect, or none")


class ScorePET(SimpleInterface):
    """Say how well a PET lies on its T1w."""

    input_spec = _ScorePETInputSpec
    output_spec = _ScorePETOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        pet, grid = load(given.pet)
        t1w, mask = (
            load_on(grid, file, ours="pet", theirs=name)
            for name, file in (("t1w", given.t1w), ("mask", given.mask))
        )
        with naming_files(pet=given.pet, t1w=given.t1w):
            score = coregistration(pet, t1w, mask > 0.5, voxel_mm=grid.voxel_mm)
        self._results["facts"] = score.facts()
        self._results["flags"] = score.flags()
        return runtime


class _RegisterPETInputSpec(BaseInterfaceInputSpec):
    pet = File(exists=True, mandatory=True, desc="mean over the window")
    t1w = File(exists=True, mandatory=True, desc="bias-corrected T1w")
    mask = File(exists=True, mandatory=True, desc="brain mask of the T1w")
    method = traits.Enum("auto", "identity", usedefault=True, desc="--pet2anat-method")


class _RegisterPETOutputSpec(TraitedSpec):
    xfm = File(exists=True, desc="rigid ITK transform: resamples PET onto T1w")
    facts = traits.Dict(desc="cost, initialisation")


class RegisterPET(SimpleInterface):
    """Rigid PET -> T1w, or the headers' positions as they are."""

    input_spec = _RegisterPETInputSpec
    output_spec = _RegisterPETOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.registration import RigidResult, lie_rigid, register_rigid

        given = self.inputs
        place = lie_rigid if given.method == "identity" else register_rigid
        with naming_files(pet=given.pet, t1w=given.t1w):
            found: RigidResult = place(
                ants.image_read(given.pet),
                ants.image_read(given.t1w),
                fixed_mask=ants.image_read(given.mask),
                out_dir=Path(runtime.cwd),
            )
        self._results |= rigid_results(found, out_path(runtime, "pet_to_t1w.txt"))
        return runtime
