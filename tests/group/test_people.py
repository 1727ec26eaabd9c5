import numpy as np
import pandas as pd
import pytest

from relad_bids.errors import DataError, InputError, UsageError
from relad_bids.files import write_table
from relad_bids.group.people import read_people, read_scores


def people_of(tmp_path, **columns):
    n = len(next(iter(columns.values())))
    ids = [f"sub-{i}" for i in range(n)]
    write_table(tmp_path / "participants.tsv", pd.DataFrame({"participant_id": ids, **columns}))
    return read_people(None, [tmp_path])


def test_columns_are_known_by_several_names(tmp_path):
    people = people_of(
        tmp_path, Age=["89+", "70"], Gender=["female", "M"], EDUC=[12, 16], dx=["AD", None],
        scanner=[1.0, 2.0],
    )  # fmt: skip
    table = people.table
    assert np.isnan(table["age"].iloc[0])
    assert table["age"].iloc[1] == 70
    assert table["sex"].tolist() == ["F", "M"]
    assert table["female"].tolist() == [1, 0]
    assert table["site"].tolist() == ["1", "2"]
    assert table["diagnosis"].iloc[0] == "AD"
    assert all(people.has(name) for name in ("age", "sex", "education", "diagnosis", "site"))


def test_without_a_file_nothing_is_known(tmp_path):
    people = read_people(None, [tmp_path])
    assert people.path is None
    assert not people.has("age")
    rows = pd.DataFrame({"participant_id": ["sub-1"]}, index=[7])
    assert people.of(rows, ["age"]).isna().to_numpy().tolist() == [[True]]


def test_the_first_place_counts(tmp_path):
    for name, age in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        people_of(tmp_path / name, age=[age])
    assert read_people(None, [tmp_path / "a", tmp_path / "b"]).table["age"].tolist() == [1]
    given = read_people(tmp_path / "b" / "participants.tsv", [tmp_path / "a"])
    assert given.table["age"].tolist() == [2]


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match=r"names .*nowhere\.tsv, which is no file"):
        read_people(tmp_path / "nowhere.tsv", [])
    write_table(tmp_path / "x.tsv", pd.DataFrame({"id": [1]}))
    with pytest.raises(DataError, match="no column participant_id"):
        read_people(tmp_path / "x.tsv", [])
    write_table(tmp_path / "x.tsv", pd.DataFrame({"participant_id": ["1", "sub-1"]}))
    with pytest.raises(DataError, match="two rows of sub-1"):
        read_people(tmp_path / "x.tsv", [])


def test_scores_of_phenotype_go_before_those_of_participants(tmp_path):
    people = people_of(tmp_path, mmse=[20, 21], cdr=[0.5, 1])
    path = tmp_path / "tests.tsv"
    write_table(
        path,
        pd.DataFrame(
            {"participant_id": ["0", "0", "1"], "session_id": ["a", "b", "a"],
             "mmse": [30, 29, None]}
        ),
    )  # fmt: skip
    scores = read_scores([path], ["mmse", "cdr"], people)
    assert scores["mmse"].to_numpy().tolist() == [["sub-0", "ses-a", 30], ["sub-0", "ses-b", 29]]
    assert list(scores["cdr"]) == ["participant_id", "value"]


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ({"moca": [1, 2]}, UsageError, r"names 'mmse'; the files .* have moca\. Name one"),
        ({"mmse": ["1", "high"]}, DataError, "not a number everywhere"),
    ],
)
def test_scores_that_cannot_be_used(tmp_path, table, error, message):
    path = tmp_path / "t.tsv"
    write_table(path, pd.DataFrame({"participant_id": ["1", "2"], **table}))
    with pytest.raises(error, match=message):
        read_scores([path], ["mmse"], read_people(None, []))


def test_two_values_of_one_person(tmp_path):
    path = tmp_path / "t.tsv"
    write_table(path, pd.DataFrame({"participant_id": ["1", "1"], "mmse": [1, 2]}))
    with pytest.raises(DataError, match="two values of 'mmse' for one participant_id"):
        read_scores([path], ["mmse"], read_people(None, []))


@pytest.mark.parametrize(
    ("texts", "alleles"),
    [
        (["e3/e4", "E4E4", "e2/e3"], [1, 2, 0]),
        ([34, 44, 33], [1, 2, 0]),
        (["yes", "No", "unknown"], [1, 0, np.nan]),
        ([0, 1, 2], [0, 1, 2]),
        (["carrier", "non-carrier", "35"], [1, 0, np.nan]),
    ],
)
def test_apoe_as_alleles(tmp_path, texts, alleles):
    """What is no genotype is not known."""
    path = tmp_path / "participants.tsv"
    write_table(path, pd.DataFrame({"participant_id": ["sub-1", "sub-2", "sub-3"],
                                    "APOE_genotype": texts}))  # fmt: skip
    found = read_people(path, []).table["apoe4"].to_numpy(float)
    np.testing.assert_array_equal(found, alleles)
