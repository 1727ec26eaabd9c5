import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from relad_bids.core.comparison import (
    COMPARISON_COLUMNS,
    compare_models,
    corrected_resampled_t,
    mixed_model,
)
from relad_bids.core.evaluation import compare
from relad_bids.errors import DataError

DRAWS = 200


def errors_of(**models):
    """One tracer; a list of one error per participant for each model."""
    return pd.DataFrame(
        [
            {"participant_id": f"sub-{i:03}", "tracer": "pib", "model": model, "error": error}
            for model, errors in models.items()
            for i, error in enumerate(errors)
        ]
    )


def compared(errors, seed=1, **settings):
    settings = {"n_draws": DRAWS, **settings}
    return compare_models(errors, rng=np.random.default_rng(seed), **settings)


def test_each_model_with_each_other(rng):
    one = errors_of(rela=rng.random(8), unet=rng.random(8), mean=rng.random(8))
    table = compared(pd.concat([one, one.assign(tracer="pbr28")]))
    assert list(table) == list(COMPARISON_COLUMNS)
    assert table[["tracer", "model", "other"]].to_numpy().tolist() == [
        [tracer, *pair]
        for tracer in ("pib", "pbr28")
        for pair in (("rela", "unet"), ("rela", "mean"), ("unet", "mean"))
    ]


def test_a_row_is_the_comparison_of_the_pair(rng):
    """Sorted by participant in the table, so that the same draws fall on the same people."""
    ours, other = rng.random((2, 20))
    row = compared(errors_of(rela=ours, unet=other).sample(frac=1, random_state=2)).iloc[0]
    order = ["rela", "unet"] if row["model"] == "rela" else ["unet", "rela"]
    pair = {"rela": ours, "unet": other}
    expected = compare(*(pair[m] for m in order), rng=np.random.default_rng(1), n_draws=DRAWS)
    for name in ("difference", "low", "high", "effect", "p", "n"):
        assert row[name] == pytest.approx(getattr(expected, name)), name
    assert row["p_wilcoxon"] == stats.wilcoxon(ours, other).pvalue


def test_a_known_effect(rng):
    """The first lower by 0.1 with a standard deviation of 0.2: effect -0.5."""
    difference = rng.normal(size=40)
    difference = -0.1 + 0.2 * (difference - difference.mean()) / difference.std(ddof=1)
    other = rng.uniform(0.1, 0.3, 40)
    row = compared(errors_of(rela=other + difference, unet=other), n_draws=2000).iloc[0]
    assert row["difference"] == pytest.approx(-0.1)
    assert row["effect"] == pytest.approx(-0.5)
    assert row["low"] < -0.1 < row["high"] < 0
    # Both agree with a t test of normal differences to a few of their thousandths.
    expected = stats.ttest_1samp(difference, 0).pvalue
    assert row["p"] == pytest.approx(expected, abs=0.004)
    assert row["p_wilcoxon"] == pytest.approx(expected, abs=0.01)


def test_exact_p_of_a_few():
    """All five differences of one sign: 2 of 2^5 exchanges, and of 2^5 signs of the ranks."""
    row = compared(errors_of(rela=[1, 2, 3, 4, 5], unet=[2, 4, 6, 8, 10])).iloc[0]
    assert row["p"] == row["p_wilcoxon"] == pytest.approx(2 / 32)


def test_several_rows_of_a_participant_are_averaged_first(rng):
    """Scanning one of them three times more makes no 11 participants."""
    ours, other = rng.random((2, 8))
    once = errors_of(rela=ours, unet=other)
    again = once.iloc[[0, 0, 0]].assign(error=ours[0] + np.array([-0.2, -0.1, 0.3]))
    pd.testing.assert_frame_equal(compared(pd.concat([again, once])), compared(once))


def test_participants_without_both_errors_are_left_out(rng):
    ours, other = rng.random((2, 10))
    errors = errors_of(rela=ours, unet=other, mean=rng.random(10))
    holes = errors.copy()
    holes.loc[holes["model"].eq("rela") & holes["participant_id"].eq("sub-003"), "error"] = np.nan
    holes = holes[~(holes["model"].eq("unet") & holes["participant_id"].eq("sub-007"))]
    table = compared(holes)
    assert table["n"].tolist() == [8, 9, 9]
    kept = np.delete(np.arange(10), [3, 7])
    assert table.loc[0, "difference"] == pytest.approx((ours - other)[kept].mean())


def test_swapping_the_models_turns_the_signs(rng):
    errors = errors_of(rela=rng.random(12), unet=rng.random(12))
    one, two = (compared(rows, n_draws=2000).iloc[0] for rows in (errors, errors[::-1]))
    assert (one["model"], two["model"]) == ("rela", "unet")
    assert (one["difference"], one["effect"]) == pytest.approx(
        (-two["difference"], -two["effect"])
    )
    assert one["p_wilcoxon"] == two["p_wilcoxon"]
    # Endpoints of 2000 draws: a twentieth of their distance.
    assert [one["low"], one["high"]] == pytest.approx([-two["high"], -two["low"]], abs=0.02)


@pytest.fixture
def six(rng):
    """Six comparisons, from clear to none."""
    base = rng.random(15)
    models = {
        name: base + shift + rng.normal(0, 0.1, 15)
        for name, shift in {"rela": 0, "unet": 0.05, "ddpm": 0.07, "mean": 0.1}.items()
    }
    return errors_of(**models)


def test_holm_by_its_definition(six):
    """Sorted: the k-th smallest of m times m - k + 1, and never below the one before."""
    table = compared(six)
    p = np.sort(table["p"])
    steps = np.maximum.accumulate(np.minimum(p * np.arange(6, 0, -1), 1))
    assert np.sort(table["p_adjusted"]) == pytest.approx(steps)
    assert (table["p_adjusted"] >= table["p"]).all()
    assert len(set(table["p_adjusted"])) > 2


def test_benjamini_hochberg_by_its_definition(six):
    """Sorted: the k-th smallest of m times m / k, and never above the one after."""
    table = compared(six, adjustment="fdr_bh")
    p = np.sort(table["p"])
    steps = np.minimum.accumulate((p * 6 / np.arange(1, 7))[::-1])[::-1]
    assert np.sort(table["p_adjusted"]) == pytest.approx(steps)
    assert (table["p_adjusted"] <= compared(six)["p_adjusted"]).all()


def test_all_tracers_of_a_table_are_one_family(six):
    both = pd.concat([six, six.assign(tracer="pbr28")])
    smallest = compared(six)["p"].min()
    assert compared(six)["p_adjusted"].min() == pytest.approx(6 * smallest)
    table = compared(both)
    assert table["p_adjusted"].min() == pytest.approx(12 * table["p"].min())


def test_what_cannot_be_compared_costs_the_others_nothing(six):
    alone = six[six["participant_id"] == "sub-000"].assign(tracer="pbr28")
    plain, more = compared(six), compared(pd.concat([six, alone]))
    assert more["p_adjusted"][:6].tolist() == plain["p_adjusted"].tolist()
    rest = more.loc[6:, ["low", "high", "effect", "p", "p_wilcoxon", "p_adjusted"]]
    assert rest.isna().all(axis=None)
    assert (more.loc[6:, "n"] == 1).all()


def test_models_that_never_differ(rng):
    errors = rng.random(8)
    row = compared(errors_of(rela=errors, copy=errors)).iloc[0]
    assert row["difference"] == 0
    assert row[["p", "p_wilcoxon", "p_adjusted"]].tolist() == [1, 1, 1]
    assert row[["low", "high", "effect"]].isna().all()


def test_models_that_share_nobody():
    errors = errors_of(rela=[1.0, 2.0], unet=[1.0, 2.0])
    errors.loc[2:, "participant_id"] = ["sub-a", "sub-b"]
    row = compared(errors).iloc[0]
    assert row["n"] == 0
    assert row[["difference", "p", "p_wilcoxon", "p_adjusted"]].isna().all()


def test_one_model_alone():
    table = compared(errors_of(rela=[1.0, 2.0]))
    assert list(table) == list(COMPARISON_COLUMNS)
    assert len(table) == 0


def test_columns_of_the_errors():
    with pytest.raises(DataError, match=r"has the columns .*; tracer missing. Add"):
        compared(errors_of(rela=[1.0]).drop(columns="tracer"))


def test_resampled_t_by_hand():
    """Mean 2, variance 2.5 of five; 1/5 + 20/80 = 0.45; t = 2 / sqrt(0.45 * 2.5)."""
    found = corrected_resampled_t([[0.0, 1, 2, 3, 4]], 80, 20)
    error = np.sqrt(0.45 * 2.5)
    assert (found.n, found.df, found.difference) == (5, 4, 2)
    assert found.t == pytest.approx(2 / error)
    assert found.p == pytest.approx(2 * stats.t.sf(2 / error, 4))
    reach = stats.t.ppf(0.975, 4) * error
    assert (found.low, found.high) == pytest.approx((2 - reach, 2 + reach))
    narrow = corrected_resampled_t([[0.0, 1, 2, 3, 4]], 80, 20, confidence=0.5)
    assert narrow.high - 2 == pytest.approx(stats.t.ppf(0.75, 4) * error)


def test_resampled_t_without_overlap_is_students(rng):
    """Nearly nobody held out: folds as good as independent."""
    d = rng.normal(0.3, 1, size=(3, 4))
    found, expected = corrected_resampled_t(d, 1e12, 1), stats.ttest_1samp(d.ravel(), 0)
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_resampled_t_is_exact_for_the_correlation_it_assumes(rng):
    """Any two of 10 differences correlate with 20 / (80 + 20), and none is real: 5 % of 2000
    tests, standard error 0.49 %, and 95 % of the intervals hold 0. Student's test would claim
    an effect in some 30 %."""
    sets, n, rho = 2000, 10, 0.2
    shared = np.sqrt(rho) * rng.normal(size=(sets, 1))
    d = shared + np.sqrt(1 - rho) * rng.normal(size=(sets, n))
    found = [corrected_resampled_t(one.reshape(2, 5), 80, 20) for one in d]
    claimed = np.array([one.p < 0.05 for one in found])
    held = np.array([one.low <= 0 <= one.high for one in found])
    assert claimed.mean() == pytest.approx(0.05, abs=3 * 0.0049)
    assert (held == ~claimed).all()
    assert (stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05).mean() > 0.2


@pytest.mark.parametrize("differences", [[[0.3]], [[0.3, 0.3]]])
def test_resampled_t_without_variance(differences):
    found = corrected_resampled_t(differences, 80, 20)
    assert found.difference == pytest.approx(0.3)
    assert np.isnan([found.t, found.p, found.low, found.high]).all()


def test_resampled_t_needs_all_folds():
    with pytest.raises(DataError, match=r"shape \(1, 2\), 1 of 2 are finite; need .*every fold"):
        corrected_resampled_t([[0.1, np.nan]], 80, 20)
    with pytest.raises(DataError, match=r"shape \(3,\), 3 of 3 are finite; need \(repeats"):
        corrected_resampled_t([0.1, 0.2, 0.3], 80, 20)
    with pytest.raises(DataError, match=r"shape \(0, 5\), 0 of 0"):
        corrected_resampled_t(np.empty((0, 5)), 80, 20)
    for sizes in ((0, 20), (80, 0)):
        with pytest.raises(DataError, match=rf"has {sizes[0]} training and {sizes[1]} held-out"):
            corrected_resampled_t([[0.1, 0.2]], *sizes)


TERMS = {
    "Intercept": 1.0,
    "source[T.synthetic]": 0.1,
    "tracer[T.pib]": 0.3,
    "source[T.synthetic]:tracer[T.pib]": -0.05,
    "age": 0.005,
    "sex[T.M]": 0.04,
}
"""True effects of :func:`images`."""


def images(rng, n, *, tracers=("pbr28", "pib"), between=0.15, within=0.1):
    """One image of each source and tracer per participant, with effects of :data:`TERMS`."""
    rows = pd.DataFrame(
        [
            {"participant_id": f"sub-{i:03}", "source": source, "tracer": tracer}
            for i in range(n)
            for tracer in tracers
            for source in ("synthetic", "real")
        ]
    )
    person = rows["participant_id"].str[4:].astype(int).to_numpy()
    age, sex = rng.uniform(55, 85, n)[person], rng.choice(["F", "M"], n)[person]
    synthetic, pib = rows["source"] == "synthetic", rows["tracer"] == "pib"
    fixed = 1 + 0.1 * synthetic + 0.3 * pib - 0.05 * synthetic * pib + 0.005 * age
    suvr = fixed + 0.04 * (sex == "M") + rng.normal(0, between, n)[person]
    return rows.assign(age=age, sex=sex, suvr=suvr + rng.normal(0, within, len(rows)))


def paired(frame):
    """Synthetic - real of one tracer, one per participant."""
    wide = frame.pivot_table("suvr", "participant_id", "source")
    return (wide["synthetic"] - wide["real"]).to_numpy()


def test_mixed_model_of_pairs_is_the_paired_comparison(rng):
    """A closed form: mean difference, its standard error with n - 1, variances of the
    analysis of variance. The optimiser stops within a thousandth of the variances."""
    frame = images(rng, 25, tracers=("pib",))
    found = mixed_model(frame, covariates=())
    effect = found.effects.set_index("term").loc["source[T.synthetic]"]
    d = paired(frame)
    error = d.std(ddof=1) / np.sqrt(d.size)
    assert effect["estimate"] == pytest.approx(d.mean())
    assert effect["se"] == pytest.approx(error, rel=1e-3)
    assert effect["low"] == pytest.approx(d.mean() - 1.959964 * error, rel=1e-3)
    assert effect["high"] == pytest.approx(d.mean() + 1.959964 * error, rel=1e-3)
    assert effect["p"] == pytest.approx(2 * stats.norm.sf(abs(d.mean()) / error), rel=0.02)
    assert found.sd_within == pytest.approx(d.std(ddof=1) / np.sqrt(2), rel=1e-3)
    means = frame.groupby("participant_id")["suvr"].mean()
    between = means.var(ddof=1) - found.sd_within**2 / 2
    assert found.sd_between == pytest.approx(np.sqrt(between), rel=1e-3)
    assert (found.method, found.converged, found.note) == ("MixedLM", True, "ok")
    assert (found.n, found.n_rows) == (25, 50)


def test_mixed_model_finds_known_effects(rng):
    """20 cohorts of 25: each of six effects lies in its 95 % interval in all but a few (upper
    bound of the binomial at 1 in 1000 per effect), and on average it is itself."""
    sets = 20
    fits = [
        mixed_model(images(rng, 25)).effects.set_index("term").loc[list(TERMS)]
        for _ in range(sets)
    ]
    truth = pd.Series(TERMS)
    missed = sum(((fit["low"] > truth) | (truth > fit["high"])).astype(int) for fit in fits)
    assert (missed <= stats.binom.ppf(0.999, sets, 0.05)).all()
    estimates = pd.concat([fit["estimate"] for fit in fits], axis=1)
    error = estimates.std(axis=1, ddof=1) / np.sqrt(sets)
    assert ((estimates.mean(axis=1) - truth).abs() < 4 * error).all()
    # The stated error is the spread over cohorts; that of 20 is known to 16 %.
    stated = pd.concat([fit["se"] for fit in fits], axis=1).mean(axis=1)
    assert (stated / estimates.std(axis=1, ddof=1)).between(0.55, 1.8).all()


def test_pairs_are_compared_within_participants(rng):
    """A hundred times the differences between people leave the effect of the source alone."""
    near, far = (
        mixed_model(
            images(np.random.default_rng(3), 20, tracers=("pib",), between=b), covariates=()
        )
        for b in (0.2, 2.0)
    )
    assert far.sd_between > 5 * near.sd_between
    se = [fit.effects.set_index("term").loc["source[T.synthetic]", "se"] for fit in (near, far)]
    assert se[1] == pytest.approx(se[0], rel=0.01)


def test_real_is_what_others_are_compared_with(rng):
    frame = images(rng, 12, tracers=("pib",)).replace({"source": {"synthetic": "AAA"}})
    terms = mixed_model(frame, covariates=()).effects["term"].tolist()
    assert terms == ["Intercept", "source[T.AAA]"]


def test_formula(rng):
    frame = images(rng, 12)
    assert mixed_model(frame).formula == "suvr ~ 1 + source * tracer + age + sex"
    assert set(mixed_model(frame).effects["term"]) == set(TERMS)
    one = frame[frame["tracer"] == "pib"]
    assert mixed_model(one).formula == "suvr ~ 1 + source + age + sex"
    assert mixed_model(one, factors=("tracer",), covariates=()).formula == "suvr ~ 1"


def test_rows_with_a_hole_are_left_out(rng):
    frame = images(rng, 12)
    holes = frame.copy()
    holes.loc[0, "suvr"] = holes.loc[5, "age"] = holes.loc[9, "source"] = np.nan
    found = mixed_model(holes)
    expected = mixed_model(frame.drop(index=[0, 5, 9]))
    pd.testing.assert_frame_equal(found.effects, expected.effects)
    assert (found.n, found.n_rows) == (12, 45)


def test_order_of_the_rows_does_not_matter(rng):
    frame = images(rng, 12)
    plain, mixed = (
        mixed_model(rows).effects for rows in (frame, frame.sample(frac=1, random_state=1))
    )
    # Sums in another order, through an optimiser that stops at 1e-5 of the likelihood.
    pd.testing.assert_frame_equal(plain, mixed, rtol=1e-3)


def test_where_the_mixed_model_does_not_converge_there_are_estimating_equations(rng):
    """A year of birth that hardly varies beside the intercept. Of balanced pairs the errors
    have a closed form, with n - 1 for the participant whom each correction leaves out."""
    frame = images(rng, 25, tracers=("pib",))
    frame["age"] = 1950 + 1e-5 * stats.zscore(frame["age"])
    found = mixed_model(frame, covariates=["age"])
    assert found.method == "GEE"
    assert found.note == "the mixed model did not converge"
    assert found.converged
    assert np.isnan(found.sd_between)
    effect = found.effects.set_index("term").loc["source[T.synthetic]"]
    d = paired(frame)
    assert effect["estimate"] == pytest.approx(d.mean())
    assert effect["se"] == pytest.approx(d.std() / np.sqrt(25) / (1 - 1 / 25), rel=1e-3)
    assert effect["high"] - effect["estimate"] == pytest.approx(1.959964 * effect["se"])


@pytest.mark.parametrize("seed", [0, 3])
def test_the_mixed_model_is_used_when_it_says_that_it_converged(seed):
    """A year that varies by a thousandth: one of these fits stops early, one does not."""
    frame = images(np.random.default_rng(seed), 25, tracers=("pib",))
    frame["age"] = 1950 + 1e-3 * stats.zscore(frame["age"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = MixedLM.from_formula(
            "suvr ~ C(source, Treatment('real')) + age", frame, groups="participant_id"
        ).fit()
    usable = own.converged and np.isfinite(own.bse_fe).all()
    assert (mixed_model(frame, covariates=["age"]).method == "MixedLM") == usable


def test_estimating_equations_keep_pairs_together(rng):
    """People differ 50 times as much as their images do, and the real image is missing of
    those with high values: comparing all with all would find synthetic far above real."""
    frame = images(rng, 25, tracers=("pib",), between=0.5, within=0.01)
    frame["age"] = 1950 + 1e-5 * stats.zscore(frame["age"])
    high = frame.groupby("participant_id")["suvr"].transform("mean").rank(pct=True) > 0.6
    frame = frame[~(high & (frame["source"] == "real"))]
    found = mixed_model(frame, covariates=["age"])
    assert found.method == "GEE"
    effect = found.effects.set_index("term").loc["source[T.synthetic]"]
    apart = frame.groupby("source")["suvr"].mean()
    assert apart["synthetic"] - apart["real"] > 0.3
    # The correlation of a pair is estimated below 1, which lets a tenth of that through.
    assert effect["estimate"] == pytest.approx(np.nanmean(paired(frame)), abs=0.05)


def test_effects_that_the_rows_do_not_tell_apart(rng):
    frame = images(rng, 12)
    missing = frame[(frame["source"] == "real") | (frame["tracer"] == "pib")]
    with pytest.raises(DataError, match=r"36 rows tell 5 effects apart, .* asks for 6: Intercept"):
        mixed_model(missing)
    with pytest.raises(DataError, match=r"tell 4 effects apart, .* asks for 5.*Leave out"):
        mixed_model(frame.assign(age=60.0), covariates=["age"])


def test_each_participant_once(rng):
    frame = images(rng, 12, tracers=("pib",)).drop_duplicates("participant_id")
    with pytest.raises(DataError, match=r"^12 rows without a hole, none two of the same"):
        mixed_model(frame)


def test_columns_of_the_images(rng):
    with pytest.raises(DataError, match=r"has the columns .*; age missing. Add"):
        mixed_model(images(rng, 3).drop(columns="age"))
