import json
import shutil

import pytest
import small_models
import torch
from safetensors.torch import load_file, save_file
from toys import tiny_card, tiny_network

from relad_bids.errors import CheckpointError, InputError
from relad_bids.model import checkpoint as checkpoint_module
from relad_bids.model.checkpoint import (
    fingerprint,
    load_checkpoint,
    round_weights,
    save_checkpoint,
    verify_checkpoint,
)


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A checkpoint that a test may spoil."""
    return shutil.copytree(checkpoint, tmp_path / "copy")


def agree(folder):
    """Make the card agree with spoilt weights, so that what lies behind the hash is seen."""
    card = json.loads((folder / "model.json").read_text())
    card["sha256"] = fingerprint(folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(card))


def test_round_trip(checkpoint):
    network, card = load_checkpoint(checkpoint)
    assert card == tiny_card(sha256=fingerprint(checkpoint / "model.safetensors"))
    expected = tiny_network().state_dict()
    assert network.state_dict().keys() == expected.keys()
    assert all(torch.equal(network.state_dict()[name], expected[name]) for name in expected)
    assert not network.training


def test_the_same_weights_have_the_same_label(tmp_path):
    labels = {
        save_checkpoint(tmp_path / name, tiny_network(), tiny_card()).label for name in ("a", "b")
    }
    other = save_checkpoint(tmp_path / "c", tiny_network(seed=4), tiny_card()).label
    assert len(labels) == 1
    assert other not in labels


def test_rounded_weights_take_half_the_room_and_come_back_as_they_were(tmp_path):
    network = tiny_network()
    closed_form = {name: value.clone() for name, value in network.named_buffers()}
    round_weights(network)
    save_checkpoint(tmp_path / "a", network, tiny_card())
    stored = load_file(tmp_path / "a" / "model.safetensors")
    assert {stored[name].dtype for name, _ in network.named_parameters()} == {torch.float16}
    loaded, _ = load_checkpoint(tmp_path / "a")
    for name, value in loaded.state_dict().items():
        assert value.dtype == network.state_dict()[name].dtype
        assert torch.equal(value, network.state_dict()[name])
    for name, value in closed_form.items():
        assert torch.equal(dict(network.named_buffers())[name], value)


def test_images_are_rounded_with_the_weights(monkeypatch):
    """By half a step of their precision; smaller tables of closed form are left alone."""
    network = tiny_network()
    buffers = {name for name, _ in network.named_buffers()} & set(network.state_dict())
    before = {name: network.state_dict()[name].clone() for name in buffers}
    floats = {name: value.numel() for name, value in before.items() if value.is_floating_point()}
    monkeypatch.setattr(checkpoint_module, "IMAGE_NUMBERS", max(floats.values()))
    round_weights(network)
    large = {name for name, size in floats.items() if size == max(floats.values())}
    assert large < set(floats)
    for name, value in before.items():
        expected = value.half().to(value.dtype) if name in large else value
        assert torch.equal(network.state_dict()[name], expected)


def test_what_is_not_stored_is_not_rounded(monkeypatch):
    """It is made anew when the checkpoint is loaded: rounded here, it would differ there."""
    network = small_models.small("ddpm")
    monkeypatch.setattr(checkpoint_module, "IMAGE_NUMBERS", 1)
    position = network.position.clone()
    round_weights(network)
    assert torch.equal(network.position, position)
    assert not torch.equal(position, position.half().float())


def test_what_half_precision_cannot_hold_keeps_its_digits(tmp_path):
    network = tiny_network()
    with torch.no_grad():
        network.gain.fill_(1 + 2**-12)  # halves are 2**-10 apart at 1
    save_checkpoint(tmp_path / "a", network, tiny_card())
    assert load_file(tmp_path / "a" / "model.safetensors")["gain"].dtype == torch.float32
    loaded, _ = load_checkpoint(tmp_path / "a")
    assert torch.equal(loaded.gain, network.gain)


def test_saving_leaves_two_files(checkpoint):
    assert {path.name for path in checkpoint.iterdir()} == {"model.safetensors", "model.json"}


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["model.json"], "; model.json is not there"),
        (["model.safetensors"], "; model.safetensors is not there"),
        (["model.json", "model.safetensors"], "; model.json and model.safetensors are not there"),
    ],
)
def test_missing_files(copy, gone, message):
    for name in gone:
        (copy / name).unlink()
    with pytest.raises(InputError, match=f"{message}.* give its path with --model-dir"):
        verify_checkpoint(copy)


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"model\.json and model\.safetensors are not there"):
        load_checkpoint(tmp_path / "nowhere")


def test_damaged_weights(copy):
    """One bit, in the middle of a tensor."""
    path = copy / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"has SHA-256 \w{16}\.\.\., its card says .*damaged"
    ):
        load_checkpoint(copy)


def test_weights_that_are_no_safetensors(copy):
    """A pickle is never opened, even where the card vouches for it."""
    torch.save(tiny_network().state_dict(), copy / "model.safetensors")
    agree(copy)
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        load_checkpoint(copy)


def test_every_misfit_is_counted_and_named(copy):
    path = copy / "model.safetensors"
    tensors = load_file(path)
    tensors["gain"] = torch.zeros(5, 1, 1, 1)
    tensors["stranger"] = torch.zeros(1)
    del tensors["start.prior"]
    save_file(tensors, path)
    agree(copy)
    with pytest.raises(CheckpointError, match="3 tensors do not fit, first:") as caught:
        load_checkpoint(copy)
    text = str(caught.value)
    assert "missing start.prior" in text
    assert "unexpected stranger" in text
    assert "gain is (5, 1, 1, 1), needs (3, 1, 1, 1)" in text


def test_tensors_named_are_at_most_five(copy):
    save_file({f"stranger{i}": torch.zeros(1) for i in range(9)}, copy / "model.safetensors")
    agree(copy)
    with pytest.raises(CheckpointError, match="tensors do not fit") as caught:
        load_checkpoint(copy)
    assert len(str(caught.value).splitlines()) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "gan"}, "model kind 'gan' is not known to this version; it knows mean"),
        ({"architecture": {"depth": 3}}, "model kind 'unet' cannot be built so: .*'depth'"),
    ],
)
def test_a_network_that_cannot_be_built(copy, change, message):
    path = copy / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(copy)
