"""The array of singularity/slurm on a real scheduler: killed, submitted again, same tables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import cluster, finish, lacking, queue

from relad_bids.phantom.dataset import write_dataset

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
]

ROOT = Path(__file__).parents[2]
FLAGS = ("--sloppy", "--synth-tracers", "pib", "--real-pet", "ignore")
LIMIT_S = 1800
"""A participant takes two minutes of CPU; a busy machine makes several of it."""


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    """The environment in which the cluster is found, and this checkout is relad-bids."""
    folder = tmp_path_factory.mktemp("slurm")
    program = folder / "relad-bids"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m relad_bids "$@"\n')
    program.chmod(0o755)
    with cluster(folder / "cluster") as found:
        yield {
            **found,
            "RELAD_BIDS": str(program),
            "RELAD_SBATCH": "--mem=3G",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'workflows'}",
        }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "bids"
    write_dataset(out, n=2, preset="strong", seed=3, voxel_mm=4.0, pet_participants=0)
    return out


def submit(bids: Path, folder: Path, environ: dict) -> subprocess.CompletedProcess[str]:
    script = ROOT / "singularity" / "slurm" / "submit.sh"
    command = [str(script), str(bids), str(folder / "out"), str(folder / "work"), *FLAGS]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def wait_for(condition, what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {LIMIT_S} s"
        time.sleep(0.5)


def tables(out: Path) -> dict[str, bytes]:
    """All tables of numbers, of participants and of the group."""
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*_kinpar.tsv")}


def test_a_killed_task_is_submitted_again_alone_and_nothing_differs(environ, dataset, tmp_path):
    first = submit(dataset, tmp_path, environ)
    assert first.returncode == 0, first.stderr
    array, _ = first.stdout.split()
    refused = submit(dataset, tmp_path, environ)
    assert refused.returncode == 75
    assert "are still waiting or running" in refused.stderr

    work, out = tmp_path / "work", tmp_path / "out"
    began = lambda: list(work.glob("relad_bids-*/relad_wf/sub_002_wf/prepare_t1w_wf/*"))  # noqa: E731
    wait_for(began, "the second task begins")
    assert f"{array}_2 RUNNING" in queue(environ)
    subprocess.run(["scancel", f"{array}_2"], env=environ, check=True)
    finish(environ, timeout_s=LIMIT_S)
    (jobs,) = (work / "slurm").iterdir()
    assert (jobs / "todo.tsv").read_text() == "sub-001\nsub-002\n"
    assert (jobs / "missing.tsv").read_text() == "sub-002\n", (jobs / "group.log").read_text()
    stopped = "sub-002: failed: was not finished when the run was stopped (SIGTERM)"
    assert stopped in (jobs / "missing.log").read_text()
    assert [name for name in tables(out) if "sub-002" in name] == []
    before = {name: (out / name).stat().st_mtime_ns for name in tables(out) if "/" in name}
    assert before

    second = submit(dataset, tmp_path, environ)
    assert second.returncode == 0, second.stderr
    assert second.stderr.endswith("2 sessions asked for, 1 participants to do\n")
    finish(environ, timeout_s=LIMIT_S)
    *_, jobs = sorted((work / "slurm").iterdir())
    assert (jobs / "todo.tsv").read_text() == "sub-002\n"
    assert (jobs / "missing.tsv").read_text() == ""
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}

    plain = tmp_path / "plain"
    for level in ("participant", "group"):
        flags = ("-w", str(tmp_path / "w"), "--nprocs", "1", *FLAGS) if level[0] == "p" else ()
        command = [environ["RELAD_BIDS"], str(dataset), str(plain), level, *flags]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert len(tables(plain)) == 3
    assert tables(out) == tables(plain)
    print(f"\n{len(tables(plain))} tables by Slurm and without: the same bytes")
    nothing = submit(dataset, tmp_path, {**os.environ, **environ, "RELAD_GROUP": "none"})
    assert (nothing.returncode, nothing.stdout) == (0, "\n")
