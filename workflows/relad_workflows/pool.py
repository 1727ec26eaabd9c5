"""Workers that are watched: a killed one ends its own step, in words, and no other.

Nipype's pool waits for ever for a worker that was killed (nipreps/fmriprep#1207). Here each
worker is a pool of one process, which does one step after the other and keeps what it loaded: when
it dies, whose step that was is known. The process that plans only ever waits, so that it can
answer a signal at once, which a long call into ITK cannot.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing as mp
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from relad_bids.errors import WorkerKilledError
from relad_bids.turns import Waiting, in_turn, sessions_in_turn

_C = ctypes.CDLL(None)

_PR_SET_PDEATHSIG = 1
"""``prctl(2)``: the signal to get when the parent dies."""

_REAP_S = 10.0
"""A dead process is known as such within milliseconds; this bounds what cannot happen."""


class Worker:
    """One process; another one is started where it died."""

    def __init__(self, method: str = "fork") -> None:
        self._context = mp.get_context(method)
        self._executor: ProcessPoolExecutor | None = None
        self._process: Any = None

    def submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            return self._submit(call, *arguments)
        except BrokenProcessPool:  # it died while it had nothing to do
            self.bury()
            return self._submit(call, *arguments)

    def _submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                1,
                mp_context=self._context,
                initializer=_begin,
                initargs=(os.getpid(), str(Path.cwd())),
            )
        before = set(mp.active_children())
        future = self._executor.submit(call, *arguments)
        self._process = next(iter(set(mp.active_children()) - before), self._process)
        return future

    def bury(self) -> int | None:
        """Give up a dead process; return its exit code, below 0 for a signal."""
        last = time.monotonic() + _REAP_S
        # The executor's own thread may hear of the death first, and tells it a little later.
        code: int | None
        while (code := self._process.exitcode) is None and time.monotonic() < last:
            time.sleep(0.01)
        self.close()
        return code

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self.close()

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = None
        self._process = None


def _begin(parent: int, folder: str) -> None:
    """Leave signals to the parent, and die with it, however it dies."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _C.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it was asked to tell
        os._exit(1)
    os.chdir(folder)


def _run(node: Any, updatehash: bool, taskid: int) -> dict[str, Any]:
    """Do a step as Nipype does it, and give its memory back.

    Figures hold themselves in circles, 150 MB a page, which Python looks for after many steps
    only; and what the C library was given back it keeps: half of what a worker holds.
    """
    result: dict[str, Any] = run_node(node, updatehash, taskid)
    gc.collect()
    if hasattr(_C, "malloc_trim"):  # of glibc
        _C.malloc_trim(0)
    return result


@dataclass(frozen=True)
class _Job:
    worker: Worker
    future: Future[Any]
    node: str


class WatchedPool(MultiProcPlugin):  # type: ignore[misc] # Nipype has no types
    """Nipype's engine with watched workers; steps on a GPU all go to one process.

    That process loads the weights once for all sessions, while the others prepare the next ones.
    Sessions are finished one after the other as far as there is work for all CPUs, so that a run
    that ends early leaves whole sessions, and a GPU has its first images after minutes.

    Parameters
    ----------
    plugin_args
        As of Nipype's MultiProc.
    on_session
        Called with the name of a session's graph once all of its steps are done.
    """

    def __init__(
        self, plugin_args: dict[str, Any], *, on_session: Callable[[str], None] = lambda _: None
    ) -> None:
        super().__init__(plugin_args=plugin_args)
        self._free = [Worker() for _ in range(self.processors)]
        # A process that was forked cannot use CUDA where its parent has asked for it.
        self._free_gpu = [Worker("spawn")]
        self._every = [*self._free, *self._free_gpu]
        self._jobs: dict[int, _Job] = {}
        self._on_session = on_session
        self._steps_left: Counter[str] = Counter()

    def _generate_dependency_list(self, graph: Any) -> None:
        super()._generate_dependency_list(graph)
        sessions = [_session(node) for node in self.procs]
        self._steps_left = Counter(sessions)
        self._ranks = sessions_in_turn(sessions)
        self._gpu = [on_gpu(node) for node in self.procs]
        self.depidx = Waiting(graph, self.procs)
        # Nipype collects garbage at every turn: half a second where it looks through the steps
        # of 200 sessions, which are none before the end.
        gc.freeze()

    def _sort_jobs(self, jobids: Iterable[int], scheduler: str | None = None) -> list[int]:
        return in_turn(map(int, jobids), self._ranks, self._gpu, busy=not self._free_gpu)

    def _submit_job(self, node: Any, updatehash: bool = False) -> int | None:
        free = self._free_gpu if on_gpu(node) else self._free
        if not free:
            return None  # asked again at the next turn
        self._taskid += 1
        worker = free.pop()
        future = worker.submit(_run, node, updatehash, self._taskid)
        self._jobs[self._taskid] = _Job(worker, future, node.fullname)
        return int(self._taskid)

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        job = self._jobs[taskid]
        if not job.future.done():
            return None
        try:
            return dict(job.future.result())
        except BrokenProcessPool:
            error: Exception = WorkerKilledError(_killed(job.node, job.worker.bury()))
        except Exception as failure:  # noqa: BLE001 - what cannot be sent to a worker, or back
            error = failure
        return {"result": None, "traceback": format_exception(error), "taskid": taskid}

    def _clear_task(self, taskid: int) -> None:
        worker = self._jobs.pop(taskid).worker
        (self._free_gpu if worker is self._every[-1] else self._free).append(worker)

    def _task_finished_cb(self, jobid: int, cached: bool = False) -> None:
        self.proc_pending[jobid] = False
        self.depidx.finished(jobid)
        session = _session(self.procs[jobid])
        self._steps_left[session] -= 1
        if not self._steps_left[session]:
            self._on_session(session)

    def _postrun_check(self) -> None:
        self.close()

    def close(self) -> None:
        """End every worker; one that is at work is killed."""
        busy = [job.worker for job in self._jobs.values()]
        for worker in self._every:
            (worker.kill if worker in busy else worker.close)()
        self._jobs.clear()
        self.pool.shutdown()  # Nipype's own, in which no process was ever started
        gc.unfreeze()


def on_gpu(node: Any) -> bool:
    """Whether a step asks a network on a GPU."""
    return str(getattr(node.inputs, "device", "")).startswith("cuda")


def _session(node: Any) -> str:
    """``relad_wf.sub_01_wf.synthesise`` -> ``sub_01_wf``"""
    return str(node.fullname).split(".")[1]


def _killed(node: str, code: int | None) -> str:
    step = node.rpartition(".")[2]
    if code == -signal.SIGKILL:
        told = (
            "was killed (SIGKILL). That is what the kernel, a container or a scheduler does when "
            "memory runs out. Grant more memory, or do less at once with --nprocs and --mem"
        )
    elif code is not None and code < 0:
        told = (
            f"was ended by {signal.Signals(-code).name}; that is a fault of a library, or memory"
        )
    else:
        told = f"ended by itself with code {code}"
    return (
        f"the process of the step {step} {told}. Run the same command again: finished sessions "
        "and steps are kept."
    )
