"""Is the critic alive? The adversarial term of ``rela`` and of ``rela-published`` in training.

Both learn from the same phantoms in template space on a 4 mm grid. Printed for each fifth of the
steps: the critic's margin (mean logit of real minus fake), both gradient penalties, how much of
the gradient that reaches the network's answer comes from the adversarial term (ratio of norms to
the other losses), and which share of that adversarial gradient (squared) lies inside the brain.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from compare_models import KINDS, SEED, kept_phantoms, phantom_grid
from torch import Tensor

from relad_bids.cohorts.walk import training_order
from relad_bids.model.base import Descend, Model, Turn
from relad_bids.model.data import Batch, Cohort
from relad_bids.model.learning.training import TrainConfig, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=["rela", "rela-published"], choices=KINDS)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--n-start", type=int, default=60)
    parser.add_argument("--n-train", type=int, default=120)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _watch(args, Path(folder))


def _watch(args: argparse.Namespace, folder: Path) -> None:
    grid = phantom_grid()
    make = kept_phantoms(grid, "strong", SEED, folder)
    first = Cohort(make, range(args.n_start))
    order = training_order(args.n_train, args.steps * 2, seed=SEED)
    walk = Cohort(make, [args.n_start + index for index in order])
    config = TrainConfig(steps=args.steps, workers=0, precision="fp32")
    for kind in args.kinds:
        model = KINDS[kind].build(kind, grid)
        seen = Watched(model).log
        state = folder / f"{kind}.pt"
        train(model, walk, config, start_from=first, seed=SEED, state_file=state)
        for name, values in seen.items():
            parts = np.array_split(values, 5)
            print(f"{kind} {name}: {' '.join(f'{np.mean(part):.3g}' for part in parts)}")


class Watched:
    """Look over a model's shoulder while it learns."""

    def __init__(self, model: Model) -> None:
        self.log: defaultdict[str, list[float]] = defaultdict(list)
        self.answer: Tensor | None = None
        model.network.register_forward_hook(self._keep)
        fit = model.fit

        def watched(batch: Batch, turn: Turn) -> None:
            fit(batch, self._turn(batch, turn))

        model.fit = watched

    def _keep(self, network: object, given: object, answer: Tensor) -> None:
        self.answer = answer

    def _turn(self, batch: Batch, turn: Turn) -> Turn:
        descend: Descend = turn.descend

        def measured(
            part: str, loss: Tensor, *, of: int, log: Mapping[str, Tensor | float]
        ) -> None:
            if "adversarial" in log:
                self._measure(loss, log["adversarial"], batch.mask)
            for name in {"margin", "r1", "r2"} & log.keys():
                self.log[name].append(float(log[name]))
            descend(part, loss, of=of, log=log)

        return Turn(turn.step, turn.chance, turn.spread, turn.precision, measured, turn.patch)

    def _measure(self, loss: Tensor, adversarial: Tensor, brain: Tensor) -> None:
        """Gradients with respect to what the network said, (B, 1, I, J, K)."""
        ours, rest = (
            torch.autograd.grad(part, self.answer, retain_graph=True)[0]
            for part in (adversarial, loss - adversarial)
        )
        self.log["ratio to the other losses"].append(float(ours.norm() / rest.norm()))
        inside = (ours.square() * brain).sum() / ours.square().sum().clamp_min(1e-30)
        self.log["share inside the brain"].append(float(inside))


if __name__ == "__main__":
    main()
