"""Whose work folder is it? One run's, for each session, without any lock."""

import re
from pathlib import Path

import pytest
from toys import tiny_card, tiny_config, tiny_unit

from relad_bids import __version__
from relad_bids.cli import participant
from relad_bids.finished import task_of
from relad_bids.owners import claimed, own_token


@pytest.fixture
def compute(tmp_path, monkeypatch):
    """Run ``_compute`` with a graph that leaves one file of each session in the work folder."""
    seen, names = [], []

    def run_graph(tasks, card, config, *, work, run_id, graph):
        names.append(sorted(tasks))
        for task in tasks.values():
            step = work / "relad_wf" / task.unit.graph_name / "step" / "result"
            step.parent.mkdir(parents=True, exist_ok=True)
            step.write_text("x")
        (work / "crashes" / run_id).mkdir(parents=True)
        seen.append(work)
        return {}

    monkeypatch.setattr(participant, "_run_graph", run_graph)

    def compute(*subjects, gone=(), **settings):
        config = tiny_config(tmp_path, **settings)
        units = [tiny_unit(config, subject) for subject in subjects]
        for path in (path for unit in units for path in (unit.t1w, unit.flair)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        tasks = {unit.label: task_of(unit, checkpoint="", config=config) for unit in units}
        for path in gone:
            (config.bids_dir / path).unlink()
        compute.failed = participant._compute(
            tasks, tiny_card(), config, run_id=f"run{len(seen)}", graph=False
        )
        return seen[-1], participant._run_dir(config)

    compute.names = names
    return compute


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_steps_are_kept_for_the_next_run(compute):
    work, shared = compute("01")
    assert work == shared
    assert files(work) == {"relad_wf/sub_01_ses_a_wf/step/result"}


def test_a_session_that_another_process_is_at_is_done_elsewhere(compute, tmp_path):
    shared = participant._run_dir(tiny_config(tmp_path))
    with claimed(shared / "claims", ["sub_01_ses_a_wf"]):
        work, _ = compute("01", "02")
        assert work.parent == shared
        assert re.fullmatch(r"alone-[0-9a-f]{8}-\d+-\d+", work.name)
        assert not work.exists()  # nobody would find it again
        assert compute("03")[0] == shared


def test_what_a_killed_run_left_is_cleared(compute, tmp_path):
    shared = participant._run_dir(tiny_config(tmp_path))
    machine, pid, began = own_token().split("-")
    gone, other = shared / f"alone-{machine}-{pid}-{int(began) - 1}", shared / "alone-0badf00d-1-1"
    for folder in (gone, other):
        folder.mkdir(parents=True)
    compute("01")
    assert not gone.exists()
    assert other.exists()


def test_clean_workdir_removes_what_is_its_own(compute, tmp_path):
    compute("01")
    (tmp_path / "work" / "mine.txt").write_text("of the user")
    compute("02", clean_workdir=True)
    assert files(tmp_path / "work") == {
        "mine.txt",
        f"relad_bids-{__version__}/relad_wf/sub_01_ses_a_wf/step/result",
    }


def test_a_scan_that_went_away_fails_its_own_session(compute):
    """Between planning and computing, as on a file system that others clean."""
    compute("01", "02", gone=["sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"])
    assert compute.names[-1] == ["sub-02_ses-a"]
    left = compute.failed["sub-01_ses-a"]
    assert left.exit_code == 66
    assert "sub-01_ses-a_T1w.nii.gz was there and is gone" in left.reason


def test_outputs_that_cannot_be_written_fail_their_own_session(compute, tmp_path):
    """A file stands where a folder is needed; so does a folder of another user (seen before
    anything is computed, as names are made in folders and not in files)."""
    log = tmp_path / "out" / "sub-01" / "log"
    log.parent.mkdir(parents=True)
    log.touch()
    compute("01", "02")
    assert compute.names[-1] == ["sub-02_ses-a"]
    left = compute.failed["sub-01_ses-a"]
    assert left.exit_code == 73
    assert str(log) in left.reason
    assert "cannot be written" in left.reason
