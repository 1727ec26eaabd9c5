"""Workers that die, and what their steps, their sessions and the run become."""

import gc
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from nipype.interfaces.utility import Function
from nipype.pipeline.engine import Node, Workflow
from nipype.utils.filemanip import loadpkl
from toys import tiny_config

from relad_bids.cli.outcome import read_crashes
from relad_bids.sessions import Unit
from relad_workflows import pool
from relad_workflows.execute import execute
from relad_workflows.pool import WatchedPool, Worker, on_gpu

WITHIN_S = 60.0
"""What is promised: a killed worker ends the run within a minute."""


def do(what, before=None):
    import os
    import signal
    import time

    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "leave":
        os._exit(3)
    if what == "fail":
        raise ValueError("bad was given")
    if isinstance(what, float):
        time.sleep(what)
    return os.getpid()


@pytest.fixture
def crash_dir(tmp_path):
    folder = tmp_path / "crashes"
    folder.mkdir()
    return folder


def graph(tmp_path, sessions):
    """Each session is a chain of steps."""
    top = Workflow(name="relad_wf", base_dir=str(tmp_path / "work"))
    for name, steps in sessions.items():
        inner, last = Workflow(name=f"sub_{name}_wf"), None
        for i, what in enumerate(steps):
            step = Function(["what", "before"], ["out"], do)
            step.inputs.what = what
            node = Node(step, name=f"step{i}")
            inner.add_nodes([node])
            if last:
                inner.connect(last, "out", node, "before")
            last = node
        top.add_nodes([inner])
    return top


def units(*names):
    return [Unit(name, None, None, None, ()) for name in names]


def run(tmp_path, crash_dir, sessions, nprocs):
    done = []
    start = time.monotonic()
    execute(
        graph(tmp_path, sessions), config=tiny_config(tmp_path, nprocs=nprocs),
        crash_dir=crash_dir, on_session=done.append,
    )  # fmt: skip
    assert time.monotonic() - start < WITHIN_S
    return done


@pytest.mark.parametrize(
    ("what", "nprocs", "told"),
    [
        ("kill", 1, r"step step1 was killed \(SIGKILL\).*memory"),
        ("kill", 3, r"step step1 was killed \(SIGKILL\).*memory"),
        ("crash", 2, "step step1 was ended by SIGSEGV"),
        ("leave", 2, "step step1 ended by itself with code 3"),
    ],
)
def test_a_killed_worker_ends_its_session_in_words(tmp_path, crash_dir, nprocs, what, told):
    sessions = {"01": ["a", what, "b"], "02": ["a", 0.3, "b"], "03": ["a", "a"]}
    done = run(tmp_path, crash_dir, sessions, nprocs)
    assert sorted(done) == ["sub_02_wf", "sub_03_wf"]
    failed = read_crashes(crash_dir, units("01", "02", "03"))
    assert set(failed) == {"sub-01"}
    assert re.search(told, failed["sub-01"].reason, re.DOTALL)
    assert failed["sub-01"].exit_code == 75


def test_every_worker_killed_and_the_rest_still_done(tmp_path, crash_dir):
    sessions = {f"{i}": ["kill"] for i in range(4)} | {"good": ["a", "b", "c"]}
    assert run(tmp_path, crash_dir, sessions, 2) == ["sub_good_wf"]
    assert len(read_crashes(crash_dir, units("0", "1", "2", "3", "good"))) == 4


def test_a_session_is_told_when_its_last_step_is_done(tmp_path, crash_dir):
    done = run(tmp_path, crash_dir, {"01": ["a", "b"], "02": ["a", "fail", "b"]}, 1)
    assert done == ["sub_01_wf"]
    # Steps that are cached count as well.
    assert run(tmp_path, crash_dir, {"01": ["a", "b"]}, 1) == ["sub_01_wf"]


@pytest.mark.parametrize(("mem_mb", "together"), [(1024, False), (2048, True)])
def test_steps_that_do_not_fit_side_by_side_wait_for_each_other(
    tmp_path, crash_dir, mem_mb, together
):
    """Two steps of 0.6 GB each and two CPUs."""
    top = graph(tmp_path, {"01": [0.8], "02": [0.8]})
    for name in top.list_node_names():
        top.get_node(name)._mem_gb = 0.6
    execute(top, config=tiny_config(tmp_path, nprocs=2, mem_mb=mem_mb), crash_dir=crash_dir)
    pids = [loadpkl(path).outputs.out for path in (tmp_path / "work").rglob("result_*.pklz")]
    assert len(pids) == 2
    assert (
        len(set(pids)) == 2
    ) == together  # a step that waited was done by the process that was free


def test_a_worker_keeps_what_it_loaded():
    """One process for all its jobs, so that weights are loaded once."""
    worker = Worker()
    try:
        pids = {worker.submit(os.getpid).result() for _ in range(5)}
        assert len(pids) == 1
        os.kill(pids.pop(), signal.SIGKILL)
        time.sleep(0.5)
        assert worker.submit(os.getpid).result() > 0
    finally:
        worker.close()


class _Drops:
    """A step that lets go of what holds itself, and of small pieces under one that stays."""

    def run(self, updatehash):
        circle = []
        circle.append(circle)
        Gone(circle)
        pieces = [bytes(1000) for _ in range(200_000)]  # 200 MB, below what is mapped apart
        self.last = pieces[-1]

    result = None
    interface = None


class Gone(list):
    """May be watched; holds itself."""

    living: ClassVar = weakref.WeakSet()

    def __init__(self, circle):
        circle.append(self)
        super().__init__([circle])
        self.living.add(self)

    __hash__ = object.__hash__


def resident_mb():
    return (
        int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    )


def after_a_drop():
    """In a worker: what is alive and resident after a step that dropped all it had."""
    gc.disable()
    step, before = _Drops(), resident_mb()
    pool._run(step, False, 1)
    return len(Gone.living), resident_mb() - before


def test_a_step_leaves_nothing_in_its_worker():
    """Without a collection the circle lives; without trimming 200 MB stay resident."""
    worker = Worker()
    try:
        living, grown_mb = worker.submit(after_a_drop).result()
    finally:
        worker.close()
    assert living == 0
    assert grown_mb < 100  # half of what was dropped


class _Asks:
    def __init__(self, device, fullname="relad_wf.sub_01_wf.synthesise"):
        self.inputs = SimpleNamespace(**({"device": device} if device else {}))
        self.interface, self.fullname = None, fullname

    def run(self, updatehash):
        return os.getpid()

    result = None


def test_steps_on_a_gpu_go_to_one_process_one_after_the_other():
    assert [on_gpu(_Asks(d)) for d in ("cuda", "cuda:1", "cpu", None)] == [
        True,
        True,
        False,
        False,
    ]
    pool = WatchedPool({"n_procs": 3, "memory_gb": 1.0, "raise_insufficient": False})
    try:
        pids = set()
        for _ in range(3):
            taskid = pool._submit_job(_Asks("cuda"))
            assert pool._submit_job(_Asks("cuda:0")) is None  # it waits, and holds no CPU
            other = pool._submit_job(_Asks("cpu"))
            while not (result := pool._get_result(taskid)):
                time.sleep(0.01)
            while not (apart := pool._get_result(other)):
                time.sleep(0.01)
            assert apart["result"] != result["result"]
            pids.add(result["result"])
            pool._clear_task(taskid)
            pool._clear_task(other)
        assert len(pids) == 1
    finally:
        pool.close()


SCRIPT = """
import signal, sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
from test_pool import graph
from toys import tiny_config
from relad_bids.cli.stopping import stoppable
from relad_bids.errors import Stopped
from relad_workflows.execute import execute
root = Path({root!r})
(root / "crashes").mkdir()
# Whoever started the tests in the background may have had it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with stoppable():
        execute(graph(root, {{"01": [60.0], "02": [60.0]}}), config=tiny_config(root, nprocs=2),
                crash_dir=root / "crashes")
except Stopped as stop:
    print("stopped by", stop)
    sys.exit(stop.exit_code)
"""


def children(pid):
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in text.split()]
    except OSError:
        return []


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_process(tmp_path, number):
    """To the program alone, and to all of its processes as schedulers do; killed, it cannot say
    anything, but its workers go with it."""
    here = Path(__file__).parent
    script = SCRIPT.format(tests=str(here.parent), here=str(here), root=str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    began = time.monotonic()
    while len(workers := children(process.pid)) < 2 and time.monotonic() - began < 30:
        time.sleep(0.05)
    assert len(workers) == 2
    time.sleep(0.3)
    if number == signal.SIGTERM:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, _ = process.communicate(timeout=30)  # the grace that schedulers give
    if number == signal.SIGKILL:
        assert process.returncode == -9
    else:
        assert process.returncode == 128 + number
        assert out.strip() == f"stopped by {number.name}"
    time.sleep(0.3)
    assert not [pid for pid in workers if alive(pid)]
