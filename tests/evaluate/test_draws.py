"""Models that draw: as many samples as asked for, and what their spread is worth."""

import numpy as np
import pytest

from relad_bids.evaluate.contender import Question, ask

PRIMARY = "amyloid-composite"


@pytest.fixture(scope="module")
def tables(people, drawing, make_contender, evaluated):
    """Samples around the truth, displaced by as much as one of them: an honest spread."""
    rng = np.random.default_rng(4)
    moved = 0.1 * rng.standard_normal(len(people))

    def change(position, suvr):
        return np.where(suvr > 1.1, suvr + moved[position], suvr)

    contender = make_contender(drawing(people, change))
    return evaluated(contender, cases=people, question=Question(n_samples=9, steps=3))


def test_samples_and_steps_are_asked_of_models_that_draw_alone(people, drawing, oracle, card):
    from relad_bids.model.predictor import Predictor

    images, question = people[0].images(), Question(n_samples=3, steps=2)
    draws, knows = drawing(people), oracle(people)
    several, one = (
        ask(Predictor(network, card, device="cpu"), people[0], images, "pib", question)
        for network in (draws, knows)
    )
    assert draws.asked == [(3, 2)]
    assert several.samples.shape == (3, *card.shape)
    assert one.samples.shape == (1, *card.shape)
    np.testing.assert_allclose(several.estimate, several.samples.mean(0))
    assert (several.samples[:, ~images.mask] == 0).all()


def test_each_synthesis_has_its_own_chance(people, drawing, card):
    from relad_bids.model.predictor import Predictor

    predictor = Predictor(drawing(people), card, device="cpu")

    def drawn(case, seed):
        question = Question(n_samples=2, seed=seed)
        return ask(predictor, case, case.images(), "pib", question).samples

    again = drawn(people[0], 5)
    np.testing.assert_array_equal(drawn(people[0], 5), again)
    assert not np.array_equal(drawn(people[0], 6), again)


def test_spread_is_that_of_the_regional_means(tables):
    """Samples differ by a common level of the cortex of SD 0.1: that of their VOI, too, within
    3 standard errors of a standard deviation of 9."""
    pairs = tables["desc-voi_pairs"].query("voi == @PRIMARY and divided_by == 'own'")
    assert pairs["spread"].mean() == pytest.approx(0.1, rel=3 / np.sqrt(16 * len(pairs)))
    assert (pairs["rank"] >= 0).all()
    assert (pairs["rank"] <= 9).all()
    assert (pairs["crps"] < (pairs["estimate"] - pairs["truth"]).abs() + 0.06).all()


def test_tables_of_the_spread(tables):
    spread = tables["desc-voi_calibration"].query("voi == @PRIMARY").set_index("metric")
    assert spread.index.tolist()[-1] == "crps"
    assert spread.loc["coverage_95", "value"] >= 0.5
    assert spread.loc["crps", "mean"] == pytest.approx(
        tables["desc-voi_agreement"]
        .query("voi == @PRIMARY and divided_by == 'own' and metric == 'mae'")["mean"]
        .iloc[0]
    ), "the CRPS of one answer is its absolute error"
    ranks = tables["desc-voi_ranks"].query("voi == @PRIMARY")
    assert ranks["rank"].tolist() == list(range(10))
    assert ranks["count"].sum() == 8


def test_conformal_factors_multiply_the_spread(tables):
    factors = tables["desc-voi_conformal"]
    assert set(factors["times"]) == {"spread"}
    assert np.isinf(factors["factor"]).all(), "8 participants cannot vouch for 90 %"
    assert (factors["n"] == 8).all()


def test_texture_of_a_sample_stands_beside_that_of_the_mean(tables):
    assert set(tables["desc-image_texture"]["answer"]) == {"estimate", "one-sample"}


def test_one_answer_has_no_spread(people, oracle, make_contender, evaluated):
    tables = evaluated(make_contender(oracle(people)), cases=people)
    assert "desc-voi_calibration" not in tables
    assert "desc-voi_ranks" not in tables
    assert set(tables["desc-voi_conformal"]["times"]) == {"SUVr"}
    assert set(tables["desc-image_texture"]["answer"]) == {"estimate"}
