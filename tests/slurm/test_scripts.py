"""What singularity/slurm hands to sbatch and to relad-bids, with stand-ins for all three."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from stand_ins import set_up

SLURM = Path(__file__).parents[2] / "singularity" / "slurm"


@pytest.fixture
def site(tmp_path):
    return set_up(tmp_path, submit="sbatch", told="$((100 + n))", queue="squeue")


def call(script, folder, environ, *words, **more):
    command = [str(SLURM / script), *map(str, words)]
    return subprocess.run(
        command, env={**environ, **more}, cwd=folder, capture_output=True, text=True, check=False
    )


def submit(site, *flags, **more):
    folder, environ = site
    return call("submit.sh", folder, environ, "my data", "out", "work", *flags, **more)


def handed(site, n):
    return (site[0] / f"sbatch-{n}").read_text().splitlines()


def test_one_task_a_line_then_the_group_after_all_of_them(site):
    folder, _ = site
    (folder / "todo").write_text("sub-01\nsub-02\nsub-03\n")
    done = submit(site, "--pvc", "gtm", RELAD_SBATCH="-p long", RELAD_AT_ONCE="2")
    assert (done.returncode, done.stdout) == (0, "101 102\n"), done.stderr
    assert done.stderr == "relad-bids: so many to do\n"
    array, group = handed(site, 1), handed(site, 2)
    assert array[array.index("--array") + 1] == "1-3%2"
    assert {"-p", "long"} < set(array)
    (jobs,) = (folder / "work" / "slurm").iterdir()
    here = array.index(str(SLURM / "participant.sbatch"))
    assert array[here + 1 :] == [
        str(SLURM), str(jobs / "todo.tsv"), "0", f"{folder}/my data", f"{folder}/out",
        f"{folder}/work", "--pvc", "gtm",
    ]  # fmt: skip
    assert group[group.index("--dependency") + 1] == "afterany:101"
    asked = (folder / "app").read_text().splitlines()
    assert asked == [
        f"{folder}/my data", f"{folder}/out", "participant", "-w", f"{folder}/work",
        "--pvc", "gtm", "--list-missing", "participant",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("n", "arrays"),
    [(1000, ["1-1000%50"]), (1001, ["1-1000%50", "1-1%50"]), (2000, ["1-1000%50"] * 2)],
)
def test_more_tasks_than_an_array_may_have(site, n, arrays):
    (site[0] / "todo").write_text("".join(f"sub-{i}\n" for i in range(n)))
    assert submit(site).returncode == 0
    found = [handed(site, i + 1) for i in range(len(arrays))]
    assert [words[words.index("--array") + 1] for words in found] == arrays
    offsets = [words[words.index(str(SLURM / "participant.sbatch")) + 3] for words in found]
    assert offsets == ["0", "1000"][: len(arrays)]
    group = handed(site, len(arrays) + 1)
    ids = ":".join(str(101 + i) for i in range(len(arrays)))
    assert group[group.index("--dependency") + 1] == f"afterany:{ids}"


def test_nothing_missing_leaves_the_group_alone(site):
    assert submit(site).stdout == "101\n"
    assert "--dependency" not in handed(site, 1)


def test_without_group(site):
    (site[0] / "todo").write_text("sub-01\n")
    assert submit(site, RELAD_GROUP="none").stdout == "101\n"
    assert str(SLURM / "participant.sbatch") in handed(site, 1)


def test_while_jobs_wait_nothing_is_submitted_twice(site):
    (site[0] / "queue").write_text("17 RUNNING\n")
    done = submit(site)
    assert done.returncode == 75
    assert "have ended" in done.stderr
    assert not (site[0] / "sbatch-1").exists()


def test_an_error_of_the_program_stops_before_anything_is_submitted(site):
    folder, _ = site
    (folder / "bin" / "app").write_text("#!/bin/sh\necho 'relad-bids: not BIDS' >&2\nexit 16\n")
    done = submit(site)
    assert done.returncode == 1
    assert "relad-bids: not BIDS" in done.stderr
    assert not (folder / "sbatch-1").exists()


def test_too_few_words_show_how_it_is_called(site):
    done = call("submit.sh", *site, "my data")
    assert done.returncode == 64
    assert "submit.sh BIDS OUT WORK" in done.stderr


def task(site, line, *flags, offset=0, **more):
    folder, environ = site
    words = (SLURM, folder / "list", offset, folder / "my data", "/out", "/work", *flags)
    granted = {"SLURM_ARRAY_TASK_ID": str(line), "SLURM_CPUS_PER_TASK": "3", **more}
    done = call("participant.sbatch", folder, environ, *words, **granted)
    assert done.returncode == 0, done.stderr
    return (folder / "app").read_text().splitlines()


def test_a_task_takes_its_own_line_and_what_slurm_gave_it(site):
    (site[0] / "list").write_text("sub-01\nsub-02\n")
    words = task(site, 2, "--pvc", "gtm", SLURM_MEM_PER_NODE="4000")
    assert words[1:] == [
        "/out", "participant", "-w", "/work", "--nprocs", "3", "--mem", "4000", "--pvc", "gtm",
        "--participant-label", "sub-02",
    ]  # fmt: skip
    assert task(site, 1, offset=1)[-1] == "sub-02"


@pytest.mark.parametrize(
    ("granted", "mem"),
    [
        ({"SLURM_MEM_PER_CPU": "2000"}, ["--mem", "6000"]),
        ({"SLURM_MEM_PER_NODE": "0"}, []),
        ({}, []),
    ],
)
def test_memory_by_cpu_or_without_a_limit(site, granted, mem):
    (site[0] / "list").write_text("sub-01\n")
    words = task(site, 1, **granted)
    assert words[5 : 7 + len(mem)] == ["--nprocs", "3", *mem]


def test_a_task_of_a_session(site):
    (site[0] / "list").write_text("sub-01\tses-a\nsub-01\tses-b\n")
    assert task(site, 2)[-4:] == ["--participant-label", "sub-01", "--session-label", "ses-b"]


def test_in_a_container_folders_keep_their_names(site):
    (site[0] / "list").write_text("sub-01\n")
    words = task(site, 1, RELAD_SIF="/images/relad.sif", RELAD_GPU="1")
    data = f"{site[0]}/my data"
    assert words[:11] == [
        "run", "--cleanenv", "--no-home", "--nv", "-B", f"{data}:{data}:ro", "-B", "/out:/out",
        "-B", "/work:/work", "/images/relad.sif",
    ]  # fmt: skip
    assert "--nv" not in task(site, 1, RELAD_SIF="/images/relad.sif")


@pytest.mark.parametrize(("todo", "code"), [("", 0), ("sub-02\n", 1)])
def test_the_group_job_says_who_is_missing_and_goes_on(site, todo, code):
    folder, environ = site
    (folder / "todo").write_text(todo)
    words = (SLURM, folder, folder / "my data", "/out", "/work", "--pvc", "gtm")
    done = call("group.sbatch", folder, environ, *words, RELAD_GROUP="--combat site")
    assert done.returncode == code
    assert (folder / "missing.tsv").read_text() == todo
    assert "so many to do" in done.stdout
    assert (folder / "app").read_text().splitlines()[1:] == ["/out", "group", "--combat", "site"]
