import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.api import OLS, add_constant
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from relad_bids.core.agreement import (
    CORRELATIONS,
    LIMITS_Z,
    METRICS,
    agreement,
    bland_altman,
    concordance,
    each_left_out,
)
from relad_bids.errors import DataError

BY_SHIFT = {"bias", "loa_low", "loa_high"}
"""Metrics that move with a shift of the estimate by exactly that shift."""


@pytest.fixture
def truth():
    return np.random.default_rng(11).normal(1.4, 0.3, size=40)


@pytest.fixture
def other(truth):
    """Shrunk, shifted and noisy: no metric has its ideal value."""
    noise = np.random.default_rng(12).normal(0, 0.1, size=truth.size)
    return 0.3 + 0.7 * truth + noise


@pytest.fixture
def four():
    """d = 0.1, -0.1, 0.4, 0.0: mean 0.1, sum of squared deviations 0.14."""
    return agreement([1.1, 1.9, 3.4, 4.0], [1.0, 2.0, 3.0, 4.0])


def test_truth_agrees_with_itself(truth):
    assert concordance(truth, truth) == pytest.approx(1.0)


def test_a_shift_alone(truth):
    """No scatter: CCC = 2 s2 / (2 s2 + d2)."""
    shift = 0.2
    expected = 2 * truth.var() / (2 * truth.var() + shift**2)
    assert concordance(truth + shift, truth) == pytest.approx(expected)


def test_shrinkage_costs_although_the_correlation_is_one(truth):
    """Half the deviation from the mean: CCC = 2 * 0.5 / (0.25 + 1) = 0.8."""
    shrunk = truth.mean() + 0.5 * (truth - truth.mean())
    assert concordance(shrunk, truth) == pytest.approx(0.8)


def test_mirrored_values_disagree(truth):
    assert concordance(2 * truth.mean() - truth, truth) == pytest.approx(-1.0)


def test_order_of_the_two_does_not_matter(truth):
    other = truth + np.random.default_rng(12).normal(0, 0.1, size=truth.size)
    assert concordance(other, truth) == pytest.approx(concordance(truth, other))


@pytest.mark.parametrize(("estimate", "expected"), [(1.5, 0.0), (1.0, np.nan)])
def test_constant_values(estimate, expected):
    found = concordance(np.full(5, estimate), np.full(5, 1.0))
    assert found == pytest.approx(expected, nan_ok=True)


def test_every_metric_is_defined_and_scored(truth, other):
    scores = agreement(other, truth).scores()
    assert list(scores) == list(METRICS)
    assert all(np.isfinite(value) for value in scores.values())
    assert set(METRICS) >= CORRELATIONS


def test_errors_by_hand(four):
    assert four.bias == pytest.approx(0.1)
    assert four.mae == pytest.approx(0.15)
    assert four.rmse == pytest.approx(np.sqrt(0.18 / 4))
    sd = np.sqrt(0.14 / 3)
    assert four.sd_difference == pytest.approx(sd)
    assert four.loa_low == pytest.approx(0.1 - 1.96 * sd)
    assert four.loa_high == pytest.approx(0.1 + 1.96 * sd)


def test_bias_is_estimate_minus_truth():
    assert agreement([2.0, 2.0], [1.0, 1.0]).bias == 1.0


def test_correlations_are_those_of_scipy(truth, other):
    pairs = agreement(other, truth)
    assert pairs.pearson == pytest.approx(stats.pearsonr(other, truth).statistic)
    assert pairs.spearman == pytest.approx(stats.spearmanr(other, truth).statistic)


def test_rank_correlation_with_ties():
    x, y = np.array([1.0, 2, 2, 3, 3, 3, 4]), np.array([2.0, 2, 5, 1, 7, 7, 7])
    assert agreement(x, y).spearman == pytest.approx(stats.spearmanr(x, y).statistic)


def test_rank_correlation_sees_order_alone(truth, other):
    pairs, bent = agreement(other, truth), agreement(np.exp(3 * other), truth)
    assert bent.spearman == pytest.approx(pairs.spearman)
    assert abs(bent.pearson - pairs.pearson) > 0.01


@pytest.mark.parametrize("n", [2, 3, 40])
def test_icc_from_the_table_of_an_analysis_of_variance(truth, other, n):
    """McGraw & Wong 1996 from statsmodels' mean squares; n = 2 is the smallest table."""
    x, y = other[:n], truth[:n]
    long = pd.DataFrame(
        {
            "value": np.concatenate([x, y]),
            "person": np.tile(np.arange(n), 2),
            "source": np.repeat(["estimate", "truth"], n),
        }
    )
    table = anova_lm(ols("value ~ C(person) + C(source)", long).fit())
    squares = table["sum_sq"] / table["df"]
    rows, columns, error = (squares[name] for name in ("C(person)", "C(source)", "Residual"))
    pairs = agreement(x, y)
    assert pairs.icc_a1 == pytest.approx(
        (rows - error) / (rows + error + 2 / n * (columns - error)), rel=1e-6
    )
    assert pairs.icc_c1 == pytest.approx((rows - error) / (rows + error), rel=1e-6)


def test_icc_of_a_hand_worked_table():
    """Pairs (1, 2), (2, 4), (3, 6): MSR = 4.5, MSC = 6, MSE = 0.5."""
    pairs = agreement([2, 4, 6], [1, 2, 3])
    assert pairs.icc_a1 == pytest.approx(4 / (4.5 + 0.5 + 2 / 3 * 5.5))
    assert pairs.icc_c1 == pytest.approx(4 / 5)


def test_icc_tends_to_the_concordance_with_many_participants():
    """They differ by terms of 1/n: 1e-4 of numbers near 0.6."""
    rng = np.random.default_rng(3)
    truth = rng.normal(1.4, 0.3, 10_000)
    estimate = truth + rng.normal(0.1, 0.2, truth.size)
    pairs = agreement(estimate, truth)
    assert pairs.icc_a1 == pytest.approx(float(pairs.ccc), abs=2e-4)
    assert agreement(estimate[:5], truth[:5]).icc_a1 != pytest.approx(
        concordance(estimate[:5], truth[:5]), abs=2e-3
    )


def test_consistency_forgives_a_shift_and_agreement_does_not(truth, other):
    plain, shifted = agreement(other, truth), agreement(other + 1, truth)
    assert shifted.icc_c1 == pytest.approx(float(plain.icc_c1))
    assert shifted.icc_a1 < 0.5 * plain.icc_a1


def test_shrinkage_shows_where_the_correlation_is_one(truth):
    """Half the deviation: r = 1, SD ratio 0.5, truth on estimate 2, d on truth -0.5, and d on
    the mean -0.5 / 0.75."""
    shrunk = agreement(truth.mean() + 0.5 * (truth - truth.mean()), truth)
    assert shrunk.pearson == pytest.approx(1)
    assert shrunk.sd_ratio == pytest.approx(0.5)
    assert shrunk.calibration_slope == pytest.approx(2)
    assert shrunk.calibration_intercept == pytest.approx(-truth.mean())
    assert shrunk.proportional_bias_truth == pytest.approx(-0.5)
    assert shrunk.proportional_bias_mean == pytest.approx(-2 / 3)


def test_slopes_are_those_of_least_squares(truth, other):
    pairs, d = agreement(other, truth), other - truth
    intercept, slope = OLS(truth, add_constant(other)).fit().params
    assert pairs.calibration_slope == pytest.approx(slope)
    assert pairs.calibration_intercept == pytest.approx(intercept)
    for name, level in (("mean", (truth + other) / 2), ("truth", truth)):
        expected = OLS(d, add_constant(level)).fit().params[1]
        assert getattr(pairs, f"proportional_bias_{name}") == pytest.approx(expected)


def test_noise_alone_gives_a_slope_on_the_truth_but_none_on_the_mean():
    """Two equally noisy measures: why d is not regressed on the truth alone. The standard error
    of the slope on the mean is about 0.02 with 10 000 pairs; 4 of them."""
    rng = np.random.default_rng(9)
    uptake = rng.normal(1.4, 0.3, 10_000)
    pairs = agreement(*(uptake + rng.normal(0, 0.2, uptake.size) for _ in range(2)))
    assert abs(pairs.proportional_bias_mean) < 0.04
    assert pairs.proportional_bias_truth == pytest.approx(-0.04 / 0.13, abs=0.04)


def test_orthogonal_regression_is_the_long_axis_of_the_cloud(truth, other):
    cloud = np.stack([truth - truth.mean(), other - other.mean()])
    axis = np.linalg.svd(cloud)[0][:, 0]
    slope, intercept = agreement(other, truth).deming(error_ratio=1)
    assert slope == pytest.approx(axis[1] / axis[0])
    assert intercept == pytest.approx(other.mean() - slope * truth.mean())


def test_deming_without_error_in_the_truth_is_least_squares(truth, other):
    """At a ratio of 1e9 the two differ by about 1e-9; of 1e-9, the other way round."""
    slope, _ = agreement(other, truth).deming(error_ratio=1e9)
    assert slope == pytest.approx(OLS(other, add_constant(truth)).fit().params[1], rel=1e-6)
    slope, _ = agreement(other, truth).deming(error_ratio=1e-9)
    assert slope == pytest.approx(1 / OLS(truth, add_constant(other)).fit().params[1], rel=1e-6)


def test_deming_recovers_a_gain_that_least_squares_shrinks():
    """True slope 1.2 and error ratio 4; standard error of the slope about 0.01, so 4 of them."""
    rng = np.random.default_rng(21)
    uptake = rng.normal(1.4, 0.3, 20_000)
    truth = uptake + rng.normal(0, 0.1, uptake.size)
    estimate = 1.2 * uptake + rng.normal(0, 0.2, uptake.size)
    slope, _ = agreement(estimate, truth).deming(error_ratio=4)
    assert slope == pytest.approx(1.2, abs=0.04)
    assert OLS(estimate, add_constant(truth)).fit().params[1] < 1.12


@pytest.mark.parametrize("metric", METRICS)
def test_a_common_shift(truth, other, metric):
    """Only a regression line's intercept knows where zero is."""
    plain, moved = agreement(other, truth), agreement(other + 5, truth + 5)
    expected = getattr(plain, metric)
    if metric == "calibration_intercept":
        expected = expected + 5 * (1 - plain.calibration_slope)
    assert getattr(moved, metric) == pytest.approx(float(expected))


@pytest.mark.parametrize("metric", METRICS)
def test_a_common_gain(truth, other, metric):
    """Errors scale, what has no unit stays."""
    in_suvr = {"bias", "mae", "rmse", "loa_low", "loa_high", "calibration_intercept"}
    plain, gained = (float(getattr(agreement(k * other, k * truth), metric)) for k in (1, 37))
    assert gained == pytest.approx(plain * (37 if metric in in_suvr else 1))


@pytest.mark.parametrize("metric", METRICS)
def test_a_shift_of_the_estimate(truth, other, metric):
    blind = METRICS.keys() - BY_SHIFT - {"mae", "rmse", "ccc", "icc_a1", "calibration_intercept"}
    plain, moved = (float(getattr(agreement(other + d, truth), metric)) for d in (0, 0.5))
    if metric in BY_SHIFT:
        assert moved == pytest.approx(plain + 0.5)
    elif metric in blind:
        assert moved == pytest.approx(plain)
    else:
        assert abs(moved - plain) > 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_a_weight_is_a_repetition(truth, other, metric):
    """So a bootstrap may count how often a participant was drawn; leading axes are draws."""
    draws = np.random.default_rng(5).integers(0, 4, size=(2, 3, truth.size))
    found = getattr(agreement(other, truth, draws), metric)
    assert found.shape == (2, 3)
    for index in np.ndindex(2, 3):
        again = agreement(np.repeat(other, draws[index]), np.repeat(truth, draws[index]))
        assert found[index] == pytest.approx(float(getattr(again, metric)))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "value"), [(0, 1.0), (1, np.nan), (5, np.nan)])
def test_nothing_to_measure(metric, n, value):
    """No participant, or a value that is missing: NaN, and no warning."""
    estimate = np.linspace(1, 2, n)
    estimate[:1] = value
    assert np.isnan(getattr(agreement(estimate, np.linspace(1, 3, n)), metric))


def test_one_pair_has_an_error_and_nothing_else():
    scores = agreement([1.2], [1.0]).scores()
    known = {name for name, value in scores.items() if np.isfinite(value)}
    assert known == {"bias", "mae", "rmse", "ccc"}
    assert scores["ccc"] == 0


def test_two_pairs_that_mirror_each_other():
    """The row means do not vary, so ICC = (0 - MSE) / (0 + 0 * MSE + MSC): n/a without a bias."""
    assert np.isnan(agreement([1.0, 2.0], [2.0, 1.0]).icc_a1)
    assert agreement([1.0, 2.0], [2.0, 1.0]).icc_c1 == -1
    # d = -0.8, 1.2, so MSE = 1 and MSC = 2 * 0.2**2 / 2 = 0.04.
    assert agreement([1.2, 2.2], [2.0, 1.0]).icc_a1 == pytest.approx(-1 / 0.04)


@pytest.mark.parametrize(("n", "constant"), [(40, 1.4), (7, 0.1), (7, 1.4), (7, 3.3)])
def test_without_spread_there_is_no_association(truth, n, constant):
    """The mean of seven equal decimals is not quite their value: no spread, all the same."""
    truth, flat = truth[:n], np.full(n, constant)
    assert (flat.var() > 0) == (n == 7)
    of_estimate, of_truth = agreement(flat, truth), agreement(truth, flat)
    for name in ("pearson", "spearman"):
        assert np.isnan(getattr(of_estimate, name))
        assert np.isnan(getattr(of_truth, name))
    assert of_estimate.sd_ratio == 0
    assert np.isnan(of_truth.sd_ratio)
    assert of_estimate.ccc == 0
    assert np.isnan(of_estimate.calibration_slope)
    assert np.isnan(of_estimate.deming(error_ratio=1)[0])
    assert np.isnan(of_truth.proportional_bias_truth)
    both = agreement(flat, flat)
    assert np.isnan([both.ccc, both.icc_a1, both.icc_c1, both.proportional_bias_mean]).all()


def test_a_small_true_spread_is_not_taken_for_rounding(truth):
    """1e-9 of the level: far below any PET, far above rounding."""
    tiny = 1 + 1e-9 * (truth - 1.4)
    assert agreement(tiny, truth).pearson == pytest.approx(1, abs=1e-6)


def test_skill_against_a_floor(truth, other):
    floor = agreement(np.full(truth.size, truth.mean()), truth)
    pairs = agreement(other, truth)
    assert pairs.skill(floor) == pytest.approx(1 - np.mean((other - truth) ** 2) / np.var(truth))
    assert agreement(truth, truth).skill(floor) == 1
    assert floor.skill(floor) == 0
    assert agreement(truth + 10, truth).skill(floor) < 0
    assert np.isnan(pairs.skill(agreement(truth, truth)))


@pytest.mark.parametrize(("x", "y"), [([1.0, 2], [1.0]), ([[1.0]], [[1.0]])])
def test_one_value_of_each_per_participant(x, y):
    with pytest.raises(DataError, match=r"have the shapes .*needs one of each per participant"):
        agreement(x, y)


def test_bland_altman_by_hand():
    """n = 4, d as in ``four``: t(0.975, 3) = 3.182446."""
    found = bland_altman([1.1, 1.9, 3.4, 4.0], [1.0, 2.0, 3.0, 4.0])
    sd, t = np.sqrt(0.14 / 3), 3.182446
    assert (found.n, found.bias, found.sd) == (4, pytest.approx(0.1), pytest.approx(sd))
    assert found.low == pytest.approx(0.1 - LIMITS_Z * sd)
    assert found.high == pytest.approx(0.1 + LIMITS_Z * sd)
    for value, interval, error in (
        (found.bias, found.bias_interval, sd / 2),
        (found.low, found.low_interval, sd * np.sqrt(3 / 4)),
        (found.high, found.high_interval, sd * np.sqrt(3 / 4)),
    ):
        assert interval == pytest.approx((value - t * error, value + t * error))


def test_bland_altman_intervals_hold_what_they_say():
    """2000 sets of 25 normal differences: standard error of a share 0.005, 4 of them. The
    interval of the limit is an approximation, which adds 0.01."""
    rng = np.random.default_rng(31)
    covered = np.zeros(2)
    sets = 2000
    for d in rng.normal(0.1, 0.2, size=(sets, 25)):
        found = bland_altman(d, np.zeros(25))
        pairs = ((found.bias_interval, 0.1), (found.high_interval, 0.1 + LIMITS_Z * 0.2))
        covered += [low <= true <= high for (low, high), true in pairs]
    of_bias, of_limit = covered / sets
    assert of_bias == pytest.approx(0.95, abs=0.02)
    assert of_limit == pytest.approx(0.95, abs=0.03)


def test_a_higher_confidence_is_wider(truth, other):
    narrow, wide = (bland_altman(other, truth, confidence=c) for c in (0.8, 0.99))
    assert wide.bias_interval[0] < narrow.bias_interval[0] < narrow.bias
    assert wide.high_interval[1] > narrow.high_interval[1] > narrow.high
    assert wide.low == narrow.low


@pytest.mark.parametrize("n", [0, 1])
def test_bland_altman_of_too_few(n):
    found = bland_altman([1.2][:n], [1.0][:n])
    assert found.n == n
    assert found.bias == pytest.approx(0.2 if n else np.nan, nan_ok=True)
    assert np.isnan([found.sd, found.low, found.high, *found.bias_interval]).all()


def two_passes(estimate, truth, row):
    """What the metrics are of the pairs of one draw, written out one by one."""
    drawn = np.repeat(np.arange(len(row)), row.astype(int))
    x, y = estimate[drawn], truth[drawn]
    with np.errstate(all="ignore"):
        return {
            "pearson": stats.pearsonr(x, y)[0],
            "spearman": stats.spearmanr(x, y)[0],
            "sd_ratio": x.std() / y.std(),
            "calibration_slope": np.cov(x, y)[0, 1] / x.var(ddof=1),
        }


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_many_draws_at_once_are_each_on_its_own(offset):
    """Moments around the common mean: digits lost to an offset or to a far draw come back.

    Rows: a usual draw, one of a tight cluster far from the others, where one pass would keep
    about 4 digits, and all. 1e-9: an offset of 1e4 alone costs 5 of 16 digits of the values.
    """
    rng = np.random.default_rng(5)
    near = rng.normal(0, 1, 30)
    far = 500 + 1e-3 * rng.normal(0, 1, 5)
    truth = offset + np.concatenate([near, far])
    estimate = truth + np.concatenate([rng.normal(0, 0.3, 30), 1e-3 * rng.normal(0, 1, 5)])
    rows = np.stack([rng.integers(0, 3, 35), np.r_[np.zeros(30), [3, 1, 1, 2, 1]], np.ones(35)])
    found = agreement(estimate, truth, rows.astype(float))
    for at, row in enumerate(rows):
        for metric, value in two_passes(estimate, truth, row).items():
            assert getattr(found, metric)[at] == pytest.approx(value, rel=1e-6 if offset else 1e-9)


def test_draws_of_one_participant_vary_in_nothing(truth, other):
    """One person again and again: no spread, and nothing that needs one."""
    rows = np.eye(len(truth))[:4] * len(truth)
    found = agreement(other, truth, rows)
    for metric in ("pearson", "spearman", "sd_ratio", "calibration_slope"):
        assert np.isnan(getattr(found, metric)).all(), metric


@pytest.mark.parametrize("kind", ["plain", "ties", "outlier", "constant"])
def test_each_left_out_is_a_weight_of_zero(truth, other, kind):
    """The closed form against rows of weights; an outlier costs the differences their digits."""
    x, y = truth.copy(), other.copy()
    if kind == "ties":
        x, y = np.round(x, 1), np.round(y, 1)
    elif kind == "outlier":
        x[2], y[2] = 1e6, 2e6
    elif kind == "constant":
        x[:] = 1.3
    rows = agreement(x, y, 1 - np.eye(len(x))).scores()
    found = each_left_out(x, y).scores()
    assert found.keys() == rows.keys()
    for name, expected in rows.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)
