import pandas as pd
import pytest
from toys import tiny_card

from relad_bids.cohorts.record import write_participants
from relad_bids.cohorts.sides import Sides
from relad_bids.errors import CheckpointError
from relad_bids.seen_list import HASH, fingerprint_of, seen_participants

SIDES = Sides(("sub-05",), ("sub-01", "sub-1"), ("sub-02",), ("sub-03", "sub-04"))


def card_of(hashed):
    return tiny_card(training={HASH: hashed})


def test_whoever_had_a_say_is_seen(tmp_path):
    hashed = write_participants(tmp_path, SIDES)
    text = (tmp_path / "training_participants.tsv").read_text()
    assert text == (
        "participant_id\tside\nsub-05\tstart\nsub-01\ttrain\nsub-1\ttrain\nsub-02\tvalidation\n"
    )
    labels = ["sub-01", "sub-02", "sub-05", "sub-1"]
    assert hashed == fingerprint_of(labels)
    assert sorted(seen_participants(tmp_path, card_of(hashed))) == labels
    tested = pd.read_csv(tmp_path / "held_out_participants.tsv", sep="\t")
    assert tested.to_dict("list") == {
        "participant_id": ["sub-03", "sub-04"], "side": ["test", "test"],
    }  # fmt: skip


def test_those_of_the_first_checkpoint_stay_seen(tmp_path):
    """Once each; one who is tested now was seen before, and is seen."""
    hashed = write_participants(tmp_path, SIDES, ["sub-09", "sub-02", "sub-03"])
    table = pd.read_csv(tmp_path / "training_participants.tsv", sep="\t")
    by_label = dict(zip(table["participant_id"], table["side"], strict=True))
    assert len(table) == len(by_label) == 6
    assert by_label["sub-09"] == by_label["sub-03"] == "checkpoint"
    assert by_label["sub-02"] == "validation"
    assert seen_participants(tmp_path, card_of(hashed)) == tuple(table["participant_id"])


def test_an_old_list_of_the_tested_does_not_stay(tmp_path):
    write_participants(tmp_path, SIDES)
    write_participants(tmp_path, Sides(("a",), ("b",), ("c",)))
    assert (tmp_path / "held_out_participants.tsv").read_text() == "participant_id\tside\n"


def test_a_checkpoint_of_phantoms_saw_nobody(tmp_path):
    assert seen_participants(tmp_path, tiny_card()) == ()


def test_a_list_that_did_not_come_is_not_known(tmp_path):
    assert seen_participants(tmp_path, card_of("abc")) is None


def test_a_changed_list_is_refused(tmp_path):
    hashed = write_participants(tmp_path, SIDES)
    path = tmp_path / "training_participants.tsv"
    path.write_text(path.read_text().replace("sub-05", "sub-06"))
    with pytest.raises(
        CheckpointError, match=r"participants\.tsv is not the list that the card of"
    ):
        seen_participants(tmp_path, card_of(hashed))
