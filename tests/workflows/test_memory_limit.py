"""A real limit on memory, as Slurm, Kubernetes and Docker set it: who is told, and what."""

import re
import subprocess
import sys
import time
from pathlib import Path

from cgroups import memory_limit

LIMIT_MB = 700
"""The process that plans takes 200 MB, and its worker the same pages once more at most."""

SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
from test_memory_limit import graph_of_a_glutton
from test_pool import units
from toys import tiny_config
from relad_bids.cli.outcome import read_crashes
from relad_bids.resources import available
from relad_workflows.execute import execute
root = Path({root!r})
(root / "crashes").mkdir()
print(available().memory_mb, available().memory_source)
done = []
execute(graph_of_a_glutton(root), config=tiny_config(root, nprocs=1),
        crash_dir=root / "crashes", on_session=done.append)
print(done)
for label, failed in read_crashes(root / "crashes", units("01", "02")).items():
    print(label, failed.exit_code, failed.reason)
"""


def eat(what, before=None):
    held = []
    while what == "all":  # 8 MB at a time, each page of it written
        held.append(bytearray(b"x") * 2**23)
    return what


def graph_of_a_glutton(root):
    """One session that takes all the memory there is, and one that takes none."""
    from nipype.interfaces.utility import Function
    from nipype.pipeline.engine import Node, Workflow

    top = Workflow(name="relad_wf", base_dir=str(root / "work"))
    for name, what in (("01", "all"), ("02", "little")):
        inner = Workflow(name=f"sub_{name}_wf")
        step = Function(["what", "before"], ["out"], eat)
        step.inputs.what = what
        inner.add_nodes([Node(step, name="synthesise")])
        top.add_nodes([inner])
    return top


def test_a_worker_killed_by_a_limit_of_memory_ends_its_session_alone(tmp_path):
    here = Path(__file__).parent
    script = SCRIPT.format(tests=str(here.parent), here=str(here), root=str(tmp_path))
    with memory_limit(LIMIT_MB) as (enter, _):
        began = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", enter, "sh", sys.executable, "-c", script],
            capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    limit, finished, failed = done.stdout.strip().splitlines()[:3]
    assert re.fullmatch(rf"{LIMIT_MB} cgroup v[12] memory\.\w+", limit)
    assert finished == "['sub_02_wf']"
    told = "the process of the step synthesise was killed (SIGKILL)."
    assert failed.startswith(f"sub-01 75 {told}")
    assert "memory runs out" in failed
    assert time.monotonic() - began < 60  # what is promised of a killed worker
