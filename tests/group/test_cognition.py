"""Which score goes with which scan."""

import pandas as pd
import pytest

from relad_bids.group.cognition import MAX_YEARS_APART, at_sessions


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
