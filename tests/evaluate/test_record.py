import json

import numpy as np
import pandas as pd
import pytest

from relad_bids.evaluate.contender import Question, load_contenders
from relad_bids.evaluate.record import calibration_of, write_card
from relad_bids.model.checkpoint import load_checkpoint, verify_checkpoint

CONFORMAL = pd.DataFrame(
    {
        "model": "x", "tracer": ["pib", "pib", "pbr28"], "voi": ["a", "b", "a"], "level": 0.9,
        "factor": [0.1, np.inf, 0.3], "times": "SUVr", "n": [12, 8, 12],
    }
)  # fmt: skip


@pytest.fixture
def contender(write_checkpoint, tmp_path):
    write_checkpoint(tmp_path / "one")
    return load_contenders([str(tmp_path / "one")], device="cpu")[0]


def test_factors_that_are_known_are_told(contender):
    rows = CONFORMAL.assign(model=contender.name)
    told = calibration_of(contender, rows, Question(n_samples=8, steps=4), cohort="12 phantoms")
    assert told == {
        "level": 0.9, "cohort": "12 phantoms", "n_samples": 1, "steps": None, "times": "SUVr",
        "factors": {
            "pib": {"a": {"factor": 0.1, "n": 12}},
            "pbr28": {"a": {"factor": 0.3, "n": 12}},
        },
    }  # fmt: skip
    json.dumps(told, allow_nan=False)


def test_nothing_known_is_nothing_told(contender):
    told = calibration_of(contender, CONFORMAL, Question(), cohort="")
    assert (told["times"], told["factors"]) == (None, {})


def test_the_card_is_written_and_the_weights_stay(contender, tmp_path):
    before = verify_checkpoint(tmp_path / "one")
    weights = (tmp_path / "one" / "model.safetensors").read_bytes()
    write_card(contender.folds[0], {"level": 0.9, "factors": {}})
    after = load_checkpoint(tmp_path / "one")[1]
    assert after.calibration == {"level": 0.9, "factors": {}}
    assert after.sha256 == before.sha256
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == weights
    assert before.calibration is None


def test_a_floor_has_no_card_to_write(write_checkpoint, tmp_path):
    write_checkpoint(tmp_path / "one")
    before = (tmp_path / "one" / "model.json").read_bytes()
    floor = load_contenders([str(tmp_path / "one"), "mean"], device="cpu")[1]
    write_card(floor.folds[0], {"level": 0.9})
    assert (tmp_path / "one" / "model.json").read_bytes() == before
