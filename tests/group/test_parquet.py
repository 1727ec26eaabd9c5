"""Parquet beside the TSV; what it holds is read back where pyarrow is installed."""

import numpy as np
import pandas as pd
import pytest
from cohort import Cohort, people

from relad_bids.errors import UsageError
from relad_bids.files import read_table, rounded, write_table
from relad_bids.group.parquet import WORDS, read_long
from relad_bids.group.run import run
from relad_bids.group.settings import GroupSettings


def group(root):
    return list(run(GroupSettings(output_dir=root, unseen=True, n_draws=100, parquet=True)))


def tables(root):
    return [*root.glob("*_kinpar.tsv"), *(root / "group").glob("*.tsv")]


def test_it_needs_its_package(tmp_path, monkeypatch):
    root = tmp_path / "out"
    Cohort(root).session(people(1)[0], "pib")
    monkeypatch.setattr("relad_bids.group.parquet.find_spec", lambda name: None)
    needed = r"needs the package pyarrow, which is not installed .*relad-bids\[parquet\]"
    with pytest.raises(UsageError, match=needed):
        group(root)
    assert not list(root.glob("*.tsv"))


def test_it_is_written_beside_each_table(tmp_path, monkeypatch):
    """A stand-in for the package: pandas is asked for the same rows, and the name is whole."""

    def to_parquet(frame, path, *, index):
        assert not index
        assert not (frame.dtypes == "category").any()
        frame.to_csv(path, index=False)

    monkeypatch.setattr("relad_bids.group.parquet.find_spec", lambda name: name)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", to_parquet)
    root = tmp_path / "out"
    Cohort(root).session(people(1)[0], "pib")
    group(root)
    assert len(tables(root)) > 1
    for path in tables(root):
        assert len(pd.read_csv(path.with_suffix(".parquet"))) == len(read_table(path))


def test_it_holds_what_the_tsv_holds(tmp_path):
    """The same digits, the same holes, text as text: nothing is rounded twice or guessed."""
    pytest.importorskip("pyarrow")
    root = tmp_path / "out"
    cohort, who = Cohort(root), people(12)
    for person in who:
        for session, change in (("a", 0), ("b", 0.02)):
            cohort.session(person, "pib", session=session, change=change, run="01")
        cohort.session(person, "flortaucipir")
    cohort.participants(who)
    group(root)
    for path in tables(root):
        tsv, found = read_table(path), pd.read_parquet(path.with_suffix(".parquet"))
        assert list(tsv) == list(found)
        for name in tsv:
            assert found[name].isna().equals(tsv[name].isna()), (path.name, name)
            known = tsv[name].notna()
            left, right = found[name][known].tolist(), tsv[name][known].tolist()
            assert left == right, (path.name, name)
            if name in WORDS:
                assert pd.api.types.is_string_dtype(found[name]), name
    runs = pd.read_parquet(root / "group" / "desc-paired_voi.parquet")["run"]
    assert set(runs.dropna()) == {"01"}


def test_words_of_digits_stay_words_however_long_the_table(tmp_path):
    """pandas guesses a kind for each stretch of a long file: here the second would be words."""
    n = 300_000
    voi = np.where(np.arange(n) < n - 1, "1001", "cuneus")
    table = pd.DataFrame({"participant_id": "01", "voi": voi, "run": None, "suvr_mean": 1})
    write_table(tmp_path / "t.tsv", table)
    found = read_long(tmp_path / "t.tsv")
    assert found["voi"].tolist()[:1] == ["1001"]
    assert found["participant_id"].iloc[0] == "01"
    assert pd.api.types.is_string_dtype(found["run"])
    assert found["suvr_mean"].dtype == np.float64


def test_rounded_is_what_is_written(tmp_path):
    table = pd.DataFrame({"a": [1.23456789, np.nan, np.inf, 1e-12], "b": [1, 2, 3, 4]})
    write_table(tmp_path / "t.tsv", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.tsv"), rounded(table), rtol=0)
