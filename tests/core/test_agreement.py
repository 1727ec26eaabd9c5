import numpy as np
import pytest

from relad_bids.core.agreement import concordance


@pytest.fixture
def truth():
    return np.random.default_rng(11).normal(1.4, 0.3, size=40)


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
