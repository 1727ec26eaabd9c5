"""Scores of few steps."""

import numpy as np
import pytest
from statsmodels.miscmodels.ordinal_model import OrderedModel

from relad_bids.core.nested import nested_ridge, split
from relad_bids.core.ordinal import is_ordinal, nested_ordinal

STEPS = np.array([0, 0.5, 1, 2, 3])
"""Of the global CDR."""


def steps_of(n=300, *, seed=1, cuts=(0.5, 1.5, 2.3, 3.0)):
    """Most at 0, and steps that are not alike."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    latent = 1.5 * x[:, 0] + 0.8 * x[:, 1] + rng.logistic(0, 0.5, n)
    return x, STEPS[np.searchsorted(cuts, latent)]


@pytest.mark.parametrize(("n", "taken"), [(2, False), (3, True), (7, True), (8, False)])
def test_how_many_steps(n, taken):
    assert is_ordinal(np.arange(n).astype(float)) == taken


def test_where_steps_are_unequal_it_errs_less_than_the_line():
    """Ten cohorts, each better: the line goes below 0 and between the steps."""
    better = 0
    for seed in range(10):
        x, y = steps_of(seed=seed)
        folds = split(np.arange(len(y)), rng=np.random.default_rng(seed))
        line, steps = nested_ridge(x, y, folds), nested_ordinal(x, y, folds)
        assert steps.min() >= 0
        assert steps.max() <= 3
        better += np.mean((steps - y) ** 2) < np.mean((line - y) ** 2)
    assert better == 10


def test_it_is_as_good_as_the_model_that_knows_the_predictors():
    """With four predictors and 300 people the odds can be fitted in them: the same mean squared
    error within a tenth, since the line knows nothing of the steps."""
    x, y = steps_of()
    folds = split(np.arange(len(y)), rng=np.random.default_rng(1))
    ours = nested_ordinal(x, y, folds)
    theirs = np.empty(len(y))
    for fold in range(5):
        out = folds.outer == fold
        levels, step = np.unique(y[~out], return_inverse=True)
        model = OrderedModel(step, x[~out], distr="logit")
        theirs[out] = (
            model.predict(model.fit(method="bfgs", disp=False).params, exog=x[out]) @ levels
        )
    assert np.mean((ours - y) ** 2) == pytest.approx(np.mean((theirs - y) ** 2), rel=0.1)


def test_a_line_that_says_nothing_gives_the_mean():
    rng = np.random.default_rng(2)
    y = STEPS[rng.integers(0, 5, 200)]
    folds = split(np.arange(200), rng=rng)
    found = nested_ordinal(np.zeros((200, 2)), y, folds)
    # The means of inner folds differ by hundredths, and odds are fitted to that.
    assert found == pytest.approx(nested_ridge(np.zeros((200, 2)), y, folds), abs=0.03)
