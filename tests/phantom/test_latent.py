import pickle

import numpy as np
import pytest

from relad_bids.errors import UsageError
from relad_bids.phantom.latent import LOAD_MOMENTS, MAX_ATROPHY, draw_subject, subject_generator
from relad_bids.phantom.regions import TRACERS, label_areas

N = 800
META = (18, 54, 1006, 1007, 1009, 1015, 2006, 2007, 2009, 2015)


@pytest.fixture(scope="module")
def cohorts():
    return {
        preset: [draw_subject(index, seed=5, preset=preset) for index in range(N)]
        for preset in ("strong", "literature", "null")
    }


def _after_age(values, cohort):
    """Residuals of a straight line in age."""
    age = np.array([subject.age for subject in cohort])
    return values - np.polyval(np.polyfit(age, values, 1), age)


def _tau(cohort):
    return np.array([np.mean([s.uptake["flortaucipir"][i] for i in META]) for s in cohort])


def _atrophy(cohort):
    return np.array([np.mean(list(s.atrophy.values())) for s in cohort])


def _coupling(cohort):
    pair = _after_age(_tau(cohort), cohort), _after_age(_atrophy(cohort), cohort)
    return np.corrcoef(*pair)[0, 1]


def test_presets_couple_mri_to_uptake_as_they_promise(cohorts):
    assert _coupling(cohorts["strong"]) > 0.8
    assert 0.08 < _coupling(cohorts["literature"]) < 0.35
    assert abs(_coupling(cohorts["null"])) < 2 / np.sqrt(N)


def test_lesions_of_the_null_preset_know_no_amyloid(cohorts):
    def coupling(cohort):
        lesions = _after_age(np.log([s.wmh_ml for s in cohort]), cohort)
        return np.corrcoef(lesions, _after_age([s.amyloid for s in cohort], cohort))[0, 1]

    assert abs(coupling(cohorts["null"])) < 2 / np.sqrt(N)
    assert coupling(cohorts["strong"]) > 0.6


def test_presets_share_their_people(cohorts):
    """Same age and pathology: presets can be compared subject by subject."""
    for strong, null in zip(cohorts["strong"][:20], cohorts["null"][:20], strict=True):
        assert (strong.age, strong.amyloid, strong.tau) == (null.age, null.amyloid, null.tau)


def test_prevalences_are_the_published_ones(cohorts):
    """36 % amyloid, 28 % tau positive; 2 SE of 800 draws is 3.4 %."""
    positive = [s.amyloid_positive for s in cohorts["null"]]
    assert np.mean(positive) == pytest.approx(0.36, abs=0.034)
    assert np.mean([s.tau_positive for s in cohorts["null"]]) == pytest.approx(0.28, abs=0.034)


def test_group_means_are_those_of_the_table(cohorts):
    """Inferior temporal 1.20 without and 1.80 with tau; 2 SE of the positives is 0.06."""
    values = np.array([s.uptake["flortaucipir"][1009] for s in cohorts["literature"]])
    positive = np.array([s.tau_positive for s in cohorts["literature"]])
    assert values[positive].mean() == pytest.approx(1.80, abs=0.06)
    assert values[~positive].mean() == pytest.approx(1.20, abs=0.02)


@pytest.mark.parametrize("group", sorted(LOAD_MOMENTS))
def test_stated_load_moments_hold(cohorts, group):
    """3 SE of the mean; the SD of a skewed load is known to a fifth."""
    loads = np.array([s.tau[group] for s in cohorts["null"]])
    mean, sd = LOAD_MOMENTS[group]
    assert loads.mean() == pytest.approx(mean, abs=3 * sd / np.sqrt(N))
    assert loads.std() == pytest.approx(sd, rel=0.2)


def test_subject_does_not_depend_on_the_others():
    alone = draw_subject(7, seed=3, preset="literature")
    for index in range(5):
        draw_subject(index, seed=3, preset="literature")
    again = draw_subject(7, seed=3, preset="literature")
    assert again == alone


def test_subject_travels_to_another_process():
    subject = draw_subject(1, seed=3, preset="null")
    assert pickle.loads(pickle.dumps(subject)) == subject


def test_seed_and_index_make_another_person():
    ages = {draw_subject(i, seed=s, preset="null").age for i in range(4) for s in range(4)}
    assert len(ages) == 16


def test_purposes_have_their_own_chance():
    first = subject_generator(1, seed=2, purpose="a").random()
    assert first == subject_generator(1, seed=2, purpose="a").random()
    assert first != subject_generator(1, seed=2, purpose="b").random()


def test_values_stay_in_their_ranges(cohorts):
    for subject in cohorts["strong"]:
        assert 50 <= subject.age <= 92
        assert all(0 <= lost <= MAX_ATROPHY for lost in subject.atrophy.values())
        assert 0 <= subject.ventricle_mm <= 4
        assert 0.3 < subject.wmh_ml < 45
        for tracer in TRACERS:
            uptake = subject.uptake[tracer]
            assert set(uptake) == set(label_areas())
            assert uptake[8] == uptake[47] == 1.0
            assert all(0 < value < 6 for value in uptake.values())


def test_unknown_preset_is_refused():
    with pytest.raises(UsageError, match="'weak' was asked for; choose one of strong"):
        draw_subject(0, seed=0, preset="weak")
