from dataclasses import replace

import numpy as np
import pytest

from relad_bids.core.cognition import COGNITION_COLUMNS, COMPARISONS, Sample, cognition_table


def sample(rng, n=120, *, synthetic_adds=0.0, measured=True):
    """A score of age and three volumes; synthetic PET is a function of the volumes and noise."""
    person = np.column_stack([rng.normal(70, 8, n), rng.integers(0, 2, n)])
    mri = rng.normal(0, 1, (n, 6))
    own = rng.normal(0, 1, (n, 1))
    synthetic = np.concatenate([mri[:, :2] + 0.1 * rng.normal(0, 1, (n, 2)), own], axis=1)
    score = 28 - 0.1 * (person[:, 0] - 70) + mri[:, 0] + synthetic_adds * own[:, 0]
    score += rng.normal(0, 1.2, n)
    return Sample(
        people=np.array([f"sub-{i:03}" for i in range(n)]),
        score=score, person=person, mri=mri, synthetic=synthetic,
        measured=synthetic + own if measured else None,
    )  # fmt: skip


def told(cohort, seed=1, **settings):
    settings = {"n_permutations": 39, "n_draws": 300, **settings}
    table = cognition_table(cohort, rng=np.random.default_rng(seed), **settings)
    assert set(table) <= set(COGNITION_COLUMNS)
    return table.set_index(["model", "metric"])


@pytest.mark.slow
def test_under_the_null_synthetic_pet_gains_nothing():
    """Eight cohorts in which it holds nothing but MRI: the intervals of the gain hold 0, and no
    p is small in all. At 95 %, seven of eight or more hold it in 94 of 100 such tests."""
    found = [told(sample(np.random.default_rng(seed), measured=False), seed) for seed in range(8)]
    gains = [table.loc[("M2 - M1", "delta_r2")] for table in found]
    assert sum(row["low"] <= 0 <= row["high"] for row in gains) >= 6
    assert np.mean([row["value"] for row in gains]) == pytest.approx(0, abs=0.02)
    assert np.median([row["p"] for row in gains]) > 0.1


def test_a_true_gain_is_found():
    """The score has variance 1 + 1.4 + 0.6 (age), and 1 more that only synthetic PET tells."""
    table = told(sample(np.random.default_rng(3), n=200, synthetic_adds=1.0))
    gain = table.loc[("M2 - M1", "delta_r2")]
    assert gain["low"] > 0.1
    assert gain["value"] == pytest.approx(1 / 4.1, abs=0.08)
    assert gain["p"] == 1 / 40
    stranger = table.loc[("M1+permuted", "r2")]
    assert stranger["low"] <= stranger["value"] <= stranger["high"]
    assert stranger["value"] < table.loc[("M1", "r2"), "value"] + 0.01


def test_r2_is_what_it_says():
    """R2 of M0 against the variance that age and sex explain."""
    cohort = sample(np.random.default_rng(4), n=1500, measured=False)
    table = told(cohort, n_permutations=1, n_draws=100)
    expected = 0.8**2 / np.var(cohort.score)
    # Standard error of an R2 of 0.2 over 1500 people is about 0.02.
    assert table.loc[("M0", "r2"), "value"] == pytest.approx(expected, abs=0.05)
    assert table.loc[("M1", "rmse"), "value"] == pytest.approx(1.2, rel=0.05)


def test_which_models_there_are():
    with_pet = told(sample(np.random.default_rng(5)), n_permutations=2, n_draws=50)
    # Of a score without a ceiling there is nothing to censor, and of one without steps no odds.
    expected = {name for name in COMPARISONS if "(" not in name}
    there = set(with_pet.index.get_level_values(0))
    assert there & set(COMPARISONS) == expected
    without = told(sample(np.random.default_rng(5), measured=False), n_permutations=0, n_draws=50)
    names = set(without.index.get_level_values(0))
    assert names == {"M0", "M1", "M2", "M1+nonlinear", "M1 - M0", "M2 - M1", "M2 - M1+nonlinear"}
    assert without.loc[("M2", "r2"), "n_predictors"] == 2 + 6 + 3


def test_a_score_of_few_steps_is_told_in_steps_too():
    cohort = sample(np.random.default_rng(5), measured=False)
    steps = np.round((cohort.score - 28) / 2).clip(-1, 1)
    found = told(replace(cohort, score=steps), n_permutations=0, n_draws=50)
    assert {"M1 (ordinal)", "M2 (ordinal)", "M2 - M1 (ordinal)"} <= set(
        found.index.get_level_values(0)
    )
    assert found.loc[("M2 (ordinal)", "r2"), "n_predictors"] == 2 + 6 + 3
    assert found.loc[("M1 (ordinal)", "r2"), "value"] > 0.1


@pytest.mark.parametrize(("n", "enough"), [(39, False), (40, True)])
def test_fewest_people(n, enough):
    cohort = sample(np.random.default_rng(6), n=n)
    table = cognition_table(cohort, rng=np.random.default_rng(1), n_permutations=2, n_draws=20)
    assert (len(table) > 1) == enough
    assert enough or table["note"].tolist() == ["39 participants, needs 40"]
