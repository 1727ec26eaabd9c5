"""Threads of OpenMP, MKL, OpenBLAS, ITK and torch in a running job, counted by the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir() or len(os.sched_getaffinity(0)) < 2,
    reason="needs Linux and two CPUs",
)

FREE = """
import os
for name in {names!r}:
    os.environ[name] = "4"
import torch
torch.set_num_threads(4)
"""
BOUND = "from relad_bids.cli.run import quiet_environment\nquiet_environment()\n"

WORK = {
    "torch": """
import torch
x, w = torch.ones(1, 8, 48, 48, 48), torch.ones(8, 8, 3, 3, 3)
for _ in range({repeats}):
    torch.nn.functional.conv3d(x, w, padding=1)
""",
    "blas": """
import numpy as np
x = np.ones((900, 900))
for _ in range({repeats}):
    x @ x
""",
    "itk": """
import numpy as np
{ants}
image = ants.from_numpy(np.random.default_rng(0).random((90, 90, 90)).astype("float32"))
for _ in range({repeats}):
    ants.denoise_image(image, r=1)
""",
}
BUSY_S = 0.1
"""CPU time that makes a thread a working one; a pool's idle threads have a few hundredths."""


def working_threads(code: str) -> tuple[int, int]:
    """Run Python code; return how many of its threads worked, and how many there were at most."""
    seen: dict[str, int] = {}
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        most = 0
        while process.poll() is None:
            tasks = list(Path(f"/proc/{process.pid}/task").glob("*"))
            most = max(most, len(tasks))
            for task in tasks:
                try:
                    fields = (task / "stat").read_text().rpartition(")")[2].split()
                except OSError:  # the thread ended while it was looked at
                    continue
                seen[task.name] = int(fields[11]) + int(fields[12])  # utime, stime
            time.sleep(0.02)
    assert process.returncode == 0
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(ticked / ticks > BUSY_S for ticked in seen.values()), most


def code(work: str, *, bound: bool) -> str:
    """Enough work for a few seconds of one CPU."""
    from relad_bids.cli.run import THREADS

    repeats = {"torch": 20, "blas": 50, "itk": 1}[work]
    ours = "from relad_bids.interfaces.mri import import_ants\nants = import_ants()"
    ants = ours if bound else "import ants"
    body = WORK[work].format(repeats=repeats, ants=ants)
    return (BOUND if bound else FREE.format(names=THREADS)) + body


@pytest.mark.parametrize("work", WORK)
def test_one_thread_works_whatever_the_shell_says(work, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "8")
    assert working_threads(code(work, bound=True))[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("work", WORK)
def test_without_the_bound_the_same_work_takes_more(work):
    """The count sees threads where there are some: the test above is no vacuous one."""
    assert working_threads(code(work, bound=False))[0] > 1


def test_the_network_takes_as_many_threads_as_omp_nthreads():
    """Two tracers at once, one thread each: torch adds none of its own."""
    body = (
        BOUND
        + """
from concurrent.futures import ThreadPoolExecutor
from relad_bids.interfaces.network import _one_thread
import torch
x, w = torch.ones(1, 8, 48, 48, 48), torch.ones(8, 8, 3, 3, 3)
def work(_):
    for _ in range(20):
        torch.nn.functional.conv3d(x, w, padding=1)
with ThreadPoolExecutor(2, initializer=_one_thread) as pool:
    list(pool.map(work, range(2)))
"""
    )
    busy, _ = working_threads(body)
    # The two of the pool, and the main thread, which spends its time on imports.
    assert busy in (2, 3)
