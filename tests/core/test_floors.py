import numpy as np
import pandas as pd
import pytest

from relad_bids.core.evaluation import evaluate
from relad_bids.core.floors import permuted_floor, trained_floor
from relad_bids.errors import DataError


def test_training_mean_counts_each_participant_once():
    training = pd.DataFrame(
        {
            "participant_id": ["a", "a", "b", "c", "a"],
            "tracer": ["pib"] * 5,
            "voi": ["x", "x", "x", "x", "y"],
            "truth": [1.0, 1.0, 2.0, np.nan, 7.0],
        }
    )
    pairs = pd.DataFrame(
        {"participant_id": ["t"] * 4, "tracer": ["pib", "pib", "pbr28", "pib"], "voi": [*"xyxz"]},
        index=[7, 7, 3, 1],
    )
    found = trained_floor(training, pairs)
    assert found.index.tolist() == [7, 7, 3, 1]
    assert found.tolist() == pytest.approx([1.5, 7.0, np.nan, np.nan], nan_ok=True)


def test_floor_on_covariates_recovers_a_line(rng):
    """Truth made of age and sex alone, per VOI: predicted to rounding."""
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{i}" for i in range(12)],
            "tracer": "pib",
            "age": rng.uniform(50, 80, 12),
            "sex": [0, 1] * 6,
        }
    )
    both = pd.concat(
        people.assign(voi=voi, truth=slope * people["age"] + 0.2 * people["sex"] + 1)
        for voi, slope in (("x", 0.01), ("y", -0.02))
    )
    trained = both["participant_id"].isin([f"sub-{i}" for i in range(8)])
    test = both[~trained].reset_index(drop=True)
    found = trained_floor(both[trained], test, ["age", "sex"])
    np.testing.assert_allclose(found, test["truth"])
    test.loc[0, "age"] = np.nan
    assert trained_floor(both[trained], test, ["age", "sex"]).isna().tolist() == [True] + 7 * [
        False
    ]


@pytest.mark.parametrize(("n", "enough"), [(2, False), (3, True)])
def test_a_line_needs_as_many_participants_as_coefficients(rng, n, enough, make_cohort):
    frame = make_cohort(n, rng).assign(age=rng.uniform(50, 80, 2 * n), sex=rng.normal(size=2 * n))
    test = frame.assign(participant_id="new")
    found = trained_floor(pd.concat([frame, frame]), test, ["age", "sex"])
    assert (found.notna() == enough).all()


def test_nobody_is_trained_on_and_tested(rng, make_cohort):
    pairs = make_cohort(4, rng)
    with pytest.raises(DataError, match=r"^1 participants are both .*first sub-002"):
        trained_floor(pairs[pairs["participant_id"] <= "sub-002"], pairs[4:])
    assert trained_floor(pairs[:4], pairs[4:]).notna().all()


@pytest.mark.parametrize("n", [2, 3, 9])
def test_everyone_gets_another_ones_values(rng, n, make_cohort):
    """One exchange for all VOIs of a tracer, without anyone left over."""
    pairs = make_cohort(n, rng, tracers=("pib", "pbr28"))
    of_value = pairs.set_index("estimate")["participant_id"]
    found = permuted_floor(pairs, "estimate", rng=rng)
    other = found.map(of_value)
    assert (other != pairs["participant_id"]).all()
    for _, where in pairs.groupby(["tracer", "voi"]):
        assert sorted(other[where.index]) == sorted(where["participant_id"])
    by_person = other.groupby([pairs["tracer"], pairs["participant_id"]]).nunique()
    assert (by_person == 1).all()


def test_exchange_depends_on_the_seed_alone(rng, make_cohort):
    pairs = make_cohort(12, rng)
    one, again, two = (
        permuted_floor(pairs, "estimate", rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one.equals(again)
    assert not one.equals(two)


def test_exchange_with_repeated_scans_and_holes(rng):
    """Of two scans of the other, the first; nothing where the other has no such VOI."""
    pairs = pd.DataFrame(
        {
            "participant_id": ["a", "a", "b", "a"],
            "tracer": "pib",
            "voi": ["x", "x", "x", "y"],
            "truth": [1.0, 2.0, 3.0, 4.0],
        },
        index=[5, 5, 6, 7],
    )
    found = permuted_floor(pairs, "truth", rng=rng)
    assert found.tolist() == pytest.approx([3.0, 3.0, 1.0, np.nan], nan_ok=True)
    assert found.index.tolist() == [5, 5, 6, 7]


def test_exchange_of_one(rng, make_cohort):
    assert permuted_floor(make_cohort(1, rng), "truth", rng=rng).isna().all()


def test_wrong_person_and_mean_have_no_skill_and_no_agreement(rng, make_cohort, of_voi):
    """1000 participants, half the individual signal: the wrong person's CCC is 0 +/- 0.03, and
    its error the sum of both variances, 0.25 * 0.04 + 0.01 + 0.04, and of the bias, 0.05^2, with
    a relative standard error of 4 %."""
    pairs = make_cohort(1000, rng, vois=("neocortex",))
    pairs["wrong"] = permuted_floor(pairs, "estimate", rng=rng)
    found = of_voi(evaluate_values(pairs, ["mean", "wrong"]), "neocortex")
    assert abs(found.loc["ccc", "wrong"]) < 3 * 0.03
    assert found.loc["ccc", "mean"] == 0
    assert found.loc["rmse", "wrong"] ** 2 == pytest.approx(0.0625, rel=0.12)
    assert found.loc["skill_mean", "wrong"] < 0
    assert found.loc["skill_mean", "value"] > 0.3


def evaluate_values(pairs, floors):
    """Few draws: only the values are looked at."""
    return evaluate(pairs, rng=np.random.default_rng(1), floors=floors, n_draws=2)
