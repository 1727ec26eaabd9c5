"""What a stopped training needs to go on."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch.amp import GradScaler
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from relad_bids.errors import CheckpointError
from relad_bids.model.base import Model
from relad_bids.model.learning.config import TrainConfig
from relad_bids.model.learning.losses import Spread
from relad_bids.model.learning.watch import Lookout


class State:
    """A training after some steps: weights, their average, and all that moves with them.

    Parameters
    ----------
    model
        On the device; its weights are the average's first.
    spread
        What the training mean leaves unexplained, per tracer.
    """

    def __init__(
        self, model: Model, config: TrainConfig, spread: Spread, device: torch.device
    ) -> None:
        self.step = 0
        self.model = model
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
        self.average.module.eval()
        self.optimisers = {name: Adam(weights) for name, weights in model.parts().items()}
        self.scaler = GradScaler(device.type, enabled=config.precision == "fp16")
        self.spread = Spread(spread.voxel.to(device), spread.coarse.to(device))
        self.lookout = Lookout()

    @property
    def answering(self) -> Model:
        """The running average of the weights, in evaluation mode."""
        return cast(Model, self.average.module)

    def save(self, path: Path) -> None:
        part = path.with_name(f"{path.name}.part")
        content = {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": {name: value.state_dict() for name, value in self.optimisers.items()},
            "scaler": self.scaler.state_dict(),
            "spread": {"voxel": self.spread.voxel, "coarse": self.spread.coarse},
            "watch": self.lookout.content(),
        }
        torch.save(content, part)
        part.replace(path)

    @classmethod
    def of(
        cls, content: Mapping[str, Any], model: Model, config: TrainConfig, device: torch.device
    ) -> State:
        """The state that :func:`read_state` found, on whatever device it was."""
        spread = Spread(content["spread"]["voxel"], content["spread"]["coarse"])
        state = cls(model, config, spread, device)
        state.step = int(content["step"])
        model.load_state_dict(content["model"])
        state.average.load_state_dict(content["average"])
        for name, optimiser in state.optimisers.items():
            optimiser.load_state_dict(content["optimisers"][name])
        # Not there where a run began without them: in another precision, with an older version.
        if scaler := content.get("scaler"):
            state.scaler.load_state_dict(scaler)
        if watch := content.get("watch"):
            state.lookout.load(watch)
        return state


def read_state(path: Path) -> dict[str, Any]:
    """What :meth:`State.save` wrote, on the CPU: processes pass it on from one to the other.

    Tensors and plain containers alone; nothing that is pickled in it is run.

    Raises
    ------
    CheckpointError
        The file is no state of a training.
    """
    try:
        return cast(dict[str, Any], torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{path}: looked for the state of a training that was stopped, and it cannot be read "
            f"({first}). Needed is the file as it was written; remove it to begin anew."
        ) from error
