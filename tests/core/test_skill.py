import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from relad_bids.core.evaluation import evaluate
from relad_bids.core.skill import SKILL_COLUMNS, skill_table, verdict

NAN = np.nan


@pytest.mark.parametrize(
    ("skill", "low", "high", "words"),
    [
        (0.4, 1e-6, 0.6, "better than the training mean"),
        (0.4, 0.0, 0.6, "no better than the training mean"),
        (0.4, -0.1, 0.6, "no better than the training mean"),
        (-0.2, -0.4, 0.0, "no better than the training mean"),
        (-0.2, -0.4, -1e-6, "worse than the training mean"),
        (1.0, NAN, NAN, "better than the training mean"),
        (0.0, NAN, NAN, "no better than the training mean"),
        (-0.1, NAN, NAN, "worse than the training mean"),
        (NAN, NAN, NAN, "not known: there is no training mean for these scans"),
    ],
)
def test_words(skill, low, high, words):
    assert verdict(skill, low, high, 12, "the training mean") == words


@pytest.mark.parametrize(
    ("n", "words"),
    [(5, "not known: 5 participants, an interval needs 6"), (6, "better than the training mean")],
)
def test_a_few_participants_prove_nothing(n, words):
    assert verdict(0.9, NAN, NAN, n, "the training mean") == words


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(2)
    rows = [
        {"participant_id": f"sub-{i:02}", "tracer": "pib", "voi": voi}
        for i in range(14)
        for voi in ("a", "b", "c", "d")
    ]
    pairs = pd.DataFrame(rows).assign(mean=1.4)
    pairs["truth"] = rng.normal(1.4, 0.2, len(pairs))
    quality = pairs["voi"].map({"a": 0.9, "b": 0.6, "c": 0.3, "d": 0.0})
    noise = rng.normal(0, 0.05, len(pairs))
    pairs["estimate"] = 1.4 + quality * (pairs["truth"] - 1.4) + noise
    pairs["ridge"] = pairs["truth"] + rng.normal(0, 0.1, len(pairs))
    settings = {"floors": ["mean", "ridge"], "n_draws": 500}
    agreed = evaluate(pairs, rng=np.random.default_rng(1), **settings)
    found = skill_table(
        agreed, pairs, primary={"pib": "b"}, rng=np.random.default_rng(1), **settings
    )
    return pairs, agreed, found


def test_skill_is_that_of_the_agreement(tables):
    pairs, agreed, found = tables
    assert list(found) == list(SKILL_COLUMNS)
    assert len(found) == 4 * 2
    mean = agreed[agreed["metric"] == "skill_mean"].set_index("voi")
    ours = found[found["floor"] == "mean"].set_index("voi")
    pd.testing.assert_frame_equal(
        ours[["skill", "low", "high"]], mean[["value", "low", "high"]].set_axis(
            ["skill", "low", "high"], axis=1
        ),
    )  # fmt: skip
    a = pairs[pairs["voi"] == "a"]
    expected = (a["estimate"] - a["truth"]).abs() - (a["mean"] - a["truth"]).abs()
    assert ours.loc["a", "difference"] == pytest.approx(expected.mean())
    assert ours.loc["a", "effect"] == pytest.approx(expected.mean() / expected.std())
    assert ours["verdict"].str.split().str[0].tolist()[0] == "better"


def test_only_what_was_not_declared_is_adjusted(tables):
    """By an independent implementation, over three VOIs of each floor."""
    _, _, found = tables
    assert found["primary"].tolist() == [False, False, True, True, False, False, False, False]
    assert found.loc[found["primary"], "p_fdr"].isna().all()
    for _, rows in found[~found["primary"]].groupby("floor"):
        expected = false_discovery_control(rows["p"].to_numpy())
        assert rows["p_fdr"].tolist() == pytest.approx(expected.tolist())


def test_scans_of_one_person_are_one(tables):
    """Everybody scanned twice with the same result: the same p, not that of twice as many."""
    pairs, agreed, found = tables
    twice = skill_table(
        agreed, pd.concat([pairs, pairs]), floors=["mean", "ridge"], primary={"pib": "b"},
        rng=np.random.default_rng(1), n_draws=500,
    )  # fmt: skip
    assert twice["p"].tolist() == pytest.approx(found["p"].tolist())
