"""One optimiser step down the losses of everything that its participants were divided into."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Adam

from relad_bids.errors import DataError
from relad_bids.model.learning.distributed import Processes

LOSS = "loss"


@dataclass(eq=False)
class _Heard:
    """What one process was told of a part of the model in this step."""

    of: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, of: int, means: Mapping[str, Tensor]) -> None:
        self.of += of
        for name, mean in means.items():
            share = of * mean.detach().float()
            self.sums[name] = self.sums[name] + share if name in self.sums else share

    def numbers(self) -> dict[str, float]:
        """The sums as numbers: one wait for the device for all of them."""
        values = torch.stack(list(self.sums.values())).tolist()
        return dict(zip(self.sums, values, strict=True))


class Descent:
    """Gathers the gradients of one step, then takes it: a :class:`~relad_bids.model.base.Descend`.

    The network's and the critic's losses come in turn, with every part of a divided batch. None
    of their gradients depends on a step of the other, also where the batch is whole: the critic
    learns from fakes made before the network's step. So both steps are taken when all parts are
    through. A loss reaches no weights but those of its own part of the model: a game leaves
    nothing in the opponent.

    Processes add up their gradients here, in one message. DistributedDataParallel would do so
    within one backward pass after one forward pass of a module; a step here has several networks,
    called in turn and more than once, slopes of slopes, and weights that a step does not reach.

    Parameters
    ----------
    optimisers
        By part of the model; their gradients are forgotten.
    scaler
        Keeps the gradients of fp16 within its range; disabled for other precisions.
    step
        For the error's message.
    per_step
        Participants of the step, as the unit of the weights: losses stay about 1.
    """

    def __init__(
        self,
        optimisers: Mapping[str, Adam],
        scaler: GradScaler,
        *,
        step: int,
        per_step: int,
    ) -> None:
        self.optimisers, self.scaler = optimisers, scaler
        self.step, self.per_step = step, per_step
        self._heard: dict[str, _Heard] = {}
        for optimiser in optimisers.values():
            optimiser.zero_grad()

    def __call__(self, part: str, loss: Tensor, *, of: int, log: Mapping[str, Tensor]) -> None:
        weighted = loss * (of / self.per_step)
        self.scaler.scale(weighted).backward(inputs=_weights(self.optimisers[part]))
        self._heard.setdefault(part, _Heard()).add(of, {LOSS: loss, **log})

    def take(
        self, processes: Processes, *, rates: Mapping[str, float], clip_norm: float
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Take the step; return the log, and the length of each part's gradient before clipping.

        Parameters
        ----------
        rates
            Learning rate of each part.

        Raises
        ------
        DataError
            A loss is not finite.
        """
        mine = {
            part: (heard.of, heard.numbers(), self._reached(part))
            for part, heard in self._heard.items()
        }
        everyones = processes.gather(mine)
        log: dict[str, float] = {}
        lengths: dict[str, float] = {}
        for part, optimiser in self.optimisers.items():
            told = [one[part] for one in everyones if part in one]
            if not told:
                continue
            of = sum(n for n, _, _ in told)
            means = _means([sums for _, sums, _ in told], of)
            if not math.isfinite(loss := means.pop(LOSS)):
                raise DataError(
                    f"the training loss of the {part} is {loss} at step {self.step}; look for NaN "
                    "in the images or lower the learning rate."
                )
            log |= means
            reached = sorted(set().union(*(places for _, _, places in told)))
            self._add_up(part, reached, of, processes)
            for group in optimiser.param_groups:
                group["lr"] = rates[part]
            self.scaler.unscale_(optimiser)
            lengths[part] = float(nn.utils.clip_grad_norm_(_weights(optimiser), clip_norm))
            self.scaler.step(optimiser)
        if lengths:
            self.scaler.update()
        return log, lengths

    def _reached(self, part: str) -> list[int]:
        """Places of the weights that have a gradient: the others must not move."""
        weights = _weights(self.optimisers[part])
        return [place for place, weight in enumerate(weights) if weight.grad is not None]

    def _add_up(self, part: str, reached: Sequence[int], of: int, processes: Processes) -> None:
        """Make each gradient that of the mean over all processes and parts of the batch."""
        weights = _weights(self.optimisers[part])
        chosen = [weights[place] for place in reached]
        gradients = [w.grad if w.grad is not None else torch.zeros_like(w) for w in chosen]
        if processes.size > 1:
            gradients = processes.add(gradients)
        for weight, gradient in zip(chosen, gradients, strict=True):
            weight.grad = gradient if of == self.per_step else gradient * (self.per_step / of)


def _weights(optimiser: Adam) -> list[nn.Parameter]:
    return [weight for group in optimiser.param_groups for weight in group["params"]]


def _means(told: Sequence[Mapping[str, float]], of: int) -> dict[str, float]:
    names = dict.fromkeys(name for sums in told for name in sums)
    return {name: sum(sums.get(name, 0.0) for sums in told) / of for name in names}
