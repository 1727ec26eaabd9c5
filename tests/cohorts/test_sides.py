import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relad_bids.cohorts.sides import Sides, deal_sides
from relad_bids.errors import DataError, InputError
from relad_bids.model.learning.recipe import PairData
from relad_bids.model.learning.splits import k_fold
from relad_bids.seen_list import fingerprint_of

TRACERS = ("flortaucipir", "pib")


def people(n, **columns):
    table = pd.DataFrame({"participant_id": [f"sub-{i:03}" for i in range(n)], **columns})
    return table.assign(**{name: True for name in TRACERS if name not in columns})


def plan(**settings):
    return PairData(root=(Path("out"),), **settings)


def deal(table, data=None, *, start_share=None, **more):
    data = data or plan()
    share = data.start_share if start_share is None else start_share
    return deal_sides(table, data, tracers=TRACERS, start_share=share, **more)


def sizes(sides):
    return tuple(len(getattr(sides, side.name)) for side in dataclasses.fields(sides))


def test_shares_are_of_those_who_are_left():
    """100 people: 20 tested, 15 % of the 80 others watched, half of the 68 start."""
    sides = deal(people(100), plan(test_share=0.2))
    assert sizes(sides) == (34, 34, 12, 20)
    everybody = [who for side in dataclasses.fields(sides) for who in getattr(sides, side.name)]
    assert Counter(everybody) == dict.fromkeys(people(100)["participant_id"], 1)
    assert all(list(side) == sorted(side) for side in dataclasses.astuple(sides))


def test_nobody_is_tested_unless_it_is_said():
    assert sizes(deal(people(40))) == (17, 17, 6, 0)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.lists(st.integers(0, 30), min_size=60, max_size=60),
    st.lists(st.integers(0, 40), min_size=60, max_size=60),
    st.sampled_from([{"n_folds": 3}, {"test_share": 0.3}, {}]),
)
def test_no_value_is_on_both_sides_of_the_line(families, sites, tested):
    """Between learning and being asked, and between the two who are asked."""
    table = people(60, family=families, site=sites)
    data = plan(groups=("participant_id", "family", "site"), validation_share=0.25, **tested)
    try:
        sides = deal(table, data, fold=1 if "n_folds" in tested else None)
    except DataError:
        return
    learners = [*sides.rows(table, "start"), *sides.rows(table, "train")]
    parts = [table.iloc[rows] for rows in (
        learners, sides.rows(table, "validation"), sides.rows(table, "test"),
    )]  # fmt: skip
    assert sum(map(len, parts)) == 60
    for column in data.groups:
        values = [set(part[column]) for part in parts]
        assert sum(map(len, values)) == len(set.union(*values))


def test_families_are_dealt_in_that_law():
    """It would hold, too, if all were refused."""
    table = people(60, family=[i // 3 for i in range(60)])
    sides = deal(table, plan(groups=("participant_id", "family"), test_share=0.2))
    assert sizes(sides)[2:] == (8, 12) or sizes(sides)[2:] == (6, 12)
    assert len(set(table["family"].iloc[sides.rows(table, "test")])) == 4


def test_every_fold_tests_others():
    table = people(53)
    dealt = [deal(table, plan(n_folds=5), fold=fold) for fold in range(1, 6)]
    assert sorted(who for sides in dealt for who in sides.test) == list(table["participant_id"])
    assert {len(sides.test) for sides in dealt} == {10, 11}
    assert all(not set(sides.validation) & set(sides.test) for sides in dealt)
    splits = k_fold(table, n_folds=5, seed=0, stratify=TRACERS)
    assert [sides.test for sides in dealt] == [split.test for split in splits]


def test_a_person_has_one_side_whatever_the_sessions():
    table = pd.concat([people(30), people(30)[:7]])
    sides = deal(table)
    assert sum(sizes(sides)) == 30
    assert sum(len(sides.rows(table, side)) for side in ("start", "train", "validation")) == 37


def test_a_site_may_start_and_train():
    """One that is never asked has people for both; 10 of 30 are of the site that is asked."""
    table = people(30, site=["a", "b", "c"] * 10)
    data = plan(groups=("participant_id", "site"), validation_share=0.3)
    sides = deal(table, data)
    assert sizes(sides) == (10, 10, 10, 0)
    of_side = {
        side: set(table["site"].iloc[sides.rows(table, side)])
        for side in ("start", "train", "validation")
    }
    assert of_side["start"] == of_side["train"]
    assert len(of_side["validation"]) == 1


def test_each_side_has_its_share_of_each_tracer_and_group():
    """Of 80: 20 with the rarer tracer, 40 of one diagnosis; to one person, whatever the seed."""
    table = people(80, pib=[i % 4 == 0 for i in range(80)], dx=["AD"] * 40 + ["CN"] * 40)
    for seed in range(8):
        sides = deal(table, plan(test_share=0.25, stratify=("dx",), seed=seed))
        for side, n in zip(("start", "train", "validation", "test"), sizes(sides), strict=True):
            rows = table.iloc[sides.rows(table, side)]
            assert rows["pib"].sum() == pytest.approx(n / 4, abs=1)
            assert (rows["dx"] == "AD").sum() == pytest.approx(n / 2, abs=1)


def test_the_seed_deals():
    table = people(40)
    assert deal(table) == deal(table.sample(frac=1, random_state=3))
    assert deal(table) != deal(table, plan(seed=1))


def test_a_named_list_is_tested():
    sides = deal(people(30), plan(test_participants=("sub-007", "sub-003")))
    assert sides.test == ("sub-003", "sub-007")
    assert sum(sizes(sides)) == 30
    with pytest.raises(InputError, match=r"test_participants names sub-31, of whom there is no"):
        deal(people(30), plan(test_participants=("sub-003", "sub-31")))


def test_a_named_list_that_cuts_a_family_is_refused_by_name():
    table = people(30, family=[max(i, 3) for i in range(30)])
    data = plan(test_participants=("sub-003",), groups=("participant_id", "family"))
    with pytest.raises(
        DataError,
        match=r"share family 3 \(sub-000, sub-001, sub-002 on one, sub-003 on the other\)\. What",
    ):
        deal(table, data)
    whole = dataclasses.replace(data, test_participants=tuple(f"sub-00{i}" for i in range(4)))
    assert len(deal(table, whole).test) == 4


def test_fine_tuning_needs_three():
    """Nobody starts; a share of 15 % of three is one person, not none."""
    sides = deal(people(3), start_share=0)
    assert sizes(sides) == (0, 2, 1, 0)
    with pytest.raises(DataError, match=r"^2 participants are left to fine-tune with, needed are"):
        deal(people(2), start_share=0)
    with pytest.raises(DataError, match=r"^2 participants are left"):
        deal(people(4), plan(n_folds=2), fold=1, start_share=0)


def test_all_learners_start_where_all_has_a_closed_form():
    assert sizes(deal(people(20), start_share=1)) == (17, 0, 3, 0)


def test_a_start_needs_five_scans_of_each_tracer():
    """Folds of the regression's cross-validation; 12 people are 2 watched and 5 + 5."""
    assert sizes(deal(people(12))) == (5, 5, 2, 0)
    with pytest.raises(
        DataError,
        match=r"11 participants were dealt to the sides \(4 start, 5 train, 2 validation, 0 test\)"
        r":\n  flortaucipir: 4 scans of the side start, needed are 5\n  pib: 4 scans .*\n"
        r".*--finetune",
    ):
        deal(people(11), plan(seed=1))
    with pytest.raises(
        DataError,
        match=r"\n  pib: 0 scans of the side start, .*\n  pib: 0 scans of the side train, .* is 1",
    ):
        deal(people(20, pib=False))


def test_a_share_that_holds_out_nobody_is_named():
    """20 people are one family: whichever share is met, one side is empty."""
    groups = ("participant_id", "family")
    table = people(20, family="F")
    for name, tested in (("validation_share", {}), ("test_share", {"test_share": 0.3})):
        with pytest.raises(DataError, match=r"Kept together are .*family F") as caught:
            deal(table, plan(groups=groups, **tested))
        assert caught.value.__notes__ == [f"The share is that of data.{name}."]


def test_hash_is_that_of_the_sorted_list():
    expected = hashlib.sha256(b"sub-01\nsub-02\nsub-10").hexdigest()
    assert fingerprint_of(["sub-10", "sub-01", "sub-02"]) == expected
    assert fingerprint_of(("sub-01", "sub-0210")) != expected


def test_table_of_the_sides():
    sides = Sides(("a",), ("b", "c"), ("d",))
    assert sides.table().to_dict("list") == {
        "participant_id": ["a", "b", "c", "d"],
        "side": ["start", "train", "train", "validation"],
    }
