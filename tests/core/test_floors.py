import numpy as np
import pandas as pd
import pytest

from relad_bids.core.floors import trained_floor
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
