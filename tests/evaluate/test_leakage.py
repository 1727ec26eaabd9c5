import pandas as pd
import pytest

from relad_bids.cohorts.phantoms import VALIDATION_SEED
from relad_bids.cohorts.record import write_participants
from relad_bids.cohorts.sides import Sides
from relad_bids.errors import CheckpointError, DataError, InputError
from relad_bids.evaluate.leakage import Seen, held_out_of, require_unseen, seen_by
from relad_bids.files import write_table

PHANTOMS = {
    "source": "phantom", "preset": "strong", "n_start": 3, "n_train": 2, "n_validation": 2,
    "residual_mm": 1.0,
}  # fmt: skip


def seen(*people):
    return Seen(frozenset(people), frozenset(), known=True)


def test_phantoms_of_the_training_seed_are_known(make_card, tmp_path):
    """Five to learn from, and two of another seed on whom the training looked."""
    found = seen_by(tmp_path, make_card(training={"seed": 7, "data": PHANTOMS}))
    assert "sub-phantom7x0004" in found
    assert "sub-phantom7x0005" not in found
    assert "sub-phantom8x0000" not in found
    assert f"sub-phantom{7 + VALIDATION_SEED}x0001" in found
    assert f"sub-phantom{7 + VALIDATION_SEED}x0002" not in found
    assert found.known
    assert len(found.phantoms) == 7


def test_people_are_those_of_the_list(make_card, tmp_path):
    sides = Sides(start=("sub-01",), train=("sub-02",), validation=("sub-03",), test=("sub-04",))
    digest = write_participants(tmp_path, sides)
    training = {"data": {"source": "derivatives"}, "training_participants_sha256": digest}
    found = seen_by(tmp_path, make_card(training=training))
    assert found.people == {"sub-01", "sub-02", "sub-03"}
    assert found.known
    assert held_out_of(tmp_path) == {"sub-04"}


def test_a_list_that_was_changed_is_refused(make_card, tmp_path):
    write_table(
        tmp_path / "training_participants.tsv", pd.DataFrame({"participant_id": ["sub-9"]})
    )
    training = {"data": {"source": "derivatives"}, "training_participants_sha256": "0"}
    with pytest.raises(CheckpointError, match="is not the list that the card"):
        seen_by(tmp_path, make_card(training=training))


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"seed": 3},
        {"data": {"source": "elsewhere"}},
        {"data": {"source": "derivatives"}, "training_participants_sha256": "0"},
    ],
)
def test_what_is_not_told_is_not_known(make_card, tmp_path, training):
    found = seen_by(tmp_path, make_card(training=training))
    assert not found.known
    assert "sub-01" not in found


def test_a_fine_tuned_checkpoint_has_seen_what_its_base_has(make_card, tmp_path):
    base = {"label": "base", "training": {"seed": 5, "data": PHANTOMS}}
    training = {"seed": 9, "data": {**PHANTOMS, "n_start": 0}, "fine_tuned_from": base}
    found = seen_by(tmp_path, make_card(training=training))
    assert "sub-phantom5x0004" in found
    assert "sub-phantom9x0001" in found
    assert "sub-phantom9x0002" not in found


def test_those_who_were_learned_from_are_named():
    with pytest.raises(
        DataError, match=r"^demo was trained on, or chosen by, sub-01, sub-03, and"
    ):
        require_unseen("demo", [seen("sub-01", "sub-03", "sub-7")], ["sub-03", "sub-02", "sub-01"])


def test_a_long_list_is_cut():
    people = [f"sub-{number:02}" for number in range(11)]
    with pytest.raises(DataError, match=r"sub-09, \.\.\. \(11 in all\), and"):
        require_unseen("demo", [seen(*people)], people)


def test_out_of_fold_everybody_has_somebody_who_never_saw_them():
    folds = [seen("sub-01", "sub-02"), seen("sub-02", "sub-03")]
    require_unseen("demo", folds, ["sub-01", "sub-03", "sub-04"])
    with pytest.raises(DataError, match="sub-02, and"):
        require_unseen("demo", folds, ["sub-01", "sub-02"])


@pytest.mark.parametrize("written", [False, True])
def test_nobody_was_held_out(tmp_path, written):
    if written:
        write_participants(tmp_path, Sides(start=("sub-01",), train=(), validation=()))
    with pytest.raises(
        InputError, match=r"held_out_participants.tsv should name .* --participant"
    ):
        held_out_of(tmp_path)
