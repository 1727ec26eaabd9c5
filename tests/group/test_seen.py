import pandas as pd
import pytest
from cohort import write_checkpoint

from relad_bids.errors import CheckpointError, DataError, InputError
from relad_bids.group.seen import read_checkpoints, require_unseen
from relad_bids.seen_list import SEEN


def rows(*pairs):
    return pd.DataFrame(pairs, columns=["participant_id", "checkpoint_id"])


def test_who_was_seen(tmp_path):
    label = write_checkpoint(tmp_path / "c", ["sub-1", "sub-2"])
    given = read_checkpoints([tmp_path / "c"], vouched=False)
    asked = rows(("sub-1", label), ("sub-3", label), ("sub-1", "other-1+0"), ("sub-3", label))
    assert given.seen(asked).tolist() == ["yes", "no", "unknown", "no"]


def test_folds_answer_for_those_they_left_out(tmp_path):
    folds = [
        write_checkpoint(tmp_path / "cv" / f"fold-{n}", people, sha=f"{n}" * 64)
        for n, people in ((1, ["sub-1"]), (2, ["sub-2"]))
    ]
    given = read_checkpoints([tmp_path / "cv"], vouched=False)
    asked = rows(("sub-2", folds[0]), ("sub-1", folds[1]))
    assert given.seen(asked).tolist() == ["no", "no"]
    require_unseen(asked, given, "x")
    with pytest.raises(DataError, match=r"x was asked for with the synthetic PET of sub-1; .*"
                       r"was trained on, or chosen by, them.*--checkpoints"):  # fmt: skip
        require_unseen(rows(("sub-1", folds[0])), given, "x")


@pytest.mark.parametrize("vouched", [False, True])
@pytest.mark.parametrize("kind", ["no list", "source not told", "not given"])
def test_what_is_not_known_is_refused_unless_the_user_vouches(tmp_path, kind, vouched):
    people = None if kind == "source not told" else ["sub-1"]
    source = "somewhere" if kind == "source not told" else "derivatives"
    label = write_checkpoint(tmp_path / "c", people, source=source, listed=kind != "no list")
    folders = [] if kind == "not given" else [tmp_path / "c"]
    given = read_checkpoints(folders, vouched=vouched)
    asked = rows(("sub-9", label))
    assert given.seen(asked).tolist() == ["no" if vouched else "unknown"]
    if vouched:
        require_unseen(asked, given, "x")
    else:
        with pytest.raises(DataError, match=r"does not tell whom it has seen.*--unseen"):
            require_unseen(asked, given, "x")


def test_a_word_does_not_help_against_a_list(tmp_path):
    label = write_checkpoint(tmp_path / "c", ["sub-1"])
    given = read_checkpoints([tmp_path / "c"], vouched=True)
    with pytest.raises(DataError, match="was trained on, or chosen by, them"):
        require_unseen(rows(("sub-1", label)), given, "x")


def test_phantoms_alone_are_nobody(tmp_path):
    label = write_checkpoint(tmp_path / "c", None, source="phantom")
    given = read_checkpoints([tmp_path / "c"], vouched=False)
    assert given.seen(rows(("sub-001", label))).tolist() == ["no"]


def test_a_changed_list(tmp_path):
    write_checkpoint(tmp_path / "c", ["sub-1"])
    (tmp_path / "c" / SEEN).write_text("participant_id\tside\nsub-2\ttrain\n")
    with pytest.raises(CheckpointError, match="is not the list that the card"):
        read_checkpoints([tmp_path / "c"], vouched=False)


def test_no_write_checkpoint(tmp_path):
    with pytest.raises(InputError, match=r"holds neither model\.json nor fold"):
        read_checkpoints([tmp_path], vouched=False)
