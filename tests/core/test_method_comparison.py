"""Deming and Passing-Bablok lines against the definitions of their papers, written out."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from relad_bids.core.method_comparison import (
    EVERYWHERE,
    METHOD_METRICS,
    deming,
    method_table,
    passing_bablok,
)


def pairs_of(n=40, *, seed=1, slope=0.8, intercept=0.3, noise=0.08):
    rng = np.random.default_rng(seed)
    uptake = rng.normal(1.4, 0.3, n)
    return intercept + slope * uptake + rng.normal(0, noise, n), uptake + rng.normal(0, noise, n)


def least_distance(estimate, truth, ratio):
    """The line that minimises what Deming regression does, by search: Linnet 1993, eq. 1."""

    def badness(angle):
        b = np.tan(angle)
        a = estimate.mean() - b * truth.mean()
        return ((estimate - a - b * truth) ** 2).sum() / (ratio + b**2)

    b = np.tan(minimize_scalar(badness, bounds=(0.01, 1.5), method="bounded",
                               options={"xatol": 1e-12}).x)  # fmt: skip
    return b, estimate.mean() - b * truth.mean()


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_deming_is_the_least_distance_and_its_jackknife(ratio):
    estimate, truth = pairs_of(15)
    found = deming(estimate, truth, error_ratio=ratio)
    expected = least_distance(estimate, truth, ratio)
    n = truth.size
    without = np.array(
        [least_distance(np.delete(estimate, i), np.delete(truth, i), ratio) for i in range(n)]
    )
    # The textbook's jackknife error: sqrt((n - 1) / n sum of squares of the left-out values).
    error = np.sqrt((n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    middle = n * np.array(expected) - (n - 1) * without.mean(axis=0)
    assert np.isfinite(middle).all()
    reach = stats.t.ppf(0.975, n - 2) * error
    for line, value, half in zip(found, expected, reach, strict=True):
        # The search stops at 1e-8 of an angle.
        assert line == pytest.approx((value, value - half, value + half), abs=1e-5)


def as_published(estimate, truth, confidence=0.95):
    """Passing & Bablok 1983, part I, section 3.2, step by step; x is the truth."""
    n = truth.size
    i, j = np.triu_indices(n, 1)
    dx, dy = truth[i] - truth[j], estimate[i] - estimate[j]
    some = (dx != 0) | (dy != 0)
    with np.errstate(divide="ignore"):
        s = dy[some] / dx[some]
    s = np.sort(s[s != -1])
    k, size = int((s < -1).sum()), s.size
    middle = (size - 1) // 2
    b = s[middle + k] if size % 2 else (s[size // 2 - 1 + k] + s[size // 2 + k]) / 2
    c = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    m1 = round((size - c) / 2)
    low, high = s[m1 + k - 1], s[size - m1 + k]
    return b, low, high


@pytest.mark.parametrize("n", [9, 14, 40])
@pytest.mark.parametrize("slope", [0.7, 1.0, 2.5])
def test_passing_bablok_as_published(n, slope):
    """With slopes below -1 among the noisy ones, which it puts behind the steepest."""
    estimate, truth = pairs_of(n, slope=slope, noise=0.12, seed=n)
    b, low, high = as_published(estimate, truth)
    found = passing_bablok(estimate, truth)
    size = n * (n - 1) // 2
    if size % 2:
        assert found.slope[0] == pytest.approx(b)
        assert found.intercept[0] == pytest.approx(np.median(estimate - b * truth))
    else:  # the mean of the two middle slopes there, of their angles' tangents here
        assert found.slope[0] == pytest.approx(b, rel=0.02)
    # Ranks of the bounds are rounded one apart at most.
    i, j = np.triu_indices(n, 1)
    every = np.sort((estimate[i] - estimate[j]) / (truth[i] - truth[j]))
    for ours, theirs in ((found.slope[1], low), (found.slope[2], high)):
        ranks = [np.searchsorted(every, value) for value in (ours, theirs)]
        assert abs(ranks[0] - ranks[1]) <= 2
    assert found.slope[1] < found.slope[0] < found.slope[2]
    assert found.intercept[1] < found.intercept[0] < found.intercept[2]


def test_neither_axis_goes_before_the_other():
    estimate, truth = pairs_of(31)
    one, other = passing_bablok(estimate, truth), passing_bablok(truth, estimate)
    value, low, high = one.slope
    assert other.slope == pytest.approx((1 / value, 1 / high, 1 / low))


def test_a_few_wild_values_bend_deming_and_not_the_ranks():
    estimate, truth = pairs_of(60, noise=0.02)
    wild = estimate.copy()
    wild[np.argsort(truth)[-3:]] -= 1.0
    assert passing_bablok(wild, truth).slope[0] == pytest.approx(0.8, abs=0.1)
    assert deming(wild, truth, error_ratio=1).slope[0] < 0.7


@pytest.mark.slow
@pytest.mark.parametrize("method", [passing_bablok, lambda x, y: deming(x, y, error_ratio=1)])
def test_intervals_hold_the_true_line_as_often_as_they_say(method):
    """95 % of 400 sets: standard error 1.1 %. Errors of both alike, slope 1: what both suppose."""
    held = [
        found.slope[1] <= 1 <= found.slope[2]
        for found in (method(*pairs_of(40, seed=seed, slope=1.0)) for seed in range(400))
    ]
    assert np.mean(held) == pytest.approx(0.95, abs=3 * 0.011)


def test_a_vertical_or_falling_line_is_none():
    truth = np.linspace(1, 2, 9)
    assert np.isnan(passing_bablok(4 - 2 * truth, truth).slope[0])
    assert np.isnan(passing_bablok(truth, np.ones(9)).slope[0])


def frame(n, *, vois=("metatemporal", "braak1")):
    estimate, truth = pairs_of(n)
    return pd.concat(
        [
            pd.DataFrame({"participant_id": [f"sub-{i}" for i in range(n)], "tracer": "mk6240",
                          "voi": voi, "estimate": estimate, "truth": truth})
            for voi in vois
        ],
        ignore_index=True,
    )  # fmt: skip


def table_of(pairs, ratios=None, primary=(("mk6240", "metatemporal"),)):
    return method_table(pairs, error_ratios=ratios or {}, primary=set(primary))


@pytest.mark.parametrize(("n", "told"), [(7, False), (8, True)])
def test_fewest_participants(n, told):
    assert (len(table_of(frame(n))) > 0) == told


@pytest.mark.parametrize(("n", "everywhere"), [(EVERYWHERE, True), (EVERYWHERE + 1, False)])
def test_ranks_of_a_large_cohort_are_of_the_primary_region_alone(n, everywhere):
    found = table_of(frame(n)).query("metric == 'passing_bablok_slope'")["voi"].tolist()
    assert found == (["metatemporal", "braak1"] if everywhere else ["metatemporal"])


def test_the_first_scan_of_each_participant_counts():
    once = frame(12, vois=("metatemporal",))
    again = once.head(3).assign(estimate=9.0)
    pd.testing.assert_frame_equal(table_of(pd.concat([once, again])), table_of(once))


def test_the_ratio_of_errors_is_told_and_used():
    pairs = frame(30)
    found = table_of(pairs, {("mk6240", "braak1"): 9.0}).set_index(["voi", "metric"])["value"]
    assert set(found.index.get_level_values(1)) == set(METHOD_METRICS)
    assert found["metatemporal", "deming_error_ratio"] == 1
    assert found["braak1", "deming_error_ratio"] == 9
    estimate, truth = (pairs.query("voi == 'braak1'")[name].to_numpy() for name in
                       ("estimate", "truth"))  # fmt: skip
    assert found["braak1", "deming_slope"] == deming(estimate, truth, error_ratio=9).slope[0]
    assert found["braak1", "deming_slope"] != found["metatemporal", "deming_slope"]
