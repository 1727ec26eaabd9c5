"""Which score goes with which scan."""

import pandas as pd
import pytest

from relad_bids.group.cognition import MAX_YEARS_APART, SLOPE, at_sessions, with_slopes


def chosen(scores, pet, times=()):
    """Scores and PET of one participant by session -> {PET session: score}."""
    index = pd.MultiIndex.from_tuples(
        [("sub-1", name) for name in pet], names=["participant_id", "session_id"]
    )
    values = pd.DataFrame(
        [("sub-1", name, value) for name, value in scores.items()],
        columns=["participant_id", "session_id", "value"],
    )
    known = pd.DataFrame(
        [("sub-1", name, years) for name, years in dict(times).items()],
        columns=["participant_id", "session_id", "years"],
    )
    found = at_sessions(values, pd.DataFrame(index=index), known)
    return found.set_index("session_id")["value"].to_dict()


def test_the_nearest_score_in_time():
    times = {"a": 1.0, "x": 0.7, "y": 1.2}
    assert chosen({"x": 20, "y": 25}, ["a"], times) == {"a": 25}


@pytest.mark.parametrize(("apart", "found"), [(182, {"a": 20}), (184, {})])
@pytest.mark.parametrize("sign", [1, -1])
def test_six_months_on_either_side(apart, found, sign):
    assert MAX_YEARS_APART == 0.5
    assert chosen({"x": 20}, ["a"], {"a": 3.0, "x": 3.0 + sign * apart / 365.25}) == found


def test_its_own_session_comes_first_and_needs_no_time():
    assert chosen({"a": 28, "x": 20}, ["a"], {"a": 1.0, "x": 1.0}) == {"a": 28}
    assert chosen({"a": 28, "x": 20}, ["a", "b"]) == {"a": 28}


def test_one_score_serves_one_scan():
    times = {"a": 1.0, "b": 1.4, "x": 1.1}
    assert chosen({"x": 20}, ["a", "b"], times) == {"a": 20}


def test_scores_without_sessions_go_with_the_first_scan():
    index = pd.MultiIndex.from_tuples(
        [("sub-1", "b"), ("sub-1", "a")], names=["participant_id", "session_id"]
    )
    values = pd.DataFrame({"participant_id": ["sub-1"], "value": [20.0]})
    none = pd.DataFrame(columns=["participant_id", "session_id", "years"])
    found = at_sessions(values, pd.DataFrame(index=index), none)
    assert found["session_id"].tolist() == ["a"]


def slopes(visits, *, scanned=0.0):
    """Years -> score of one participant whose PET was at ``scanned`` -> change per year."""
    index = pd.MultiIndex.from_tuples([("sub-1", "pet")], names=["participant_id", "session_id"])
    values = pd.DataFrame(
        [("sub-1", f"v{years}", score) for years, score in visits.items()],
        columns=["participant_id", "session_id", "value"],
    )
    times = pd.DataFrame(
        [("sub-1", "pet", scanned), *(("sub-1", f"v{years}", years) for years in visits)],
        columns=["participant_id", "session_id", "years"],
    )
    found = with_slopes({"mmse": values}, pd.DataFrame(index=index), times)
    assert found["mmse"] is values
    table = found.get(f"mmse, {SLOPE}")
    return None if table is None else table.set_index("participant_id")["value"].to_dict()


def test_the_change_per_year_is_the_line_through_the_scores():
    """29, 27, 27, 23 at 0, 1, 2, 3 years: slope sum(t d) / sum(t^2) = -9 / 5."""
    assert slopes({0: 29, 1: 27, 2: 27, 3: 23}) == {"sub-1": pytest.approx(-1.8)}


@pytest.mark.parametrize(
    ("visits", "told"),
    [
        ({0: 29, 0.5: 28, 1.0: 27}, True),
        ({0: 29, 0.5: 28, 0.9: 27}, False),
        ({0: 29, 2.0: 27}, False),
    ],
)
def test_three_scores_over_a_year(visits, told):
    assert (slopes(visits) is not None) == told


@pytest.mark.parametrize(("before", "counts"), [(0.5, True), (0.51, False)])
def test_scores_long_before_the_scan_do_not_count(before, counts):
    found = slopes({2 - before: 20, 2: 28, 3: 28, 4: 28}, scanned=2)
    assert (found["sub-1"] > 0.1) == counts


def test_without_times_or_sessions_there_is_no_change():
    index = pd.MultiIndex.from_tuples([("sub-1", "a")], names=["participant_id", "session_id"])
    values = pd.DataFrame({"participant_id": ["sub-1"], "value": [20.0]})
    none = pd.DataFrame(columns=["participant_id", "session_id", "years"])
    assert list(with_slopes({"mmse": values}, pd.DataFrame(index=index), none)) == ["mmse"]
