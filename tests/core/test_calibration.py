import numpy as np
import pandas as pd
import pytest
from scipy import stats

from relad_bids.core.calibration import (
    RANK_COLUMNS,
    conformal_factor,
    conformal_factors,
    fair_crps,
    rank_histogram,
    rank_of,
    spread_calibration,
)
from relad_bids.core.evaluation import SPREAD_METRICS, dictionary
from relad_bids.errors import DataError

DRAWS = 200
BOUNDS = ["low", "high"]


def test_coverage_by_hand(rng, make_cohort, of_voi):
    """Errors of 0.1 to 2.0 spreads in steps of 0.1; z = 0.674, 1.282, 1.645, 1.960."""
    pairs = make_cohort(20, rng, vois=("neocortex",))
    pairs["estimate"] = pairs["truth"] + 0.1 * 0.1 * np.arange(1, 21) * np.tile([1, -1], 10)
    found = of_voi(spread_calibration(pairs, n_samples=8, rng=rng), "neocortex")
    names = ["coverage_50", "coverage_80", "coverage_90", "coverage_95"]
    assert found.loc[names, "value"].tolist() == pytest.approx([0.3, 0.6, 0.8, 0.95])
    for name in names:
        value = found.loc[name, "value"]
        expected = stats.beta.ppf(0.025, 20 * value, 20 - 20 * value + 1)
        assert found.loc[name, "low"] == pytest.approx(expected)
    assert found.index.tolist() == list(SPREAD_METRICS)
    assert set(SPREAD_METRICS) < set(dictionary()["metric"]["Levels"])


def test_full_coverage_of_a_few_is_no_certainty(rng, make_cohort, of_voi):
    """0 of 10 outside: the exact lower bound is 0.025^(1/10)."""
    pairs = make_cohort(10, rng, vois=("neocortex",)).assign(spread=10.0)
    found = of_voi(spread_calibration(pairs, n_samples=8, rng=rng), "neocortex")
    assert found.loc["coverage_90", "value"] == 1
    assert found.loc["coverage_90", "low"] == pytest.approx(0.025**0.1)
    assert found.loc["coverage_90", "high"] == 1


@pytest.mark.parametrize("n_samples", [2, 5, 50])
def test_samples_like_the_truth_are_calibrated(rng, n_samples, of_voi):
    """Truth and M samples from one distribution: ratio 1 for every M, within 5 %: 3 standard
    errors of the root mean square of 4000 normal errors and as many spreads of 2 samples.
    Without the factor 1 + 1/M it would be 18, 9 and 1 % lower."""
    n = 4000
    centre = rng.normal(1.4, 0.2, n)
    samples = centre[:, None] + rng.normal(0, 0.1, (n, n_samples))
    pairs = pd.DataFrame(
        {
            "participant_id": [f"sub-{i}" for i in range(n)],
            "tracer": "pib",
            "voi": "neocortex",
            "truth": centre + rng.normal(0, 0.1, n),
            "estimate": samples.mean(1),
            "spread": samples.std(1, ddof=1),
        }
    )
    found = spread_calibration(pairs, n_samples=n_samples, rng=rng, n_draws=2)
    ratio = of_voi(found, "neocortex").loc["spread_skill", "value"]
    assert ratio == pytest.approx(1, abs=0.05)


def test_half_the_spread_is_half_the_ratio(rng, make_cohort):
    pairs = make_cohort(20, rng)
    full, half = (
        spread_calibration(
            pairs.assign(spread=spread), n_samples=4, rng=np.random.default_rng(1), n_draws=DRAWS
        )
        .query("metric == 'spread_skill'")[["value", *BOUNDS]]
        .to_numpy()
        for spread in (0.1, 0.05)
    )
    np.testing.assert_allclose(half, full / 2)
    assert ((full[:, 1] < full[:, 0]) & (full[:, 0] < full[:, 2])).all()


def test_calibration_takes_one_scan_of_each(rng, make_cohort):
    pairs = make_cohort(4, rng)
    twice = pd.concat([pairs, pairs[:2].assign(truth=1.0)])
    for call in (
        lambda: spread_calibration(twice, n_samples=4, rng=rng),
        lambda: conformal_factors(twice),
    ):
        with pytest.raises(DataError, match=r"^2 rows repeat .* first sub-000 pib hippocampus"):
            call()


@pytest.mark.parametrize(
    ("n", "level", "k"),
    [(8, 0.9, None), (9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (99, 0.55, 55)],
)
def test_conformal_factor_is_an_order_statistic(rng, n, level, k):
    """k = ceil((n + 1) level); 100 * 0.55 is above 55 by rounding, and must not become 56."""
    ratio = rng.permutation(np.arange(1, n + 1))
    spread = rng.uniform(0.1, 0.2, n)
    error = ratio * spread * rng.choice([-1, 1], n)
    expected = np.inf if k is None else k
    assert conformal_factor(error, spread, level=level) == pytest.approx(expected)


def test_conformal_factor_without_spread(rng):
    """An error without a spread cannot be covered by any factor; no error always is."""
    error, spread = np.zeros(9), np.zeros(9)
    assert conformal_factor(error, spread) == 0
    error[4] = 0.1
    assert conformal_factor(error, spread) == np.inf
    assert conformal_factor(rng.normal(size=0), []) == np.inf


def test_conformal_factor_keeps_its_promise_for_any_distribution():
    """Heavy tails, a spread that tells too little: 90 % of new participants, or up to
    1 / (n + 1) more. 4000 calibration sets of 29: standard error of the mean share 0.001."""
    rng = np.random.default_rng(5)
    n, sets = 29, 4000
    spread = rng.uniform(0.02, 0.1, size=(sets, n + 1))
    error = 2.5 * spread * rng.standard_t(3, size=(sets, n + 1))
    held = [
        abs(e[-1]) <= conformal_factor(e[:-1], s[:-1]) * s[-1]
        for e, s in zip(error, spread, strict=True)
    ]
    error_of_share = np.sqrt(0.09 / sets)
    assert 0.9 - 3 * error_of_share < np.mean(held) < 0.9 + 1 / (n + 1) + 3 * error_of_share


def test_conformal_factors_of_a_table(rng, make_cohort):
    pairs = make_cohort(12, rng)
    pairs.loc[1, "spread"] = np.nan
    found = conformal_factors(pairs, level=0.8).set_index("voi")
    assert found["n"].to_dict() == {"hippocampus": 12, "neocortex": 11}
    assert (found["level"] == 0.8).all()
    assert (found["tracer"] == "pib").all()
    of_hippocampus = pairs[pairs["voi"] == "hippocampus"]
    ratios = np.sort((of_hippocampus["estimate"] - of_hippocampus["truth"]).abs() / 0.1)
    assert found.loc["hippocampus", "factor"] == pytest.approx(ratios[10])


def test_crps_is_its_double_sum(rng):
    """Against Ferro's formula, term by term, also where samples are alike."""
    samples = rng.normal(1.4, 0.2, (5, 3))
    samples[1] = samples[0]
    truth = rng.normal(1.4, 0.2, 3)
    error = np.abs(samples - truth).mean(0)
    apart = np.abs(samples[:, None] - samples[None]).sum((0, 1)) / (2 * 5 * 4)
    np.testing.assert_allclose(fair_crps(samples, truth), error - apart)


def test_crps_of_one_opinion_is_the_absolute_error(rng):
    truth = rng.normal(size=4)
    np.testing.assert_allclose(fair_crps(np.full((6, 4), 0.3), truth), np.abs(0.3 - truth))


@pytest.mark.parametrize("m", [2, 5, 20])
def test_crps_is_fair_to_small_ensembles(rng, m):
    """Truth and samples from N(0, 1): 1 / sqrt(pi) for every M, within 4 standard errors of
    20000 scores; the plain one, divided by M^2, would be larger by 1 / M of that."""
    samples, truth = rng.normal(size=(m, 20000)), rng.normal(size=20000)
    found = fair_crps(samples, truth)
    assert found.mean() == pytest.approx(1 / np.sqrt(np.pi), abs=4 * found.std() / np.sqrt(20000))


def test_crps_is_least_for_the_right_spread(rng):
    truth = rng.normal(size=5000)
    scores = [fair_crps(sd * rng.normal(size=(8, 5000)), truth).mean() for sd in (0.3, 1.0, 3.0)]
    assert np.argmin(scores) == 1


def test_rank_counts_the_samples_below():
    assert rank_of([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]], [2.5, 0.0]).tolist() == [2, 0]


def test_ranks_of_samples_like_the_truth_are_even(rng, make_cohort):
    """4000 truths among 3 samples of their kind: 1000 in each rank, within 4 binomial SD."""
    pairs = make_cohort(4000, rng, vois=("neocortex",))
    pairs["rank"] = rank_of(rng.normal(size=(3, 4000)), rng.normal(size=4000))
    found = rank_histogram(pairs, n_samples=3)
    assert list(found) == list(RANK_COLUMNS)
    assert found["rank"].tolist() == [0, 1, 2, 3]
    assert found["count"].sum() == 4000
    assert found["expected"].tolist() == [1000.0] * 4
    assert (found["count"] - 1000).abs().max() < 4 * np.sqrt(4000 * 0.25 * 0.75)


def test_a_rank_that_nobody_has_is_counted(rng, make_cohort):
    pairs = make_cohort(3, rng, vois=("neocortex",)).assign(rank=[0.0, 0.0, 4.0])
    pairs = pd.concat([pairs, pairs.assign(voi="other", rank=np.nan)])
    found = rank_histogram(pairs, n_samples=4)
    assert found["count"].tolist() == [2, 0, 0, 0, 1]
    assert found["voi"].unique().tolist() == ["neocortex"]
