"""A step is the same however its participants are divided: over time, and over processes.

Sums of float32 in another order differ in the seventh digit of a weight, and four steps move a
weight by a thousandth: the way differs in the fourth digit or later.
"""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import parallel_training as toy
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from relad_bids.errors import ConfigError
from relad_bids.model.learning import distributed
from relad_bids.model.learning.distributed import Processes, joined, own_share
from relad_bids.model.learning.loop import WATCHED

pytestmark = pytest.mark.xdist_group("torchrun")
TOGETHER = ("rela", "unet", "ddpm", "pix2pix")
ALIKE = 1e-4
"""As a part of the way from the first weights. Measured with and without AVX-512: 2e-5."""
WHOLE = dataclasses.replace(toy.CONFIG, batch_size=6, accumulate=1)


def difference(kind, ours, theirs):
    """Between the weights of two trainings, as a part of the way that they went."""
    model = toy.fresh(kind)
    trained = {weight for part in model.parts().values() for weight in part}
    start = {n: w.detach() for n, w in model.named_parameters() if w in trained}
    assert ours.keys() == theirs.keys() == model.state_dict().keys()
    apart = _length(ours[name].double() - theirs[name] for name in start)
    return apart / _length(theirs[name].double() - start[name] for name in start)


def _length(moves):
    return sum(float(move.square().sum()) for move in moves) ** 0.5


def require_alike(kind, ours, theirs):
    assert difference(kind, ours, theirs) < ALIKE


def require_same_logs(ours, theirs):
    """A margin is a difference of logits of about 1: it has no more digits than they."""
    ours = [{name: log[name] for name in log if name != WATCHED} for log in ours]
    assert [log.keys() for log in ours] == [log.keys() for log in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """Weights and logs of training with undivided steps."""
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = toy.run(kind, tmp_path_factory.mktemp(kind), WHOLE)
        return made[kind]

    return of


@pytest.mark.parametrize("kind", [*TOGETHER, "ddgan"])
@pytest.mark.parametrize(("size", "number"), [(3, 2), (1, 6)])
def test_batches_one_after_the_other_are_the_whole(wholes, kind, size, number, tmp_path):
    """Also where a batch has nobody with a scan, and where one has nothing for the critic."""
    divided = dataclasses.replace(toy.CONFIG, batch_size=size, accumulate=number)
    ours, said = toy.run(kind, tmp_path, divided)
    weights, logs = wholes(kind)
    require_alike(kind, ours, weights)
    require_same_logs(said, logs)


def test_another_walk_would_be_noticed(wholes, tmp_path, monkeypatch):
    """The tolerance is far below what one other participant among 24 makes."""
    monkeypatch.setattr(toy, "WALK", [17, *toy.WALK[1:]])
    ours, _ = toy.run("unet", tmp_path, WHOLE)
    assert difference("unet", ours, wholes("unet")[0]) > 10 * ALIKE


def torchrun(*arguments, n=2, timeout=600):
    """Run the toy training in ``n`` processes; all of them are gone afterwards."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n),
        toy.__file__, *map(str, arguments),
    ]  # fmt: skip
    kept = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    paths = os.pathsep.join([str(Path(toy.__file__).parent), *sys.path])
    with subprocess.Popen(
        command,
        env={**kept, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


@pytest.fixture(scope="module")
def parallel(tmp_path_factory):
    """Two processes on the CPU; all kinds one after the other, as folds are."""
    folder = tmp_path_factory.mktemp("parallel")
    code, output = torchrun(folder, *TOGETHER)
    assert code == 0, output
    return folder


def result(folder, kind, rank=0):
    content = torch.load(folder / f"{kind}-{rank}.pt", weights_only=True)
    return content["weights"], content["logs"]


@pytest.mark.parametrize("kind", TOGETHER)
def test_two_processes_are_one(parallel, wholes, kind):
    weights, logs = wholes(kind)
    ours, said = result(parallel, kind)
    require_alike(kind, ours, weights)
    require_same_logs(said, logs)


@pytest.mark.parametrize("kind", TOGETHER)
def test_all_processes_end_with_the_same_bits_and_the_first_one_talks(parallel, kind):
    """The others began with weights of their own, which nobody needs."""
    (ours, said), (theirs, silent) = (result(parallel, kind, rank) for rank in (0, 1))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (len(said), len(silent)) == (4, 0)


def test_each_process_reads_its_own_participants(parallel):
    """The regression is fitted by the first alone."""
    read = [
        list(map(int, (parallel / f"unet-read-{rank}.txt").read_text().split())) for rank in (0, 1)
    ]
    assert set(toy.FIRST) <= set(read[0])
    steps = [toy.WALK[at : at + 6] for at in range(0, 24, 6)]
    assert [index for index in read[0] if index < 100] == [i for step in steps for i in step[:3]]
    assert read[1] == [index for step in steps for index in step[3:]]


def test_one_process_writes(parallel):
    (events,) = (parallel / "rela").iterdir()
    shown = EventAccumulator(str(events)).Reload()
    assert [event.step for event in shown.Scalars("margin")] == [1, 2, 3, 4]
    assert sorted(path.name for path in parallel.glob("rela-*")) == [
        "rela-0.pt", "rela-1.pt", "rela-read-0.txt", "rela-read-1.txt", "rela-state.pt",
    ]  # fmt: skip


def test_a_stopped_pair_goes_on(parallel, tmp_path):
    """Power is cut after the second step: the state of the first is found by both."""
    code, output = torchrun(tmp_path, "--cut", 2, "unet")
    assert code != 0
    assert "PowerCutError" in output
    state = torch.load(tmp_path / "unet-state.pt", weights_only=True)
    assert state["step"] == 1
    code, output = torchrun(tmp_path, "unet")
    assert code == 0, output
    (ours, said), (theirs, logs) = result(tmp_path, "unet"), result(parallel, "unet")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert said == logs[1:]


@pytest.mark.parametrize(
    ("rank", "size", "own"), [(0, 1, range(6)), (0, 2, range(3)), (1, 2, range(3, 6))]
)
def test_shares_of_a_step(rank, size, own):
    assert own_share(6, Processes(rank, size)) == own


@pytest.mark.parametrize(("per_step", "size"), [(6, 4), (3, 2), (1, 2)])
def test_an_uneven_share_is_refused(per_step, size):
    message = rf"has {per_step} participants .* which {size} processes .* a multiple of {size}"
    with pytest.raises(ConfigError, match=message):
        own_share(per_step, Processes(0, size))


@pytest.mark.parametrize(
    ("device", "environment", "there", "needed"),
    [
        ("cuda", {}, 0, 1),
        ("cuda:1", {}, 0, 1),
        ("cuda", {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}, 3, 4),
    ],
)
def test_a_missing_gpu_is_no_silent_cpu(monkeypatch, device, environment, there, needed):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(
            ConfigError, match=rf"'{device}' .* shows {there} GPUs, {needed} are needed"
        ),
        joined(device),
    ):
        pass


@pytest.mark.parametrize(
    ("environment", "own"),
    [
        ({}, "cuda"),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, "cuda"),
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}, "cuda:3"),
    ],
)
def test_each_process_takes_the_gpu_of_its_place(monkeypatch, environment, own):
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    place = int(environment["LOCAL_RANK"]) if environment.get("WORLD_SIZE") == "8" else None
    assert distributed._own_device("cuda", place) == torch.device(own)
    assert chosen == ([] if place is None else [place])


@pytest.mark.parametrize("stray", [{}, {"WORLD_SIZE": "8"}, {"RANK": "0", "WORLD_SIZE": "1"}])
def test_without_torchrun_there_is_one_process(monkeypatch, stray):
    """A number of processes alone may come from anywhere."""
    for name, value in stray.items():
        monkeypatch.setenv(name, value)
    with joined("cpu") as processes:
        assert (processes.rank, processes.size, processes.first) == (0, 1, True)
        assert processes.share({"a": 1}) == {"a": 1}
        assert processes.gather(3) == [3]
