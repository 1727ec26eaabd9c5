import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from relad_bids.core.cohort_floors import left_out, permuted, ridge_on


def cohort(rng, n=40, scans=1):
    person = np.repeat(np.arange(n), scans)
    age = rng.normal(70, 8, n)
    female = rng.integers(0, 2, n).astype(float)
    truth = 1.2 + 0.01 * (age - 70) + 0.05 * female + rng.normal(0, 0.05, n)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02}" for i in person],
            "tracer": "pib", "voi": "neocortex",
            "truth": truth[person] + rng.normal(0, 0.01, len(person)),
            "estimate": rng.normal(1.2, 0.1, len(person)),
            "age": age[person], "female": female[person],
            "scan": [f"scan{i}" for i in range(len(person))],
        },
        index=[f"scan{i}" for i in range(len(person))],
    )  # fmt: skip


def test_without_covariates_it_is_the_mean_of_the_others():
    frame = cohort(np.random.default_rng(1), scans=2)
    found = left_out(frame)
    means = frame.groupby("participant_id")["truth"].mean()
    for scan, who in frame["participant_id"].items():
        assert found[scan] == pytest.approx(means.drop(who).mean())


def test_with_covariates_it_is_a_fit_to_the_others():
    frame = cohort(np.random.default_rng(2))
    names = ["age", "female"]
    found = left_out(frame, names)
    for scan in frame.index[:8]:
        others = frame.drop(scan)
        fit = LinearRegression().fit(others[names], others["truth"])
        assert found[scan] == pytest.approx(fit.predict(frame.loc[[scan], names])[0])


def test_who_lacks_a_covariate_has_no_floor_and_teaches_nobody():
    frame = cohort(np.random.default_rng(3))
    with_hole = frame.assign(age=frame["age"].where(np.arange(len(frame)) > 0))
    found = left_out(with_hole, ["age", "female"])
    assert np.isnan(found.iloc[0])
    rest = left_out(frame.iloc[1:], ["age", "female"])
    np.testing.assert_allclose(found.iloc[1:], rest)


def test_ridge_learns_from_others_what_volumes_tell():
    rng = np.random.default_rng(4)
    frame = cohort(rng, n=120)
    volumes = pd.DataFrame(rng.normal(0, 1, (120, 12)), index=frame.index)
    frame["truth"] = 1.3 + 0.1 * volumes[0] + rng.normal(0, 0.03, 120)
    found = ridge_on(frame, volumes, rng=np.random.default_rng(1))
    error = np.mean((found - frame["truth"]) ** 2)
    # Noise of 0.03 and 12 slopes from 108 people: 0.03^2 (1 + 12 / 108).
    assert error == pytest.approx(0.03**2 * (1 + 12 / 108), rel=0.3)


def test_regions_that_share_a_fit_have_penalties_of_their_own():
    rng = np.random.default_rng(10)
    first = cohort(rng, n=60)
    volumes = pd.DataFrame(rng.normal(0, 1, (60, 8)), index=first.index)
    first["truth"] = 1 + volumes[0] + rng.normal(0, 0.1, 60)
    second = first.assign(voi="thalamus", truth=rng.normal(1, 1, 60))
    alone = [ridge_on(one, volumes, rng=np.random.default_rng(1)) for one in (first, second)]
    both = ridge_on(
        pd.concat([first, second], ignore_index=True), volumes, rng=np.random.default_rng(1)
    )
    np.testing.assert_allclose(both, np.concatenate(alone))


def test_ridge_on_noise_is_no_better_than_the_mean():
    rng = np.random.default_rng(5)
    frame = cohort(rng, n=120)
    volumes = pd.DataFrame(rng.normal(0, 1, (120, 30)), index=frame.index)
    ridge = ridge_on(frame, volumes, rng=np.random.default_rng(1))
    mse = [np.mean((one - frame["truth"]) ** 2) for one in (ridge, left_out(frame))]
    assert mse[0] > 0.97 * mse[1]  # a leak would make it far smaller


def test_two_scans_of_a_person_are_never_in_two_folds():
    """With the person's own number among the predictors, their other scan would give it away."""
    rng = np.random.default_rng(6)
    frame = cohort(rng, n=40, scans=3)
    own = pd.get_dummies(frame["participant_id"]).astype(float)
    error = ridge_on(frame, own, rng=np.random.default_rng(1)) - frame["truth"]
    assert error.std() > 0.9 * frame["truth"].std()


@pytest.mark.parametrize(("n", "known"), [(19, False), (20, True)])
def test_fewest_people_for_the_ridge(n, known):
    frame = cohort(np.random.default_rng(7), n=n)
    volumes = pd.DataFrame({"a": np.arange(float(n))}, index=frame.index)
    assert ridge_on(frame, volumes, rng=np.random.default_rng(1)).notna().all() == known


def test_nobody_is_given_their_own_answer():
    frame = cohort(np.random.default_rng(8), n=15, scans=2)
    found = permuted(frame, rng=np.random.default_rng(1))
    first = frame.drop_duplicates("participant_id").set_index("participant_id")["estimate"]
    assert sorted(found.unique()) == sorted(first)
    own = frame["participant_id"].map(first)
    assert (found != own).all()


def test_one_person_has_nobody_to_be_confused_with():
    assert (
        permuted(cohort(np.random.default_rng(9), n=1), rng=np.random.default_rng(1)).isna().all()
    )
