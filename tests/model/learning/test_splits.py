import math
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from relad_bids.errors import DataError, UsageError
from relad_bids.model.learning.splits import (
    Split,
    check_disjoint,
    hold_out,
    join_groups,
    k_fold,
    levels,
)

GROUPS = ("family", "site")

laws = settings(deadline=None, derandomize=True, max_examples=60)
"""The same cases everywhere; no time limit, because machines are shared."""


@st.composite
def tables(draw):
    """Scans of 2 to 20 participants; a scan may name another family or site than the last one."""
    n = draw(st.integers(2, 20))
    again = draw(st.lists(st.integers(0, n - 1), max_size=4))
    named = st.integers(0, 8 * n)
    rows = [(f"sub-{p:02}", f"F{draw(named)}", f"S{draw(named)}") for p in [*range(n), *again]]
    return pd.DataFrame(rows, columns=["participant_id", *GROUPS])


def people(n, **columns):
    return pd.DataFrame({"participant_id": [f"sub-{i:03}" for i in range(n)], **columns})


def sets_that_hang_together(table, groups):
    """Join sets that share any value, two at a time, until no two do."""
    columns = ["participant_id", *groups]
    sets = [{(name, row[name]) for name in columns} for _, row in table.iterrows()]
    joined = True
    while joined:
        joined = False
        for i, one in enumerate(sets):
            for j in range(len(sets) - 1, i, -1):
                if one & sets[j]:
                    one |= sets.pop(j)
                    joined = True
    return [{value for name, value in one if name == "participant_id"} for one in sets]


def values_on_both_sides(table, split, columns):
    """Rows looked up one by one, by the participant's name."""
    sides = [table[table["participant_id"].isin(side)] for side in (split.train, split.test)]
    assert sum(map(len, sides)) == len(table)
    return {name for name in columns if set(sides[0][name]) & set(sides[1][name])}


@laws
@given(tables(), st.integers(2, 4), st.sampled_from([(), ("family",), ("site",), GROUPS]))
def test_folds_leak_nothing_or_are_refused(table, n_folds, groups):
    """Sizes are those of scikit-learn's GroupKFold, given the sets; both are Graham's rule."""
    sets = sets_that_hang_together(table, groups)
    n = table["participant_id"].nunique()
    possible = max(map(len, sets)) <= math.ceil(n / n_folds) and len(sets) >= n_folds
    if not possible:
        with pytest.raises(DataError, match=r"must stay together"):
            k_fold(table, n_folds=n_folds, seed=0, groups=groups)
        return
    splits = k_fold(table, n_folds=n_folds, seed=0, groups=groups)
    for split in splits:
        assert not values_on_both_sides(table, split, ("participant_id", *groups))
    in_test = Counter(row for split in splits for row in split.rows(table)[1])
    assert in_test == dict.fromkeys(range(len(table)), 1)
    of_set = [index for index, one in enumerate(sets) for _ in one]
    peers = GroupKFold(n_folds).split(of_set, groups=of_set)
    assert sorted(len(s.test) for s in splits) == sorted(len(test) for _, test in peers)


@laws
@given(tables(), st.floats(0.01, 0.99), st.sampled_from([(), GROUPS]))
def test_what_is_held_out_leaks_nothing_and_is_as_large_as_asked(table, share, groups):
    """Dealing set by set, the misfit never exceeds half of the largest set."""
    sets = sets_that_hang_together(table, groups)
    n = table["participant_id"].nunique()
    try:
        split = hold_out(table, share=share, seed=3, groups=groups)
    except DataError as error:
        found = {"be asked": 0, "learn from": n}[re.findall(r"nobody to (.*?)\.", str(error))[0]]
    else:
        assert not values_on_both_sides(table, split, ("participant_id", *groups))
        found = len(split.test)
        assert 0 < found < n
    assert abs(found - share * n) <= max(map(len, sets)) / 2 + 1e-9  # rounding of sums of shares


@laws
@given(tables(), st.randoms(use_true_random=False), st.integers(0, 5))
def test_order_of_rows_does_not_matter(table, chance, seed):
    order = list(range(len(table)))
    chance.shuffle(order)
    table["pib"] = table["participant_id"].str[-1].astype(int) % 2 == 0
    asked = {"share": 0.4, "seed": seed, "groups": ["family"], "stratify": ["pib"]}
    try:
        expected = hold_out(table, **asked)
    except DataError:
        return
    assert hold_out(table.iloc[order], **asked) == expected


def test_seed_decides():
    table = people(30)
    splits = [k_fold(table, n_folds=3, seed=seed) for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]
    held = [hold_out(table, share=0.3, seed=seed) for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


def test_relatives_of_relatives_stay_together():
    """1 and 2 are family, 2 and 3 share a site, 3 and 4 a family again."""
    chain = people(4, family=["a", "a", "b", "b"], site=["x", "y", "y", "z"])
    rest = people(16, family=range(16), site=range(16)).iloc[4:]
    table = pd.concat([chain, rest])
    for seed in range(10):
        for split in k_fold(table, n_folds=4, seed=seed, groups=GROUPS):
            inside = [label in split.test for label in chain["participant_id"]]
            assert all(inside) or not any(inside)


def test_participants_count_not_their_scans():
    """Eight scans of one person weigh as much as one scan of another."""
    table = pd.concat([people(1)] * 8 + [people(10)])
    for seed in range(5):
        splits = k_fold(table, n_folds=5, seed=seed)
        assert [len(split.test) for split in splits] == [2] * 5


@pytest.mark.parametrize(("size", "n_folds", "fits"), [(4, 5, True), (5, 5, False)])
def test_a_family_larger_than_a_fold_is_named(size, n_folds, fits):
    """Of 20 participants one of 5 folds holds 4."""
    family = ["big"] * size + [f"f{i}" for i in range(20 - size)]
    table = people(20, family=family, site=range(20))
    asked = {"n_folds": n_folds, "seed": 0, "groups": GROUPS}
    if fits:
        assert [len(split.test) for split in k_fold(table, **asked)] == [4] * 5
        return
    with pytest.raises(
        DataError,
        match=r"^5 of 20 participants must stay together and are more than the 4 that one of 5 "
        r"folds holds: sub-000, sub-001, sub-002, sub-003, sub-004 \(family big\)\. To go on, ask "
        r"for at most 4 folds, or name fewer columns\.$",
    ):
        k_fold(table, **asked)
    assert len(k_fold(table, **{**asked, "n_folds": 4})) == 4


def test_the_advice_for_more_than_half_is_not_fewer_folds():
    table = people(6, family=["a"] * 4 + ["b", "c"], site=["x", *range(5)])
    with pytest.raises(DataError, match=r"sub-003 \(family a\)\. To go on, name fewer columns"):
        k_fold(table, n_folds=2, seed=0, groups=GROUPS)


def test_too_few_sets_for_the_folds():
    table = people(4, family=list("aabb"))
    with pytest.raises(
        DataError,
        match=r"4 participants make 2 sets that must stay together, needed is one for each of 3 "
        r"folds\. Ask for fewer folds, or name fewer columns than family\.",
    ):
        k_fold(table, n_folds=3, seed=0, groups=["family"])
    with pytest.raises(DataError, match=r"2 participants make 2 sets .* Ask for fewer folds\.$"):
        k_fold(people(2), n_folds=3, seed=0)
    with pytest.raises(DataError, match=r"0 participants make 0 sets"):
        k_fold(people(0), n_folds=2, seed=0)


def test_one_set_of_all_cannot_be_held_out():
    with pytest.raises(
        DataError,
        match=r"share of 0.2 was to be held out of 7 participants; that leaves nobody to be "
        r"asked\. Kept together are sub-000, .*, sub-004, \.\.\. \(7 in all\) \(site x\)\. Hold "
        r"out another share, or name fewer columns than site\.",
    ):
        hold_out(people(7, site="x"), share=0.2, seed=0, groups=["site"])
    with pytest.raises(DataError, match=r"nobody to learn from\. Hold out another share\.$"):
        hold_out(people(3), share=0.9, seed=0)


@pytest.mark.parametrize("share", [-0.1, 0, 1, 1.5, math.nan])
def test_a_share_is_between_nothing_and_all(share):
    with pytest.raises(UsageError, match=r"share to hold out is .*, needed is one between 0 and"):
        hold_out(people(9), share=share, seed=0)


def test_one_fold_is_no_split():
    with pytest.raises(UsageError, match=r"1 folds were asked for, needed are at least 2"):
        k_fold(people(9), n_folds=1, seed=0)


def test_every_fold_gets_its_share_of_each_tracer():
    """60 participants, two tracers that few have; whole people bound the misfit to about one.

    Without stratification the same seeds leave folds without the rarer tracer.
    """
    rng = np.random.default_rng(8)
    table = people(60, pib=rng.random(60) < 0.25, pbr28=rng.random(60) < 0.15, fdg=False)
    names = ["pib", "pbr28", "fdg"]
    plain_misfit = []
    for seed in range(10):
        for stratify in (names, ()):
            splits = k_fold(table, n_folds=5, seed=seed, stratify=stratify)
            tests = [table.iloc[split.rows(table)[1]] for split in splits]
            counts = np.array([[len(test), *test[names].sum()] for test in tests])
            misfit = np.abs(counts - counts.mean(0))
            if stratify:
                assert misfit.max() <= 1
            else:
                plain_misfit.append(misfit.max())
    assert max(plain_misfit) > 2


def test_both_sides_get_their_share_of_each_tracer():
    table = people(50, pib=[True] * 10 + [False] * 40)
    for seed in range(10):
        held = hold_out(table, share=0.2, seed=seed, stratify=["pib"])
        has = table.set_index("participant_id")["pib"]
        assert (len(held.test), has[list(held.test)].sum()) == (10, 2)


def test_a_tracer_of_any_session_is_the_participants():
    """Each second row lacks it; the participants are the same."""
    once = people(20, pib=[True] * 4 + [False] * 16)
    twice = pd.concat([once.assign(pib=False), once])
    for seed in range(3):
        asked = {"n_folds": 4, "seed": seed, "stratify": ["pib"]}
        assert k_fold(twice, **asked) == k_fold(once, **asked)


def test_stratification_needs_true_or_false():
    with pytest.raises(DataError, match=r"column pib to stratify by holds .*, needed is true or"):
        hold_out(people(3, pib=["yes", "no", "no"]), share=0.4, seed=0, stratify=["pib"])


def test_groups_become_columns_of_bool():
    """One for each value; a missing one is a value, and what is bool stays."""
    table = people(6, diagnosis=["AD", "CN", None, "AD", "CN", "CN"], pib=[True] * 2 + [False] * 4)
    made = levels(table.set_index([[5, 4, 3, 2, 1, 0]]), ["diagnosis", "pib"])
    assert made.astype(int).to_dict("list") == {
        "diagnosis=AD": [1, 0, 0, 1, 0, 0],
        "diagnosis=CN": [0, 1, 0, 0, 1, 1],
        "diagnosis=n/a": [0, 0, 1, 0, 0, 0],
        "pib": [1, 1, 0, 0, 0, 0],
    }
    assert made.index.tolist() == [5, 4, 3, 2, 1, 0]
    assert set(made.dtypes) == {np.dtype(bool)}
    held = hold_out(table.assign(**made.set_index(table.index)), share=1 / 3, seed=0,
                    stratify=["diagnosis=AD"])  # fmt: skip
    assert len({"sub-000", "sub-003"} & set(held.test)) == 1


def test_numbers_are_groups_by_their_value():
    """A gap makes floats of a column of whole numbers."""
    assert list(levels(people(4, site=[1, 1, math.nan, 1]), ["site"])) == ["site=1", "site=n/a"]


def test_a_column_to_stratify_by_has_few_values():
    """Half as many as there are people are enough, one more is too many."""
    assert len(levels(people(6, age=[1, 2, 3, 1, 2, 3]), ["age"]).columns) == 3
    with pytest.raises(
        DataError,
        match=r"column age to stratify by has 4 values among 6 participants \(1, 2, 3, 4",
    ):
        levels(people(6, age=[1, 2, 3, 4, 2, 3]), ["age"])
    with pytest.raises(DataError, match=r"no column sex; it has participant_id"):
        levels(people(6), ["sex"])


@pytest.mark.parametrize("value", [None, math.nan, "", " n/a "])
@pytest.mark.parametrize("column", ["participant_id", "family"])
def test_a_missing_value_is_refused(value, column):
    table = people(4, family=list("abcd")).astype(object)
    table.loc[2, column] = value
    who = {"participant_id": "row 2", "family": "sub-002"}[column]
    with pytest.raises(
        DataError, match=rf"{column} is missing for 1 rows \({who}\), needed is a value for each"
    ):
        hold_out(table, share=0.5, seed=0, groups=["family"])


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match=r"no column family; it has participant_id, site\."):
        k_fold(people(4, site=1), n_folds=2, seed=0, groups=["family"])


def test_disjoint_sides_pass():
    table = people(4, family=list("aabb"), site=range(4))
    check_disjoint(table[:2], table[2:], ["participant_id", *GROUPS])
    check_disjoint(table[:1], table[1:])  # a family may be cut where nobody asked


def test_shared_values_are_named_by_column_with_their_people():
    table = people(9, family=list("aabcccdef"), site=[1, 2, 3, 4, 5, 6, 7, 8, 2])
    with pytest.raises(
        DataError,
        match=r"side share participant_id sub-004; "
        r"family c \(sub-003, sub-004 on one, sub-004, sub-005 on the other\); "
        r"site 2, 5 \(sub-001, sub-004 on one, sub-004, sub-008 on the other\)\. What is",
    ):
        check_disjoint(table[:5], table[4:], ["participant_id", *GROUPS])
    with pytest.raises(DataError, match=r"site 0, 1, 2, 3, 4, \.\.\. \(7 in all\) \(sub-000,"):
        check_disjoint(people(7, site=range(7)), people(7, site=range(7)), ["site"])


@pytest.mark.parametrize("same", [1.0, "1", " 1 ", np.float64(1), np.int8(1)])
def test_one_value_written_in_two_ways_is_one(same):
    """A table with a gap elsewhere is read as floats, another as text."""
    ours, theirs = people(1, site=[1]), people(3, site=same).iloc[1:]
    with pytest.raises(DataError, match=r"share site 1 \("):
        check_disjoint(ours, theirs, ["site"])
    check_disjoint(ours, people(3, site=1.5).iloc[1:], ["site"])
    with pytest.raises(
        DataError, match=r"nobody to be asked\. Kept together .* \(site 1\)\. Hold"
    ):
        hold_out(pd.concat([ours, theirs]), share=0.3, seed=0, groups=["site"])


def test_rows_of_either_side():
    table = pd.DataFrame({"participant_id": ["b", "a", "c", "b"]}, index=[7, 7, 1, 0])
    train, test = Split(train=("b",), test=("a", "c")).rows(table)
    assert (train.tolist(), test.tolist()) == ([0, 3], [1, 2])
    with pytest.raises(DataError, match=r"the split knows nothing of a, c, who stand in the"):
        Split(train=("b",), test=()).rows(table)


def test_groups_come_from_the_list_of_participants():
    """Two sessions of one participant, in an order of their own."""
    table = people(3).assign(participant_id=["sub-2", "sub-2", "sub-1"], pib=[True, False, True])
    listed = pd.DataFrame({"participant_id": ["sub-1", "sub-2", "sub-3"], "family": list("xyz")})
    joined = join_groups(table, listed, ["family"])
    assert joined["family"].tolist() == ["y", "y", "x"]
    assert joined[table.columns].equals(table)


def test_an_unlisted_participant_has_no_family_but_an_error():
    """A merge that leaves the family empty would make strangers of relatives."""
    table, listed = people(3), people(2, family=["x", "y"])
    with pytest.raises(
        DataError, match=r"sub-002 have no row among the participants, so their family is not"
    ):
        join_groups(table, listed, ["family"])
    with pytest.raises(DataError, match=r"sub-000 have more than one row among the participants"):
        join_groups(people(1), pd.concat([listed, listed[:1]]), ["family"])
    with pytest.raises(DataError, match=r"no column site; it has participant_id, family"):
        join_groups(people(2), listed, ["site"])
