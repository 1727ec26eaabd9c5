import dataclasses
import math

import numpy as np
import pytest
import torch

from relad_bids.errors import DataError
from relad_bids.model.data import Cohort, collate
from relad_bids.model.learning.losses import relative_error
from relad_bids.model.learning.regional_fit import fit_regional
from relad_bids.model.learning.training import (
    TrainConfig,
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

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("last", [2, 3, 7])
def test_a_stopped_run_ends_with_the_same_bits(fit, make_network, cohort, precision, last):
    """Stopped before, at and after a saved state (every 3 steps); other first weights after."""
    config = dataclasses.replace(CONFIG, precision=precision)
    whole = fit(make_network(), cohort, config, state="whole.pt")
    with pytest.raises(PowerCutError):
        fit(make_network(), cohort, config, report=cut_after(last + 1))
    seed = 5 if last < 3 else 99  # before the first saved state nothing is resumed
    resumed = fit(make_network(seed), cohort, config)
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


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


def test_learning_rate_ends():
    """Up to the full rate at the end of the warm-up, down to 0 after the last step."""
    config = TrainConfig(steps=100, warmup_steps=10, learning_rate=2e-3)
    assert learning_rate(0, config) == pytest.approx(2e-4)
    assert learning_rate(9, config) == pytest.approx(2e-3)
    assert learning_rate(10, config) == pytest.approx(2e-3)
    assert learning_rate(55, config) == pytest.approx(1e-3)
    assert learning_rate(99, config) == pytest.approx(1e-3 * (1 + math.cos(math.pi * 89 / 90)))
    assert learning_rate(100, config) == 0
    assert learning_rate(200, config) == 0


@pytest.mark.parametrize("warmup_steps", [0, 5])
def test_learning_rate_of_a_run_that_is_all_warm_up(warmup_steps):
    config = TrainConfig(steps=5, warmup_steps=warmup_steps, learning_rate=1.0)
    assert all(0 < learning_rate(step, config) <= 1 for step in range(5))


def test_share_of_dropped_flair(cohort):
    """Binomial with n = 2000, p = 0.2: three standard deviations are 0.027."""
    batch = collate([cohort[0]] * 20)
    generator = torch.Generator().manual_seed(6)
    dropped = [
        (drop_flair(batch, share=0.2, generator=generator).mri[:, 1] == -1).flatten(1).all(1)
        for _ in range(100)
    ]
    assert torch.cat(dropped).float().mean().item() == pytest.approx(0.2, abs=0.027)


@pytest.mark.parametrize(("share", "dropped"), [(0.0, False), (1.0, True)])
def test_a_dropped_flair_is_background_and_nothing_else_changes(cohort, share, dropped):
    batch = collate([cohort[0], cohort[1]])
    shown = drop_flair(batch, share=share, generator=torch.Generator().manual_seed(0))
    assert torch.all(shown.mri[:, 1] == -1).item() is dropped
    assert torch.equal(shown.mri[:, 0], batch.mri[:, 0])
    assert not torch.all(batch.mri[:, 1] == -1)
    assert shown.pet is batch.pet


@pytest.mark.parametrize("device", DEVICES)
def test_skill_of_mean_and_truth(make_network, cohort, device):
    """The training mean has none, the truth has all; asked tracer by tracer or for all at once."""
    network = make_network().to(device).eval()
    network.gain.data.zero_()
    network.start.prior.zero_()
    mean = network.start.prior
    for answer in (network.forward_all, every_tracer(network, 2)):
        assert skill(answer, cohort, mean=mean, workers=0).abs().max() < 1e-6
    truth = collate([cohort[0]]).pet
    one = Cohort(cohort.make, [0])
    known = skill(lambda mri: truth.to(mri.device), one, mean=mean, workers=0)
    # Participant 0 has no scan of the second tracer: nothing can be said of it.
    assert known[0].item() == pytest.approx(1)
    assert torch.isnan(known[1])


def test_a_short_cohort_is_refused(fit, make_network, cohort):
    with pytest.raises(DataError, match=r"asks for 13 steps of 2 participants, .* walk has 24"):
        fit(make_network(), cohort, dataclasses.replace(CONFIG, steps=13))


def test_a_loss_that_is_no_number_stops_the_run(fit, make_network, cohort):
    def broken(index):
        sample = cohort.make(index)
        return dataclasses.replace(sample, mri=np.full_like(sample.mri, np.nan))

    with pytest.raises(DataError, match="loss of the network is nan at step 0; look for NaN"):
        fit(make_network(), Cohort(broken, range(24)))


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"steps": 0}, "steps 0 is below 1"),
        ({"save_every": 0}, "save_every 0 is below 1"),
        ({"workers": -1}, "workers -1 is below 0"),
        ({"warmup_steps": -1}, "warmup_steps -1 is below 0"),
        ({"missing_flair": 1.0}, r"missing_flair 1.0 is not in [0, 1)"),
        ({"ema": -0.1}, r"ema -0.1 is not in [0, 1)"),
        ({"precision": "fp16"}, "precision 'fp16' is not one of bf16, fp32"),
        ({"learning_rate": 0.0}, "learning_rate 0.0 is not above 0"),
        ({"critic_rate": 0.0}, "critic_rate 0.0 is not above 0"),
    ],
)
def test_problems_are_named(setting, problem):
    assert TrainConfig(**setting).problems() == [problem]


def test_defaults_and_bounds_are_fine():
    assert TrainConfig().problems() == []
    assert TrainConfig(steps=1, missing_flair=0.0, ema=0.0).problems() == []
