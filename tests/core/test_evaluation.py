import numpy as np
import pandas as pd
import pytest
from scipy import stats

from relad_bids.core import evaluation
from relad_bids.core.agreement import ASSOCIATIONS, METRICS, agreement, concordance
from relad_bids.core.calibration import conformal_factors, spread_calibration
from relad_bids.core.evaluation import (
    TABLE_COLUMNS,
    compare,
    dictionary,
    evaluate,
    mean_scores,
    swapped_p,
    swapped_ps,
)
from relad_bids.core.floors import trained_floor
from relad_bids.errors import DataError

DRAWS = 200
BOUNDS = ["low", "high"]


def scores_of(pairs, seed=1, **settings):
    settings = {"n_draws": DRAWS, **settings}
    return evaluate(pairs, rng=np.random.default_rng(seed), **settings)


def test_values_are_those_of_each_voi(rng, make_cohort, of_voi):
    pairs = make_cohort(12, rng)
    table = scores_of(pairs, floors=["mean"])
    for voi, scans in pairs.groupby("voi"):
        expected = agreement(scans["estimate"], scans["truth"])
        found = of_voi(table, voi)
        for metric in METRICS:
            assert found.loc[metric, "value"] == pytest.approx(float(getattr(expected, metric)))
        floor = agreement(scans["mean"], scans["truth"])
        assert found.loc["skill_mean", "value"] == pytest.approx(float(expected.skill(floor)))
        assert (found["n"] == 12).all()


def test_shape_of_the_table(rng, make_cohort):
    pairs = make_cohort(9, rng, tracers=("pib", "pbr28")).assign(wrong=1.0)
    table = scores_of(pairs, floors=["mean", "wrong"])
    assert list(table) == [*TABLE_COLUMNS, "mean", "wrong"]
    assert table["metric"].iloc[: len(METRICS) + 2].tolist() == [
        *METRICS,
        "skill_mean",
        "skill_wrong",
    ]
    blocks = table[["tracer", "voi"]].drop_duplicates().to_numpy().tolist()
    assert blocks == [[t, v] for t in ("pib", "pbr28") for v in ("hippocampus", "neocortex")]
    named = dictionary(["mean", "wrong"])
    assert list(named) == list(table)
    assert set(table["metric"]) <= set(named["metric"]["Levels"])


def test_interval_is_the_paired_bca_of_scipy(rng, make_cohort, of_voi):
    """One scan each: drawing participants is drawing pairs, with the same generator."""
    pairs = make_cohort(20, rng, vois=("neocortex",))
    found = of_voi(scores_of(pairs, floors=["mean"]), "neocortex")
    for metric, statistic in {
        "mae": lambda x, y: np.abs(x - y).mean(),
        "ccc": concordance,
        "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
        "skill_mean": lambda x, y: 1 - np.sum((x - y) ** 2) / np.sum((1.4 - y) ** 2),
    }.items():
        expected = stats.bootstrap(
            (pairs["estimate"].to_numpy(), pairs["truth"].to_numpy()),
            statistic,
            paired=True,
            vectorized=False,
            n_resamples=DRAWS,
            method="BCa",
            rng=np.random.default_rng(1),
        ).confidence_interval
        assert found.loc[metric, BOUNDS].tolist() == pytest.approx([expected.low, expected.high])


def test_all_vois_of_a_participant_are_drawn_together(rng, make_cohort, of_voi):
    """A copy of a VOI under another name has the same interval to the last bit."""
    pairs = make_cohort(10, rng, vois=("neocortex",))
    table = scores_of(pd.concat([pairs, pairs.assign(voi="copy")]))
    pd.testing.assert_frame_equal(
        of_voi(table, "neocortex")[BOUNDS], of_voi(table, "copy")[BOUNDS]
    )


def test_scanning_everybody_again_teaches_nothing(rng, make_cohort):
    """Each scan three times over: the same value and interval, where drawing scans would give
    one narrower by the root of 3. Limits of agreement alone know n - 1."""
    pairs = make_cohort(12, rng)
    once, thrice = scores_of(pairs), scores_of(pd.concat([pairs] * 3))
    same = ~once["metric"].isin(["loa_low", "loa_high", "icc_a1"])
    numbers = ["value", *BOUNDS]
    np.testing.assert_allclose(once.loc[same, numbers], thrice.loc[same, numbers], rtol=1e-6)
    assert (thrice["n"] == 12).all()
    assert (thrice["n_scans"] == 36).all()


def test_order_of_the_rows_does_not_matter(rng, make_cohort):
    pairs = make_cohort(10, rng)
    keys = ["voi", "metric"]
    plain, mixed = (
        scores_of(rows).sort_values(keys).reset_index(drop=True)
        for rows in (pairs, pairs.sample(frac=1, random_state=4))
    )
    pd.testing.assert_frame_equal(plain, mixed)
    plain, mixed = (
        spread_calibration(rows, n_samples=4, rng=np.random.default_rng(1), n_draws=DRAWS)
        .sort_values(keys)
        .reset_index(drop=True)
        for rows in (pairs, pairs.sample(frac=1, random_state=4))
    )
    pd.testing.assert_frame_equal(plain, mixed)


def test_one_seed_one_table(rng, make_cohort):
    pairs = make_cohort(10, rng)
    pd.testing.assert_frame_equal(scores_of(pairs, seed=3), scores_of(pairs, seed=3))
    other = scores_of(pairs, seed=4)
    assert not other["low"].equals(scores_of(pairs, seed=3)["low"])
    assert other["value"].equals(scores_of(pairs, seed=3)["value"])


def test_interval_lies_around_the_value_and_widens_with_confidence(rng, make_cohort):
    pairs = make_cohort(25, rng)
    narrow, wide = (scores_of(pairs, confidence=c, n_draws=500) for c in (0.5, 0.95))
    assert (wide["low"] < narrow["low"]).all()
    assert (wide["high"] > narrow["high"]).all()
    assert ((wide["low"] < wide["value"]) & (wide["value"] < wide["high"])).all()


def test_a_missing_value_is_not_counted(rng, make_cohort, of_voi):
    """VOIs with other participants keep theirs; n tells."""
    pairs = make_cohort(12, rng)
    holes = pairs.copy()
    holes.loc[[0, 2], "estimate"] = np.nan
    holes.loc[4, "truth"] = np.nan
    found = scores_of(holes)
    expected = scores_of(pairs.drop(index=[0, 2, 4]))
    assert of_voi(found, "hippocampus")["n"].unique().tolist() == [9]
    assert of_voi(found, "neocortex")["n"].unique().tolist() == [12]
    assert found["value"].tolist() == pytest.approx(expected["value"].tolist())
    assert found["low"].notna().all()


def test_vois_stay_in_their_order_whoever_is_missing(rng, make_cohort):
    pairs = make_cohort(8, rng, vois=("z", "y", "x"))
    pairs.loc[4, "truth"] = np.nan
    assert scores_of(pairs)["voi"].unique().tolist() == ["z", "y", "x"]


def test_floors_are_scored_like_the_network(rng, make_cohort, of_voi):
    pairs = make_cohort(12, rng)
    table = scores_of(pairs, floors=["mean", "truth"])
    swapped = scores_of(pairs.assign(estimate=pairs["mean"]), floors=["mean", "truth"])
    np.testing.assert_allclose(table["mean"], swapped["value"])
    found = of_voi(table, "neocortex")
    assert found.loc["mae", "truth"] == 0
    assert found.loc["ccc", "truth"] == pytest.approx(1)
    assert found.loc["ccc", "mean"] == 0
    assert found.loc["skill_mean", ["mean", "truth"]].tolist() == [0, 1]


def test_a_floor_is_compared_on_the_same_scans_or_not_at_all(rng, make_cohort, of_voi):
    pairs = make_cohort(12, rng)
    pairs.loc[0, "mean"] = np.nan
    table = scores_of(pairs, floors=["mean"])
    hippocampus = of_voi(table, "hippocampus")
    assert hippocampus["mean"].isna().all()
    assert np.isnan(hippocampus.loc["skill_mean", "value"])
    assert (hippocampus["n"] == 12).all()
    assert of_voi(table, "neocortex").loc["mae", "mean"] > 0


@pytest.mark.parametrize(("n", "shown"), [(7, False), (8, True)])
def test_fewest_participants_of_a_correlation(rng, n, shown, make_cohort):
    """One rule for correlations, slopes and ratios of spread."""
    table = scores_of(make_cohort(n, rng), floors=["estimate"])
    correlation = table["metric"].isin(ASSOCIATIONS)
    assert correlation.sum() == 10 * table["voi"].nunique()
    for column in ("value", "low", "high", "estimate"):
        assert (table.loc[correlation, column].notna() == shown).all()
    assert table.loc[~correlation & (table["metric"] != "skill_estimate"), "value"].notna().all()


@pytest.mark.parametrize(("n", "shown"), [(1, False), (2, False), (5, False), (6, True)])
def test_fewest_participants_of_an_interval(rng, n, shown, make_cohort, of_voi):
    """Six observations enclose their median with 1 - 2 / 2^6 = 97 %, five with 94 %."""
    table = of_voi(scores_of(make_cohort(n, rng)), "neocortex")
    assert (table.loc[["mae", "bias"], BOUNDS].notna() == shown).all(axis=None)
    assert table.loc[["mae", "bias"], "value"].notna().all()
    assert (table["n"] == n).all()


@pytest.mark.parametrize("estimate", [1.3, 1.4])
def test_without_variance_there_is_no_interval(rng, estimate, make_cohort, of_voi):
    """Draws that differ by rounding alone do not make one, either."""
    pairs = make_cohort(50, rng).assign(estimate=estimate, truth=1.4)
    table = scores_of(pairs, floors=["mean"])
    assert table[BOUNDS].isna().all(axis=None)
    assert of_voi(table, "neocortex").loc["bias", "value"] == pytest.approx(estimate - 1.4)


def test_nobody(rng, make_cohort):
    pairs = make_cohort(3, rng).assign(truth=np.nan)
    assert list(scores_of(pairs, floors=["mean"])) == [*TABLE_COLUMNS, "mean"]
    assert len(scores_of(pairs)) == 0
    assert len(spread_calibration(pairs, n_samples=5, rng=rng)) == 0
    assert len(conformal_factors(pairs)) == 0


def test_missing_columns(rng, make_cohort):
    pairs = make_cohort(3, rng).drop(columns="truth")
    for call in (
        lambda: scores_of(pairs, floors=["age"]),
        lambda: mean_scores(pairs, rng=rng, floors=["age"]),
        lambda: spread_calibration(pairs.drop(columns="spread"), n_samples=2, rng=rng),
        lambda: trained_floor(pairs, pairs),
    ):
        with pytest.raises(DataError, match=r"has the columns participant_id, .*missing. Add"):
            call()


def test_mean_of_scores(rng):
    """A participant with two scans counts once; the interval is that of the mean."""
    values = rng.normal(30, 2, 10)
    people = [f"sub-{i}" for i in range(10)]
    one = {"tracer": "pib", "voi": "brain", "metric": "psnr"}
    scores = pd.DataFrame({"participant_id": people, **one, "value": values, "mean": 25.0})
    twice = scores.iloc[:1].assign(value=values[0] + 4.0)
    scores.loc[0, "value"] -= 4.0
    table = mean_scores(
        pd.concat([scores, twice]), rng=np.random.default_rng(1), floors=["mean"], n_draws=DRAWS
    )
    row = table.iloc[0]
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=DRAWS, rng=np.random.default_rng(1)
    ).confidence_interval
    assert len(table) == 1
    assert row["value"] == pytest.approx(values.mean())
    assert row[BOUNDS].tolist() == pytest.approx([expected.low, expected.high])
    assert row[["n", "n_scans", "mean"]].tolist() == [10, 11, 25]


def test_mean_of_scores_with_holes(rng):
    """A floor without one of the scans is not compared; a perfect score is not averaged away."""
    one = {"tracer": "pib", "voi": "brain"}
    scores = pd.concat(
        pd.DataFrame(
            {
                "participant_id": [f"sub-{i}" for i in range(8)],
                **one,
                "metric": metric,
                "value": rng.normal(size=8),
                "mean": rng.normal(size=8),
            }
        )
        for metric in ("psnr", "ssim")
    ).reset_index(drop=True)
    scores.loc[0, "value"] = np.inf
    scores.loc[9, "mean"] = np.nan
    scores.loc[10, "value"] = np.nan
    table = mean_scores(scores, rng=rng, floors=["mean"], n_draws=DRAWS).set_index("metric")
    assert table.loc["psnr", "value"] == np.inf
    assert table.loc["psnr", BOUNDS].isna().all()
    assert np.isfinite(table.loc["psnr", "mean"])
    assert np.isnan(table.loc["ssim", "mean"])
    assert table.loc["ssim", BOUNDS].notna().all()
    assert table["n"].tolist() == [8, 7]


def test_comparison_of_two_methods(rng):
    """Ours lower by 0.1 with a standard deviation of 0.2: effect -0.5, and sign and p agree
    with a t test of normal differences to a few of their thousandths."""
    difference = rng.normal(size=40)
    difference = -0.1 + 0.2 * (difference - difference.mean()) / difference.std(ddof=1)
    other = rng.uniform(0.1, 0.3, 40)
    found = compare(other + difference, other, rng=rng)
    assert found.n == 40
    assert found.difference == pytest.approx(-0.1)
    assert found.effect == pytest.approx(-0.5)
    assert found.low < -0.1 < found.high < 0
    assert found.p == pytest.approx(stats.ttest_1samp(difference, 0).pvalue, abs=0.004)


def test_exact_p_of_a_few():
    """All five differences of one sign: 2 of 2^5 exchanges are as extreme."""
    found = compare([1, 2, 3, 4, 5], [2, 4, 6, 8, 10], rng=np.random.default_rng(1))
    assert found.p == pytest.approx(2 / 32)
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize("n", [2, 5, 10])
def test_exact_p_is_that_of_scipy(rng, n):
    """All 2^n exchanges, with ties among the differences: the same number, not about the same."""
    x, y = np.round(rng.normal(0.2, 1, (2, n)), 1)
    found = stats.permutation_test(
        (x, y), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples",
        n_resamples=2**n, vectorized=True,
    ).pvalue  # fmt: skip
    assert swapped_p(x, y, rng=np.random.default_rng(1), n_draws=2**n) == pytest.approx(found)


def test_random_p_is_near_the_exact(rng):
    """2^12 exchanges, of which 4095 are too few for all: standard error below 0.008 each."""
    x, y = rng.normal(0.4, 1, (2, 12))
    exact = swapped_p(x, y, rng=rng, n_draws=2**12)
    drawn = swapped_p(x, y, rng=np.random.default_rng(1), n_draws=2**12 - 1)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * 2 * 0.008)


def test_random_p_does_not_hang_on_blocks(rng, monkeypatch):
    x, y = rng.normal(0.2, 1, (2, 30))
    whole = swapped_p(x, y, rng=np.random.default_rng(1), n_draws=999)
    monkeypatch.setattr(evaluation, "BATCH", 30 * 64)
    assert swapped_p(x, y, rng=np.random.default_rng(1), n_draws=999) == whole


def test_random_p_is_never_zero():
    """The observed exchange is one of those that are counted: at least 2 / (draws + 1)."""
    p = swapped_p(np.arange(1.0, 31), np.zeros(30), rng=np.random.default_rng(1), n_draws=99)
    assert p == pytest.approx(2 / 100)


def test_comparison_is_blind_to_which_is_called_ours(rng):
    x, y = rng.normal(size=(2, 15))
    one, two = (compare(*pair, rng=np.random.default_rng(1)) for pair in ((x, y), (y, x)))
    assert (one.difference, one.effect) == pytest.approx((-two.difference, -two.effect))
    assert one.p == pytest.approx(two.p, abs=0.01)


@pytest.mark.parametrize(
    ("ours", "other"), [([0.1], [0.2]), ([0.1] * 8, [0.2] * 8), ([0.1] * 7 + [np.nan], [0.2] * 8)]
)
def test_comparison_without_variance(ours, other):
    found = compare(ours, other, rng=np.random.default_rng(1))
    assert found.n == len(ours)
    assert np.isnan([found.low, found.high, found.effect]).all()
    assert np.isnan(found.p) == (found.n == 1 or np.isnan(found.difference))


def test_several_differences_are_swapped_together(rng):
    """Each as alone, by the same draws; a hole in one leaves the others alone."""
    each = rng.normal(0.2, 1, (40, 3))
    each[5, 1] = np.nan
    found = swapped_ps(each, rng=np.random.default_rng(1), n_draws=499)
    zero = np.zeros(40)
    alone = [
        swapped_p(column, zero, rng=np.random.default_rng(1), n_draws=499) for column in each.T
    ]
    np.testing.assert_array_equal(found, alone)
    assert np.isnan(found[1])
