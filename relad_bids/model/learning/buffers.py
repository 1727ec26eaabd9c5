"""Running values of a model whose batch is divided."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from relad_bids.model.learning.distributed import Processes


class RunningValues:
    """Buffers that move while a network learns: of spectral norms, BatchNorm, a latent's moments.

    Every part of a divided batch starts from what they were when the step began; the step leaves
    the mean of what the parts that moved them made of them, weighed by participants. So the power
    iteration of a spectral norm goes as far as with the whole batch: it looks at weights alone.
    """

    def __init__(self, model: nn.Module) -> None:
        self._buffers = dict(model.named_buffers())
        self._first = {name: buffer.clone() for name, buffer in self._buffers.items()}
        self._moved: dict[str, tuple[int, Tensor]] = {}

    def part_is_done(self, n: int) -> None:
        """Note what a part of ``n`` participants made of them, and go back to the first values."""
        for name, buffer in self._buffers.items():
            if not torch.equal(buffer, self._first[name]):
                before, total = self._moved.get(name, (0, torch.zeros_like(buffer).float()))
                self._moved[name] = before + n, total + n * buffer.float()
                buffer.copy_(self._first[name])

    def settle(self, processes: Processes) -> None:
        """Leave the mean over all parts and processes."""
        counts = processes.gather({name: n for name, (n, _) in self._moved.items()})
        moved = [name for name in self._buffers if any(name in one for one in counts)]
        if not moved:
            return
        nothing = {name: torch.zeros_like(self._buffers[name]).float() for name in moved}
        totals = processes.add(
            [self._moved[name][1] if name in self._moved else nothing[name] for name in moved]
        )
        for name, total in zip(moved, totals, strict=True):
            mean = total / sum(one.get(name, 0) for one in counts)
            buffer = self._buffers[name]
            buffer.copy_(mean if buffer.is_floating_point() else mean.round())
