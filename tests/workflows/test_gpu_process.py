"""One process serves a GPU: real steps and a real network, of which torch alone is deceived.

No GPU is needed. The steps ask for ``cuda``; in the process that serves it the network computes
on the CPU, slowly, and writes down when.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from nipype.pipeline.engine import Node, Workflow
from toys import AFFINE, SHAPE, save_nifti, tiny_config

from relad_bids.interfaces.network import SynthesisePET
from relad_workflows.execute import execute

STEP_S = 0.8
"""How long each preparation and each synthesis takes: many turns of the engine (0.1 s)."""


def tell(log, what, who, start):
    """One line a file, as two processes write at once."""
    path = Path(log) / f"{what}_{who}_{time.monotonic_ns()}.json"
    path.write_text(json.dumps({"what": what, "who": who, "span": [start, time.monotonic()]}))


class _PrepareInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    log = traits.Str(mandatory=True)
    who = traits.Str(mandatory=True)


class _PrepareOutputSpec(TraitedSpec):
    out_file = File(exists=True)


class Prepare(SimpleInterface):
    """Stands for registration: takes its time on a CPU."""

    input_spec = _PrepareInputSpec
    output_spec = _PrepareOutputSpec

    def _run_interface(self, runtime):
        start = time.monotonic()
        time.sleep(STEP_S)
        tell(self.inputs.log, "prepare", self.inputs.who, start)
        self._results["out_file"] = self.inputs.in_file
        return runtime


class _OnPretendedGPUInputSpec(SynthesisePET.input_spec):
    log = traits.Str(mandatory=True)
    who = traits.Str(mandatory=True)


class OnPretendedGPU(SynthesisePET):
    """The step as it is, in a process where ``cuda`` means the CPU and loading is told."""

    input_spec = _OnPretendedGPUInputSpec

    def _run_interface(self, runtime):
        start = time.monotonic()
        from relad_bids.model.predictor import Predictor

        log, who = self.inputs.log, self.inputs.who
        if not hasattr(Predictor, "as_it_is"):
            Predictor.as_it_is = Predictor.from_folder

            def load(folder, *, device):
                tell(log, "load", who, time.monotonic())
                assert device == "cuda"
                return Predictor.as_it_is(folder, device="cpu")

            Predictor.from_folder = load
        time.sleep(STEP_S)
        runtime = super()._run_interface(runtime)
        tell(log, "synthesise", who, start)
        return runtime


@pytest.fixture
def run(tmp_path, checkpoint):
    """Run sessions of two steps; return what was told, by kind, in time's order."""
    log, crash_dir = tmp_path / "log", tmp_path / "crashes"
    log.mkdir()
    crash_dir.mkdir()
    rng = np.random.default_rng(2)
    t1w = save_nifti(
        tmp_path / "t1w.nii.gz", rng.uniform(-1, 1, SHAPE).astype("f4"), np.array(AFFINE)
    )
    mask = save_nifti(tmp_path / "mask.nii.gz", np.ones(SHAPE, "u1"), np.array(AFFINE))

    def _run(n, nprocs):
        top, ends = Workflow(name="relad_wf", base_dir=str(tmp_path / "work")), []
        for i in range(n):
            told = {"log": str(log), "who": f"{i}"}
            session = Workflow(name=f"sub_{i}_wf")
            prepare = Node(Prepare(in_file=t1w, **told), name="prepare")
            synthesise = Node(
                OnPretendedGPU(
                    mask=mask, model_dir=str(checkpoint), tracers=["pib"], seeds=[i],
                    device="cuda", **told,
                ),
                name="synthesise",
            )  # fmt: skip
            session.connect(prepare, "out_file", synthesise, "t1w")
            top.add_nodes([session])
        config = tiny_config(tmp_path, nprocs=nprocs, device="cuda")
        execute(top, config=config, crash_dir=crash_dir, on_session=ends.append)
        assert not list(crash_dir.iterdir())
        assert ends == [f"sub_{i}_wf" for i in range(n)]
        told = [json.loads(path.read_text()) for path in log.iterdir()]
        told.sort(key=lambda one: one["span"])
        return {kind: [one for one in told if one["what"] == kind] for kind in
                ("prepare", "synthesise", "load")}  # fmt: skip

    return _run


def shared_s(one, other):
    """Seconds in which both were at work."""
    (a, b), (c, d) = one["span"], other["span"]
    return min(b, d) - max(a, c)


def test_weights_are_loaded_once_and_the_next_session_is_prepared_meanwhile(run):
    told = run(4, nprocs=2)
    assert len(told["load"]) == 1
    assert [one["who"] for one in told["synthesise"]] == ["0", "1", "2", "3"]
    for one, following in zip(told["synthesise"], told["synthesise"][1:], strict=False):
        assert shared_s(one, following) < 0  # one after the other
    first, prepared = told["synthesise"][0], {one["who"]: one for one in told["prepare"]}
    # Of two CPUs the GPU's process counts as one. Its step begins once 0 is prepared, with the
    # start of the process, so that what else was done before its end was done meanwhile.
    assert prepared["0"]["span"][1] < prepared["2"]["span"][0] < first["span"][1]
    assert prepared["3"]["span"][0] < told["synthesise"][2]["span"][0]
