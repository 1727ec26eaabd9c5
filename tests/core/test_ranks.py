import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from relad_bids.core.ranks import rank_sums, rank_sums_without_each


def values(kind, rng, n=41):
    if kind == "ties":
        return rng.integers(0, 6, n).astype(float), rng.integers(0, 4, n).astype(float)
    x = rng.normal(size=n)
    return x, x + rng.normal(size=n)


def by_hand(x, y):
    """Of repeated values, by SciPy's midranks."""
    r, q = (rankdata(part) - (len(part) + 1) / 2 for part in (x, y))
    return r @ q, r @ r, q @ q


@pytest.mark.parametrize("kind", ["ties", "distinct"])
def test_sums_are_those_of_repeated_values(rng, kind):
    x, y = values(kind, rng)
    weight = rng.integers(0, 4, (len(x), 5)).astype(float)
    found = np.array(rank_sums(x, y, weight))
    for column, draw in zip(found.T, weight.T, strict=True):
        often = draw.astype(int)
        # Quarters and twelfths of whole numbers: exact.
        assert tuple(column) == pytest.approx(by_hand(np.repeat(x, often), np.repeat(y, often)))


@pytest.mark.parametrize("kind", ["ties", "distinct"])
def test_each_left_out_is_what_is_left(rng, kind, monkeypatch):
    monkeypatch.setattr("relad_bids.core.ranks.BLOCK", 100)  # two rows at a time, and one
    x, y = values(kind, rng)
    found = np.array(rank_sums_without_each(x, y))
    for i, column in enumerate(found.T):
        xy, xx, yy = by_hand(np.delete(x, i), np.delete(y, i))
        assert tuple(column) == pytest.approx((xy, xx, yy), abs=1e-9)
        assert xy / np.sqrt(xx * yy) == pytest.approx(
            spearmanr(np.delete(x, i), np.delete(y, i)).statistic
        )


def test_a_later_call_leaves_the_answer_of_an_earlier_alone(rng):
    """Arrays in between are used again."""
    x, y = values("distinct", rng)
    weight = np.ones((len(x), 3))
    first = rank_sums(x, y, weight)
    kept = [part.copy() for part in first]
    rank_sums(y, -x, weight)
    np.testing.assert_array_equal(first, kept)


def test_a_value_that_is_missing_has_no_rank(rng):
    x, y = values("distinct", rng)
    x[3] = np.nan
    for found in (rank_sums(x, y, np.ones((len(x), 2))), rank_sums_without_each(x, y)):
        xy, xx, yy = found
        assert np.isnan(xy).all()
        assert np.isnan(xx).all()
        assert np.isfinite(yy).all()
