import dataclasses
import json

import pytest
from toys import tiny_config

from relad_bids.errors import ConfigError


def test_defaults_can_be_used(tmp_path):
    config = tiny_config(tmp_path)
    assert config.checked() is config


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"missing_flair": "guess"}, "missing_flair 'guess' is not one of skip, t1w-only, error"),
        ({"run_choice": "last"}, "run_choice 'last' is not one of first, quality"),
        ({"reuse": "none"}, "reuse 'none' is not one of all, labels"),
        ({"skull_strip": "no"}, "skull_strip 'no' is not one of auto, skip, force"),
        (
            {"skull_strip_engine": "bet"},
            "skull_strip_engine 'bet' is not one of template, hd-bet, synthstrip",
        ),
        ({"device": "tpu"}, "device 'tpu' is not one of auto, cpu, cuda, cuda:N"),
        ({"min_coverage": -0.01}, "min_coverage -0.01 is not in [0, 1]"),
        ({"min_coverage": 1.01}, "min_coverage 1.01 is not in [0, 1]"),
        ({"n_samples": 0}, "n_samples 0 is below 1"),
        ({"sampling_steps": 0}, "sampling_steps 0 is below 1"),
        ({"nprocs": 0}, "nprocs 0 is below 1"),
        ({"omp_nthreads": 0}, "omp_nthreads 0 is below 1"),
        ({"mem_mb": 0}, "mem_mb 0 is below 1"),
    ],
)
def test_problems_are_named(tmp_path, setting, problem):
    assert tiny_config(tmp_path, **setting).problems() == [problem]


@pytest.mark.parametrize("min_coverage", [0.0, 1.0])
def test_bounds_of_the_coverage_belong_to_it(tmp_path, min_coverage):
    assert tiny_config(tmp_path, min_coverage=min_coverage).problems() == []


def test_one_sample_of_one_step_is_the_least(tmp_path):
    assert tiny_config(tmp_path, n_samples=1, sampling_steps=1).problems() == []


def test_every_problem_is_told_at_once(tmp_path):
    config = tiny_config(tmp_path, device="tpu", min_coverage=2, nprocs=0)
    with pytest.raises(ConfigError, match="the settings cannot be used:") as caught:
        config.checked()
    assert len(str(caught.value).splitlines()) == 4


def test_frozen(tmp_path):
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_config(tmp_path).seed = 1


def test_record_holds_every_setting(tmp_path):
    config = tiny_config(tmp_path, filters={"t1w": {"run": "1"}}, seed=3)
    record = json.loads(config.to_json())
    assert record.keys() == {field.name for field in dataclasses.fields(config)}
    assert record["filters"] == {"t1w": {"run": "1"}}
    assert record["bids_dir"] == str(tmp_path / "bids")
