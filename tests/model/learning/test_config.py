import math

import pytest

from relad_bids.model.learning.config import LEAST_BOX, TrainConfig, learning_rate


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


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"steps": 0}, "steps 0 is below 1"),
        ({"save_every": 0}, "save_every 0 is below 1"),
        ({"workers": -1}, "workers -1 is below 0"),
        ({"warmup_steps": -1}, "warmup_steps -1 is below 0"),
        ({"missing_flair": 1.0}, r"missing_flair 1.0 is not in [0, 1)"),
        ({"ema": -0.1}, r"ema -0.1 is not in [0, 1)"),
        ({"batch_size": 0}, "batch_size 0 is below 1"),
        ({"accumulate": 0}, "accumulate 0 is below 1"),
        ({"patch_voxels": 15}, "patch_voxels 15 is neither 0 nor at least 16"),
        ({"patch_voxels": -1}, "patch_voxels -1 is neither 0 nor at least 16"),
        ({"checkpointing": 1}, "checkpointing 1 is neither true nor false"),
        ({"precision": "half"}, "precision 'half' is not one of bf16, fp16, fp32"),
        ({"clip_norm": 0.0}, "clip_norm 0.0 is not above 0"),
        ({"learning_rate": 0.0}, "learning_rate 0.0 is not above 0"),
        ({"critic_rate": 0.0}, "critic_rate 0.0 is not above 0"),
    ],
)
def test_problems_are_named(setting, problem):
    assert TrainConfig(**setting).problems() == [problem]


def test_defaults_and_bounds_are_fine():
    assert TrainConfig().problems() == []
    assert TrainConfig(steps=1, missing_flair=0.0, ema=0.0).problems() == []
    box = TrainConfig(patch_voxels=LEAST_BOX, checkpointing=True, accumulate=1, precision="fp16")
    assert box.problems() == []


def test_a_step_has_all_its_batches():
    assert TrainConfig(batch_size=3, accumulate=4).per_step == 12
