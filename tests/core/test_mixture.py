import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from relad_bids.core.mixture import mixture_cutoff


def test_the_crossing_of_two_known_groups():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(1.1, 0.06, 1400), rng.normal(1.7, 0.25, 600)])
    exact = brentq(
        lambda x: 0.7 * norm.pdf(x, 1.1, 0.06) - 0.3 * norm.pdf(x, 1.7, 0.25), 1.15, 1.6
    )
    found = mixture_cutoff(rng.permutation(values))
    assert found.note == "ok"
    assert found.value == pytest.approx(exact, abs=0.02)  # scatter over seeds is 0.005


def test_one_group_has_no_cut_off():
    found = mixture_cutoff(np.random.default_rng(2).normal(1.2, 0.1, 300))
    assert np.isnan(found.value)
    assert "one group" in found.note


@pytest.mark.parametrize(("n", "enough"), [(19, False), (20, True)])
def test_fewest_values(n, enough):
    values = np.concatenate([np.linspace(1, 1.1, 10), np.linspace(2, 2.1, n - 10), [np.nan]])
    found = mixture_cutoff(values)
    assert np.isfinite(found.value) == enough
    assert enough or found.note == "19 participants, a mixture needs 20"
