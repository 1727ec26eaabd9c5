import pickle

import pytest
import torch

from relad_bids.errors import CheckpointError
from relad_bids.model.learning.config import TrainConfig
from relad_bids.model.learning.losses import Spread
from relad_bids.model.learning.state import State, read_state

CPU = torch.device("cpu")
SPREAD = Spread(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))


@pytest.fixture
def make_state(make_network):
    def make(seed, precision="fp16"):
        return State(make_network(seed), TrainConfig(precision=precision), SPREAD, CPU)

    return make


def moved(state):
    """Two steps on, with a scale that has been halved and a look."""
    for _ in range(2):
        for weight in state.model.parameters():
            weight.grad = torch.ones_like(weight)
        state.optimisers["network"].step()
        state.average.update_parameters(state.model)
        state.step += 1
    state.scaler.scale(torch.zeros(()))  # it is made when it is first used
    state.scaler.update(32768.0)
    state.lookout.note(2, 0.5, state.answering)
    return state


def everything(state):
    """All numbers of a state, by name."""
    optimiser = state.optimisers["network"].state_dict()["state"]
    return {
        "step": state.step,
        **{f"model {name}": value for name, value in state.model.state_dict().items()},
        **{f"average {name}": value for name, value in state.average.state_dict().items()},
        **{f"{i} {name}": x for i, found in optimiser.items() for name, x in found.items()},
        "scale": state.scaler.get_scale(),
        "voxel": state.spread.voxel,
        "coarse": state.spread.coarse,
        "errors": state.lookout.errors,
        **{f"best {name}": value for name, value in (state.lookout.best or {}).items()},
    }


def test_a_state_comes_back_from_its_file(make_state, make_network, tmp_path):
    before = moved(make_state(1))
    before.save(tmp_path / "state.pt")
    after = State.of(
        read_state(tmp_path / "state.pt"), make_network(2), TrainConfig(precision="fp16"), CPU
    )
    ours, theirs = everything(after), everything(before)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        same = torch.equal(ours[name], value) if isinstance(value, torch.Tensor) else (
            ours[name] == value
        )  # fmt: skip
        assert same, name
    assert ours["scale"] == 32768


def test_a_run_that_goes_on_in_another_precision_begins_with_the_first_scale(
    make_state, make_network, tmp_path
):
    make_state(1, "bf16").save(tmp_path / "state.pt")
    state = State.of(
        read_state(tmp_path / "state.pt"), make_network(2), TrainConfig(precision="fp16"), CPU
    )
    assert state.scaler.get_scale() == 65536


def test_a_file_is_whole_or_as_it_was(make_state, tmp_path, monkeypatch):
    """Power is cut while the second state is written."""
    state = make_state(1)
    state.save(tmp_path / "state.pt")

    def cut(content, path):
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        moved(state).save(tmp_path / "state.pt")
    assert read_state(tmp_path / "state.pt")["step"] == 0


def test_what_is_averaged_answers_and_does_not_train(make_state):
    state = make_state(1)
    state.model.train()
    assert not state.answering.training


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("how", ["pickle", "torch", "noise", "empty", "cut"])
def test_a_state_of_a_stranger_is_read_as_data_or_not_at_all(tmp_path, how):
    path, harm = tmp_path / "state.pt", tmp_path / "harm"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Harm(harm)))
    elif how == "torch":
        torch.save({"step": Harm(harm)}, path)
    elif how == "cut":
        torch.save({"step": torch.zeros(1000)}, path)
        path.write_bytes(path.read_bytes()[:-500])
    else:
        path.write_bytes(b"" if how == "empty" else bytes(range(256)))
    with pytest.raises(CheckpointError, match=r"state\.pt: .*remove it to begin anew"):
        read_state(path)
    assert not harm.exists()
