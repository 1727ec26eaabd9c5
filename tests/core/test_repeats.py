import numpy as np
import pandas as pd
import pytest

from relad_bids.core.repeats import RETEST_COLUMNS, RETEST_METRICS, retest_table
from relad_bids.errors import DataError


def pairs(test, retest, **more):
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02}" for i in range(len(test))],
            "tracer": "pib", "source": "real", "voi": "neocortex",
            "test": test, "retest": retest, **more,
        }
    )  # fmt: skip


def told(frame, n_draws=200):
    table = retest_table(frame, rng=np.random.default_rng(1), n_draws=n_draws)
    assert list(table) == list(RETEST_COLUMNS)
    return table.set_index("metric")


def anova_icc(test, retest):
    """ICC(A,1) from the sums of squares of McGraw & Wong 1996, table 4."""
    y = np.column_stack([test, retest])
    n, k = y.shape
    rows = k * ((y.mean(1) - y.mean()) ** 2).sum() / (n - 1)
    columns = n * ((y.mean(0) - y.mean()) ** 2).sum() / (k - 1)
    rest = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    return (rows - error) / (rows + (k - 1) * error + k / n * (columns - error))


def test_hand_values():
    test = np.array([1.0, 1.2, 1.4, 1.6, 1.1, 1.3, 1.5, 1.7])
    retest = test + np.array([0.02, -0.02, 0.04, -0.04, 0.02, -0.02, 0.04, 0.0])
    found = told(pairs(test, retest))["value"]
    squares = np.sum((retest - test) ** 2)
    assert found["within_sd"] == pytest.approx(np.sqrt(squares / 16))
    assert found["repeatability"] == pytest.approx(2.7719 * found["within_sd"], rel=1e-4)
    assert found["abs_diff_percent"] == pytest.approx(
        np.mean(200 * np.abs(retest - test) / (retest + test))
    )
    assert found["icc_a1"] == pytest.approx(anova_icc(test, retest))


def test_simulation_with_known_truth():
    """Between SD 0.1, noise 0.05: ICC 0.8, within SD 0.05; the intervals hold them."""
    rng = np.random.default_rng(3)
    level = rng.normal(1.5, 0.1, 300)
    table = told(pairs(*(level + rng.normal(0, 0.05, 300) for _ in range(2))))
    for metric, truth in (("icc_a1", 0.8), ("within_sd", 0.05), ("bias_percent", 0)):
        row = table.loc[metric]
        assert row["low"] < truth < row["high"], metric
        assert row["n"] == 300


@pytest.mark.parametrize(("n", "shown"), [(7, False), (8, True)])
def test_icc_of_few(n, shown):
    rng = np.random.default_rng(4)
    level = rng.normal(1.5, 0.1, n)
    table = told(pairs(level, level + rng.normal(0, 0.02, n)))
    assert np.isfinite(table.loc["icc_a1", "value"]) == shown
    assert np.isfinite(table["value"].drop("icc_a1")).all()
    assert set(table.index) == set(RETEST_METRICS)


def test_two_pairs_of_one_person():
    frame = pairs([1.0, 1.1], [1.0, 1.1]).assign(participant_id="sub-1")
    with pytest.raises(DataError, match="two pairs of test and retest"):
        told(frame)
