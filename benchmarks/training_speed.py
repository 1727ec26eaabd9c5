"""How fast training is, how much memory it takes, and what each term of ``rela`` costs.

Images are noise in an ellipsoid: values change neither speed nor memory. Every row is a process
of its own, so that its peak is its own. A volume is one participant's image of one tracer; a
step of a diffusion model sees one of each participant, a step of ``unet`` all three.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from relad_bids.model.data import Cohort, Sample
from relad_bids.model.learning.training import TrainConfig, train
from relad_bids.model.registry import build_model

SHAPES = {1: (160, 184, 160), 2: (80, 92, 80)}
REGIONAL: dict[str, Any] = {"n_sequences": 2, "n_tracers": 3, "rank": 4}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "unet": {**REGIONAL, "channels": [16, 32, 64, 96], "n_residual_units": 2},
    "rela": {
        **REGIONAL, "channels": [32, 64, 64], "attention_levels": [False] * 3,
        "n_residual_units": 1, "norm_groups": 8, "patch": 2,
    },
}  # fmt: skip
"""Those of the bundled models, but for the regression, whose rank must be below the cohort."""
CRITIC = {"critic_channels": 16, "critic_crop": 48}
WITHOUT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "coarse cells": {"coarse": 0.0},
    "L1": {"l1": 0.0},
    "R1 + R2": {},
    "critic": {"adversarial_from": 10**9},
}
"""What is left out -> how the objective says so; penalties have no switch and are patched out."""
ALWAYS = {"informative": 1.0, "share_at_end": 0.0}
"""Terms are compared where the critic plays in every step; by default it does in about 6 of 10."""


@dataclass(frozen=True)
class Row:
    mm: int
    kind: str
    precision: str
    box: int = 0
    checkpointing: bool = False
    without: str | None = None
    """A term of ``WITHOUT``; None for the objective as it is."""


def rows() -> list[Row]:
    """What is measured, the terms last."""
    half = ["bf16", "fp16"] if torch.cuda.is_available() else ["bf16"]
    found = [
        Row(mm, kind, precision, box)
        for mm, boxes in ((2, [0]), (1, [0, 96]))
        for kind in ARCHITECTURES
        for box in boxes
        for precision in ("fp32", *half)
    ]
    found += [Row(1, kind, "bf16", checkpointing=True) for kind in ARCHITECTURES]
    return found + [Row(2, "rela", "bf16", without=term) for term in WITHOUT]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--mm", type=int, nargs="+", choices=sorted(SHAPES), default=[2, 1])
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--terms-only", action="store_true", help="what each term costs, no more")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(Row(**args.one), args.steps)))
        return
    print("mm kind precision box checkpointing without | volumes/s s/step peak GB")
    for row in rows():
        if row.mm in args.mm and (row.without or not args.terms_only):
            print(*asdict(row).values(), "|", _in_its_own_process(row, args.steps), flush=True)


def _in_its_own_process(row: Row, steps: int) -> str:
    command = [sys.executable, __file__, "--steps", str(steps), "--one", json.dumps(asdict(row))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        return f"ended with {done.returncode}: {reason[-1] if reason else 'killed'}"
    found = json.loads(done.stdout.splitlines()[-1])
    return f"{found['volumes']:.2f} {found['seconds']:.2f} {found['peak_gb']:.2f}"


def measured(row: Row, steps: int) -> dict[str, float]:
    """Volumes per second and peak memory; the first two steps are not counted."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)
    objective = _objective(row)
    model = build_model(
        row.kind, ARCHITECTURES[row.kind], shape=SHAPES[row.mm], objective=objective, training=True
    )
    config = TrainConfig(
        steps=2 + steps, workers=0, precision=row.precision, patch_voxels=row.box,
        checkpointing=row.checkpointing, device=device,
    )  # fmt: skip
    cohort = Cohort(Noise(SHAPES[row.mm]), [0, 1] * config.steps)
    first = Cohort(cohort.make, range(2, 10))
    ended: list[float] = []

    def report(step: int, log: object) -> None:
        if device == "cuda":
            torch.cuda.synchronize()
        ended.append(time.monotonic())

    with tempfile.TemporaryDirectory() as folder, _penalty(row):
        state = Path(folder) / "state.pt"
        train(model, cohort, config, start_from=first, seed=1, state_file=state, report=report)
    seconds = (ended[-1] - ended[1]) / steps
    per_step = config.per_step * (3 if row.kind == "unet" else 1)
    return {"volumes": per_step / seconds, "seconds": seconds, "peak_gb": _peak(device)}


def _objective(row: Row) -> dict[str, Any]:
    if row.kind != "rela":
        return {}
    return CRITIC if row.without is None else {**CRITIC, **ALWAYS, **WITHOUT[row.without]}


class Noise:
    """Participants of whom nothing is told but the size of their images."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        axes = (np.linspace(-1.2, 1.2, n) for n in shape)
        self.mask = sum(x**2 for x in np.meshgrid(*axes, indexing="ij", sparse=True)) < 1

    def __call__(self, index: int) -> Sample:
        noise = np.random.default_rng(index).standard_normal((5, *self.mask.shape), np.float32)
        images = np.where(self.mask, noise.clip(-1, 1) / 2, np.float32(-1))
        return Sample(
            mri=images[:2], pet=images[2:], available=np.ones(3, dtype=bool), mask=self.mask
        )


def _penalty(row: Row) -> AbstractContextManager[object]:
    if row.without != "R1 + R2":
        return nullcontext()

    def nothing(critic: object, x: Tensor, *, reduction: str) -> Tensor:
        return x.new_zeros(())

    return patch("relad_bids.model.learning.adversarial.gradient_penalty", nothing)


def _peak(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
