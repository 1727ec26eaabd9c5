import pandas as pd
import pytest

from relad_bids.core.columns import COLUMNS, complete
from relad_bids.errors import DataError
from relad_bids.files import read_table, write_table
from relad_bids.group.reading import (
    READ,
    common_name,
    find_tables,
    join_tables,
    participant_folders,
    read_rows,
)


def toy(who, **more):
    rows = pd.DataFrame({"voi": ["a", "b"], "suvr_mean": [1.25, None]}).assign(flags=[[], []])
    context = {"participant_id": who, "tracer": "pib", "source": "real", "statement": "Toy."}
    return complete(rows, {**context, **more}, flags=[])


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("sub-01_ses-a_trc-11CPIB_rec-ac_run-2_atlas-DKT_x.tsv", "atlas-DKT_x.tsv"),
        ("sub-01_desc-relad_qc.tsv", "desc-relad_qc.tsv"),
        ("sub-01_atlas-Schaefer_seg-7n_scale-100_x.tsv", "atlas-Schaefer_seg-7n_scale-100_x.tsv"),
    ],
)
def test_names_without_what_is_of_one_scan(name, common):
    assert common_name(name) == common


def test_each_parcellation_has_a_table_of_its_own(tmp_path):
    for atlas in ("DKT", "DesikanKilliany"):
        path = tmp_path / "sub-1" / "pet" / f"sub-1_trc-x_atlas-{atlas}_desc-synth_kinpar.tsv"
        write_table(path, toy("sub-1"))
    found = find_tables(participant_folders(tmp_path, ()), "kinpar")
    assert sorted(found) == [
        f"atlas-{a}_desc-synth_kinpar.tsv" for a in ("DKT", "DesikanKilliany")
    ]


def test_tables_of_two_versions_keep_the_columns_of_both(tmp_path):
    write_table(tmp_path / "a.tsv", toy("sub-1").assign(new=[1, 2]))
    write_table(tmp_path / "b.tsv", toy("sub-2"))
    joined = join_tables([tmp_path / "a.tsv", tmp_path / "b.tsv"], tmp_path / "all.tsv")
    table = read_table(tmp_path / "all.tsv")
    assert list(table) == [*COLUMNS, "new"]
    assert table["participant_id"].tolist() == ["sub-1", "sub-1", "sub-2", "sub-2"]
    assert table["new"].isna().tolist() == [False, False, True, True]
    assert joined.statements == ("Toy.",)
    assert not list(tmp_path.glob(".*"))


def test_numbers_and_words_of_several_tables(tmp_path):
    write_table(tmp_path / "a.tsv", toy("sub-01", session_id="ses-1", run="01"))
    write_table(tmp_path / "b.tsv", toy("sub-02"))
    joined = [join_tables([tmp_path / f"{n}.tsv"], tmp_path / f"all{n}.tsv") for n in "ab"]
    rows = read_rows(joined)
    assert list(rows) == list(READ)
    assert rows["suvr_mean"].tolist()[::2] == [1.25, 1.25]
    assert rows["run"].astype(object).tolist()[:2] == ["01", "01"]
    assert rows["session_id"].isna().tolist() == [False, False, True, True]
    assert rows["voi"].cat.categories.tolist() == ["a", "b"]


def test_a_table_of_another_program(tmp_path):
    write_table(tmp_path / "a.tsv", toy("sub-1").drop(columns=["pvc", "hemi"]))
    joined = join_tables([tmp_path / "a.tsv"], tmp_path / "all.tsv")
    with pytest.raises(DataError, match=r"all.tsv lacks the columns hemi, pvc: .* Run the"):
        read_rows([joined])
