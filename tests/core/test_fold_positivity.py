import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from relad_bids.core.fold_positivity import FOLD_COLUMNS, FOLD_METRICS, delong, fold_positivity
from relad_bids.core.mixture import mixture_cutoff


def cohort(rng, n_negative=70, n_positive=40, noise=0.15):
    truth = np.concatenate([rng.normal(1.1, 0.06, n_negative), rng.normal(1.8, 0.15, n_positive)])
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:03}" for i in range(truth.size)],
            "tracer": "pib", "voi": "amyloid-composite",
            "truth": truth,
            "estimate": 1.3 + 0.3 * (truth - 1.3) + rng.normal(0, noise, truth.size),
        }
    )  # fmt: skip


def judged(pairs):
    table = fold_positivity(pairs, rng=np.random.default_rng(1))
    assert list(table) == list(FOLD_COLUMNS)
    return table.set_index("metric")


def test_two_clear_groups():
    pairs = cohort(np.random.default_rng(1))
    table = judged(pairs)
    assert table["note"].eq("ok").all()
    assert table.loc["roc_auc", ["n_positive", "n_negative"]].tolist() == [40, 70]
    area = roc_auc_score(pairs["truth"] > 1.4, pairs["estimate"])
    assert table.loc["roc_auc", "value"] == pytest.approx(area)
    cutoff = table.loc["truth_cutoff"]
    # Between the groups, and hardly moved by which fold is left out.
    assert 1.2 < cutoff["low"] <= cutoff["value"] <= cutoff["high"] < 1.5
    for name in ("sensitivity", "specificity"):
        row = table.loc[name]
        assert 0 < row["low"] < row["value"] < row["high"] < 1


def test_an_estimate_of_nothing_tells_nobody_apart():
    """A cut-off chosen on those it judges would find some; chosen on others it does not."""
    rng = np.random.default_rng(2)
    sums = []
    for _ in range(20):
        pairs = cohort(rng).assign(estimate=rng.normal(1.3, 0.1, 110))
        table = judged(pairs)["value"]
        sums.append(table["sensitivity"] + table["specificity"] - 1)
    # Standard error of Youden's index is 0.1 a cohort, 0.02 over 20.
    assert np.mean(sums) == pytest.approx(0, abs=0.08)


def test_cutoffs_of_the_truth_come_from_the_other_folds(monkeypatch):
    given = []

    def spy(values, **settings):
        given.append(set(values))
        return mixture_cutoff(values, **settings)

    monkeypatch.setattr("relad_bids.core.fold_positivity.mixture_cutoff", spy)
    truth = set(cohort(np.random.default_rng(1))["truth"])
    judged(cohort(np.random.default_rng(1)))
    left = [truth - known for known in given]
    assert [len(out) for out in left] == [22] * 5
    assert set().union(*left) == truth


def test_one_group_has_no_cut_off():
    rng = np.random.default_rng(3)
    table = judged(cohort(rng).assign(truth=rng.normal(1.2, 0.1, 110)))
    assert table["value"].isna().all()
    assert table["note"].str.startswith("no cut-off in a training fold: one group").all()
    assert set(table.index) == set(FOLD_METRICS)


@pytest.mark.parametrize(("n", "enough"), [(7, False), (8, True)])
def test_fewest_of_a_kind(n, enough):
    table = judged(cohort(np.random.default_rng(4), n_positive=n))
    assert table["value"].notna().all() == enough
    assert enough or table["note"].iloc[0].startswith("fewer than 8 positive")


def placements(score, positive):
    """Variance of the area from all pairs of a positive and a negative (DeLong 1988, eq. 5-7)."""
    ours, others = score[positive], score[~positive]
    wins = (ours[:, None] > others) + 0.5 * (ours[:, None] == others)
    return wins.mean(), wins.mean(1).var(ddof=1) / ours.size + wins.mean(0).var(
        ddof=1
    ) / others.size


def test_delong_against_all_pairs():
    rng = np.random.default_rng(5)
    score = np.round(rng.normal(0, 1, 60), 1)  # with ties
    positive = np.arange(60) < 25
    score[positive] += 0.5
    area, variance = placements(score, positive)
    found = delong(score, positive)
    assert found[0] == pytest.approx(area)
    assert found[0] == pytest.approx(roc_auc_score(positive, score))
    assert found[2] - found[0] == pytest.approx(1.95996 * np.sqrt(variance), rel=1e-4)


def test_delong_keeps_to_the_scale():
    positive = np.arange(20) < 10
    assert delong(np.where(positive, 1.0, 0.0) + 0.01 * np.arange(20), positive) == (1, 1, 1)


def test_calibration_is_that_of_the_other_folds():
    """A thousand people whose odds are linear in the estimate: the map is right, its slope 1."""
    rng = np.random.default_rng(5)
    pairs = cohort(rng, n_negative=600, n_positive=400, noise=0.15)
    table = judged(pairs)
    slope, brier = table.loc["logistic_slope"], table.loc["brier"]
    assert slope["low"] < 1 < slope["high"]
    # The best that is possible: two normal groups, by integration.
    x = np.linspace(0.4, 2.4, 4001)
    groups = [
        w * norm.pdf(x, m, s)
        for w, m, s in ((0.6, 1.24, np.hypot(0.15, 0.018)), (0.4, 1.45, np.hypot(0.15, 0.045)))
    ]
    best = np.trapezoid(groups[0] * groups[1] / (groups[0] + groups[1]), x)
    # Standard error of a mean squared error of 0.17 over 1000 people: 0.006.
    assert brier["value"] == pytest.approx(best, abs=0.02)
    assert brier["low"] < brier["value"] < brier["high"]


def test_without_overlap_there_is_no_slope():
    table = judged(cohort(np.random.default_rng(6), noise=0.0))
    assert np.isnan(table.loc["logistic_slope", "value"])
    assert "do not overlap" in table.loc["logistic_slope", "note"]
    assert table.loc["brier", "note"] == "ok"
