from dataclasses import replace

import numpy as np
import pytest
import torch

from relad_bids.core.ood import MIN_PARTICIPANTS
from relad_bids.errors import DataError, ReladError, UsageError
from relad_bids.evaluate.bench import known_tracers, suvr_ranges
from relad_bids.evaluate.contender import Contender, Question
from relad_bids.evaluate.sources import learned_from, same_grid
from relad_bids.model.card import TracerOutput

RANGE = {"pib": 5.0, "pbr28": 4.0}
PHANTOMS = {
    "source": "phantom", "preset": "null", "n_start": 2, "n_train": 1, "n_validation": 0,
    "residual_mm": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def learned(make_person):
    """Whose load grows with the age, as that of nobody asked does."""
    return [make_person(40 + n, 1.2 + 0.05 * n) for n in range(MIN_PARTICIPANTS)]


def with_people(contender, people):
    """As if the checkpoint had learned from these."""
    (fold,) = contender.folds
    seen = replace(fold.seen, people=frozenset(case.participant_id for case in people))
    return replace(contender, folds=(replace(fold, seen=seen),))


def test_a_model_is_not_asked_about_those_it_knows(people, oracle, make_contender, make_bench):
    knows = make_contender(oracle(people[:1]), "demo", seen=["sub-03", "sub-99"])
    with pytest.raises(DataError, match=r"^demo was trained on, or chosen by, sub-03, and"):
        make_bench(knows, cases=people)


def test_training_participants_are_looked_at_again(
    people, oracle, make_contender, make_bench, learned
):
    asked = people[:2]
    contender = with_people(make_contender(oracle(asked)), learned)
    bench = make_bench(contender, cases=asked, others=learned)
    assert "age_sex" not in bench.rows(Question(), RANGE)["voi"]
    back = bench.looked_back(MIN_PARTICIPANTS)
    rows = back.rows(Question(), RANGE)
    voi = rows["voi"].query("voi == 'amyloid-composite' and divided_by == 'own'")
    ages = [case.covariates["age"] for case in asked]
    assert voi["age_sex"].tolist() == pytest.approx(
        [1.2 + 0.05 * (a - 100) for a in ages], abs=0.02
    )
    assert rows["input"]["participant_id"].tolist() == [case.participant_id for case in asked]
    assert rows["input"]["ood_score"].notna().all()


def test_too_few_are_not_looked_at(people, oracle, make_contender, make_bench, learned):
    contender = with_people(make_contender(oracle(people)), learned)
    bench = make_bench(contender, cases=people, others=learned)
    for n in (0, MIN_PARTICIPANTS - 1):
        assert bench.looked_back(n).contenders[0].folds[0].training is None


def test_phantoms_are_made_again(make_card, make_contender, oracle, people):
    card = make_card(training={"seed": 4, "data": PHANTOMS})
    (fold,) = make_contender(oracle(people), card=card).folds
    labels = [case.label for case in learned_from(fold, 2, people)]
    assert labels == ["sub-phantom4x0000", "sub-phantom4x0001"]
    assert len(learned_from(fold, 9, people)) == 3


def test_out_of_fold_each_is_answered_by_who_never_saw_them(
    people, oracle, make_contender, make_bench
):
    """The first checkpoint errs by 0.1 and has seen the first four people, the second by 0.3."""
    cases = people[:6]
    folds = [
        make_contender(
            oracle(cases, lambda position, suvr, off=off: np.where(suvr > 1.1, suvr + off, suvr)),
            seen=[case.participant_id for case in seen],
        ).folds[0]
        for off, seen in ((0.1, cases[:4]), (0.3, cases[4:]))
    ]
    crossed = Contender("crossed", "unet", tuple(folds))
    voi = make_bench(crossed, cases=cases).rows(Question(), RANGE)["voi"]
    here = voi.query("voi == 'amyloid-composite' and divided_by == 'own'")
    off = (here["estimate"] - here["truth"]).tolist()
    assert off == pytest.approx([0.3] * 4 + [0.1] * 2, abs=0.01)


def test_a_model_without_floors_borrows_them(people, oracle, make_contender, make_bench):
    cases = people[:2]
    bare = make_contender(oracle(cases), "bare", floors={})
    rows = make_bench(bare, make_contender(oracle(cases), "rich"), cases=cases)
    voi = rows.rows(Question(), RANGE)["voi"]
    assert voi.groupby("model")["mean"].count().nunique() == 1
    alone = make_bench(bare, cases=cases).rows(Question(), RANGE)["voi"]
    assert "mean" not in alone


def test_an_error_says_who_was_asked_about_whom(people, oracle, make_contender, make_bench):
    class Broken(type(oracle(people[:1]))):
        def answer(self, mri, tracer):
            raise DataError("no.")

    broken = oracle(people[:1])
    broken.__class__ = Broken
    with pytest.raises(ReladError, match=r"no\.") as caught:
        make_bench(make_contender(broken, "demo"), cases=people[:1]).rows(Question(), RANGE)
    assert caught.value.__notes__ == [f"{people[0].label}, pib, model demo"]


def test_models_are_grouped_by_grid(make_contender, level_mean, make_card):
    small, other = make_card(), make_card(shape=(20, 24, 20))
    one, two, three = (
        make_contender(level_mean(1.0), name, card=card)
        for name, card in (("one", small), ("two", other), ("three", make_card()))
    )
    groups = same_grid([one, two, three])
    assert [[c.name for c in group] for group in groups] == [["one", "three"], ["two"]]


def test_tracers_and_their_range(make_contender, level_mean, make_card):
    def contender(*tracers):
        outputs = tuple(TracerOutput(name=n, index=i, suvr_max=m) for i, (n, m) in tracers)
        return make_contender(level_mean(1.0), card=make_card(tracers=outputs))

    first = contender((0, ("pib", 4.0)), (1, ("elsewhere", 9.0)))
    second = contender((0, ("pbr28", None)), (1, ("pib", 5.0)))
    assert known_tracers([first, second]) == ("pib", "pbr28")
    assert suvr_ranges([first, second], ["pib"]) == {"pib": 5.0}
    assert suvr_ranges([second], ["pbr28"]) == {"pbr28": 3.0}, "where no card says"
    with pytest.raises(
        UsageError, match=r"synthesise elsewhere, fdg; .* can be compared are flor"
    ):
        known_tracers([contender((0, ("elsewhere", 1.0)), (1, ("fdg", 2.0)))])
    assert torch.is_tensor(first.folds[0].predictor.network.mean)
