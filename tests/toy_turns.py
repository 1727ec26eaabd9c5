"""A step without an optimiser, for the tests of single kinds of model."""

from contextlib import nullcontext

import torch

from relad_bids.model.base import Turn
from relad_bids.model.learning.chance import Chance
from relad_bids.model.learning.losses import Spread


class Ear:
    """Hears what a model is told to descend, goes the way back, and takes no step.

    ``watch`` is asked after each way back, while the gradients of that loss alone are there.
    """

    def __init__(self, model, watch=lambda part, loss: None):
        self.model, self.watch = model, watch
        self.losses, self.log, self.of = {}, {}, {}

    def __call__(self, part, loss, *, of, log):
        self.model.zero_grad()
        loss.backward()
        self.losses[part], self.of[part] = loss.item(), of
        self.log |= {name: value.item() for name, value in log.items()}
        self.watch(part, loss)


def a_turn(n, descend, *, step=0, seed=4, spread=1.0, patch=0):
    """A turn of ``n`` participants of two tracers."""
    return Turn(
        step, Chance.of_step(seed=seed, step=0, positions=range(n)),
        Spread(torch.full((2,), spread), torch.full((2,), spread)), nullcontext, descend, patch,
    )  # fmt: skip
