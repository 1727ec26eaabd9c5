"""A closed form against an optimiser that knows nothing of it."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from relad_bids.core.regional_mixed import OVERALL, regional_model
from relad_bids.errors import DataError

REGIONS = ("braak1", "braak34", "braak56", "metatemporal")
OFF = np.array([0.1, 0.0, -0.1, 0.04])


def cohort(n=60, *, slope=0.1, pattern=0.15, noise=0.05, level=0.2, seed=1):
    rng = np.random.default_rng(seed)
    base = 1.4 + level * rng.normal(size=(n, 1)) + pattern * rng.normal(size=(n, 4))
    real = base + noise * rng.normal(size=(n, 4))
    own = slope * rng.normal(size=(n, 1))
    synthetic = base + 0.2 + OFF + own + noise * rng.normal(size=(n, 4))
    who = np.repeat([f"sub-{i:03}" for i in range(n)], 4)
    return pd.DataFrame({"participant_id": who, "voi": REGIONS * n,
                         "estimate": synthetic.ravel(), "truth": real.ravel()})  # fmt: skip


def by_optimiser(pairs):
    """statsmodels: random level and effect of each participant, and a variance of its regions."""
    rows = pd.concat(
        [pairs.assign(suvr=pairs[name], s=s) for name, s in (("truth", 0.0), ("estimate", 1.0))],
        ignore_index=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MixedLM.from_formula(
            "suvr ~ C(voi, Sum) * s",
            rows, groups="participant_id", re_formula="~s", vc_formula={"pattern": "0 + C(voi)"},
        ).fit(reml=True)  # fmt: skip


def test_it_is_restricted_maximum_likelihood():
    """The optimiser stops within a thousandth of the variances."""
    pairs = cohort()
    found, fit = regional_model(pairs), by_optimiser(pairs)
    effect = found.effects.set_index("term")
    assert effect.loc[OVERALL, "estimate"] == pytest.approx(fit.fe_params["s"])
    assert effect.loc[OVERALL, "se"] == pytest.approx(fit.bse_fe["s"], rel=2e-3)
    for voi in REGIONS[:-1]:  # the last is the negative sum of the others in such a coding
        name = f"C(voi, Sum)[S.{voi}]:s"
        row = effect.loc[f"{OVERALL}:voi[{voi}]"]
        assert row["estimate"] == pytest.approx(fit.fe_params[name])
        assert row["se"] == pytest.approx(fit.bse_fe[name], rel=2e-3)
    assert found.sd_slope == pytest.approx(np.sqrt(fit.cov_re.loc["s", "s"]), rel=5e-3)
    assert found.sd_pattern == pytest.approx(np.sqrt(fit.vcomp[0]), rel=5e-3)
    assert found.sd_within == pytest.approx(np.sqrt(fit.scale), rel=5e-3)


def test_what_was_simulated_is_found():
    """Standard error of the mean 0.1 / sqrt(400) = 0.005, of a region 0.003; of SDs 4 %."""
    found = regional_model(cohort(400))
    effect = found.effects.set_index("term")
    assert effect.loc[OVERALL, "estimate"] == pytest.approx(0.2 + OFF.mean(), abs=0.02)
    for voi, off in zip(REGIONS, OFF - OFF.mean(), strict=True):
        row = effect.loc[f"{OVERALL}:voi[{voi}]"]
        assert row["estimate"] == pytest.approx(off, abs=4 * row["se"])
    assert (found.sd_slope, found.sd_pattern, found.sd_within) == pytest.approx(
        (0.1, 0.15, 0.05), rel=0.15
    )


def test_the_mean_is_the_paired_comparison_of_participants():
    pairs = cohort(30)
    each = (pairs["estimate"] - pairs["truth"]).groupby(pairs["participant_id"]).mean()
    row = regional_model(pairs).effects.iloc[0]
    assert row["estimate"] / row["se"] == pytest.approx(stats.ttest_1samp(each, 0).statistic)


def test_deviations_of_regions_sum_to_nothing_and_who_lacks_one_is_left_out():
    pairs = cohort(20)
    found = regional_model(pairs)
    assert found.effects["estimate"][1:].sum() == pytest.approx(0, abs=1e-12)
    assert regional_model(pairs.drop(index=5)).n == 19
    again = pd.concat([pairs, pairs.assign(estimate=9.0)])
    pd.testing.assert_frame_equal(regional_model(again).effects, found.effects)


def test_no_effect_of_their_own_has_no_variance():
    """Participants differ by less than noise would have it: the bound of the variance."""
    pairs = cohort(30, slope=0.0, seed=3)
    wide = (pairs["estimate"] - pairs["truth"]).groupby(pairs["participant_id"]).transform("mean")
    same = pairs.assign(estimate=pairs["estimate"] - wide + 0.1)
    found = regional_model(same)
    assert found.sd_slope == 0
    assert found.sd_within > 0


@pytest.mark.parametrize(("n", "regions"), [(1, 4), (5, 1)])
def test_two_participants_and_two_regions(n, regions):
    pairs = cohort(n)
    with pytest.raises(DataError, match=f"{n} participants have all of {regions} regions"):
        regional_model(pairs[pairs["voi"].isin(REGIONS[:regions])])
