import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from derivatives import BRAIN, SPACE, brain_mask, write_people

from relad_bids.cohorts.kept import Kept
from relad_bids.cohorts.real import PairReader, find_cohort, session_table
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract
from relad_bids.errors import DataError, InputError
from relad_bids.model.learning.recipe import PairData

SUVR_MAX = {"flortaucipir": 5.0, "pib": 4.0}


def find(*roots, tracers=tuple(SUVR_MAX), **settings):
    data = PairData(root=roots, **settings)
    found = find_cohort(data, grid=BRAIN, space=SPACE, resolution="14", tracers=tracers)
    return data, found


def reader(found, **changes):
    settings = {"grid": BRAIN, "suvr_max": SUVR_MAX, "mri": MRIContract(), **changes}
    return PairReader(found.pairs, **settings)


@pytest.fixture
def root(tmp_path):
    write_people(tmp_path / "out", ["sub-01_ses-a", "sub-02"], lacks={"sub-02": ["pib", "FLAIR"]})
    return tmp_path / "out"


def test_a_session_is_read_as_the_network_sees_it(root):
    sample = reader(find(root)[1])(1)
    np.testing.assert_array_equal(sample.mask, brain_mask(1))
    assert sample.available.tolist() == [True, False]
    assert (sample.mri[1] == -1).all()
    assert sample.pet.shape == (2, *BRAIN.shape)
    travelled = pickle.loads(pickle.dumps(reader(find(root)[1])))(1)
    np.testing.assert_array_equal(travelled.pet, sample.pet)


def test_a_changed_input_is_noticed(root, tmp_path):
    """What was kept of it is not read again; the other session is."""

    def kept():
        read = reader(find(root)[1])
        keys = read.keys()
        return Kept(read, keys.__getitem__, tmp_path / "kept"), keys

    first, before = kept()
    old = [first(0), first(1)]
    write_people(root, ["sub-01_ses-a"], seed=2)
    again, after = kept()
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, True]
    assert not np.array_equal(again(0).pet, old[0].pet)
    np.testing.assert_array_equal(again(1).pet, old[1].pet)
    assert len(list((tmp_path / "kept").iterdir())) == 3


@pytest.mark.parametrize("role", ["t1w", "flair", "mask", "pib"])
@pytest.mark.parametrize("what", ["size", "time"])
def test_the_key_tells_every_file(root, role, what):
    ours = reader(find(root)[1])
    before = ours.keys()
    path = getattr(ours.pairs[0], role, None) or ours.pairs[0].pet[role]
    stat = path.stat()
    if what == "size":
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = ours.keys()
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_the_key_tells_how_it_is_read(root, tmp_path):
    found = find(root)[1]
    write_people(tmp_path / "copy", ["sub-01_ses-a"])
    others = [
        reader(found, grid=Grid(BRAIN.shape, BRAIN.affine + 1e-4)),
        reader(found, suvr_max={"flortaucipir": 5.0, "pib": 4.5}),
        reader(found, suvr_max=dict(reversed(SUVR_MAX.items()))),
        reader(found, mri=MRIContract(lower_percentile=1.0)),
        reader(find(tmp_path / "copy")[1]),
        reader(find(root, tracers=("pib",))[1]),
    ]
    keys = [reader(found).keys()[0], *(other.keys()[0] for other in others)]
    assert len(set(keys)) == 7
    assert all(key.startswith("sub-01_ses-a_") for key in keys)
    assert reader(find(root)[1]).keys()[0] == keys[0]


def test_several_folders_without_those_left_out(root, tmp_path):
    write_people(tmp_path / "more", ["sub-02", "sub-03"])
    _, found = find(root, tmp_path / "more", leave_out=("sub-02",))
    assert [pair.label for pair in found.pairs] == ["sub-01_ses-a", "sub-03"]
    with pytest.raises(InputError, match=r"leave_out names sub-2, and no folder of that name is"):
        find(root, leave_out=("sub-02", "sub-2"))


def test_columns_come_from_the_list_of_participants(root):
    listed = pd.DataFrame(
        {"participant_id": ["sub-02", "sub-01"], "site": [7, 8], "age": [60, 70]}
    )
    listed.to_csv(root / "participants.tsv", sep="\t", index=False)
    data, found = find(root, groups=("participant_id", "site"))
    table = session_table(found, data)
    assert table["site"].tolist() == [8, 7]
    assert "age" not in table
    assert table["pib"].tolist() == [True, False]


def test_no_list_is_needed_where_no_column_is_named(root):
    data, found = find(root, stratify=("flair",))
    assert session_table(found, data).equals(found.table())


@pytest.mark.parametrize(
    "place", ["", "sourcedata", "sourcedata/raw", "../..", "elsewhere/people.tsv"]
)
def test_the_list_is_found(tmp_path, place):
    """Beside the derivatives, in their source dataset, around them, or where the recipe says."""
    root = tmp_path / "bids" / "derivatives" / "relad"
    write_people(root, ["sub-01"])
    path = root / place
    if not place.endswith(".tsv"):
        path = path / "participants.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("participant_id\tfamily\nsub-01\tF1\n")
    named = path if place.endswith(".tsv") else None
    data, found = find(root, groups=("participant_id", "family"), participants_tsv=named)
    assert session_table(found, data)["family"].tolist() == ["F1"]


def test_the_nearest_list_counts(tmp_path):
    root = tmp_path / "bids" / "derivatives" / "relad"
    write_people(root, ["sub-01"])
    for folder, family in ((root, "F1"), (tmp_path / "bids", "F2")):
        (folder / "participants.tsv").write_text(f"participant_id\tfamily\nsub-01\t{family}\n")
    data, found = find(root, groups=("participant_id", "family"))
    assert session_table(found, data)["family"].tolist() == ["F1"]


def test_a_list_that_is_not_there_is_named(root):
    data, found = find(root, stratify=("site",))
    with pytest.raises(
        InputError, match=r"list of participants was looked for at .*participants\.tsv"
    ):
        session_table(found, data)
    data, found = find(root, stratify=("site",), participants_tsv=Path("gone.tsv"))
    with pytest.raises(InputError, match=r"looked for at gone\.tsv and is not there"):
        session_table(found, data)


def test_lists_of_two_folders_are_one(root, tmp_path):
    """The same row twice is one; two rows of one person are an error."""
    write_people(tmp_path / "more", ["sub-02"])
    (root / "participants.tsv").write_text("participant_id\tsite\nsub-01\ta\nsub-02\tb\n")
    other = tmp_path / "more" / "participants.tsv"
    other.write_text("participant_id\tsite\nsub-02\tb\n")
    data, found = find(root, tmp_path / "more", groups=("participant_id", "site"))
    assert session_table(found, data)["site"].tolist() == ["a", "b", "b"]
    other.write_text("participant_id\tsite\nsub-02\tc\n")
    with pytest.raises(DataError, match=r"sub-02 have more than one row among the participants"):
        session_table(found, data)
