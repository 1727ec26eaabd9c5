import os
from pathlib import Path

import numpy as np
import pytest
from nipype.pipeline.engine import Node, Workflow
from toys import oblique, tiny_config, tiny_unit

from relad_bids.cli.outcome import Outcome, crash_files, read_crashes
from relad_bids.interfaces.network import NormaliseMRI
from relad_bids.sessions import Left, Unit
from relad_workflows.execute import execute


def unit(subject="01", session=None):
    return Unit(subject, session, Path("t1w"), None, ())


def left(code, subject="09"):
    return Left(f"sub-{subject}", subject, None, "flag", "reason", code)


@pytest.mark.parametrize(
    ("n_done", "codes", "expected"),
    [
        (2, (), 0),
        (1, (0, 0), 0),  # left out on request
        (0, (0,), 66),  # nothing was done at all
        (0, (), 66),
        (1, (66,), 66),
        (0, (66, 66), 66),
        (1, (0, 65), 65),
        (3, (65, 66), 1),  # two reasons
        (3, (1,), 1),
        (0, (0, 65, 66), 1),
    ],
)
def test_exit_code(n_done, codes, expected):
    done = tuple(unit(f"0{i}") for i in range(n_done))
    assert Outcome(done, tuple(left(code) for code in codes)).exit_code() == expected


def test_last_line_counts_each_once():
    outcome = Outcome((unit(), unit("02")), (), (left(65),))
    assert outcome.exit_code() == 65
    assert outcome.last_line() == "1 done, 1 done in part, 0 left out, 0 failed"
    outcome = Outcome((unit(),), (left(0), left(65), left(1)))
    assert outcome.last_line() == "1 done, 1 left out, 2 failed"
    assert [one.exit_code for one in outcome.failed] == [65, 1]


@pytest.fixture
def crash(tmp_path, make_nifti):
    """Run one graph in which some sessions normalise an empty brain; return its crash folder."""
    affine = oblique()
    image = make_nifti("t1w.nii.gz", np.random.default_rng(1).random((6, 9, 7)), affine)
    masks = {
        fails: make_nifti(f"m{fails}.nii.gz", np.full((6, 9, 7), not fails, np.uint8), affine)
        for fails in (True, False)
    }

    def run(sessions, *, contract=None):
        config = tiny_config(tmp_path)
        top = Workflow(name="relad_wf", base_dir=str(tmp_path / "work"))
        for one, fails in sessions.items():
            step = NormaliseMRI(in_file=image, mask_file=masks[fails], contract=contract or {})
            inner = Workflow(name="t1w_to_network_wf")
            inner.add_nodes([Node(step, name="normalise")])
            session = Workflow(name=one.graph_name)
            session.add_nodes([inner])
            top.add_nodes([session])
        crash_dir = tmp_path / "crashes"
        crash_dir.mkdir()
        execute(top, config=config, crash_dir=crash_dir)
        return crash_dir

    return run


A, B, C = unit("01"), unit("02", "a"), unit("0+2", "a")


def test_the_reason_comes_out_of_the_crash_file(crash):
    """Message and files of the core's error; the session that went well is not there."""
    folder = crash({A: False, B: True, C: True})
    found = read_crashes(folder, [A, B, C])
    assert set(found) == {"sub-02_ses-a", "sub-0+2_ses-a"}
    failed = found["sub-02_ses-a"]
    assert (failed.subject, failed.session, failed.flag) == ("02", "a", "failed")
    assert failed.exit_code == 65
    first, *files = failed.reason.splitlines()
    assert first == "the brain mask is empty on the network's grid: nothing to normalise."
    assert [line.split(":")[0].strip() for line in files] == ["in_file", "mask_file"]


def test_crash_files_are_found_by_what_they_say(crash):
    """Nipype names them after the step alone, so two sessions crash under one name."""
    folder = crash({A: True, B: True})
    found = crash_files(folder, [A, B])
    assert set(found) == {"sub-01", "sub-02_ses-a"}
    assert all(len(paths) == 1 for paths in found.values())
    assert "sub_01" in found["sub-01"][0].read_text()
    assert crash_files(folder, [A]).keys() == {"sub-01"}


def test_an_error_that_nobody_foresaw(crash):
    """The last line of the traceback, the step, and where the whole story is; code 1."""
    folder = crash({A: True}, contract={"colour": 3})
    failed = read_crashes(folder, [A])["sub-01"]
    assert failed.exit_code == 1
    assert failed.reason.startswith("the step normalise stopped with: ")
    assert "TypeError" in failed.reason
    assert "colour" in failed.reason
    (path,) = folder.iterdir()
    assert str(path) in failed.reason


@pytest.mark.parametrize(
    "last",
    [
        "MemoryError: Unable to allocate 3.2 GiB for an array with shape (512, 512, 512)",
        "MemoryError",
        "OSError: [Errno 12] Cannot allocate memory",
        "RuntimeError: Failed to allocate memory for image.",
        "RuntimeError: std::bad_alloc",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate",
    ],
)
def test_memory_that_was_refused_has_the_code_of_memory(tmp_path, last):
    """Under ``ulimit -v`` nothing is killed: the step is told no."""
    path = tmp_path / "crash-20260101-000000-me-a.txt"
    path.write_text(
        f"Node: relad_wf.{A.graph_name}.warp_parcellation\nTraceback (most recent call last):\n"
        f"  File x\n{last}\n"
    )
    failed = read_crashes(tmp_path, [A])["sub-01"]
    assert failed.exit_code == 75
    assert failed.reason.startswith("the step warp_parcellation was not given the memory that it")
    assert last.strip() in failed.reason
    assert "--mem" in failed.reason


def write_crash(folder, name, session, message, when):
    path = folder / f"crash-20260101-000000-me-{name}.txt"
    path.write_text(
        f"Node: relad_wf.{session}.{name}\nWorking directory: /w\n\nNode inputs:\n\nx = 1\n\n"
        f"Traceback (most recent call last):\n\trelad_bids.errors.ImageError: {message}\n\n"
    )
    os.utime(path, ns=(when, when))


def test_the_first_crash_is_the_one_that_is_told(tmp_path):
    write_crash(tmp_path, "a", A.graph_name, "second", 2_000_000_000)
    write_crash(tmp_path, "z", A.graph_name, "first", 1_000_000_000)
    assert read_crashes(tmp_path, [A])["sub-01"].reason == "first"
    assert len(crash_files(tmp_path, [A])["sub-01"]) == 2


def test_one_label_that_begins_like_another(tmp_path):
    write_crash(tmp_path, "a", "sub_011_wf", "x", 1)
    assert read_crashes(tmp_path, [unit("01"), unit("011")]).keys() == {"sub-011"}


def test_no_crash(tmp_path):
    assert read_crashes(tmp_path, [A]) == {}


def test_units_of_the_toys_have_distinct_graphs(tmp_path):
    config = tiny_config(tmp_path)
    units = [tiny_unit(config, s, n) for s in ("01", "02") for n in (None, "a", "b")]
    assert len({one.graph_name for one in units}) == len(units)
