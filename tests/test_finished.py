import json
import os
import shutil
import time
from dataclasses import replace

import pytest
from toys import tiny_config, tiny_measured, tiny_unit

from relad_bids import finished
from relad_bids.bids.outputs import finished_path, product_path
from relad_bids.finished import forget, is_finished, mark, task_of, written
from relad_bids.stamps import stamp, unchanged


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path)


@pytest.fixture
def unit(config):
    found = tiny_unit(config, measured=[tiny_measured(config)])
    for path in (found.t1w, found.flair, found.measured[0].path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1000))
    return found


def describe(unit, config, checkpoint="abc"):
    return task_of(unit, checkpoint=checkpoint, config=config)


def compute(unit, config):
    """Stand in for the graph: one table and one page."""
    for path in (
        product_path("kinpar", unit.label, space="S", resolution="2"),
        f"{unit.label}.html",
    ):
        target = config.output_dir / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{path} of {unit.label}")


@pytest.fixture
def done(unit, config):
    task = describe(unit, config)
    compute(unit, config)
    assert mark(task, config)
    return unit


def again(unit, config, **more):
    return is_finished(describe(unit, config, **more), config)


def test_nothing_is_finished_before(unit, config):
    assert not again(unit, config)


def test_a_session_that_was_done_is_known(done, config):
    assert again(done, config)


def test_a_finished_session_is_known_in_milliseconds(unit, config):
    """Of 1 GB of images no voxel is read again, where sizes and times are those of before."""
    for path in (unit.t1w, unit.flair, unit.measured[0].path):
        os.truncate(path, 350_000_000)  # holes, which take no room
        os.utime(path, ns=(10**18, 10**18))
    task = describe(unit, config)
    compute(unit, config)
    assert mark(task, config)
    start = time.process_time()
    assert all(again(unit, config) for _ in range(10))
    assert time.process_time() - start < 1.0  # a tenth of the second that is promised for each


def test_what_changes_no_number_changes_nothing(done, config, tmp_path):
    other = replace(
        config, nprocs=7, mem_mb=9, work_dir=tmp_path / "w", participants=("01",), device="cuda"
    )
    assert again(done, other)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"min_coverage": 0.4}, {"sloppy": True}, {"pvc": "gtm"}]
)
def test_a_setting_that_counts(done, config, change):
    assert not again(done, replace(config, **change))


def test_every_setting_without_effect_is_one():
    names = set(finished.Config.__dataclass_fields__)
    assert set(finished._WITHOUT_EFFECT) <= names


def test_another_checkpoint_tracer_or_version(done, config, monkeypatch):
    assert not again(done, config, checkpoint="abd")
    assert not again(replace(done, tracers=done.tracers[:1]), config)
    assert not again(replace(done, measured=()), config)
    monkeypatch.setattr(finished, "__version__", "99")
    assert not again(done, config)


@pytest.mark.parametrize("which", ["t1w", "flair", "pet"])
def test_an_input_of_the_same_size_and_other_content(done, config, which):
    path = done.measured[0].path if which == "pet" else getattr(done, which)
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    assert not again(done, config)


def test_an_input_that_is_gone(done, config):
    done.flair.unlink()
    assert not again(done, config)


def test_a_copy_of_the_dataset_elsewhere_with_other_times(done, config, tmp_path):
    """The content decides where the times do not agree: also with times to come."""
    moved = replace(config, bids_dir=tmp_path / "elsewhere")
    shutil.copytree(config.bids_dir, moved.bids_dir)
    for path in moved.bids_dir.rglob("*.nii.gz"):
        os.utime(path, (4e9, 4e9))
    unit = tiny_unit(moved, measured=[tiny_measured(moved)])
    assert again(unit, moved)


@pytest.mark.parametrize("name", ["*.tsv", "*.html"])
def test_an_output_that_is_gone_or_another(done, config, name):
    (path,) = config.output_dir.rglob(name)
    text = path.read_text()
    path.write_text(text.replace("of", "OF"))
    assert not again(done, config)
    path.write_text(text)
    assert again(done, config)
    path.unlink()
    assert not again(done, config)


def test_a_session_to_be_done_anew_is_forgotten_first(done, config):
    forget(done, config)
    assert not again(done, config)
    forget(done, config)  # nothing there: nothing to do


def test_an_input_that_changes_under_way_leaves_no_mark(unit, config):
    task = describe(unit, config)
    compute(unit, config)
    unit.t1w.write_bytes(b"other")
    assert not mark(task, config)
    assert not (config.output_dir / finished_path(unit.label)).exists()


def test_what_was_written_is_told_whatever_the_clock_says(done, config):
    """Old files do not count; files written anew do, with the same content and an old time."""
    task = describe(done, config)
    assert written(task, config) == []
    (table,) = config.output_dir.rglob("*.tsv")
    fresh = table.with_suffix(".new")
    fresh.write_text(table.read_text())
    os.utime(fresh, (1, 1))
    fresh.replace(table)
    assert written(task, config) == [table]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Key": 3}', '{"Inputs": [], "Outputs": 1}'])
def test_a_mark_that_is_none(done, config, text):
    (config.output_dir / finished_path(done.label)).write_text(text)
    assert not again(done, config)


def test_a_mark_names_no_folder_of_the_machine(done, config, tmp_path):
    text = (config.output_dir / finished_path(done.label)).read_text()
    assert str(tmp_path) not in text
    names = set(json.loads(text)["Inputs"])
    assert names == {
        p.relative_to(config.bids_dir).as_posix()
        for p in (done.t1w, done.flair, done.measured[0].path)
    }


def test_a_sibling_session_is_not_taken_for_this_one(unit, config):
    task = describe(unit, config)
    compute(unit, config)
    compute(tiny_unit(config, session="ab"), config)
    assert all(path.name.startswith("sub-01_ses-a") for path in written(task, config))
    assert not any("ses-ab" in path.name for path in written(task, config))


def test_a_stamp_trusts_size_and_time_and_else_the_content(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"one")
    before = stamp(path)
    os.utime(path, (5, 5))
    assert unchanged(path, before)
    path.write_bytes(b"two")
    assert not unchanged(path, before)
    path.write_bytes(b"three")
    assert not unchanged(path, before)
    assert not unchanged(tmp_path / "none", before)
