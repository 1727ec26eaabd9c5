"""Time between sessions, whatever tells it."""

import os

import numpy as np
import pandas as pd
import pytest
from cohort import Cohort, people

from relad_bids.errors import DataError, InputError
from relad_bids.files import read_table, write_table
from relad_bids.group.run import run
from relad_bids.group.settings import GroupSettings
from relad_bids.group.times import read_session_times


def sessions_tsv(root, **columns):
    path = root / "sub-1" / "sub-1_sessions.tsv"
    n = len(next(iter(columns.values())))
    write_table(path, pd.DataFrame({"session_id": [f"ses-{s}" for s in "abc"[:n]], **columns}))


def scans_tsv(root, session, *rows, who="sub-1"):
    """``rows``: file name and time."""
    path = root / who / f"ses-{session}" / f"{who}_ses-{session}_scans.tsv"
    write_table(path, pd.DataFrame(rows, columns=["filename", "acq_time"]))


def years(root, notes=None, given=None):
    found = read_session_times(given, [root, root], [] if notes is None else notes)
    return found.set_index("session_id")["years"].to_dict()


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("years", [1.0, 3.0]),
        ("acq_time", ["2020-01-01T10:00:00", "2021-12-31T22:00:00"]),
        ("acq_time", ["1925-01-01T10:00:00", "1926-12-31T22:00:00.000000"]),
        ("acq_time", ["1851-01-01T10:00:00Z", "1852-12-31T22:00:00"]),
        ("age", [70.0, 72.0]),
    ],
)
def test_several_clocks_tell_the_same_years(tmp_path, column, values):
    sessions_tsv(tmp_path, **{column: values})
    # Two calendar years are 729.5 or 730.5 days here, 2 mean years 730.5.
    assert years(tmp_path) == pytest.approx({"ses-a": 0, "ses-b": 2}, abs=0.003)


@pytest.mark.parametrize("year", [1900, 1925, 2017])
def test_scans_tell_what_sessions_do_not(tmp_path, year):
    """The first scan of what is read counts; dates may be shifted, and be n/a."""
    sessions_tsv(tmp_path, mmse=[30, 29])
    scans_tsv(
        tmp_path, "a", ("pet/x_pet.nii.gz", f"{year}-03-02T10:00:00"),
        ("anat/x_T1w.nii.gz", f"{year}-03-01T10:00:00"), ("func/x_bold.nii.gz", "1800-01-01"),
        ("anat/x_FLAIR.nii.gz", "n/a"),
    )  # fmt: skip
    scans_tsv(tmp_path, "b", ("anat/x_T1w.nii.gz", f"{year + 1}-03-01T10:00:00"))
    assert years(tmp_path) == pytest.approx({"ses-a": 0, "ses-b": 365 / 365.25}, abs=1e-9)


def test_one_clock_for_all_sessions_of_a_person(tmp_path):
    """By sessions.tsv two sessions, by scans.tsv three: a mean of both clocks has no meaning."""
    sessions_tsv(tmp_path, years=[10.0, 12.0, None])
    for session, date in zip("abc", ("1920-01-01", "1921-01-01", "1923-01-01"), strict=True):
        scans_tsv(tmp_path, session, ("anat/x_T1w.nii.gz", f"{date}T00:00:00"))
    assert years(tmp_path) == pytest.approx({"ses-a": 0, "ses-b": 1, "ses-c": 3}, abs=0.003)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"years": [0.0, 2.5], "age": [70, 73]}, 2.5),
        ({"acq_time": ["1925-01-01", "1927-07-02"], "age": [70, 73]}, 2.5),
        ({"acq_time": ["n/a", "n/a"], "age": [70, 73]}, 1.0),
        ({"age": [70, 73]}, 1.0),  # whole years: the date of the scans goes before
    ],
)
def test_the_finest_clock_goes_first(tmp_path, columns, expected):
    sessions_tsv(tmp_path, **columns)
    for session, year in (("a", 1920), ("b", 1921)):
        scans_tsv(tmp_path, session, ("pet/x_pet.nii.gz", f"{year}-01-01T00:00:00"))
    assert years(tmp_path)["ses-b"] == pytest.approx(expected, abs=0.004)


def test_scans_of_a_session_that_lie_far_apart_are_told(tmp_path):
    notes = []
    scans_tsv(
        tmp_path, "a", ("anat/x_T1w.nii.gz", "1920-01-01"), ("pet/x_pet.nii.gz", "1920-07-15")
    )
    scans_tsv(
        tmp_path, "b", ("anat/x_T1w.nii.gz", "1921-01-01"), ("pet/x_pet.nii.gz", "1921-06-15")
    )
    years(tmp_path, notes)
    assert len(notes) == 1
    assert "scans of 1 sessions lie more than 0.5 years apart" in notes[0]


def test_a_given_file_goes_alone(tmp_path):
    scans_tsv(tmp_path, "a", ("anat/x_T1w.nii.gz", "1920-01-01"))
    path = tmp_path / "s.tsv"
    write_table(
        path, pd.DataFrame({"participant_id": ["1", "1"], "session_id": "bc", "years": [1, 4]})
        .assign(session_id=["b", "c"]),
    )  # fmt: skip
    assert years(tmp_path, given=path) == {"ses-b": 0, "ses-c": 3}
    write_table(path, pd.DataFrame({"participant_id": ["1"], "session_id": ["a"]}))
    with pytest.raises(DataError, match="needs participant_id, session_id and one of years"):
        years(tmp_path, given=path)
    with pytest.raises(InputError, match="which is no file"):
        years(tmp_path, given=tmp_path / "none.tsv")


def test_nothing_is_known(tmp_path):
    assert read_session_times(None, [tmp_path], []).empty
    scans_tsv(tmp_path, "a", ("anat/x_T1w.nii.gz", "n/a"))
    (tmp_path / "sub-1" / "ses-a" / "sub-1_ses-a_scans.tsv").write_text("filename\nanat/x\n")
    assert read_session_times(None, [tmp_path], []).empty


def test_change_is_told_from_the_dates_of_scans(tmp_path):
    """Dates of the dataset, shifted to before 1925; two years of 0.03 each between sessions."""
    out, data = tmp_path / "out", tmp_path / "data"
    cohort, who = Cohort(out), people(12)
    for index, person in enumerate(who):
        for session, apart in (("a", 0), ("b", 2), ("c", 4)):
            cohort.session(
                person,
                "pib",
                session=session,
                change=0.03 * apart,
                noise=0.005,
                sources=("real",),
            )
            scans_tsv(
                data, session, ("anat/x_T1w.nii.gz", f"{1900 + index + apart}-05-01T09:00:00"),
                who=f"sub-{person.label}",
            )  # fmt: skip
    list(run(GroupSettings(output_dir=out, bids_dir=data, n_draws=100, unseen=True)))
    change = read_table(out / "group" / "desc-change_stats.tsv").query("source == 'real'")
    # Standard error over 12 people and three scans: 0.005 / sqrt(12 * 8) = 0.0005.
    np.testing.assert_allclose(change["annual_change"], 0.03, atol=0.003)
    np.testing.assert_allclose(change["years"], 4, atol=0.01)


@pytest.mark.parametrize("kind", ["wrong bytes", "pipe"])
def test_a_scans_tsv_that_is_none_is_refused_in_words(tmp_path, kind):
    scans_tsv(tmp_path, "a", ("anat/x_T1w.nii.gz", "2020-01-01T10:00:00"))
    path = tmp_path / "sub-1" / "ses-a" / "sub-1_ses-a_scans.tsv"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"filename\tacq_time\n\xff\xfe\xfa\t\x80\n")
    with pytest.raises(DataError, match=r"sub-1_ses-a_scans.tsv: cannot be read as a table"):
        read_session_times(None, [tmp_path], [])
