"""Synthesis as Nipype steps: normalise by the card's contract, run the network."""

from __future__ import annotations

from functools import lru_cache
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

from relad_bids.core.intensity import (
    MRIContract,
    activity_from_network,
    normalise_mri,
    stack_mri,
)
from relad_bids.interfaces.base import load, load_on, naming_files, out_path, save


class _NormaliseMRIInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="MRI on the network's grid, any unit")
    mask_file = File(exists=True, mandatory=True, desc="brain mask on the same grid")
    contract = traits.Dict(mandatory=True, desc="fields of MRIContract")


class _NormaliseMRIOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="MRI in [-1, 1], -1 outside the brain")
    scale = traits.Dict(desc="intensities that became -1 and +1")


class NormaliseMRI(SimpleInterface):
    """Bring one MRI to what the network was trained on."""

    input_spec = _NormaliseMRIInputSpec
    output_spec = _NormaliseMRIOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        with naming_files(in_file=self.inputs.in_file, mask_file=self.inputs.mask_file):
            image, grid = load(self.inputs.in_file)
            mask = load_on(grid, self.inputs.mask_file, ours="in_file", theirs="mask_file") > 0
            made = normalise_mri(image, mask, MRIContract(**self.inputs.contract))
        self._results["out_file"] = save(out_path(runtime, "norm.nii.gz"), made.data, grid)
        self._results["scale"] = {"lower": made.lower, "upper": made.upper}
        return runtime


class _SynthesisePETInputSpec(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True, desc="normalised T1w on the network's grid")
    mask = File(exists=True, mandatory=True, desc="brain mask on the same grid")
    flair = File(exists=True, desc="normalised FLAIR; left out means 'no FLAIR' to the network")
    model_dir = traits.Str(mandatory=True, desc="checkpoint folder")
    tracers = traits.List(traits.Str, mandatory=True, desc="canonical names")
    device = traits.Enum("cpu", "cuda", usedefault=True, desc="where the network runs")
    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="CPU threads of torch")


class _SynthesisePETOutputSpec(TraitedSpec):
    out_files = traits.List(File(exists=True), desc="activity, one image a tracer, true zero")


class SynthesisePET(SimpleInterface):
    """Ask the network for each tracer and undo the intensity contract.

    One node for all tracers: the weights are loaded once, the MRI read once.
    """

    input_spec = _SynthesisePETInputSpec
    output_spec = _SynthesisePETOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        import torch

        torch.set_num_threads(self.inputs.num_threads)
        torch.set_flush_denormal(True)  # masked volumes breed denormals, slow on CPUs
        predictor = _predictor(self.inputs.model_dir, self.inputs.device)
        with naming_files(t1w=self.inputs.t1w, flair=self.inputs.flair):
            t1w, grid = load(self.inputs.t1w)
            mask = load_on(grid, self.inputs.mask, ours="t1w", theirs="mask") > 0
            flair = None
            if isdefined(self.inputs.flair):
                flair = load_on(grid, self.inputs.flair, ours="t1w", theirs="flair")
            mri = stack_mri({"T1w": t1w, "FLAIR": flair}, predictor.card.sequences)
        self._results["out_files"] = []
        for tracer in self.inputs.tracers:
            x = predictor.predict(mri, tracer)[:, 0].mean(axis=0)
            activity = activity_from_network(
                x,
                contract=predictor.card.pet_contract,
                suvr_max=predictor.card.tracer(tracer).suvr_max,
            )
            activity = np.where(mask, activity, 0).astype(np.float32)
            path = out_path(runtime, f"{tracer}.nii.gz")
            self._results["out_files"].append(save(path, activity, grid))
        return runtime


@lru_cache(maxsize=1)
def _predictor(model_dir: str, device: str) -> Any:
    """Load a checkpoint once per process, however many participants pass through it."""
    from relad_bids.model.predictor import Predictor

    return Predictor.from_folder(Path(model_dir), device=device)
