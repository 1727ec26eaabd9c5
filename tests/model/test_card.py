import dataclasses
import json

import numpy as np
import pytest
from toys import AFFINE, tiny_card

from relad_bids.core.intensity import MRIContract
from relad_bids.errors import CheckpointError, UsageError
from relad_bids.model.card import read_card


@pytest.fixture
def write_card(tmp_path):
    """Write ``model.json`` with some fields changed, or removed (None)."""

    def write(**changes):
        content = {**json.loads(tiny_card(sha256="ab" * 32).to_json()), **changes}
        path = tmp_path / "model.json"
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        return path

    return write


def test_round_trip(tmp_path):
    card = tiny_card(
        sha256="0123456789abcdef" * 4, mri_contract=MRIContract(lower_percentile=0),
        pet_contract="minmax", ood={"mean": [0.5]}, sampler={"name": "one-pass", "steps": 1},
    )  # fmt: skip
    path = tmp_path / "model.json"
    path.write_text(card.to_json())
    assert read_card(path) == card


def test_grid_and_label():
    card = tiny_card(sha256="0123456789abcdef" * 4)
    np.testing.assert_array_equal(card.grid.affine, AFFINE)
    assert card.grid.shape == (16, 20, 24)
    assert card.label == "tiny-1+01234567"


def test_tracer_by_name():
    assert tiny_card().tracer("pbr28").index == 1
    with pytest.raises(
        UsageError, match=r"asked for the tracer 'fdg'; it synthesises flortaucipir, pbr28, pib"
    ):
        tiny_card().tracer("fdg")


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_card().name = "other"


@pytest.mark.parametrize("text", ["{", "\xff\xfe"])
def test_not_json(tmp_path, text):
    path = tmp_path / "model.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"model\.json is not JSON"):
        read_card(path)


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"format": 2}'])
def test_another_format(tmp_path, text):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"format (None|2), this version reads format 1"):
        read_card(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "not a checkpoint card of format 1: .*'colour'"),
        ({"statement": None}, "not a checkpoint card of format 1: .*'statement'"),
        ({"tracers": None}, "not a checkpoint card of format 1: 'tracers'"),
        ({"tracers": [{"name": "pib"}]}, "not a checkpoint card of format 1: .*'index'"),
        ({"mri_contract": {"lower": 1}}, "not a checkpoint card of format 1: .*'lower'"),
        ({"pet_contract": "zscore"}, "pet_contract 'zscore', this version knows suvr-fixed"),
    ],
)
def test_a_card_that_is_none(write_card, changes, message):
    with pytest.raises(CheckpointError, match=message):
        read_card(write_card(**changes))
