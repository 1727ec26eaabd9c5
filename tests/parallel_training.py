"""Train small models on a toy cohort, alone or in the processes of torchrun.

    torchrun --standalone --nproc-per-node 2 parallel_training.py OUT [--cut STEP] KIND ...

writes OUT/KIND-RANK.pt (weights and logs) and OUT/KIND-read-RANK.txt (participants read); the
power is cut when the first process hears of STEP.
"""

import argparse
import functools
import os
from pathlib import Path
from unittest import mock

import numpy as np
import small_models
import torch
from torch.nn.utils import parameters_to_vector

from relad_bids.model.data import Cohort, Sample
from relad_bids.model.learning import state
from relad_bids.model.learning.training import TrainConfig, Watch, train

CONFIG = TrainConfig(
    steps=4, batch_size=2, accumulate=3, learning_rate=3e-3, warmup_steps=0, ema=0.5,
    missing_flair=0.3, workers=0, save_every=1, precision="fp32",
)  # fmt: skip
PLAIN_ADAM = functools.partial(torch.optim.Adam, eps=1.0)
"""Steps in proportion to the gradients. With its own small eps Adam divides every gradient by its
size, and one that cancels in the sum over participants becomes a step of chance."""
FIRST = range(100, 116)
WALK = [0, 1, 6, 2, 3, 4, 5, 7, 13, 6, 8, 9, 6, 13, 20, 1, 10, 11, 12, 14, 15, 16, 13, 17]
"""Six a step. In the third step nobody of the first half has a scan."""


def make(index):
    """Every seventh has no scan at all, every third lacks the second tracer; brains differ."""
    rng = np.random.default_rng([9, index])
    mask = np.zeros(small_models.SHAPE, dtype=bool)
    mask[1:12, 1 : 12 + index % 2, 1:11] = True
    level = rng.uniform(-0.5, 0.5)
    mri = np.where(mask, level + rng.uniform(-0.3, 0.3, (2, *small_models.SHAPE)), -1)
    pet = 0.5 * mri + rng.normal(0, 0.05, mri.shape)
    has = np.array([index % 7 != 6, index % 3 != 0 and index % 7 != 6])
    return Sample(mri.astype(np.float32), pet.astype(np.float32), has, mask)


def fresh(kind, seed=1):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return small_models.small(kind)


def way_to_go(kind):
    """An error to watch that depends on the weights alone, less and less with every step."""
    start = parameters_to_vector(fresh(kind).parameters())
    return lambda model: -float((parameters_to_vector(model.parameters()) - start).norm())


def run(kind, folder, config=CONFIG, *, read=None, report=lambda step, log: None, **more):
    """Train; return what was learned and what was said of it."""
    logs, read = [], [] if read is None else read

    def told(step, log):
        report(step, log)
        logs.append(dict(log))

    def noted(index):
        read.append(index)
        return make(index)

    with mock.patch.object(state, "Adam", PLAIN_ADAM):
        model = train(
            fresh(kind, more.pop("seed", 1)), Cohort(noted, WALK), config,
            start_from=Cohort(noted, FIRST), seed=3, state_file=folder / f"{kind}-state.pt",
            report=told, **more,
        )  # fmt: skip
    return model.state_dict(), logs


class PowerCutError(Exception):
    """The machine goes away in the middle of a run."""


def cut_at(last):
    def report(step, log):
        if step == last:
            raise PowerCutError

    return report


def main(out, kinds, cut):
    rank = os.environ["RANK"]
    for kind in kinds:
        read = []
        # Other first weights in the others: what counts are those of the first process.
        seed = 1 + int(rank)
        watch = Watch(way_to_go(kind), every=2, patience=0)
        weights, logs = run(
            kind, out, read=read, seed=seed, watch=watch, events=out / kind, report=cut_at(cut)
        )
        (out / f"{kind}-read-{rank}.txt").write_text(" ".join(map(str, read)))
        torch.save({"weights": weights, "logs": logs}, out / f"{kind}-{rank}.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("kinds", nargs="+")
    parser.add_argument("--cut", type=int)
    main(**vars(parser.parse_args()))
