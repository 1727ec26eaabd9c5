import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    roc_auc_score,
)

from relad_bids.core.positivity import (
    POSITIVITY_COLUMNS,
    POSITIVITY_METRICS,
    dictionary,
    positivity_table,
    youden_cutoff,
)
from relad_bids.errors import DataError

CUTOFF = 1.42
CUTOFFS = {("pib", "neocortex"): CUTOFF}
BOUNDS = ["low", "high"]
LEARNT = [
    "trained_cutoff",
    *(f"{name}_trained" for name in ("sensitivity", "specificity", "ppv", "npv")),
    "brier",
    "logistic_slope",
]


def cohort(rng, n_positive, n_negative, *, prefix="sub", noise=0.15):
    """Known numbers of positives; an estimate that keeps half of what is individual."""
    above = rng.uniform(0.01, 0.8, n_positive)
    below = -rng.uniform(0.01, 0.4, n_negative)
    truth = CUTOFF + rng.permutation(np.concatenate([above, below]))
    n = truth.size
    return pd.DataFrame(
        {
            "participant_id": [f"{prefix}-{i:03}" for i in range(n)],
            "tracer": "pib",
            "voi": "neocortex",
            "truth": truth,
            "estimate": 1.45 + 0.5 * (truth - 1.45) + rng.normal(0, noise, n),
            "age": 1.45 + 0.2 * (truth - 1.45) + rng.normal(0, noise, n),
        }
    )


def judged(pairs, seed=1, **settings):
    settings = {"n_draws": 200, **settings}
    table = positivity_table(pairs, CUTOFFS, rng=np.random.default_rng(seed), **settings)
    return table.set_index("metric")


def scored(ours, others):
    """Positives and negatives with given estimates."""
    estimate = np.concatenate([ours, others])
    truth = np.where(np.arange(estimate.size) < len(ours), 2.0, 1.0)
    return cohort(np.random.default_rng(0), len(ours), len(others)).assign(
        estimate=estimate, truth=truth
    )


def delong(positive, *scores):
    """Covariance of AUCs; DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837."""
    kernel = [np.heaviside(score[positive][:, None] - score[~positive], 0.5) for score in scores]
    of_positive = np.cov([part.mean(1) for part in kernel])
    of_negative = np.cov([part.mean(0) for part in kernel])
    return of_positive / positive.sum() + of_negative / (~positive).sum()


@pytest.mark.parametrize("decimals", [1, 9])
def test_areas_are_those_of_sklearn(rng, decimals):
    """Of rounded estimates, positives and negatives share some."""
    pairs = cohort(rng, 30, 45)
    pairs["estimate"] = pairs["estimate"].round(decimals)
    found = judged(pairs)["value"]
    positive = pairs["truth"] >= CUTOFF
    assert found["roc_auc"] == pytest.approx(roc_auc_score(positive, pairs["estimate"]))
    assert found["pr_auc"] == pytest.approx(average_precision_score(positive, pairs["estimate"]))


def test_a_constant_knows_nothing(rng):
    """Draws that differ by rounding alone do not make an interval."""
    training = cohort(rng, 20, 25, prefix="known")
    table = judged(cohort(rng, 10, 30).assign(estimate=1.3), training=training)
    assert table.loc["roc_auc", "value"] == 0.5
    assert table.loc["pr_auc", "value"] == 0.25
    assert table.loc["brier", "value"] > 0.1
    assert (
        table.loc[["roc_auc", "pr_auc", "brier", "logistic_slope"], BOUNDS].isna().all(axis=None)
    )


def test_shares_at_both_cutoffs(rng):
    pairs, training = cohort(rng, 30, 45), cohort(rng, 20, 25, prefix="known")
    table = judged(pairs, training=training)
    positive = pairs["truth"] >= CUTOFF
    own = table.loc["trained_cutoff", "value"]
    assert own == youden_cutoff(training["estimate"].to_numpy(), training["truth"] >= CUTOFF)
    assert own != pytest.approx(CUTOFF, abs=0.01)
    for suffix, cutoff in (("", CUTOFF), ("_trained", own)):
        tn, fp, fn, tp = confusion_matrix(positive, pairs["estimate"] >= cutoff).ravel()
        expected = {
            "sensitivity": (tp, tp + fn),
            "specificity": (tn, tn + fp),
            "ppv": (tp, tp + fp),
            "npv": (tn, tn + fn),
        }
        for name, (k, n) in expected.items():
            row = table.loc[name + suffix]
            assert row["value"] == k / n
            low, high = stats.beta.ppf([0.025, 0.975], [k, k + 1], [n - k + 1, n - k])
            assert row[BOUNDS].tolist() == pytest.approx([low, high])


def test_a_full_share_of_a_few_is_no_certainty():
    """10 of 10: the exact lower bound is 0.025^(1/10)."""
    row = judged(scored([2.0] * 10, [1.0] * 12)).loc["sensitivity"]
    assert row["value"] == row["high"] == 1
    assert row["low"] == pytest.approx(0.025**0.1)


def test_a_value_at_the_cutoff_is_positive():
    """The estimate of one negative, and the truth of one participant more."""
    pairs = scored([2.0] * 9, [CUTOFF] + [1.0] * 9)
    assert judged(pairs).loc["specificity", "value"] == 0.9
    pairs.loc[18, "truth"] = CUTOFF
    table = judged(pairs)
    assert (table["n_positive"] == 10).all()
    assert (table["n_negative"] == 9).all()
    assert (table["n"] == 19).all()


def test_nobody_called_positive():
    """There is no predictive value of an answer that nobody got."""
    table = judged(scored(np.linspace(1, 1.3, 9), np.linspace(0.9, 1.2, 9)))
    assert table.loc["sensitivity", "value"] == 0
    assert table.loc["ppv", ["value", *BOUNDS]].isna().all()
    assert table.loc["ppv", "note"] == "nobody to count"
    assert table.loc["npv", "value"] == 0.5


def test_youden_cutoff_is_the_best_of_all(rng):
    score = rng.normal(size=40)
    positive = score + rng.normal(size=40) > 0

    def summed(cutoff):
        called = score >= cutoff
        return called[positive].mean() + (~called)[~positive].mean()

    assert summed(youden_cutoff(score, positive)) == max(map(summed, [*score, np.inf]))


@pytest.mark.parametrize(
    ("score", "positive", "expected"),
    [
        ([1, 2, 5, 6], [0, 0, 1, 1], 3.5),  # the middle of the gap
        ([1, 2, 3, 4], [0, 1, 0, 1], 3.5),  # equally good at 1.5: the highest
        ([1, 2, 3, 4], [1, 1, 0, 0], np.inf),  # worse than calling nobody
    ],
)
def test_youden_cutoff_by_hand(score, positive, expected):
    assert youden_cutoff(np.array(score, dtype=float), np.array(positive) > 0) == expected


def platt(score, positive):
    """Slope and intercept by minimising the cross-entropy with Platt's targets."""
    n_positive, n_negative = positive.sum(), (~positive).sum()
    target = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

    def loss(line):
        odds = line[0] * score + line[1]
        return np.sum(np.logaddexp(0, odds) - target * odds)

    return optimize.minimize(loss, [1.0, -1.0], method="BFGS", options={"gtol": 1e-8}).x


def test_logistic_map_is_fitted_on_training_and_judged_on_the_pairs(rng):
    """Against a general optimiser; both stop within 1e-4 of the same maximum."""
    pairs, training = cohort(rng, 30, 45), cohort(rng, 20, 25, prefix="known")
    table = judged(pairs, training=training)
    positive = (pairs["truth"] >= CUTOFF).to_numpy()
    slope, intercept = platt(
        training["estimate"].to_numpy(), (training["truth"] >= CUTOFF).to_numpy()
    )
    odds = slope * pairs["estimate"].to_numpy() + intercept
    assert table.loc["brier", "value"] == pytest.approx(
        brier_score_loss(positive, expit(odds)), rel=1e-4
    )
    again = LogisticRegression(C=1e9, tol=1e-8, max_iter=1000).fit(odds[:, None], positive)
    row = table.loc["logistic_slope"]
    assert row["value"] == pytest.approx(again.coef_[0, 0], rel=1e-3)
    p = again.predict_proba(odds[:, None])[:, 1]
    design = np.stack([np.ones(odds.size), odds])
    error = np.sqrt(np.linalg.inv((design * p * (1 - p)) @ design.T)[1, 1])
    assert row["high"] - row["value"] == pytest.approx(1.95996 * error, rel=1e-3)
    assert row["value"] - row["low"] == pytest.approx(1.95996 * error, rel=1e-3)


def test_a_map_of_the_same_kind_of_people_is_calibrated(rng):
    """4000 of each in training, so that only the standard error of the slope is left."""
    table = judged(cohort(rng, 800, 800), training=cohort(rng, 4000, 4000, prefix="known"))
    row = table.loc["logistic_slope"]
    assert row["low"] < 1 < row["high"]
    assert row["high"] - row["low"] < 0.4


def test_a_map_of_training_without_overlap_stays_finite(rng):
    training = scored(np.linspace(2, 3, 12), np.linspace(1, 1.9, 12))
    training["participant_id"] = "known" + training["participant_id"]
    found = judged(cohort(rng, 30, 45), training=training)
    assert found.loc["trained_cutoff", "value"] == pytest.approx(1.95)
    assert 0 < found.loc["brier", "value"] < 1
    assert np.isfinite(found.loc["logistic_slope", "value"])


def test_without_overlap_there_is_no_slope(rng):
    """Nor an interval of the area: no draw differs from another."""
    pairs = scored(np.linspace(2, 3, 12), np.linspace(1, 1.9, 12))
    table = judged(pairs, training=cohort(rng, 20, 25, prefix="known"))
    assert table.loc["logistic_slope", ["value", *BOUNDS]].isna().all()
    assert table.loc["logistic_slope", "note"].startswith("no finite slope")
    assert table.loc["roc_auc", "value"] == 1
    assert table.loc["roc_auc", BOUNDS].isna().all()
    overlapping = pairs.assign(estimate=[*pairs["estimate"][:-1], 2.05])
    table = judged(overlapping, training=cohort(rng, 20, 25, prefix="known"))
    assert np.isfinite(table.loc["logistic_slope", "value"])


def test_interval_is_the_two_sample_bca_of_scipy(rng):
    """8 of 60 are positive: every draw has 8, where 1 draw in 4000 of all would have none."""
    pairs = cohort(rng, 8, 52)
    found = judged(pairs)
    positive = pairs["truth"] >= CUTOFF

    def area(ours, others):
        return np.heaviside(ours[:, None] - others, 0.5).mean()

    expected = stats.bootstrap(
        (pairs.loc[positive, "estimate"], pairs.loc[~positive, "estimate"]),
        area,
        vectorized=False,
        n_resamples=200,
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.loc["roc_auc", BOUNDS].tolist() == pytest.approx([expected.low, expected.high])


def test_intervals_of_areas_agree_with_delong(rng):
    """Of one area, and of the difference of two in the same people. Both are asymptotic: with
    150 of each they differ by a few percent; a tenth is allowed."""
    pairs = cohort(rng, 150, 150, noise=0.25)
    table = judged(pairs, floors=["age"], n_draws=2000)
    positive = (pairs["truth"] >= CUTOFF).to_numpy()
    covariance = delong(positive, pairs["estimate"].to_numpy(), pairs["age"].to_numpy())
    errors = {
        "roc_auc": np.sqrt(covariance[0, 0]),
        "delta_auc_age": np.sqrt([1, -1] @ covariance @ [1, -1]),
    }
    for metric, error in errors.items():
        low, high = table.loc[metric, BOUNDS]
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_delta_is_the_difference_of_two_areas(rng):
    pairs = cohort(rng, 30, 40).assign(same=lambda p: 3 * p["estimate"])
    table = judged(pairs, floors=["age", "same"])
    areas = table.loc["roc_auc"]
    delta = table.loc["delta_auc_age"]
    assert delta["value"] == pytest.approx(areas["value"] - areas["age"])
    assert delta["low"] < delta["value"] < delta["high"]
    assert delta["age"] == 0
    assert delta["same"] == pytest.approx(delta["value"])
    # What is drawn together does not differ in any draw.
    assert table.loc["delta_auc_same", "value"] == 0
    assert table.loc["delta_auc_same", BOUNDS].isna().all()


def test_floors_are_judged_like_the_network(rng):
    pairs, training = cohort(rng, 30, 40), cohort(rng, 20, 25, prefix="known")
    table = judged(pairs, training=training, floors=["age"])
    swapped = judged(
        pairs.assign(estimate=pairs["age"]), training=training.assign(estimate=training["age"])
    )
    for metric in POSITIVITY_METRICS:
        assert table.loc[metric, "age"] == swapped.loc[metric, "value"], metric
    untrained = judged(pairs, training=training.drop(columns="age"), floors=["age"])
    assert untrained.loc[LEARNT, "age"].isna().all()
    assert untrained.loc[LEARNT, "value"].notna().all()


def test_a_floor_is_compared_on_the_same_scans_or_not_at_all(rng):
    pairs = cohort(rng, 30, 40)
    pairs.loc[3, "age"] = np.nan
    table = judged(pairs, floors=["age"])
    assert table["age"].isna().all()
    assert table.loc["delta_auc_age", ["value", *BOUNDS]].isna().all()
    assert table.loc["delta_auc_age", "note"] == "the floor lacks a scan"
    assert table.loc["roc_auc", "value"] > 0.5


def test_areas_see_the_order_alone(rng):
    pairs = cohort(rng, 30, 40)
    plain, curved = judged(pairs), judged(pairs.assign(estimate=np.exp(pairs["estimate"])))
    same = ["roc_auc", "pr_auc"]
    pd.testing.assert_frame_equal(plain.loc[same], curved.loc[same])
    assert plain.loc["specificity", "value"] != curved.loc["specificity", "value"]


@pytest.mark.parametrize(
    ("n_positive", "n_negative", "shown"), [(7, 30, False), (30, 7, False), (8, 8, True)]
)
def test_fewest_of_each_kind(rng, n_positive, n_negative, shown):
    pairs = cohort(rng, n_positive, n_negative, noise=0.5)
    table = judged(pairs, training=cohort(rng, 20, 25, prefix="known"), floors=["age"])
    assert (table["value"].notna() == shown).all()
    assert (table["age"].notna() == shown).all()
    few = table["note"].str.startswith("fewer than 8 positive or negative participants")
    assert (few != shown).all()
    assert (table["n_positive"] == n_positive).all()
    assert (table["n_negative"] == n_negative).all()


@pytest.mark.parametrize(
    ("n_positive", "n_negative", "shown"), [(7, 30, False), (30, 7, False), (8, 8, True)]
)
def test_fewest_of_each_kind_in_training(rng, n_positive, n_negative, shown):
    training = cohort(rng, n_positive, n_negative, prefix="known")
    table = judged(cohort(rng, 30, 40), training=training)
    assert (table.loc[LEARNT, "value"].notna() == shown).all()
    assert (table.loc[LEARNT, "note"].str.contains("training participants") != shown).all()
    assert table.drop(LEARNT)["value"].notna().all()


def test_without_training(rng):
    table = judged(cohort(rng, 30, 40))
    assert table.loc[LEARNT, ["value", *BOUNDS]].isna().all(axis=None)
    assert table.drop(LEARNT)["value"].notna().all()


@pytest.mark.parametrize(("n_above", "flagged"), [(17, False), (18, True)])
def test_more_than_mri_can_tell_is_flagged(n_above, flagged):
    """Of 20 positives 17 above all negatives and 3 below: an AUC of 0.85; with 18, of 0.9."""
    ours = [2.0] * n_above + [0.5] * (20 - n_above)
    row = judged(scored(ours, np.linspace(1, 1.5, 20))).loc["roc_auc"]
    assert row["value"] == pytest.approx(n_above / 20)
    assert ("check for leakage" in row["note"]) == flagged
    assert (row["note"] == "ok") != flagged


def test_shape_of_the_table(rng):
    one = cohort(rng, 10, 12)
    pairs = pd.concat([one, one.assign(voi="frontal"), one.assign(tracer="flortaucipir")])
    table = positivity_table(
        pairs,
        {("pib", "frontal"): 1.5, ("pib", "neocortex"): CUTOFF, ("pbr28", "thalamus"): 1.0},
        rng=rng,
        floors=["age"],
        n_draws=50,
    )
    assert list(table) == [*POSITIVITY_COLUMNS, "age"]
    blocks = table[["tracer", "voi", "cutoff"]].drop_duplicates().to_numpy().tolist()
    assert blocks == [["pib", "neocortex", CUTOFF], ["pib", "frontal", 1.5]]
    metrics = [*POSITIVITY_METRICS, "delta_auc_age"]
    assert table["metric"].tolist() == 2 * metrics
    named = dictionary(["age"])
    assert list(named) == list(table)
    assert list(named["metric"]["Levels"]) == metrics


def test_training_of_another_voi_does_not_count(rng):
    training = cohort(rng, 20, 25, prefix="known").assign(voi="frontal")
    table = judged(cohort(rng, 30, 40), training=training)
    assert table.loc[LEARNT, "value"].isna().all()


def test_no_voi_with_a_cutoff(rng):
    table = positivity_table(cohort(rng, 10, 10), {}, rng=rng, floors=["age"])
    assert list(table) == [*POSITIVITY_COLUMNS, "age"]
    assert len(table) == 0


def test_order_of_the_rows_does_not_matter(rng):
    pairs, training = cohort(rng, 20, 25), cohort(rng, 20, 25, prefix="known")
    plain = judged(pairs, training=training)
    mixed = judged(
        pairs.sample(frac=1, random_state=4), training=training.sample(frac=1, random_state=4)
    )
    pd.testing.assert_frame_equal(plain, mixed)
    assert not judged(pairs, seed=2)["low"].equals(plain["low"])


def test_a_missing_value_is_not_counted(rng):
    pairs = cohort(rng, 20, 25)
    holes = pairs.copy()
    holes.loc[0, "estimate"] = holes.loc[5, "truth"] = np.nan
    pd.testing.assert_frame_equal(judged(holes), judged(pairs.drop(index=[0, 5])))


def test_one_scan_of_each(rng):
    pairs = cohort(rng, 10, 12)
    with pytest.raises(DataError, match=r"^2 rows repeat .* first sub-000 pib neocortex"):
        judged(pd.concat([pairs, pairs[:2]]))
    known = cohort(rng, 10, 12, prefix="known")
    with pytest.raises(DataError, match=r"^1 rows repeat .* first known-003 pib"):
        judged(pairs, training=pd.concat([known, known[3:4]]))


def test_nobody_is_on_both_sides(rng):
    pairs = cohort(rng, 10, 12)
    with pytest.raises(DataError, match=r"^2 participants are both .* first sub-004.*Split"):
        judged(pairs, training=pairs[4:6].assign(tracer="flortaucipir"))


def test_missing_columns(rng):
    pairs = cohort(rng, 10, 12)
    with pytest.raises(DataError, match=r"has the columns .*; apoe missing. Add"):
        judged(pairs, floors=["apoe"])
    with pytest.raises(DataError, match=r"has the columns .*; truth missing. Add"):
        judged(pairs, training=pairs.drop(columns="truth"))
