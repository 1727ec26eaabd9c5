"""Measured PET as Nipype steps: frames to one image, that image onto the T1w."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from numpy.typing import NDArray

from relad_bids.interfaces.base import grid_of_file, naming_files, out_path, save
from relad_bids.interfaces.mri import import_ants
from relad_bids.pet.frames import weighted_sum


class _AveragePETInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="PET of the dataset, 3-D or 4-D")
    weights = traits.List(traits.Float, mandatory=True, desc="of each frame")


class _AveragePETOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="mean over the window, 3-D")


class AveragePET(SimpleInterface):
    """Average the frames of the window; one is held in memory at a time."""

    input_spec = _AveragePETInputSpec
    output_spec = _AveragePETOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        image: Any = nb.load(self.inputs.in_file, keep_file_open=True)
        grid = grid_of_file(self.inputs.in_file)

        def read(number: int) -> NDArray[np.floating]:
            index = np.unravel_index(number, image.shape[3:]) if len(image.shape) > 3 else ()
            return np.asarray(image.dataobj[(..., *index)]).reshape(grid.shape)

        with naming_files(in_file=self.inputs.in_file):
            mean = weighted_sum(read, self.inputs.weights)
        self._results["out_file"] = save(out_path(runtime, "mean.nii.gz"), mean, grid)
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
        text = out_path(runtime, "pet_to_t1w.txt")
        ants.write_transform(ants.read_transform(str(found.transform_file)), str(text))
        self._results["xfm"] = str(text)
        self._results["facts"] = {"cost": float(found.cost), "init": found.start}
        return runtime
