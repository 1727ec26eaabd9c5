import errno
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from relad_bids.errors import OutputError
from relad_bids.files import (
    copy,
    json_text,
    read_table,
    require_writable,
    sweep,
    whole,
    write_table,
    write_text,
)
from relad_bids.owners import own_token


def test_bytes_of_a_table(tmp_path):
    """Tabs, LF, ``n/a`` for every kind of missing, six significant digits, no index."""
    table = pd.DataFrame(
        {
            "participant_id": ["sub-01", "sub-02"],
            "n_voxels": [7, 4294967295],
            "mean": [1.23456789, np.nan],
            "small": [0.000123456789, 1234567.0],
            "note": [None, "left out"],
        }
    )
    write_table(tmp_path / "deep" / "t.tsv", table)
    assert (tmp_path / "deep" / "t.tsv").read_bytes() == (
        b"participant_id\tn_voxels\tmean\tsmall\tnote\n"
        b"sub-01\t7\t1.23457\t0.000123457\tn/a\n"
        b"sub-02\t4294967295\tn/a\t1.23457e+06\tleft out\n"
    )


def test_a_table_read_and_written_again_has_the_same_bytes(tmp_path):
    text = (
        "participant_id\tsession_id\trun\tlabels\tlabels_missing\tmean\tvoi\n"
        "sub-01\tses-01\t01\t17,53\tn/a\t1.5\tNone\n"
        "007\tn/a\tn/a\t17\t17\tn/a\tnull\n"
    )
    write_text(tmp_path / "a.tsv", text)
    table = read_table(tmp_path / "a.tsv")
    assert table["run"].tolist()[0] == "01"
    assert np.isnan(table["mean"][1])
    write_table(tmp_path / "b.tsv", table)
    assert (tmp_path / "b.tsv").read_text() == text


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    """The file that was synced is the one that stands there: renamed, not written again."""
    path, synced = tmp_path / "t.txt", []
    path.write_text("the old text")

    def fsync(handle):
        synced.append((os.fstat(handle).st_ino, os.fstat(handle).st_size, path.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(path, "new")
    assert synced == [(path.stat().st_ino, 3, "the old text")]
    assert path.read_text() == "new"


@pytest.mark.parametrize("before", [None, "the old text"])
def test_a_block_that_fails_leaves_no_trace(tmp_path, before):
    path = tmp_path / "f.txt"
    if before:
        path.write_text(before)

    def stop_half_way():
        with whole(path) as part:
            part.write_text("the new te")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way()
    assert [p.name for p in tmp_path.iterdir()] == (["f.txt"] if before else [])
    assert (path.read_text() if path.exists() else None) == before


def test_the_final_name_appears_at_the_end_only(tmp_path):
    path = tmp_path / "f.txt"
    with whole(path) as part:
        part.write_text("whole")
        assert part.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"


def test_two_writers_of_one_name_do_not_mix(tmp_path):
    path = tmp_path / "root.json"
    texts = ["a" * 200_000, "b" * 100_000]
    threads = [threading.Thread(target=write_text, args=(path, text)) for text in texts * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_files_are_as_open_as_the_user_wants(tmp_path, mask, mode):
    """A temporary file is private; a derivative is shared with the group that shares the data."""
    before = os.umask(mask)
    try:
        write_text(tmp_path / "f.txt", "x")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (tmp_path / "f.txt").stat().st_mode & 0o777 == mode


def test_copy_replaces_what_was_there(tmp_path):
    (tmp_path / "a").write_bytes(b"\x00\x01")
    (tmp_path / "b").write_text("old")
    copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"\x00\x01"


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
    require_writable(tmp_path / "new" / "out")
    assert list((tmp_path / "new" / "out").iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("a file")
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(
            OutputError, match=r"the output folder .*out.* cannot be written \(.+\); nothing was"
        ):
            require_writable(folder)


def test_what_is_not_whole_yet_says_whose_it_is(tmp_path):
    with whole(tmp_path / "f.txt") as part:
        assert part.name.startswith(".f.txt.")
        assert part.suffix == ".part"
        assert own_token() in part.name
        sweep([tmp_path])
        assert part.exists()  # its process lives


def test_what_a_killed_process_left_is_swept(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from relad_bids.files import whole\n"
        "with whole(Path(sys.argv[1])) as part:\n"
        "    part.write_text('half'); os.kill(os.getpid(), 9)"
    )
    target = tmp_path / "sub-01" / "anat" / "f.txt"
    done = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert done.returncode == -9
    (left,) = target.parent.iterdir()
    other = left.with_name(".g.txt.0badf00d-1-1.x.part")  # of another machine
    other.touch()
    sweep([tmp_path, tmp_path / "none"])
    assert [path.name for path in target.parent.iterdir()] == [other.name]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_a_full_disk_is_told_in_words(tmp_path, number):
    def fill():
        with whole(tmp_path / "f.txt"):
            raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match=rf"f.txt cannot be written \({os.strerror(number)}\)"):
        fill()
    assert not list(tmp_path.iterdir())


def test_a_source_that_cannot_be_read_is_no_fault_of_the_target(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        copy(tmp_path / "none", tmp_path / "f.txt")


def test_a_very_long_name(tmp_path):
    write_text(tmp_path / ("x" * 250 + ".txt"), "text")
    assert [len(path.name) for path in tmp_path.iterdir()] == [254]


def test_a_long_table_is_written_in_parts(tmp_path, monkeypatch):
    """One header, every row; the same bytes as pandas writes of the whole."""
    table = pd.DataFrame(
        {"x": np.random.default_rng(1).normal(size=25) * 10.0 ** np.arange(-12, 13),
         "word": pd.Categorical(["a\tb", "c", None, '"', ""] * 5), "n": range(25)}
    )  # fmt: skip
    table.loc[3, "x"], table.loc[4, "x"] = np.nan, -np.inf
    monkeypatch.setattr("relad_bids.files.ROWS", 10)
    write_table(tmp_path / "t.tsv", table)
    expected = table.to_csv(
        sep="\t", na_rep="n/a", index=False, lineterminator="\n", float_format="%.6g"
    )
    assert (tmp_path / "t.tsv").read_text() == expected
    write_table(tmp_path / "none.tsv", table.iloc[:0])
    assert (tmp_path / "none.tsv").read_text() == "x\tword\tn\n"


def test_what_is_no_number_is_null_in_json():
    """JSON has no NaN: validators refuse the whole file."""
    content = {"a": float("nan"), "b": [1.5, float("inf"), (np.float64("nan"), "nan")], "c": None}
    read = json.loads(json_text(content), parse_constant=lambda word: pytest.fail(word))
    assert read == {"a": None, "b": [1.5, None, [None, "nan"]], "c": None}
