"""All kinds of model, trained for the same number of steps on the same phantoms.

Small enough for a CPU: phantoms in template space on a 4 mm grid, no chain before the network.
Printed for held-out phantoms of a seed that training never used: skill over the training mean in
cells of 16 mm; CCC and R2 across participants in each tracer's main region, with the same of
somebody else's answer (`permuted`); and how much fine structure of its own (deviation from the
training mean, less what cell means hold) the answer has beside the simulated PET, scanner noise
included. Diffusion models answer in one pass and with one draw of `--draw-steps` steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from relad_bids.cli.train import Kept, PhantomMaker, training_order
from relad_bids.core.agreement import concordance
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract
from relad_bids.model.base import Model
from relad_bids.model.data import Cohort, collate, loader
from relad_bids.model.learning.floor import training_mean
from relad_bids.model.learning.losses import squares_of
from relad_bids.model.learning.training import TrainConfig, skill, train
from relad_bids.model.registry import build_model
from relad_bids.phantom.template import template_head
from relad_bids.tables import VOISet, tracers, voi_sets

SUVR_MAX = {"flortaucipir": 5.0, "pbr28": 3.0, "pib": 4.0}
SEED, HELD_OUT_SEED = 20261122, 20270101
REGIONAL: dict[str, Any] = {"n_sequences": 2, "n_tracers": 3, "rank": 24}
UNET = {**REGIONAL, "channels": [16, 32, 64], "n_residual_units": 2}
DIFFUSION = {
    **REGIONAL, "channels": [24, 48, 72], "attention_levels": [False] * 3,
    "n_residual_units": 1, "norm_groups": 8,
}  # fmt: skip
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mean": ({"n_tracers": 3}, {}),
    "ridge": (REGIONAL, {}),
    "unet": (UNET, {}),
    "pix2pix": (UNET, {"critic_channels": 16}),
    "ddpm": (DIFFUSION, {}),
    "ficd": (DIFFUSION, {}),
    "rela": (DIFFUSION, {"critic_channels": 16, "critic_crop": 24}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--preset", default="strong", choices=["strong", "literature", "null"])
    parser.add_argument("--n-start", type=int, default=240)
    parser.add_argument("--n-train", type=int, default=240)
    parser.add_argument("--n-held-out", type=int, default=30)
    parser.add_argument("--draw-steps", type=int, default=10, help="0: one pass only")
    args = parser.parse_args()
    grid = Grid((40, 46, 40), np.diag([4.0, 4.0, 4.0, 1.0]) + _shift(-78, -106, -70))
    make = Kept(_maker(grid, args.preset, SEED))
    held_out = Cohort(Kept(_maker(grid, args.preset, HELD_OUT_SEED)), range(args.n_held_out))
    first = Cohort(make, range(args.n_start))
    mean, _ = training_mean(loader(first, batch_size=1, workers=0))
    order = training_order(args.n_train, args.steps * 2, seed=SEED)
    walk = Cohort(make, [args.n_start + index for index in order])
    config = TrainConfig(steps=args.steps, learning_rate=2e-3, critic_rate=1e-3, workers=0)
    print(asdict(config))
    rows = []
    for kind in args.kinds:
        began = time.monotonic()
        model, log = _trained(kind, grid, walk, first, config)
        minutes = (time.monotonic() - began) / 60
        tail = {name: f"{np.mean(values[-100:]):.3g}" for name, values in log.items()}
        print(f"{kind}: {minutes:.1f} min, last 100 steps: {tail}", flush=True)
        for name, answer in _answers(model, args.draw_steps).items():
            rows += _scores(f"{kind} {name}".strip(), answer, held_out, mean, grid)
        print(pd.DataFrame(rows).query("model.str.startswith(@kind)").to_string(index=False))
    print(pd.DataFrame(rows).sort_values(["tracer", "skill"]).to_string(index=False))


def _shift(*mm: float) -> NDArray[np.float64]:
    affine = np.zeros((4, 4))
    affine[:3, 3] = mm
    return affine


def _maker(grid: Grid, preset: str, seed: int) -> PhantomMaker:
    return PhantomMaker(grid, preset, seed, 1.0, SUVR_MAX, MRIContract())


def _trained(
    kind: str, grid: Grid, walk: Cohort, first: Cohort, config: TrainConfig
) -> tuple[Model, dict[str, list[float]]]:
    architecture, objective = KINDS[kind]
    torch.manual_seed(SEED)
    model = build_model(kind, architecture, shape=grid.shape, objective=objective, training=True)
    log: dict[str, list[float]] = {}

    def report(step: int, said: Any) -> None:
        for name, value in said.items():
            log.setdefault(name, []).append(value)

    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.pt"
        fitted = train(
            model, walk, config, start_from=first, seed=SEED, state_file=state, report=report
        )
    return fitted, log


def _answers(model: Model, draw_steps: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """One pass, and one draw of so many steps where the model draws."""

    def ask(steps: int) -> Callable[[Tensor], Tensor]:
        return lambda mri: torch.stack(
            [model.predict(mri, tracer, steps=steps)[:, 0] for tracer in range(3)], 1
        )

    draws = model.stochastic and draw_steps > 0
    return {"": ask(1)} | ({"draw": ask(draw_steps)} if draws else {})


@torch.inference_mode()
def _scores(
    name: str, answer: Callable[[Tensor], Tensor], cohort: Cohort, mean: Tensor, grid: Grid
) -> list[dict[str, object]]:
    batches = [collate([cohort[i]]) for i in range(len(cohort))]
    answers = [answer(batch.mri) for batch in batches]
    known = iter(answers)
    skills = skill(lambda mri: next(known), cohort, mean=mean, workers=0)
    rows = []
    for index, tracer in enumerate(SUVR_MAX):
        region = _main_region(tracer, grid)
        ours, truth = (
            np.array([_suvr(image[0, index], region, SUVR_MAX[tracer]) for image in images])
            for images in (answers, [batch.pet for batch in batches])
        )
        fine = [
            _fine((image - mean)[:, [index]], batch.mask)
            / _fine((batch.pet - mean)[:, [index]], batch.mask)
            for image, batch in zip(answers, batches, strict=True)
        ]
        rows.append(
            {
                "tracer": tracer,
                "model": name,
                "n": len(ours),
                "skill": f"{skills[index]:+.3f}",
                "CCC": f"{concordance(ours, truth):.2f}",
                "R2": f"{_r2(ours, truth):.2f}",
                "permuted R2": f"{_r2(np.roll(ours, 1), truth):.2f}",
                "MAE": f"{np.abs(ours - truth).mean():.3f}",
                "fine": f"{np.mean(fine):.2f}",
            }
        )
    return rows


def _main_region(tracer: str, grid: Grid) -> list[NDArray[np.bool_]]:
    """Cortex of the tracer's main VOI on the template; several masks if it averages parts."""
    head = template_head(grid)
    grey = np.zeros(grid.shape, dtype=bool)
    grey[head.mask] = head.gm > 0.5
    by_name = {voi.voi: voi for voi in voi_sets()}
    chosen: VOISet = by_name[tracers()[tracer].primary_vois[0]]
    parts = [by_name[part].labels for part in chosen.parts] or [chosen.labels]
    return [np.isin(head.gm_label, labels) & grey for labels in parts]


def _suvr(image: Tensor, region: list[NDArray[np.bool_]], suvr_max: float) -> float:
    values = [(image.numpy()[part].mean() + 1) / 2 * suvr_max for part in region]
    return float(np.mean(values))


def _fine(image: Tensor, mask: Tensor) -> float:
    """SD of what is left after the means of coarse cells."""
    voxel, coarse = squares_of(image, mask)
    return float((voxel - coarse).clamp_min(0).sqrt())


def _r2(estimate: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Squared correlation, the R2 of a recalibrated answer; 0 for an answer without variance."""
    if estimate.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(estimate, truth)[0, 1] ** 2)


if __name__ == "__main__":
    main()
