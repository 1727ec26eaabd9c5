import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import ledoit_wolf

from relad_bids.core.ood import (
    FLAG_LEVEL,
    LEVELS,
    fit_ood,
    histogram_distance,
    input_features,
    input_histograms,
    mean_histograms,
    ood_score,
)
from relad_bids.errors import DataError, GridMismatchError

NAMES = ["brain_volume_ml", "t1w_p50", "flair_p50", "wmh_ml"]
MEAN = np.array([1400.0, 0.6, 0.5, 6.0])
MIX = np.array([[120, 0, 0, 0], [0.01, 0.03, 0, 0], [0, 0.02, 0.04, 0], [1, 0, 1, 2.0]])


def people(rng, n):
    """Gaussian features of unlike units, which go together."""
    return pd.DataFrame(MEAN + rng.normal(size=(n, 4)) @ MIX.T, columns=NAMES)


def scores(frame, fitted):
    return [ood_score(row, fitted) for row in frame.to_dict("records")]


@pytest.fixture(scope="module")
def large():
    """Of 500 participants: the true mean and covariance to some percent."""
    return fit_ood(people(np.random.default_rng(3), 500))


def test_squared_distances_of_gaussian_features_follow_chi_squared(rng, large):
    """Of 1000 new ones; their quantile at 0.9 is known to 3 %, and the estimated covariance
    moves all of them by about as much."""
    found = np.array([score for score, *_ in scores(people(rng, 1000), large)])
    for level in (0.25, 0.5, 0.75, 0.9):
        assert np.quantile(found**2, level) == pytest.approx(stats.chi2.ppf(level, 4), rel=0.08)
    assert stats.kstest(found**2, stats.chi2(4).cdf).statistic < 0.05


def test_stored_quantiles_are_those_of_chi(large):
    """Square roots of the chi-squared quantiles; of 500, the last has 5 beyond it."""
    assert list(large["quantiles"]) == [f"{level:g}" for level in LEVELS]
    expected = np.sqrt(stats.chi2.ppf(LEVELS, 4))
    np.testing.assert_allclose(list(large["quantiles"].values()), expected, rtol=0.08)


def test_one_in_forty_of_the_same_kind_is_flagged(rng, large):
    """2.5 % of 1000, standard error 0.5 %, and as much again for the limit itself."""
    flagged = np.mean([flag for _, flag, _ in scores(people(rng, 1000), large)])
    assert flagged == pytest.approx(0.025, abs=0.015)


def test_distance_by_its_definition(rng):
    training, new = people(rng, 30), people(rng, 1).iloc[0]
    sd = training.std(ddof=0)
    z = (training - training.mean()) / sd
    covariance, shrinkage = ledoit_wolf(z.to_numpy())
    expected = mahalanobis((new - training.mean()) / sd, np.zeros(4), np.linalg.inv(covariance))
    fitted = fit_ood(training)
    assert ood_score(new.to_dict(), fitted)[0] == pytest.approx(expected)
    assert fitted["shrinkage"] == pytest.approx(shrinkage)
    assert fitted["n"] == 30
    assert fitted["names"] == NAMES
    np.testing.assert_allclose(fitted["mean"], training.mean())
    scale = np.sqrt(np.diagonal(fitted["covariance"]) / np.diagonal(covariance))
    np.testing.assert_allclose(scale, sd)


def test_quantiles_are_of_each_participant_from_the_others(rng):
    """The k-th smallest of 20, k = ceil(21 * level); the largest where that would be the 21st."""
    training = people(rng, 20)
    z = ((training - training.mean()) / training.std(ddof=0)).to_numpy()
    distances = []
    for i in range(20):
        others = np.delete(z, i, axis=0)
        inverse = np.linalg.inv(ledoit_wolf(others)[0])
        distances.append(mahalanobis(z[i], others.mean(axis=0), inverse))
    ordered = np.sort(distances)
    expected = {"0.5": 10, "0.9": 18, "0.95": 19, "0.975": 19, "0.99": 19}
    found = fit_ood(training)["quantiles"]
    assert found == pytest.approx({level: ordered[k] for level, k in expected.items()})
    # From themselves among the others, all would seem nearer.
    fitted = fit_ood(training)
    near = [score for score, *_ in scores(training, fitted)]
    assert np.max(near) < found["0.975"]


def test_the_promise_holds_whatever_the_distribution(rng):
    """Skewed features with heavy tails, 39 participants: 1 of 40 new ones beyond the largest.
    Of 25 x 80, which share 25 limits, 2.5 % to three of their errors."""

    def draw(n):
        return pd.DataFrame(np.exp(rng.normal(size=(n, 2))), columns=["a", "b"])

    shares = []
    for _ in range(25):
        fitted = fit_ood(draw(39))
        shares.append(np.mean([flag for _, flag, _ in scores(draw(80), fitted)]))
    error = np.std(shares, ddof=1) / np.sqrt(25)
    assert np.mean(shares) == pytest.approx(0.025, abs=3 * error)
    assert error < 0.01


def test_units_do_not_matter(rng):
    training, new = people(rng, 25), people(rng, 5)
    scale, shift = np.array([1e-3, 100, -1, 1e4]), np.array([0, 5, 0, -100])
    plain = scores(new, fit_ood(training))
    other = scores(new * scale + shift, fit_ood(training * scale + shift))
    assert [s for s, *_ in plain] == pytest.approx([s for s, *_ in other], rel=1e-6)


def test_more_features_than_participants(rng):
    """Shrinkage keeps the covariance invertible; someone far from all is far."""
    training = pd.DataFrame(rng.normal(size=(12, 20)), columns=[f"f{i}" for i in range(20)])
    fitted = fit_ood(training)
    assert 0 < fitted["shrinkage"] <= 1
    assert not ood_score(dict(training.iloc[0]), fitted)[1]
    assert ood_score({f"f{i}": 6.0 for i in range(20)}, fitted)[1]


def test_statistics_travel_as_json(rng, large):
    histograms = {"T1w": np.linspace(0, 1, 99)}
    fitted = fit_ood(people(rng, 20).assign(site=1), histograms=histograms)
    read = json.loads(json.dumps(fitted, allow_nan=False))
    assert read == fitted
    assert read["histograms"]["T1w"] == histograms["T1w"].tolist()
    assert large["histograms"] == {}
    new = people(rng, 1).iloc[0].to_dict()
    assert ood_score(new, read) == ood_score(new, fitted)


@pytest.mark.parametrize(("share", "flagged"), [(1 - 1e-9, False), (1 + 1e-9, True)])
def test_limit_of_the_flag(large, share, flagged):
    """Along the first feature, where a shift of one conditional SD is a distance of 1."""
    limit = large["quantiles"][f"{FLAG_LEVEL:g}"]
    conditional = 1 / np.sqrt(np.linalg.inv(large["covariance"])[0, 0])
    features = dict(zip(NAMES, large["mean"], strict=True))
    features["brain_volume_ml"] += share * limit * conditional
    score, flag, reasons = ood_score(features, large)
    assert score == pytest.approx(limit)
    assert flag == flagged
    assert any("from the training set, limit" in reason for reason in reasons) == flagged


def test_an_unusual_combination_is_flagged_though_each_feature_is_usual(large):
    """The volume 2 SD up and the percentile that follows it 2 SD down, and the reverse."""
    sd = np.sqrt(np.diagonal(large["covariance"]))
    usual = dict(zip(NAMES, large["mean"] + 2 * sd * [0, 1, 1, 0], strict=True))
    unusual = dict(zip(NAMES, large["mean"] + 2 * sd * [0, 0, 1, -1], strict=True))
    assert ood_score(unusual, large)[0] > 1.2 * ood_score(usual, large)[0]


@pytest.mark.parametrize(("z", "word"), [(3.01, "above"), (-3.01, "below"), (2.99, None)])
def test_single_features_are_named(large, z, word):
    sd = np.sqrt(large["covariance"][3][3])
    features = dict(zip(NAMES, large["mean"], strict=True))
    features["wmh_ml"] += z * sd
    reasons = ood_score(features, large)[2]
    named = [reason for reason in reasons if reason.startswith("wmh_ml is")]
    assert len(named) == (word is not None)
    if word:
        assert f"3.0 SD {word} the training mean {large['mean'][3]:.4g}" in named[0]
        lowest, highest = large["ranges"]["wmh_ml"]
        assert f"(seen: {lowest:.4g} to {highest:.4g})" in named[0]


def test_ranges(rng):
    training = people(rng, 15)
    found = fit_ood(training)["ranges"]
    assert found == {name: [training[name].min(), training[name].max()] for name in NAMES}


@pytest.mark.parametrize("absent", [np.nan, None, "no entry"])
def test_without_flair(rng, large, absent):
    """Judged by the three that are left, on a scale stretched to the same limit; said so."""
    frame = people(rng, 1000)
    rows = [
        {n: v for n, v in (row | {"flair_p50": absent}).items() if v != "no entry"}
        for row in frame.to_dict("records")
    ]
    found = [ood_score(row, large) for row in rows]
    assert found[0][2][-1] == "not known: flair_p50"
    kept = [0, 1, 3]
    inverse = np.linalg.inv(np.array(large["covariance"])[np.ix_(kept, kept)])
    distance = mahalanobis(frame.iloc[0, kept], np.array(large["mean"])[kept], inverse)
    stretch = np.sqrt(stats.chi2.ppf(0.975, 4) / stats.chi2.ppf(0.975, 3))
    assert found[0][0] == pytest.approx(distance * stretch)
    assert np.mean([flag for _, flag, _ in found]) == pytest.approx(0.025, abs=0.015)


def test_nothing_known_is_flagged(large):
    score, flag, reasons = ood_score({"age": 70.0}, large)
    assert np.isnan(score)
    assert flag
    assert reasons == [f"not known: {', '.join(NAMES)}"]


def test_features_that_were_not_fitted_do_not_count(large):
    features = dict(zip(NAMES, large["mean"], strict=True))
    assert ood_score(features | {"age": 300.0}, large) == (0, False, [])


def test_a_feature_that_never_varied(rng):
    """No distance can be measured in it; another value is news."""
    fitted = fit_ood(people(rng, 30).assign(voxel_mm3=1.0))
    assert "voxel_mm3" not in fitted["names"]
    usual = dict(zip(NAMES, fitted["mean"], strict=True))
    assert ood_score(usual | {"voxel_mm3": 1.0}, fitted) == (0, False, [])
    score, flag, reasons = ood_score(usual | {"voxel_mm3": 3.5}, fitted)
    assert (score, flag) == (0, True)
    assert reasons == ["voxel_mm3 is 3.5, and 1 in all training participants"]
    assert ood_score(usual, fitted) == (0, False, ["not known: voxel_mm3"])


def test_holes_in_the_training_set(rng):
    """A column without a number goes first, so that it costs no participant."""
    training = people(rng, 30)
    holes = training.assign(t2w_p50=np.nan)
    holes.loc[4, "flair_p50"] = np.nan
    assert fit_ood(holes) == fit_ood(training.drop(index=4))


@pytest.mark.parametrize("n", [9, 10])
def test_fewest_participants(rng, n):
    training = people(rng, 12)
    training.loc[n:, "wmh_ml"] = np.nan
    if n == 10:
        assert fit_ood(training)["n"] == 10
    else:
        with pytest.raises(DataError, match=r"^9 of 12 training .*4 features vary; need 10"):
            fit_ood(training)


def test_some_feature_must_vary():
    with pytest.raises(DataError, match=r"^12 of 12 training .*, and 0 features vary"):
        fit_ood(pd.DataFrame({"voxel_mm3": [1.0] * 12}))


SHAPE, VOXEL = (14, 17, 16), (1.0, 2.0, 1.5)


@pytest.fixture
def mask():
    found = np.zeros(SHAPE, dtype=bool)
    found[2:12, 3:15, 2:13] = True
    return found


@pytest.fixture
def labels(rng):
    """Cortex of both kinds of number, white matter, and others."""
    return rng.choice([2, 41, 3, 42, 1001, 2035, 17, 4], size=SHAPE)


@pytest.fixture
def mri(rng, labels):
    """White matter bright in T1w and dark in FLAIR."""
    white = np.isin(labels, [2, 41])
    return {
        "T1w": 700.0 + 300 * white + rng.normal(0, 30, SHAPE),
        "FLAIR": 400.0 - 80 * white + rng.normal(0, 20, SHAPE),
    }


def test_features_by_hand(mri, mask, labels):
    found = input_features(mri, mask, VOXEL, labels)
    assert found["brain_volume_ml"] == pytest.approx(10 * 12 * 11 * 3.0 / 1000)
    contrast = {}
    for name, image in (("t1w", mri["T1w"]), ("flair", mri["FLAIR"])):
        low, high = np.percentile(image[mask], [1, 99])
        scaled = (image - low) / (high - low)
        for level in (10, 25, 50, 75, 90):
            assert found[f"{name}_p{level}"] == pytest.approx(np.percentile(scaled[mask], level))
        grey = scaled[mask & np.isin(labels, [3, 42, 1001, 2035])].mean()
        contrast[name] = grey - scaled[mask & np.isin(labels, [2, 41])].mean()
        assert found[f"{name}_gm_wm"] == pytest.approx(contrast[name])
    assert contrast["t1w"] < 0 < contrast["flair"]
    assert found["flair_t1w_contrast"] == pytest.approx(contrast["flair"] / contrast["t1w"])
    spread = {name: found[f"{name}_p75"] - found[f"{name}_p25"] for name in contrast}
    assert found["flair_t1w_spread"] == pytest.approx(spread["flair"] / spread["t1w"])
    assert len(found) == 1 + 2 * 6 + 2


def test_features_without_labels_or_flair(mri, mask, labels):
    whole = input_features(mri, mask, VOXEL, labels)
    plain = input_features(mri, mask, VOXEL)
    assert plain == {n: v for n, v in whole.items() if "gm_wm" not in n and "contrast" not in n}
    alone = input_features({"T1w": mri["T1w"]}, mask, VOXEL, labels)
    assert alone == {n: v for n, v in whole.items() if "flair" not in n}


@pytest.mark.parametrize("flair", [None, np.full(SHAPE, -1.0), np.full(SHAPE, np.nan)])
def test_a_missing_flair_has_no_features(mri, mask, labels, flair):
    """No image, or the constant that a network is shown for it."""
    whole = input_features(mri, mask, VOXEL, labels)
    found = input_features({**mri, "FLAIR": flair}, mask, VOXEL, labels)
    assert list(found) == list(whole)
    for name, value in found.items():
        assert np.isnan(value) if "flair" in name else value == whole[name], name


def test_gain_and_offset_mean_nothing(mri, mask, labels):
    histograms = mean_histograms([input_histograms(mri, mask)])
    plain = input_features(mri, mask, VOXEL, labels, histograms=histograms)
    moved = {"T1w": 0.01 * mri["T1w"] - 3, "FLAIR": 5 * mri["FLAIR"] + 1000}
    found = input_features(moved, mask, VOXEL, labels, histograms=histograms)
    assert found == pytest.approx(plain, abs=1e-9)


def test_what_lies_outside_the_brain_does_not_count(mri, mask, labels):
    other = {name: np.where(mask, image, 1e6) for name, image in mri.items()}
    expected = input_features(mri, mask, VOXEL, labels)
    assert input_features(other, mask, VOXEL, np.where(mask, labels, 2)) == expected


def test_a_voxel_without_a_value_does_not_count(mri, mask, labels):
    holes = {**mri, "T1w": mri["T1w"].copy()}
    holes["T1w"][5, 5, 5] = np.nan
    labels[5, 5, 5] = 3
    smaller = mask.copy()
    smaller[5, 5, 5] = False
    found, expected = (
        input_features(image, where, VOXEL, labels)
        for image, where in ((holes, mask), (mri, smaller))
    )
    for name in ("t1w_p25", "t1w_p90", "t1w_gm_wm"):
        assert found[name] == expected[name]


def test_labels_without_cortex_have_no_contrast(mri, mask):
    found = input_features(mri, mask, VOXEL, np.full(SHAPE, 2))
    assert np.isnan([found["t1w_gm_wm"], found["flair_t1w_contrast"]]).all()
    assert np.isfinite(found["flair_t1w_spread"])


def test_histogram_distance_is_the_wasserstein_distance(rng):
    one, other = np.sort(rng.random((2, 99)))
    assert histogram_distance(one, other) == pytest.approx(stats.wasserstein_distance(one, other))
    assert histogram_distance(one, one + 0.25) == pytest.approx(0.25)


def test_histogram_distance_is_a_feature(rng, mri, mask):
    """Nearer to an image of the same kind than to one with another gamma; 0 to itself."""
    own = mean_histograms([input_histograms(mri, mask)])
    assert input_features(mri, mask, VOXEL, histograms=own)["t1w_histogram_distance"] == 0
    again = {"T1w": mri["T1w"] + rng.normal(0, 5, SHAPE)}
    low = mri["T1w"].min()
    bent = {"T1w": (mri["T1w"] - low) ** 2}
    near, far = (
        input_features(image, mask, VOXEL, histograms=own)["t1w_histogram_distance"]
        for image in (again, bent)
    )
    assert 0 < near < far / 5
    plain = input_features(mri, mask, VOXEL, histograms={"FLAIR": own["FLAIR"]})
    assert "t1w_histogram_distance" not in plain


def test_histograms_of_a_missing_sequence(mri, mask):
    found = input_histograms({**mri, "FLAIR": None}, mask)
    assert found["T1w"].shape == (99,)
    assert (found["T1w"][0], found["T1w"][-1]) == pytest.approx((0, 1))
    assert np.isnan(found["FLAIR"]).all()


def test_mean_histogram_lies_in_the_middle(rng):
    """Of two that are shifted, the one halfway; a mean of counts would have two humps."""
    shape = np.sort(rng.random(99))
    found = mean_histograms(
        [
            {"T1w": shape, "FLAIR": shape},
            {"T1w": shape + 0.5, "FLAIR": np.full(99, np.nan)},
            {"FLAIR": shape + 0.2, "T2w": np.full(99, np.nan)},
        ]
    )
    assert found["T1w"] == pytest.approx(shape + 0.25)
    assert found["FLAIR"] == pytest.approx(shape + 0.1)
    assert set(found) == {"T1w", "FLAIR"}
    assert mean_histograms([]) == {}


def test_from_images_to_a_flag(rng, mask, labels):
    """A site whose FLAIR has the contrast reversed is found, and named."""

    def scan(flair_white):
        white = np.isin(labels, [2, 41])
        return {
            "T1w": 700.0 + rng.normal(300, 20) * white + rng.normal(0, 30, SHAPE),
            "FLAIR": 400.0 + rng.normal(flair_white, 10) * white + rng.normal(0, 20, SHAPE),
        }

    training = [scan(-80) for _ in range(25)]
    histograms = mean_histograms([input_histograms(one, mask) for one in training])

    def features(one):
        return input_features(one, mask, VOXEL, labels, histograms=histograms)

    fitted = fit_ood(pd.DataFrame([features(one) for one in training]), histograms=histograms)
    assert fitted["ranges"]["brain_volume_ml"] == [3.96, 3.96]
    _, flag, reasons = ood_score(features(scan(80)), fitted)
    assert flag
    assert any(reason.startswith("flair_gm_wm is -") for reason in reasons)
    usual = [ood_score(features(scan(-80)), fitted)[1] for _ in range(10)]
    assert sum(usual) <= 2


def test_one_grid(mri, mask, labels):
    with pytest.raises(GridMismatchError, match=r"FLAIR has the shape \(13, .*mask \(14, 17"):
        input_features({**mri, "FLAIR": mri["FLAIR"][1:]}, mask, VOXEL)
    with pytest.raises(GridMismatchError, match=r"labels has the shape"):
        input_features(mri, mask, VOXEL, labels[1:])


def test_an_empty_mask(mri, mask):
    with pytest.raises(DataError, match=r"the brain mask is empty.*Mend"):
        input_features(mri, ~mask & mask, VOXEL)
