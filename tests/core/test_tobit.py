"""A score with an end of its scale, against what is known and against direct maximisation."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from relad_bids.core.cognition import Sample, cognition_table
from relad_bids.core.nested import nested_ridge, split
from relad_bids.core.tobit import Bound, _latent, bound_of, expected_score, nested_tobit


@pytest.mark.parametrize(
    ("score", "bound"),
    [
        ([30] * 2 + list(range(10, 28)), (30, True, 0.1)),
        ([30] * 2 + list(range(10, 29)), None),  # 2 of 21
        ([0] * 5 + list(range(1, 11)), (0, False, 1 / 3)),
        ([0] * 5 + [9] * 6 + [3], (9, True, 0.5)),
        ([7] * 20, None),
    ],
)
def test_where_a_scale_ends(score, bound):
    found = bound_of(np.array(score, dtype=float))
    assert found == (None if bound is None else Bound(*bound))


def test_expected_score_is_the_mean_of_cut_off_scores(rng):
    drawn = np.minimum(rng.normal(28, 3, 200_000), 30)
    # Standard error 3 / sqrt(200,000): 0.007.
    assert expected_score(np.array([28.0]), 3.0, 30.0)[0] == pytest.approx(drawn.mean(), abs=0.02)
    far = expected_score(np.array([0.0, 90.0]), 1.0, 30.0)
    np.testing.assert_allclose(far, [0, 30], atol=1e-9)


def test_it_is_the_maximum_of_the_likelihood(rng):
    """Without a penalty; by a general optimiser of the censored likelihood."""
    x = rng.normal(size=(300, 2))
    y = np.minimum(1 + x @ [1.0, -0.5] + rng.normal(0, 1, 300), 1.5)
    at = y >= 1.5

    def loss(p):
        mean, sd = p[0] + x @ p[1:3], np.exp(p[3])
        return -(norm.logpdf(y, mean, sd)[~at].sum() + norm.logsf(1.5, mean, sd)[at].sum())

    best = minimize(loss, np.zeros(4), method="BFGS").x
    latent, sd = _latent(x, y, np.array([[0.0, 0], [1, 0], [0, 1]]), 0.0, 1.5)
    # Where both stop: gradients of 1e-5 beside a curvature of about 100.
    np.testing.assert_allclose(latent, best[0] + np.array([0, best[1], best[2]]), atol=1e-3)
    assert sd == pytest.approx(np.exp(best[3]), abs=1e-3)
    assert (latent[1] - latent[0]) == pytest.approx(1.0, abs=0.2)


def test_far_from_the_bound_it_is_the_ridge_regression(rng):
    x = rng.normal(size=(100, 3))
    y = x @ [1.0, 0.5, 0] + rng.normal(size=100)
    folds = split(np.arange(100), rng=rng)
    found = nested_tobit(x, y, folds, Bound(1e6, upper=True, share=0.0))
    np.testing.assert_allclose(found, nested_ridge(x, y, folds), rtol=1e-6)


def test_a_floor_is_a_ceiling_turned_over(rng):
    x = rng.normal(size=(100, 3))
    y = np.minimum(x @ [1.0, 0.5, 0] + rng.normal(size=100), 0.5)
    folds = split(np.arange(100), rng=rng)
    above, below = bound_of(y), bound_of(-y)
    np.testing.assert_allclose(
        nested_tobit(x, y, folds, above), -nested_tobit(x, -y, folds, below), rtol=1e-9
    )


def cohort(rng, n=400):
    """Latent score linear in MRI, half at the ceiling; synthetic PET bends as the score does."""
    mri = rng.normal(size=(n, 3))
    latent = 30 + 2 * mri[:, 0] + rng.normal(0, 1, n)
    return Sample(
        people=np.arange(n).astype(str), score=np.minimum(latent, 30.0),
        person=rng.normal(size=(n, 1)), mri=mri,
        synthetic=np.minimum(mri[:, :1], 0) + rng.normal(0, 0.1, (n, 1)),
    )  # fmt: skip


def test_a_bend_is_no_gain_where_the_ceiling_is_known():
    """PET that holds nothing but MRI seems to add 0.08 of R2, since it bends where the score must;
    beside a model that knows the ceiling it adds nothing."""
    tables = [
        cognition_table(cohort(np.random.default_rng(seed)), rng=np.random.default_rng(1),
                        n_permutations=0, n_draws=200).set_index(["model", "metric"])
        for seed in range(3)
    ]  # fmt: skip
    plain = [table.loc[("M2 - M1", "delta_r2")] for table in tables]
    known = [table.loc[("M2 - M1 (Tobit)", "delta_r2")] for table in tables]
    assert all(row["low"] > 0 for row in plain)
    assert np.mean([row["value"] for row in plain]) > 0.05
    assert np.mean([row["value"] for row in known]) == pytest.approx(0, abs=0.01)
