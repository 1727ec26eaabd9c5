"""What singularity/pbs hands to qsub, and what its jobs do when they run, with stand-ins."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from stand_ins import set_up

SUBMIT = Path(__file__).parents[2] / "singularity" / "pbs" / "submit.sh"


@pytest.fixture
def site(tmp_path):
    return set_up(tmp_path, submit="qsub", told="$((100 + n))[].server", queue="qselect")


def call(site, command, **more):
    folder, environ = site
    return subprocess.run(
        [str(word) for word in command], env={**environ, **more}, cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def submit(site, *flags, **more):
    return call(site, [SUBMIT, "my data", "out", "work", *flags], **more)


def handed(site, n):
    return (site[0] / f"qsub-{n}").read_text().splitlines()


def run_job(site, n, **more):
    """As a node runs it: a copy of the script, somewhere else, with what PBS sets alone."""
    folder, environ = site
    copy = folder / "spool"
    copy.write_text(Path(handed(site, n)[-1]).read_text())
    keep = {name: environ[name] for name in ("PATH", "STATE")}
    done = subprocess.run(
        ["bash", copy], env={**keep, **more}, cwd="/", capture_output=True, text=True, check=False
    )
    return done, (folder / "app").read_text().splitlines()


def test_one_subjob_a_line_then_the_group_after_all_of_them(site):
    folder, _ = site
    (folder / "todo").write_text("sub-01\nsub-02\nsub-03\n")
    done = submit(
        site, "--bids-filter-file", "my $f.json", RELAD_QSUB="-q long", RELAD_AT_ONCE="2"
    )
    assert (done.returncode, done.stdout) == (0, "101[].server 102[].server\n"), done.stderr
    assert done.stderr == "relad-bids: so many to do\n"
    array, group = handed(site, 1), handed(site, 2)
    assert array[array.index("-J") + 1] == "1-3%2"
    assert len(array[array.index("-N") + 1]) <= 15
    assert {"-q", "long", "select=1:ncpus=2:mem=8gb", "walltime=02:00:00"} < set(array)
    assert group[group.index("-W") + 1] == "depend=afterany:101[].server"
    done, words = run_job(site, 1, PBS_ARRAY_INDEX="2")
    assert done.returncode == 0, done.stderr
    assert words == [
        f"{folder}/my data", f"{folder}/out", "participant", "-w", f"{folder}/work", "--nprocs",
        "2", "--mem", "8G", "--bids-filter-file", "my $f.json", "--participant-label", "sub-02",
    ]  # fmt: skip


def test_one_alone_is_no_array(site):
    (site[0] / "todo").write_text("sub-07\tses-a\n")
    more = {"RELAD_BY": "session", "RELAD_CPUS": "4", "RELAD_GB": "16", "RELAD_GROUP": "none"}
    assert submit(site, **more).stdout == "101[].server\n"
    assert "-J" not in handed(site, 1)
    assert "select=1:ncpus=4:mem=16gb" in handed(site, 1)
    _, words = run_job(site, 1)
    assert words[-4:] == ["--participant-label", "sub-07", "--session-label", "ses-a"]
    assert words[5:9] == ["--nprocs", "4", "--mem", "16G"]


def test_a_container_with_a_gpu(site):
    folder, _ = site
    (folder / "todo").write_text("sub-01\nsub-02\n")
    submit(site, RELAD_SIF="/images/relad.sif", RELAD_GPU="1")
    assert "select=1:ncpus=2:mem=8gb:ngpus=1" in handed(site, 1)
    data = f"{folder}/my data"
    _, words = run_job(site, 1, PBS_ARRAY_INDEX="1")
    assert words[:11] == [
        "run", "--cleanenv", "--no-home", "--nv", "-B", f"{data}:{data}:ro", "-B",
        f"{folder}/out:{folder}/out", "-B", f"{folder}/work:{folder}/work", "/images/relad.sif",
    ]  # fmt: skip
    _, words = run_job(site, 2)
    assert words[0] == "run"
    assert words[-1] == "group"


@pytest.mark.parametrize(("still", "code"), [("", 0), ("sub-02\n", 1)])
def test_the_group_job_names_who_is_missing(site, still, code):
    folder, _ = site
    assert submit(site, RELAD_GROUP="--combat site").stdout == "101[].server\n"
    assert "-W" not in handed(site, 1)
    (folder / "todo").write_text(still)
    done, words = run_job(site, 1)
    assert done.returncode == code, done.stderr
    assert words == [f"{folder}/my data", f"{folder}/out", "group", "--combat", "site"]
    (missing,) = (folder / "work" / "pbs").glob("*/missing.tsv")
    assert missing.read_text() == still


def test_while_jobs_wait_nothing_is_submitted_twice(site):
    (site[0] / "queue").write_text("17[].server\n")
    done = submit(site)
    assert done.returncode == 75
    assert "have ended" in done.stderr
    assert not (site[0] / "qsub-1").exists()


def test_an_error_of_the_program_stops_before_anything_is_submitted(site):
    (site[0] / "bin" / "app").write_text("#!/bin/sh\necho 'relad-bids: not BIDS' >&2\nexit 16\n")
    done = submit(site)
    assert done.returncode == 1
    assert "relad-bids: not BIDS" in done.stderr
    assert not (site[0] / "qsub-1").exists()


def test_too_few_words_show_how_it_is_called(site):
    done = call(site, [SUBMIT, "my data"])
    assert done.returncode == 64
    assert "submit.sh BIDS OUT WORK" in done.stderr
    assert "app.sh" in done.stderr
