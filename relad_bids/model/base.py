"""What every kind of model is: something that learns from a batch and answers with PET."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from relad_bids.errors import UsageError
from relad_bids.model.data import Batch
from relad_bids.model.learning.chance import Chance
from relad_bids.model.learning.losses import Spread
from relad_bids.model.networks.regional import RegionalRegression


class Descend(Protocol):
    """Learn down a loss.

    The batch may be a part of a step: other parts are on their way, here or in other processes.
    Nothing moves before all are through, and then down the mean over all that they held.
    """

    def __call__(self, part: str, loss: Tensor, *, of: int, log: Mapping[str, Tensor]) -> None:
        """Add a loss to those that a part of the model is to learn from in this step.

        Parameters
        ----------
        part
            A key of ``Model.parts``; nothing else of the model learns from the loss.
        loss : ()
        of
            How many (participants, scans) the loss is the mean of: its weight beside the others.
        log
            What is worth a line in the log, by name: means of the same participants or scans.
            What is in one part of a step and not in another counts as 0 there.
        """


@dataclass(frozen=True)
class Turn:
    """One training step as a model sees it."""

    step: int
    """Counted from 0."""
    chance: Chance
    """One for each participant of the batch, by the seed, the step and their position in it."""
    spread: Spread
    """What the training mean leaves unexplained: the unit of the errors."""
    precision: Callable[[], AbstractContextManager[None]]
    """Around the calls of a network; losses and penalties are taken outside, in float32."""
    descend: Descend
    """Take one optimiser step of a part of the model down a loss."""
    patch: int = 0
    """Edge in voxels of the boxes to learn from; 0 is the whole grid."""


class Model(nn.Module, ABC):
    """One kind of model on one grid.

    Images are float32 in [-1, 1] by the card's contracts; a missing sequence is -1 everywhere.
    """

    stochastic: ClassVar[bool] = False
    """Whether there is more than one answer."""

    diffusion: Mapping[str, Any] | None = None
    """Noise schedule as the card writes it; None where the network is asked once."""
    sampler: Mapping[str, Any] = MappingProxyType({"name": "one-pass", "steps": 1})
    """``name``, ``steps`` and ``spacing`` of the walk from noise."""
    training_only: ClassVar[tuple[str, ...]] = ()
    """First words of the names of tensors that prediction does not need."""
    learns_from_boxes: ClassVar[bool] = False
    """Whether it can be shown boxes of its participants, see ``Turn.patch``."""

    @abstractmethod
    def prepare(self, batches: Iterable[Batch], *, missing_flair: float) -> Spread:
        """Fit what has a closed form, before the first step.

        Parameters
        ----------
        batches
            Participants apart from those of the steps; walked through more than once.
        missing_flair
            Share of the participants who come without FLAIR.

        Returns
        -------
        Spread
            What the training mean leaves unexplained in them.
        """

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """What is optimised apart from each other; nothing for a model in closed form."""
        return {"network": self.parameters()}

    @abstractmethod
    def fit(self, batch: Batch, turn: Turn) -> None:
        """Learn from a batch, in which somebody has a scan."""

    @abstractmethod
    def predict(
        self,
        mri: Tensor,
        tracer: int,
        *,
        n_samples: int = 1,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Answer for one participant.

        Parameters
        ----------
        mri : (1, S, I, J, K)
        tracer
            Class number.
        n_samples, steps
            Draws K, and network calls for each; by default as many as the model's sampler says.
        generator
            Source of all chance, on the CPU; by default one of seed 0.

        Returns
        -------
        (n_samples, 1, I, J, K) float32

        Raises
        ------
        UsageError
            The model has one answer, and more samples or steps were asked for.
        """

    def linear_part(self) -> RegionalRegression | None:
        """The regression that the model is built around, if it is."""
        return None

    def answering_state(self) -> dict[str, Tensor]:
        """The tensors that prediction needs, by name."""
        return {
            name: value
            for name, value in self.state_dict().items()
            if name.partition(".")[0] not in self.training_only
        }


class OneAnswer(Model):
    """A model that says the same whenever it is asked, in one pass."""

    @abstractmethod
    def answer(self, mri: Tensor, tracer: int) -> Tensor:
        """MRI (B, S, I, J, K) -> PET of the tracer (B, 1, I, J, K)."""

    def predict(
        self,
        mri: Tensor,
        tracer: int,
        *,
        n_samples: int = 1,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        if n_samples != 1 or steps not in (None, 1):
            raise UsageError(
                f"a {type(self).__name__} has one answer, made in one pass; {n_samples} samples "
                f"of {steps or 1} steps were asked for. Ask for one of each."
            )
        return self.answer(mri, tracer)


class ClosedForm(OneAnswer):
    """A model that is fitted before the first step and has nothing left to learn."""

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        return {}

    def fit(self, batch: Batch, turn: Turn) -> None:
        pass
