"""From images to verdicts, by models of which everything is known."""

import gc
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from relad_bids.evaluate.contender import Question

RANGE = {"pib": 5.0, "pbr28": 4.0}
PRIMARY = "amyloid-composite"


def primary(table, **chosen):
    """The rows of the primary VOI of PiB, by metric."""
    chosen = {"tracer": "pib", "voi": PRIMARY, **chosen}
    keep = np.logical_and.reduce([table[name] == value for name, value in chosen.items()])
    return table[keep].set_index("metric" if "metric" in table else "floor")


def brain(table, way):
    return primary(table, voi="brain", divided_by=way)


@pytest.fixture(scope="module")
def truth(people, oracle, make_contender, evaluated):
    return evaluated(make_contender(oracle(people)), cases=people)


def test_the_truth_is_without_error(truth):
    """float32 holds 7 digits, and the way into the network and back costs one."""
    for way in ("own", "real"):
        found = primary(truth["desc-voi_agreement"], divided_by=way)["value"]
        assert found["mae"] == pytest.approx(0, abs=1e-6)
        assert found[["ccc", "icc_a1", "sd_ratio", "calibration_slope"]].tolist() == pytest.approx(
            [1, 1, 1, 1], abs=1e-5
        )
        images = brain(truth["desc-image_agreement"], way)["value"]
        assert images["voxel_mae"] < 1e-5
        assert images["psnr"] > 100
        assert images["ssim"] == pytest.approx(1)
    assert (primary(truth["desc-voi_agreement"], divided_by="own")["n"] == 8).all()


def test_the_truth_is_better_than_every_floor(truth):
    found = primary(truth["desc-voi_skill"])
    assert found.index.tolist() == ["mean", "permuted"]
    assert found["skill"].tolist() == pytest.approx([1, 1])
    assert found["verdict"].tolist() == [
        "better than the training mean",
        "better than its answer about somebody else",
    ]
    # All of 8 differences have one sign: 2 of 2^8 exchanges are as extreme, by 200 of them.
    assert (found["p"] < 0.03).all()


def test_a_gain_cancels_by_the_own_reference_and_shows_by_the_real_one(
    people, oracle, make_contender, evaluated
):
    tables = evaluated(
        make_contender(oracle(people, lambda position, suvr: 1.1 * suvr)), cases=people
    )
    pairs = tables["desc-voi_pairs"].query("voi == @PRIMARY")
    own, real = (primary(tables["desc-voi_agreement"], divided_by=w) for w in ("own", "real"))
    assert own.loc["ccc", "value"] == pytest.approx(1, abs=1e-5)
    assert own.loc["bias", "value"] == pytest.approx(0, abs=1e-6)
    assert real.loc["bias", "value"] == pytest.approx(0.1 * pairs["truth"].mean(), rel=1e-5)
    assert real.loc["ccc", "value"] < 0.9
    images = tables["desc-image_agreement"]
    assert brain(images, "own").loc["voxel_nbias", "value"] == pytest.approx(0, abs=1e-5)
    assert brain(images, "real").loc["voxel_nbias", "value"] == pytest.approx(0.1, rel=1e-4)
    compat = primary(images, voi="whole-fov", divided_by="extremes")
    assert compat.loc["paper_compat_ssim2d", "value"] == pytest.approx(1, abs=1e-5)


def test_the_training_mean_has_no_skill(people, level_mean, make_contender, evaluated):
    """A model that is its own floor: 0 to the last bit, and no interval."""
    mean = level_mean(1.55)
    tables = evaluated(make_contender(mean, floors={"mean": mean}), cases=people)
    found = primary(tables["desc-voi_skill"])
    assert found.loc["mean", "skill"] == 0
    assert np.isnan(found.loc["mean", "low"])
    assert found.loc["mean", "verdict"] == "no better than the training mean"
    agreed = primary(tables["desc-voi_agreement"], divided_by="own")
    assert agreed.loc["mae", "value"] == agreed.loc["mae", "mean"]
    assert agreed.loc["ccc", "value"] == pytest.approx(0, abs=0.02)
    whole = brain(tables["desc-image_agreement"], "own")
    pd.testing.assert_series_equal(whole["value"], whole["mean"], check_names=False)


def test_somebody_elses_answer_has_less_than_none(people, oracle, make_contender, evaluated):
    """Differences of two people have twice the variance of one around the mean: the skill is -1
    on average over all ways to exchange them; here it follows from the way round by one."""
    others = [people[position - 1].images().suvr["pib"] for position in range(len(people))]
    wrong = oracle(people, lambda position, suvr: others[position])
    tables = evaluated(make_contender(wrong), cases=people)
    found = primary(tables["desc-voi_skill"]).loc["mean"]
    pairs = tables["desc-voi_pairs"].query("voi == @PRIMARY and divided_by == 'own'")
    spread = pairs["truth"] - 1.55
    assert found["skill"] < -0.3
    assert found["skill"] == pytest.approx(
        1 - ((spread - np.roll(spread, 1)) ** 2).sum() / (spread**2).sum(), abs=0.05
    )
    assert found["verdict"] in ("worse than the training mean", "no better than the training mean")


def test_what_has_nothing_to_do_with_the_person_is_no_better(
    people, oracle, make_contender, evaluated, cortex
):
    """The null: plausible cortex, drawn without a look at anybody."""
    rng = np.random.default_rng(8)
    levels = rng.permutation([1.2 + 0.1 * step for step in range(8)])
    null = oracle(people, lambda position, suvr: np.where(cortex, levels[position], 1.0))
    tables = evaluated(make_contender(null), cases=people)
    found = tables["desc-voi_skill"].query("floor == 'mean'")
    assert not found["verdict"].str.startswith("better").any()
    assert (found["skill"] <= 0).all()
    primary_voi = primary(tables["desc-voi_agreement"], divided_by="own")
    assert primary_voi.loc["sd_ratio", "value"] == pytest.approx(1, abs=0.1)
    assert primary_voi.loc["pearson", "low"] < 0 < primary_voi.loc["pearson", "high"]


def test_everybody_is_scored_once_against_somebody_else(truth, people):
    """The permuted floor is one circle through all: nobody meets themselves, nobody twice."""
    pairs = truth["desc-voi_pairs"].query("voi == @PRIMARY and divided_by == 'own'")
    assert pairs["participant_id"].tolist() == [case.participant_id for case in people]
    step = {round(value, 5): who for who, value in enumerate(pairs["estimate"])}
    other = [step[round(value, 5)] for value in pairs["permuted"]]
    assert sorted(other) == list(range(8))
    place, seen = 0, []
    for _ in other:
        seen.append(place)
        place = other[place]
    assert sorted(seen) == list(range(8))


def test_nobody_is_their_own_stranger(make_person, oracle, make_contender, evaluated):
    """Two sessions of each of three people."""
    cases = [
        make_person(number, 1.2 + 0.3 * number, session=session)
        for number in range(3)
        for session in ("1", "2")
    ]
    pairs = evaluated(make_contender(oracle(cases)), cases=cases)["desc-voi_pairs"]
    here = pairs.query("voi == @PRIMARY and divided_by == 'own'")
    assert here["session_id"].tolist() == ["ses-1", "ses-2"] * 3
    own = here["participant_id"].map(here.groupby("participant_id")["estimate"].mean())
    assert ((here["permuted"] - own).abs() > 0.2).all()


def test_one_person_has_no_stranger(make_person, oracle, make_contender, evaluated):
    alone = [make_person(1, 1.4)]
    tables = evaluated(make_contender(oracle(alone)), cases=alone)
    assert "permuted" not in tables["desc-voi_pairs"]
    assert tables["desc-voi_skill"]["verdict"].unique().tolist() == [
        "not known: 1 participants, an interval needs 6"
    ]


def test_a_tracer_that_was_not_scanned_is_not_asked_for(
    make_person, oracle, make_contender, make_bench
):
    tracers = [("pib",), ("pib", "pbr28"), ("pbr28",), ("pib",)]
    cases = [make_person(n, 1.3, tracers=had) for n, had in enumerate(tracers)]
    rows = make_bench(make_contender(oracle(cases)), cases=cases).rows(Question(), RANGE)
    found = rows["voi"].groupby("participant_id")["tracer"].unique()
    assert [tuple(found[case.participant_id]) for case in cases] == tracers
    assert rows["voi"]["permuted"].notna().all()


def test_memory_does_not_grow_with_the_participants(
    make_person, oracle, make_contender, make_bench
):
    """Never more images of people alive than those of the one whose turn it is."""
    alive, most = weakref.WeakSet(), []

    def fresh(case):
        gc.collect()
        made = replace(case.images())
        alive.add(made)
        most.append(len(alive))
        return made

    cases = [make_person(number, 1.2 + 0.1 * number) for number in range(5)]
    watched = [replace(case, images=partial(fresh, case)) for case in cases]
    rows = make_bench(make_contender(oracle(cases)), cases=watched).rows(Question(), RANGE)
    assert len(most) == 6, "everybody once, and whoever comes last also before the first"
    assert max(most) <= 2
    assert rows["voi"]["participant_id"].nunique() == 5


def test_where_the_other_brain_does_not_reach_the_mean_is_told(
    make_person, oracle, make_contender, make_bench, regions
):
    """Two people, one of whom lacks the left half: of its answer there, nothing is known."""
    whole, half = make_person(1, 1.3, noise=0.0), make_person(2, 1.3, noise=0.0)
    images = half.images()
    cut = images.mask.copy()
    cut[:10] = False
    images = replace(images, mask=cut, suvr={"pib": np.where(cut, images.suvr["pib"], 0)})
    cases = [whole, replace(half, images=lambda: images)]
    rows = make_bench(make_contender(oracle(cases)), cases=cases).rows(Question(), RANGE)
    found = (
        rows["image"]
        .query("voi == 'brain' and metric == 'voxel_mae' and divided_by == 'own'")
        .set_index("participant_id")
    )
    inside = whole.images().mask
    cortex = (regions.labels > 1000) & ~cut & inside
    # The other's answer is the truth, too; the mean is 0.25 off in its cortex.
    assert found.loc["sub-01", "permuted"] == pytest.approx(
        0.25 * cortex.sum() / inside.sum(), rel=1e-3
    )
    assert found.loc["sub-02", "permuted"] == pytest.approx(0, abs=1e-6)


def test_who_meets_whom_is_left_to_the_seed(make_person, oracle, make_contender, make_bench):
    """And the order in which people are listed is that of the call."""
    cases = [make_person(number, 1.2 + 0.1 * number) for number in range(6)]
    bench = make_bench(make_contender(oracle(cases)), cases=cases)
    met = []
    for seed in (1, 1, 2):
        rows = bench.rows(Question(seed=seed), RANGE)["voi"]
        here = rows.query("voi == @PRIMARY and divided_by == 'own'")
        assert here["participant_id"].tolist() == [case.participant_id for case in cases]
        met.append(here["permuted"].round(6).tolist())
    assert met[0] == met[1] != met[2]
