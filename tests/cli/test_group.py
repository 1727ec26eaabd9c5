import json

import pandas as pd
import pytest

from relad_bids.cli.group import run_group
from relad_bids.cli.parser import parse
from relad_bids.core.columns import COLUMNS, complete
from relad_bids.core.qc import QC_COLUMNS, qc_row
from relad_bids.errors import InputError, NothingSelectedError
from relad_bids.files import read_table, write_table

TABLE = "atlas-DesikanKilliany_model-SUVR_desc-synth_kinpar"


@pytest.fixture
def derivatives(tmp_path):
    """Two tracers of two participants, one of them in two sessions, and their QC rows."""
    root = tmp_path / "out"
    for label, session in (("01", "ses-a"), ("01", "ses-b"), ("010", None)):
        head = f"sub-{label}" + (f"_{session}" if session else "")
        folder = root.joinpath(*head.split("_"))
        ids = {"participant_id": f"sub-{label}", "session_id": session}
        for trc in ("11CPIB", "18FAV1451"):
            rows = pd.DataFrame(
                {"voi": ["a", "b"], "suvr_mean": [1.25, None], "labels": ["8", "8,47"]}
            ).assign(flags=[[], []])
            table = complete(rows, {**ids, "trc_label": trc, "statement": "Toy."}, flags=[])
            write_table(folder / "pet" / f"{head}_trc-{trc}_{TABLE}.tsv", table)
        row = qc_row({**ids, "status": "ok", "flags": "ok"})
        write_table(folder / f"{head}_desc-relad_qc.tsv", row)
    return root


def group(root, *participants):
    arguments = ["/gone", str(root), "group", "--participant-label", *participants]
    return run_group(parse(arguments[: None if participants else 3]))


def test_tables_of_all_are_joined_in_order(derivatives, capsys):
    assert group(derivatives) == 0
    joined = read_table(derivatives / f"{TABLE}.tsv")
    assert list(joined) == list(COLUMNS)
    keys = joined[["participant_id", "session_id", "trc_label"]].drop_duplicates()
    assert keys.fillna("none").to_numpy().tolist() == [
        ["sub-01", "ses-a", "11CPIB"], ["sub-01", "ses-a", "18FAV1451"],
        ["sub-01", "ses-b", "11CPIB"], ["sub-01", "ses-b", "18FAV1451"],
        ["sub-010", "none", "11CPIB"], ["sub-010", "none", "18FAV1451"],
    ]  # fmt: skip
    assert capsys.readouterr().out.split() == [
        str(derivatives / f"{TABLE}.tsv"), str(derivatives / "group.html"),
    ]  # fmt: skip


def test_no_cell_changes_on_the_way(derivatives):
    """Rows of the joined file are the rows of the single files, byte for byte."""
    group(derivatives)
    joined = (derivatives / f"{TABLE}.tsv").read_text().splitlines()
    single = [
        line
        for path in sorted(derivatives.rglob("sub-*_kinpar.tsv"))
        for line in path.read_text().splitlines()[1:]
    ]
    assert sorted(joined[1:]) == sorted(single)
    assert not any("\t\t" in line for line in joined)


def test_sidecar_explains_and_names_its_sources(derivatives, tmp_path):
    group(derivatives)
    sidecar = json.loads((derivatives / f"{TABLE}.json").read_text())
    assert set(COLUMNS) <= set(sidecar)
    assert sidecar["SyntheticDataStatement"] == "Toy."
    assert len(sidecar["Sources"]) == 6
    assert all(source.startswith("bids::sub-01") for source in sidecar["Sources"])
    assert str(tmp_path) not in json.dumps(sidecar)


def test_qc_rows_are_joined(derivatives):
    group(derivatives)
    qc = read_table(derivatives / "desc-relad_qc.tsv")
    assert list(qc) == list(QC_COLUMNS)
    assert qc["participant_id"].tolist() == ["sub-01", "sub-01", "sub-010"]
    told = json.loads((derivatives / "desc-relad_qc.json").read_text())
    assert set(told) == {*QC_COLUMNS, "GeneratedBy"}


@pytest.mark.parametrize(
    ("label", "participant", "n_sessions"),
    [("010", "sub-010", 1), ("sub-010", "sub-010", 1), ("01", "sub-01", 2)],
)
def test_participants_may_be_chosen(derivatives, label, participant, n_sessions):
    """``01`` and ``010`` are two people."""
    group(derivatives, label)
    joined = read_table(derivatives / f"{TABLE}.tsv")
    assert joined["participant_id"].unique().tolist() == [participant]
    assert len(read_table(derivatives / "desc-relad_qc.tsv")) == n_sessions


def test_run_again_it_writes_the_same(derivatives):
    group(derivatives)
    first = (derivatives / f"{TABLE}.tsv").read_bytes()
    group(derivatives)
    assert (derivatives / f"{TABLE}.tsv").read_bytes() == first


def test_participants_that_are_not_there(derivatives):
    with pytest.raises(
        NothingSelectedError,
        match=r"searched for sub-1, sub-9, which .*; it holds sub-01, sub-0",
    ):
        group(derivatives, "01", "9", "1")


@pytest.mark.parametrize("made", [True, False])
def test_nothing_found(tmp_path, made):
    root = tmp_path / "out"
    if made:
        (root / "sub-01" / "pet").mkdir(parents=True)
    with pytest.raises(InputError, match=r"looked for in .*out/sub-\*/ and none was found. Run"):
        group(root)
    assert root.exists() is made


def test_each_atlas_has_a_table_of_its_own(derivatives):
    """Regions of two atlases may have one name; in one table they would be one region."""
    more = "atlas-X_seg-7_model-SUVR_desc-synth_kinpar"
    folder = derivatives / "sub-010" / "pet"
    for table in folder.glob(f"*_{TABLE}.tsv"):
        table.with_name(table.name.replace(TABLE, more)).write_bytes(table.read_bytes())
    assert group(derivatives) == 0
    assert len(read_table(derivatives / f"{TABLE}.tsv")) == 12
    assert len(read_table(derivatives / f"{more}.tsv")) == 4
    sources = json.loads((derivatives / f"{more}.json").read_text())["Sources"]
    assert len(sources) == 2
    assert all("atlas-X_seg-7" in source for source in sources)
