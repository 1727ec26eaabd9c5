"""Checkpoints of strangers are data: whatever they hold is used as numbers or refused."""

import json
import pickle
import shutil
import struct
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relad_bids.errors import CheckpointError, ReladError
from relad_bids.model.card import read_card
from relad_bids.model.checkpoint import fingerprint, load_checkpoint


@pytest.fixture
def mine(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "mine")


def told(folder):
    return json.loads((folder / "model.json").read_text())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
NAMES = (
    "format", "name", "kind", "architecture", "space", "shape", "affine", "tracers", "sequences",
    "mri_contract", "pet_contract", "missing_flair", "sha256", "unknown",
)  # fmt: skip


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=2))
def test_cards_that_hold_anything(mine, checkpoint, changes):
    (mine / "model.json").write_text(json.dumps({**told(checkpoint), **changes}))
    with suppress(ReladError):
        read_card(mine / "model.json")


def exchange(folder, content):
    """Weights of a stranger who knows to write their hash into the card."""
    (folder / "model.safetensors").write_bytes(content)
    card = {**told(folder), "sha256": fingerprint(folder / "model.safetensors")}
    (folder / "model.json").write_text(json.dumps(card))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_weights_that_were_damaged_on_purpose(mine, checkpoint, data):
    content = bytearray((checkpoint / "model.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(len(content), 4000) - 1))] = data.draw(
            st.integers(0, 255)
        )
    exchange(mine, bytes(content[: data.draw(st.integers(0, len(content)))]))
    with suppress(CheckpointError):
        load_checkpoint(mine)


def test_a_header_that_claims_an_exabyte(mine):
    exchange(mine, struct.pack("<Q", 2**60) + b"{}")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(mine)


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_not_run(mine, tmp_path):
    exchange(mine, pickle.dumps(Harm(tmp_path / "harm")))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(mine)
    assert not (tmp_path / "harm").exists()
