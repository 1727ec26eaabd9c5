import numpy as np
import pytest
from scipy import stats

from relad_bids.core.agreement import agreement, each_left_out
from relad_bids.core.bootstrap import BATCH, bootstrap_interval, fewest_participants


@pytest.mark.parametrize(("confidence", "n"), [(0.5, 2), (0.9, 5), (0.95, 6), (0.99, 8)])
def test_fewest_participants_encloses_a_median(confidence, n):
    assert fewest_participants(confidence) == n
    assert 1 - 2.0 ** (1 - n) >= confidence > 1 - 2.0 ** (2 - n)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """400 cohorts of 30 from one bivariate normal distribution, whose measures are known.

    The standard error of a share near 0.94 is 0.012; BCa with n = 30 loses up to 0.03 of its
    95 %. Without correction of bias and skewness the SD ratio's and CCC's would lose more.
    """
    n, sets, sd, r, shift = 30, 400, np.array([0.15, 0.2]), 0.7, 0.05
    rng = np.random.default_rng(123)
    covariance = np.outer(sd, sd) * np.array([[1, r], [r, 1]])
    d = np.sqrt(sd @ sd - 2 * covariance[0, 1])
    known = {
        "bias": shift,
        "mae": d * np.sqrt(2 / np.pi) * np.exp(-((shift / d) ** 2) / 2)
        + shift * (1 - 2 * stats.norm.cdf(-shift / d)),
        "ccc": 2 * covariance[0, 1] / (sd @ sd + shift**2),
        "sd_ratio": sd[0] / sd[1],
    }
    held = np.zeros(len(known))
    for _ in range(sets):
        x, y = rng.multivariate_normal([1.4 + shift, 1.4], covariance, n).T

        def statistic(weight, x=x, y=y):
            pairs = agreement(x, y, weight)
            return np.stack([getattr(pairs, name) for name in known])

        found = bootstrap_interval(statistic, n, rng=rng, n_draws=500)
        true = np.array(list(known.values()))
        held += (found.low <= true) & (true <= found.high)
    np.testing.assert_array_less(0.95 - 0.03 - 2 * 0.012, held / sets)
    np.testing.assert_array_less(held / sets, 0.95 + 2 * 0.012)


def test_memory_does_not_grow_with_the_cohort(rng):
    """2000 participants would need 32 MB for the draws and 32 MB for leaving each out."""
    sizes = []

    def statistic(weight):
        sizes.append(weight.size)
        return weight[None, ..., 0]

    bootstrap_interval(statistic, 2000, rng=rng)
    assert max(sizes) <= BATCH
    assert sum(sizes) == 2000 * (1 + 2000 + 1 + 2000)


@pytest.mark.parametrize("n", [6, 40])
def test_a_short_way_to_the_jackknife_gives_the_same_interval(rng, n):
    x, y = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], n).T
    names = ("bias", "ccc", "spearman")

    def shown(pairs):
        return np.stack([getattr(pairs, name) for name in names])

    def statistic(weight):
        return shown(agreement(x, y, weight))

    settings = {"n_draws": 300}
    long = bootstrap_interval(statistic, n, rng=np.random.default_rng(1), **settings)
    short = bootstrap_interval(
        statistic, n, rng=np.random.default_rng(1), left_out=lambda: shown(each_left_out(x, y)),
        **settings,
    )  # fmt: skip
    np.testing.assert_allclose(short.low, long.low, rtol=1e-9)
    np.testing.assert_allclose(short.high, long.high, rtol=1e-9)
    # It is used: another skewness moves the bounds.
    wrong = bootstrap_interval(
        statistic, n, rng=np.random.default_rng(1),
        left_out=lambda: np.exp(5 * shown(each_left_out(x, y))), **settings,
    )  # fmt: skip
    assert not np.allclose(wrong.low, long.low, rtol=1e-9)
