"""Who is missing: every state in which a job can leave a session."""

from dataclasses import replace

import nibabel as nb
import numpy as np
import pytest
from toys import tiny_card, tiny_config, tiny_measured, tiny_unit

from relad_bids.bids.outputs import product_path
from relad_bids.cli.missing import list_missing, missing
from relad_bids.core.qc import qc_row
from relad_bids.files import write_table
from relad_bids.finished import mark, task_of
from relad_bids.records import resolution_label, table_paths
from relad_bids.records_measured import measured_tables
from relad_bids.sessions import Left, Plan

CARD = tiny_card()


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


def write_qc(label, config, status, reason=None):
    where = {"space": CARD.space, "resolution": resolution_label(CARD)}
    row = qc_row({"participant_id": label.split("_")[0], "status": status, "reason": reason})
    write_table(config.output_dir / product_path("qc", label, **where), row)


def write_head(path):
    """An image that can be used."""
    data = np.random.default_rng(4).uniform(1, 9, (11, 12, 13)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    nb.Nifti1Image(data, np.diag([8.0, 8.0, 8.0, 1.0])).to_filename(path)


def write_results(unit, config, *, but=None):
    """All that a finished session has and that is looked at; files are empty."""
    for scan in (unit.t1w, unit.flair, *(pet.path for pet in unit.measured)):
        scan.parent.mkdir(parents=True, exist_ok=True)
        scan.touch()
    write_head(unit.flair)
    task = task_of(unit, checkpoint=CARD.sha256, config=config)
    write_qc(unit.label, config, "ok")
    measured = [path for pet in unit.measured for path in measured_tables(pet, unit, CARD)]
    for path in (*table_paths(unit, CARD), *measured, f"{unit.label}.html"):
        file = config.output_dir / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if str(path) != str(but):
            file.touch()
    assert mark(task, config)
    return [*table_paths(unit, CARD), *measured, f"{unit.label}.html"]


def reasons(config, *units, left=()):
    return {one.label: reason for one, reason in missing(Plan(units, left), CARD, config)}


def test_a_finished_session_is_not_missing(config):
    unit = tiny_unit(config, measured=[tiny_measured(config)])
    assert reasons(config, unit) == {unit.label: "no results yet"}
    write_results(unit, config)
    assert reasons(config, unit) == {}


def test_a_session_done_in_another_way_is_missing(config):
    unit = tiny_unit(config)
    write_results(unit, config)
    other = replace(config, min_coverage=0.9)
    (reason,) = reasons(other, unit).values()
    assert reason == "was done with other inputs, settings, weights or another version"


@pytest.mark.parametrize("which", range(5))
def test_each_file_counts(config, which):
    """Three synthetic tables, one measured, and the page."""
    unit = tiny_unit(config, measured=[tiny_measured(config)])
    files = write_results(unit, config)
    assert len(files) == 5
    (config.output_dir / files[which]).unlink()
    (reason,) = reasons(config, unit).values()
    assert reason == f"stopped on its way: {files[which]} is not there"


def test_a_failed_session_is_missing_with_its_reason_though_old_tables_are_there(config):
    unit = tiny_unit(config)
    write_results(unit, config)
    write_qc(unit.label, config, "failed", "holds NaN")
    assert reasons(config, unit) == {unit.label: "failed: holds NaN"}


def test_who_was_skipped_before_and_can_be_done_now_is_missing(config):
    """Its FLAIR has come."""
    unit = tiny_unit(config)
    write_head(unit.flair)
    write_qc(unit.label, config, "skipped", "has no FLAIR")
    assert reasons(config, unit) == {unit.label: "skipped: has no FLAIR"}


def test_who_is_left_out_is_done_once_the_table_says_so(config):
    left = Left("sub-02", "02", None, "flair_missing", "has no FLAIR", 0)
    (reason,) = reasons(config, left=[left]).values()
    assert reason == "no job has looked at it yet; it will be left out: has no FLAIR"
    write_qc("sub-02", config, "skipped", "has no FLAIR")
    assert reasons(config, left=[left]) == {}


def test_a_damaged_flair_is_told_until_a_job_has_written_it_down(config):
    unit = tiny_unit(config)
    unit.flair.parent.mkdir(parents=True, exist_ok=True)
    unit.flair.write_bytes(b"no image")
    assert reasons(config, unit) == {unit.label: "no results yet"}
    write_qc(unit.label, config, "ok")
    (reason,) = reasons(config, unit).values()
    assert "will be left out" in reason
    write_qc(unit.label, config, "failed", "FLAIR")
    assert reasons(config, unit) == {}


@pytest.mark.parametrize(
    ("by", "lines"),
    [
        ("participant", "sub-01\nsub-02\n"),
        ("session", "sub-01\tses-a\nsub-01\tses-b\nsub-02\n"),
    ],
)
def test_lines_for_an_array(config, capsys, by, lines):
    units = [tiny_unit(config, "01", s) for s in "ab"] + [tiny_unit(config, "02", None)]
    done = tiny_unit(config, "03", None)
    write_results(done, config)
    assert list_missing(Plan((*units, done), ()), CARD, config, by=by) == 0
    said = capsys.readouterr()
    assert said.out == lines
    assert "sub-01_ses-b: no results yet" in said.err
    n = len(lines.splitlines())
    assert said.err.endswith(f"4 sessions asked for, {n} {by}s to do\n")
    assert not list(config.output_dir.glob("sub-01*"))
