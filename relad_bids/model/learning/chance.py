"""The chance of one training step, apart for each participant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor


class Chance:
    """One generator for each participant of a batch, on the CPU whatever the device.

    A participant draws the same whoever else is in the batch: a batch that is divided over
    processes or time has the draws of the whole.
    """

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        self._generators = tuple(generators)

    @classmethod
    def of_step(cls, *, seed: int, step: int, positions: Iterable[int]) -> Chance:
        """Chance that depends on seed, step and position alone.

        Parameters
        ----------
        positions
            Of the participants, in the batch that is learned from together; counted from 0.
        """
        mixed = (np.random.SeedSequence([seed, step, position]) for position in positions)
        return cls(
            torch.Generator().manual_seed(int(sequence.generate_state(1)[0])) for sequence in mixed
        )

    def __len__(self) -> int:
        return len(self._generators)

    def of(self, kept: Tensor) -> Chance:
        """That of the participants who are kept (B,) bool; what they draw is drawn here, too."""
        pairs = zip(self._generators, kept.tolist(), strict=True)
        return Chance(generator for generator, stays in pairs if stays)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers (B, ...) of the shape, device and dtype of ``like``."""
        return self._each(lambda g: torch.randn(like.shape[1:], generator=g)).to(like)

    def uniform(self) -> Tensor:
        """A number in [0, 1) for each participant, (B,) float32."""
        return self._each(lambda g: torch.rand((), generator=g))

    def integers(self, below: int | Sequence[int]) -> Tensor:
        """A whole number from 0 to ``below`` - 1 for each participant, (B,) int64.

        ``below`` is the same for all, or each one's own.
        """
        ends = iter([below] * len(self) if isinstance(below, int) else below)
        return self._each(lambda g: torch.randint(next(ends), (), generator=g))

    def choice(self, weights: Tensor) -> Tensor:
        """An index into each row of ``weights`` (B, N), in proportion to them; (B,) int64."""
        rows = iter(weights.cpu())
        drawn = self._each(lambda g: torch.multinomial(next(rows), 1, generator=g)[0])
        return drawn.to(weights.device)

    def _each(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(generator) for generator in self._generators])
