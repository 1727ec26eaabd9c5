import dataclasses

import numpy as np
import parallel_training as toy
import pytest
import small_models
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.utils import parameters_to_vector

from relad_bids.errors import DataError, UsageError
from relad_bids.model.data import Cohort, collate
from relad_bids.model.learning.chance import Chance
from relad_bids.model.learning.losses import Spread, relative_error
from relad_bids.model.learning.regional_fit import fit_regional
from relad_bids.model.learning.training import (
    TrainConfig,
    Watch,
    drop_flair,
    every_tracer,
    learning_rate,
    skill,
    train,
)

CONFIG = TrainConfig(
    steps=8, batch_size=2, learning_rate=1e-2, warmup_steps=2, ema=0.9, missing_flair=0.3,
    workers=0, save_every=3, precision="fp32",
)  # fmt: skip


class PowerCutError(Exception):
    """The machine goes away in the middle of a run."""


@pytest.fixture
def fit(first, tmp_path):
    """Train from the regression on ``first``, with a state file in the test's folder."""

    def run(network, cohort, config=CONFIG, *, seed=1, state="state.pt", **more):
        return train(
            network, cohort, config, start_from=first, seed=seed, state_file=tmp_path / state,
            **more,
        )  # fmt: skip

    return run


def cut_after(last):
    def report(step, log):
        if step == last:
            raise PowerCutError

    return report


def require_same_bits(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def brightness(network):
    """An error to watch that depends on the weights alone: smallest somewhere on the way."""
    return abs(float(parameters_to_vector(network.parameters()).mean()) - 0.001)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"batch_size": 1, "accumulate": 2},
        {"batch_size": 1, "accumulate": 2, "precision": "bf16", "checkpointing": True},
        {"ema": 0.0},
        {"patch_voxels": 16},
    ],
    ids=str,
)
@pytest.mark.parametrize("last", [2, 3, 7])
def test_a_stopped_run_ends_with_the_same_bits(fit, make_network, cohort, changes, last):
    """Stopped before, at and after a saved state (every 3 steps); other first weights after."""
    config = dataclasses.replace(CONFIG, **changes)
    watch = Watch(brightness, every=2, patience=0)
    whole = fit(make_network(), cohort, config, state="whole.pt", watch=watch)
    with pytest.raises(PowerCutError):
        fit(make_network(), cohort, config, report=cut_after(last + 1), watch=watch)
    resumed = fit(make_network(99), cohort, config, watch=watch)
    require_same_bits(resumed, whole)


# oneDNN's bfloat16 gradients of kernels on 2 x 2 x 2 voxels, as the small latent's network has
# them at the bottom, are not the same twice (torch 2.13).
@pytest.mark.parametrize(
    ("kind", "precision"), [("rela", "fp32"), ("rela", "bf16"), ("rela-latent", "fp32")]
)
def test_a_stopped_game_ends_with_the_same_bits(tmp_path, kind, precision):
    """Both players, their norms, and steps of several batches."""
    config = dataclasses.replace(
        toy.CONFIG, batch_size=3, accumulate=2, precision=precision, save_every=2
    )
    watch = Watch(brightness, every=1, patience=0)
    (tmp_path / "whole").mkdir()
    whole, logs = toy.run(kind, tmp_path / "whole", config, watch=watch)
    with pytest.raises(PowerCutError):
        toy.run(kind, tmp_path, config, watch=watch, report=cut_after(3))
    resumed, said = toy.run(kind, tmp_path, config, watch=watch, seed=7)
    assert said == logs[2:]
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_state_of_an_older_version_is_gone_on_from(fit, make_network, cohort, tmp_path):
    """Without a scale of gradients and looks, as it was before there were such things."""
    with pytest.raises(PowerCutError):
        fit(make_network(), cohort, report=cut_after(7))
    content = torch.load(tmp_path / "state.pt", weights_only=True)
    del content["scaler"], content["watch"]
    torch.save(content, tmp_path / "state.pt")
    whole = fit(make_network(), cohort, state="whole.pt")
    require_same_bits(fit(make_network(99), cohort), whole)


def test_a_finished_run_is_not_trained_again(fit, make_network, cohort, weights_of):
    once = fit(make_network(), cohort)
    steps = []
    again = fit(make_network(9), cohort, report=lambda step, *_: steps.append(step))
    assert steps == []
    assert torch.equal(weights_of(again), weights_of(once))


def test_training_does_not_read_the_global_seed(fit, make_network, cohort, weights_of):
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.default_rng(seed)
        results.append(fit(make_network(), cohort, state=f"{seed}.pt"))
    assert torch.equal(weights_of(results[0]), weights_of(results[1]))


def test_the_seed_chooses_who_is_shown_without_flair(fit, make_network, cohort, weights_of):
    results = [fit(make_network(), cohort, seed=seed, state=f"{seed}.pt") for seed in (1, 2)]
    assert not torch.equal(weights_of(results[0]), weights_of(results[1]))


def test_flair_is_dropped_anew_at_each_step(fit, make_network, cohort):
    """One participant over and over, nothing learned: the loss tells with or without FLAIR.

    40 draws of a half: both outcomes come, except once in 2**39 seeds.
    """
    same = Cohort(lambda index: cohort.make(0), range(40))
    config = dataclasses.replace(
        CONFIG, steps=40, batch_size=1, learning_rate=1e-12, missing_flair=0.5
    )
    losses = []
    fit(
        make_network(), same, config,
        report=lambda step, log: losses.append(round(log["error"] / log["mean's"], 5)),
    )  # fmt: skip
    assert len(set(losses)) == 2


def test_training_learns(fit, make_network, cohort):
    """Uptake follows the T1w voxel by voxel: half of what the mean leaves must be found.

    The regression that it starts from sees regions only and must be beaten, too.
    """
    config = dataclasses.replace(CONFIG, steps=80, learning_rate=2e-2, missing_flair=0.0)
    walk = Cohort(lambda index: cohort.make(index % 24), range(160))
    fitted = fit(make_network(), walk, config)
    network, regression = (
        skill(answer, cohort, mean=fitted.start.prior, workers=0)
        for answer in (every_tracer(fitted, 2), fitted.linear_part())
    )
    assert torch.all(network > 0.5)
    assert torch.all(network > regression)


def test_training_starts_at_the_regression_of_the_others(fit, make_network, cohort, first):
    """Nothing learned: the first loss is the regression's, the floor is the training mean's."""
    losses = []
    network, alone = make_network(), make_network().start
    network.gain.data.zero_()
    frozen = dataclasses.replace(CONFIG, learning_rate=1e-12, missing_flair=0.0)
    fit(
        network,
        cohort,
        frozen,
        report=lambda step, log: losses.append(tuple(log.values())),
    )
    batches = [collate([first[i], first[i + 1]]) for i in range(0, 16, 2)]
    spread = fit_regional(alone, batches, missing_flair=0.0)
    shown = collate([cohort[0], cohort[1]])
    expected = [
        relative_error(answer, shown, spread).item()
        for answer in (alone(shown.mri), alone.prior.expand_as(shown.pet))
    ]
    assert losses[0] == pytest.approx(expected, rel=1e-5)


def test_the_average_lags_behind_the_weights(fit, make_network, cohort, weights_of):
    """ema 0 is the last step's weights; a longer memory stays nearer to the start."""
    network = make_network()
    start = weights_of(network)
    last = fit(network, cohort, dataclasses.replace(CONFIG, ema=0.0), state="0.pt")
    assert torch.equal(weights_of(last), weights_of(network))
    slow = fit(make_network(), cohort, dataclasses.replace(CONFIG, ema=0.99), state="99.pt")
    assert (weights_of(slow) - start).norm() < (weights_of(last) - start).norm()
    assert not last.training


def test_share_of_dropped_flair(cohort):
    """Binomial with n = 2000, p = 0.2: three standard deviations are 0.027."""
    batch = collate([cohort[0]] * 20)
    chance = Chance.of_step(seed=6, step=0, positions=range(20))
    dropped = [
        (drop_flair(batch, share=0.2, chance=chance).mri[:, 1] == -1).flatten(1).all(1)
        for _ in range(100)
    ]
    assert torch.cat(dropped).float().mean().item() == pytest.approx(0.2, abs=0.027)


@pytest.mark.parametrize(("share", "dropped"), [(0.0, False), (1.0, True)])
def test_a_dropped_flair_is_background_and_nothing_else_changes(cohort, share, dropped):
    batch = collate([cohort[0], cohort[1]])
    shown = drop_flair(
        batch, share=share, chance=Chance.of_step(seed=0, step=0, positions=range(2))
    )
    assert torch.all(shown.mri[:, 1] == -1).item() is dropped
    assert torch.equal(shown.mri[:, 0], batch.mri[:, 0])
    assert not torch.all(batch.mri[:, 1] == -1)
    assert shown.pet is batch.pet


def test_a_short_cohort_is_refused(fit, make_network, cohort):
    with pytest.raises(DataError, match=r"asks for 13 steps of 2 participants, .* walk has 24"):
        fit(make_network(), cohort, dataclasses.replace(CONFIG, steps=13))


def test_a_loss_that_is_no_number_stops_the_run(fit, make_network, cohort):
    def broken(index):
        sample = cohort.make(index)
        return dataclasses.replace(sample, mri=np.full_like(sample.mri, np.nan))

    with pytest.raises(DataError, match="loss of the network is nan at step 0; look for NaN"):
        fit(make_network(), Cohort(broken, range(24)))


def errors_of(*values):
    """An error to watch that goes through these, one a look."""
    left = list(values)
    return lambda network: left.pop(0)


def weights_along(fit, make_network, cohort, weights_of, **more):
    """The averaged weights at every look, as a look sees them."""
    seen = []

    def error(network):
        assert not network.training
        seen.append(weights_of(network).clone())
        return 1.0

    fit(make_network(), cohort, watch=Watch(error, every=2, patience=0), state="along.pt", **more)
    return seen


def test_the_best_average_is_what_is_left(fit, make_network, cohort, weights_of):
    """Looks after 2, 4, 6 and 8 steps; the second is best."""
    along = weights_along(fit, make_network, cohort, weights_of)
    assert len(along) == 4
    watch = Watch(errors_of(3.0, 1.0, 2.0, 1.5), every=2, patience=0)
    best = fit(make_network(), cohort, watch=watch)
    assert torch.equal(weights_of(best), along[1])
    assert not best.training
    plain = fit(make_network(), cohort, state="plain.pt")
    assert torch.equal(weights_of(plain), along[3])


def test_every_look_is_told(fit, make_network, cohort):
    """And the last step is looked at, whatever the interval."""
    logs = {}
    watch = Watch(errors_of(3.0, 1.0, 2.0), every=3, patience=0)
    fit(make_network(), cohort, watch=watch, report=lambda step, log: logs.update({step: log}))
    told = {step: log["watch error"] for step, log in logs.items() if "watch error" in log}
    assert told == {3: 3.0, 6: 1.0, 8: 2.0}
    assert all({"error", "mean's"} <= log.keys() for log in logs.values())


@pytest.mark.parametrize(("patience", "steps"), [(1, 6), (2, 8), (0, 8)])
def test_patience_ends(fit, make_network, cohort, weights_of, patience, steps):
    """Smallest after 4 steps; and what was ended is not gone on with."""
    along = weights_along(fit, make_network, cohort, weights_of)
    config, done = dataclasses.replace(CONFIG, save_every=5), []
    for _ in range(2):
        watch = Watch(errors_of(3.0, 1.0, 2.0, 4.0), every=2, patience=patience)
        best = fit(
            make_network(), cohort, config, watch=watch,
            report=lambda step, log: done.append(step),
        )  # fmt: skip
        assert torch.equal(weights_of(best), along[1])
    assert done == list(range(1, steps + 1))


def scalars(folder):
    shown = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()
    found = {
        name: [(event.step, event.value) for event in shown.Scalars(name)]
        for name in shown.Tags()["scalars"]
    }
    return found, {name: [e.step for e in shown.Images(name)] for name in shown.Tags()["images"]}


def test_tensorboard_shows_all_that_is_said(fit, make_network, cohort, tmp_path):
    """Once for each step, also where the run was stopped between two saved states."""
    logs = {}
    watch = Watch(brightness, every=4, patience=0)
    more = {
        "watch": watch, "events": tmp_path / "events",
        "preview": lambda network: {"slice": np.full((4, 5), 0.5)},
    }  # fmt: skip
    with pytest.raises(PowerCutError):
        fit(make_network(), cohort, report=cut_after(5), **more)
    fit(make_network(), cohort, report=lambda step, log: logs.update({step: log}), **more)
    found, images = scalars(tmp_path / "events")
    steps = list(range(1, 9))
    named = {"error", "mean's", "learning rate/network", "gradient norm/network"}
    assert found.keys() == named | {"watch error"}
    assert all([step for step, _ in found[name]] == steps for name in named)
    rates = [learning_rate(step, CONFIG) for step in range(8)]
    assert [value for _, value in found["learning rate/network"]] == pytest.approx(rates)
    assert dict(found["error"])[8] == pytest.approx(logs[8]["error"])
    assert [step for step, _ in found["watch error"]] == [4, 8]
    assert dict(found["watch error"])[8] == pytest.approx(logs[8]["watch error"])
    assert images == {"slice": [4, 8]}
    assert all(value > 0 for _, value in found["gradient norm/network"])


def test_tensorboard_shows_both_players(tmp_path):
    toy.run("rela", tmp_path, events=tmp_path / "events")
    found, _ = scalars(tmp_path / "events")
    assert {"margin", "r1", "learning rate/critic", "gradient norm/critic"} <= found.keys()


def test_nothing_said_of_a_step_is_lost_by_a_kill(fit, make_network, cohort, tmp_path):
    """What lies before a saved state is on disk: it will not be said again."""

    def look(step, log):
        if step == 7:
            seen.update(scalars(tmp_path / "events")[0])

    seen = {}
    fit(make_network(), cohort, events=tmp_path / "events", report=look)
    assert [step for step, _ in seen["error"]][:6] == [1, 2, 3, 4, 5, 6]


def test_pictures_are_of_the_average(fit, make_network, cohort, weights_of, tmp_path):
    along = weights_along(fit, make_network, cohort, weights_of)
    seen = []

    def preview(network):
        seen.append(weights_of(network).clone())
        return {}

    watch = Watch(brightness, every=2, patience=0)
    fit(make_network(), cohort, watch=watch, events=tmp_path / "events", preview=preview)
    assert all(torch.equal(one, other) for one, other in zip(seen, along, strict=True))


def test_what_a_checkpoint_brings_is_not_fitted_anew(make_network, cohort, tmp_path):
    """Fine-tuning: the regression stays as it is, and nobody is read to start from."""

    def unread(index):
        raise AssertionError

    network = make_network()
    network.start.prior.fill_(0.25)
    network.start.core.fill_(True)
    logs = []
    spread = Spread(torch.tensor([0.5, 2.0]), torch.tensor([0.25, 1.0]))
    config = dataclasses.replace(CONFIG, missing_flair=0.0)
    fitted = train(
        network, cohort, config, start_from=Cohort(unread, range(16)), seed=1,
        state_file=tmp_path / "state.pt", spread=spread,
        report=lambda step, log: logs.append(log),
    )  # fmt: skip
    assert torch.all(fitted.start.prior == 0.25)
    shown = collate([cohort[0], cohort[1]])
    floor = relative_error(torch.full_like(shown.pet, 0.25), shown, spread)
    assert logs[0]["mean's"] == pytest.approx(floor.item(), rel=1e-5)


def test_there_must_be_something_to_start_from(make_network, cohort, tmp_path):
    with pytest.raises(UsageError, match="neither participants to start from nor what the"):
        train(make_network(), cohort, CONFIG, seed=1, state_file=tmp_path / "state.pt")


def test_a_step_of_people_without_scans_changes_nothing(fit, make_network, cohort, weights_of):
    """It is counted, averaged and reported as any other."""

    def bare(index):
        sample = cohort.make(index)
        return dataclasses.replace(sample, available=np.zeros(2, dtype=bool))

    steps = []
    network = make_network()
    start = weights_of(network)
    fitted = fit(
        network, Cohort(bare, range(24)), report=lambda step, log: steps.append((step, dict(log)))
    )
    assert steps == [(step, {}) for step in range(1, 9)]
    assert torch.equal(weights_of(fitted), start)


def test_a_model_in_closed_form_reads_nobody_step_by_step(first, tmp_path):
    def unread(index):
        raise AssertionError

    with torch.random.fork_rng():
        ridge = small_models.small("ridge", shape=(9, 12, 11))
    config = dataclasses.replace(CONFIG, workers=0)
    fitted = train(
        ridge, Cohort(unread, range(24)), config, start_from=first, seed=1,
        state_file=tmp_path / "state.pt",
    )  # fmt: skip
    assert torch.any(fitted.regression.loadings != 0)


def test_half_precision_learns_like_full(fit, make_network, cohort):
    """Three digits of the first error; not more, or nothing was rounded."""
    errors = {}
    for precision in ("fp32", "bf16", "fp16"):
        logs = []
        config = dataclasses.replace(CONFIG, precision=precision)
        fit(
            make_network(), cohort, config, state=f"{precision}.pt",
            report=lambda step, log, to=logs: to.append(log["error"]),
        )  # fmt: skip
        errors[precision] = logs
    for precision in ("bf16", "fp16"):
        assert errors[precision][0] == pytest.approx(errors["fp32"][0], rel=1e-2)
        assert errors[precision][0] != errors["fp32"][0]
        assert errors[precision][-1] == pytest.approx(errors["fp32"][-1], rel=0.1)
