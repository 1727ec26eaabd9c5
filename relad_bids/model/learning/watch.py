"""Early stopping: an error is looked at now and then, and the best weights are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from relad_bids.errors import ConfigError, DataError
from relad_bids.model.base import Model


@dataclass(frozen=True, eq=False)
class Watch:
    """An error to look at while a model learns.

    Raises
    ------
    ConfigError
        The numbers say nothing that can be done.
    """

    error: Callable[[Model], float]
    """Asked about the running average of the weights, in evaluation mode; less is better. It must
    not depend on who participates in the steps, nor on chance: a stopped run asks again."""
    every: int
    """Steps from one look to the next; the last step is looked at, too."""
    patience: int
    """Looks in a row without a smaller error after which the training stops; 0 is never."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.patience < 0:
            raise ConfigError(
                f"early stopping was to look every {self.every} steps with a patience of "
                f"{self.patience} looks; give at least 1 and at least 0."
            )


class Lookout:
    """What was seen so far, and the weights that were best."""

    def __init__(self) -> None:
        self.errors: list[tuple[int, float]] = []
        """Steps done, and the error then."""
        self.best: dict[str, torch.Tensor] | None = None

    def note(self, step: int, error: float, average: Model) -> None:
        """Keep an error, and the weights if it is the smallest so far.

        Raises
        ------
        DataError
            The error is no number.
        """
        if math.isnan(error):
            raise DataError(
                f"early stopping measured the error nan after {step} steps; look for NaN in the "
                "images of the participants it looks at, or lower the learning rate."
            )
        if all(error < before for _, before in self.errors):
            self.best = {name: value.clone() for name, value in average.state_dict().items()}
        self.errors.append((step, error))

    def has_seen_enough(self, patience: int) -> bool:
        """Whether so many looks came since the smallest error."""
        if not patience or not self.errors:
            return False
        errors = [error for _, error in self.errors]
        return len(errors) - 1 - errors.index(min(errors)) >= patience

    def content(self) -> dict[str, Any]:
        return {"errors": [list(pair) for pair in self.errors], "best": self.best}

    def load(self, content: Mapping[str, Any]) -> None:
        self.errors = [(int(step), float(error)) for step, error in content["errors"]]
        self.best = content["best"]
