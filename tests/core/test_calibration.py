import numpy as np
import pandas as pd
import pytest
from scipy import stats

from relad_bids.core.calibration import conformal_factor, conformal_factors, spread_calibration
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
