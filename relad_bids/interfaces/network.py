"""Synthesis as Nipype steps: normalise by the card's contract, run the network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from numpy.typing import NDArray

from relad_bids.core.grid import Grid
from relad_bids.core.intensity import (
    MRIContract,
    activity_from_network,
    normalise_mri,
    stack_mri,
)
from relad_bids.core.samples import Moments, has_spread
from relad_bids.interfaces.base import load, load_on, naming_files, out_path, save


class _NormaliseMRIInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="MRI on the network's grid, any unit")
    mask_file = File(exists=True, mandatory=True, desc="brain mask on the same grid")
    contract = traits.Dict(mandatory=True, desc="fields of MRIContract")
    exclude_file = File(exists=True, desc="lesion on the same grid, which sets no scale")


class _NormaliseMRIOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="MRI in [-1, 1], -1 outside the brain")
    scale = traits.Dict(desc="the scale as its sidecar tells it")


class NormaliseMRI(SimpleInterface):
    """Bring one MRI to what the network was trained on."""

    input_spec = _NormaliseMRIInputSpec
    output_spec = _NormaliseMRIOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        with naming_files(in_file=self.inputs.in_file, mask_file=self.inputs.mask_file):
            image, grid = load(self.inputs.in_file)
            mask = load_on(grid, self.inputs.mask_file, ours="in_file", theirs="mask_file") > 0
            contract = MRIContract(**self.inputs.contract)
            made = normalise_mri(image, mask, contract, exclude=self._excluded(grid))
        self._results["out_file"] = save(out_path(runtime, "norm.nii.gz"), made.data, grid)
        self._results["scale"] = {"IntensityNormalisation": made.told(contract)}
        return runtime

    def _excluded(self, grid: Grid) -> NDArray[np.bool_] | None:
        file = self.inputs.exclude_file
        if not isdefined(file):
            return None
        return load_on(grid, file, ours="in_file", theirs="exclude_file") > 0.5


def network_mem_gb(shape: tuple[int, int, int], *, at_once: int = 1) -> float:
    """Peak of a process that asks a network on a grid of ``shape`` in float32, with its imports.

    Measured 1.2 GB at 80 x 92 x 80 and 4.8 GB at 160 x 180 x 160; ``at_once`` tracers are asked
    for together.
    """
    return 1.0 + at_once * 0.85e-6 * math.prod(shape)


class _SynthesisePETInputSpec(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True, desc="normalised T1w on the network's grid")
    mask = File(exists=True, mandatory=True, desc="brain mask on the same grid")
    flair = File(exists=True, desc="normalised FLAIR; left out means 'no FLAIR' to the network")
    model_dir = traits.Str(mandatory=True, desc="checkpoint folder")
    weights = traits.Str(desc="SHA-256 of the checkpoint: with another one the step runs anew")
    tracers = traits.List(traits.Str, mandatory=True, desc="canonical names")
    seeds = traits.List(traits.Int, mandatory=True, desc="one a tracer")
    n_samples = traits.Range(low=1, value=1, usedefault=True, desc="draws for each image")
    steps = traits.Int(desc="calls of the network for each draw; default: the checkpoint's")
    device = traits.Str("cpu", usedefault=True, desc="where the network runs: cpu, cuda, cuda:N")
    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="tracers asked for at once")


class _SynthesisePETOutputSpec(TraitedSpec):
    out_files = traits.List(
        File(exists=True), desc="activity, mean of the samples, one image a tracer, true zero"
    )
    sample_files = traits.List(
        File(exists=True), desc="samples of the first tracer, of the second ...; none if too few"
    )


class SynthesisePET(SimpleInterface):
    """Ask the network for each tracer, undo the intensity contract, average.

    One node for all tracers: the weights are loaded once, the MRI read once. Samples come one by
    one and are kept as files.
    """

    input_spec = _SynthesisePETInputSpec
    output_spec = _SynthesisePETOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        predictor = _predictor(given.model_dir, given.device)
        with naming_files(t1w=given.t1w, flair=given.flair):
            t1w, grid = load(given.t1w)
            mask = load_on(grid, given.mask, ours="t1w", theirs="mask") > 0
            flair = None
            if isdefined(given.flair):
                flair = load_on(grid, given.flair, ours="t1w", theirs="flair")
            mri = stack_mri({"T1w": t1w, "FLAIR": flair}, predictor.card.sequences)

        def image(tracer: str, seed: int) -> tuple[str, list[str]]:
            """The mean of one tracer's samples, and the samples where their spread will count."""
            moments, kept = Moments(), []
            for activity in self._samples(predictor, mri, mask, tracer, seed):
                if has_spread(given.n_samples):
                    path = out_path(runtime, f"{tracer}_{moments.n}.nii.gz")
                    kept.append(save(path, activity, grid))
                moments.add(activity)
            return save(out_path(runtime, f"{tracer}.nii.gz"), moments.mean, grid), kept

        at_once = 1 if given.device != "cpu" else given.num_threads
        with ThreadPoolExecutor(at_once, initializer=_one_thread) as pool:
            made = list(pool.map(image, given.tracers, given.seeds))
        self._results["out_files"] = [mean for mean, _ in made]
        self._results["sample_files"] = [path for _, kept in made for path in kept]
        return runtime

    def _samples(
        self, predictor: Any, mri: NDArray, mask: NDArray, tracer: str, seed: int
    ) -> Iterator[NDArray[np.float32]]:
        """Yield one activity after the other, 0 outside the brain."""
        steps = self.inputs.steps if isdefined(self.inputs.steps) else None
        for x in predictor.draws(
            mri, tracer, n_samples=self.inputs.n_samples, steps=steps, seed=seed
        ):
            activity = activity_from_network(
                x,
                contract=predictor.card.pet_contract,
                suvr_max=predictor.card.tracer(tracer).suvr_max,
            )
            yield np.where(mask, activity, 0).astype(np.float32)


def _one_thread() -> None:
    """Compute on this thread alone, so that a sum never depends on how many there are.

    oneDNN cuts a convolution differently for another number of threads, and the last digit of
    the answer with it.
    """
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # masked volumes breed denormals, slow on CPUs


@lru_cache(maxsize=1)
def _predictor(model_dir: str, device: str) -> Any:
    """Load a checkpoint once per process, however many participants pass through it."""
    from relad_bids.model.predictor import Predictor

    return Predictor.from_folder(Path(model_dir), device=device)
