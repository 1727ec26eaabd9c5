"""All kinds of model, trained for the same number of steps on the same phantoms.

Small enough for a CPU: phantoms in template space on a 4 mm grid, no chain before the network.
Printed for held-out phantoms of a seed that training never used: skill over the training mean in
cells of 16 mm; CCC and R2 across participants in each tracer's main region, with the same of
somebody else's answer (`permuted`); and how much fine structure of its own (deviation from the
training mean, less what cell means hold) the answer has beside the simulated PET, scanner noise
included. Diffusion models answer in one pass and with a draw of ten steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from relad_bids.cohorts.kept import Kept
from relad_bids.cohorts.phantoms import PhantomMaker
from relad_bids.cohorts.walk import training_order
from relad_bids.core.agreement import concordance
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import BACKGROUND, MRIContract
from relad_bids.model.base import Model
from relad_bids.model.data import Cohort, collate, loader
from relad_bids.model.learning.floor import training_mean
from relad_bids.model.learning.losses import squares_of
from relad_bids.model.learning.training import TrainConfig, skill, train
from relad_bids.model.networks.diffusion_unet import PUBLISHED
from relad_bids.model.published import DIFFUSION as PUBLISHED_DIFFUSION
from relad_bids.model.registry import build_model
from relad_bids.phantom.template import template_head
from relad_bids.tables import VOISet, tracers, voi_sets

SUVR_MAX = {"flortaucipir": 5.0, "pbr28": 3.0, "pib": 4.0}
SEED, HELD_OUT_SEED = 20261122, 20270101
REGIONAL: dict[str, Any] = {"n_sequences": 2, "n_tracers": 3, "rank": 24}
UNET = {**REGIONAL, "channels": [16, 32, 64], "n_residual_units": 2}
DIFFUSION = {
    **REGIONAL, "channels": [32, 64, 64], "attention_levels": [False] * 3,
    "n_residual_units": 1, "norm_groups": 8, "patch": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Contender:
    """A kind with its settings; ``steps`` are the walks it is asked for, the first its default."""

    architecture: dict[str, Any]
    objective: dict[str, Any] = field(default_factory=dict)
    diffusion: dict[str, Any] | None = None
    steps: tuple[int | None, ...] = (None,)

    def build(self, kind: str, grid: Grid) -> Model:
        torch.manual_seed(SEED)
        return build_model(
            kind, self.architecture, shape=grid.shape, objective=self.objective,
            diffusion=self.diffusion, training=True,
        )  # fmt: skip


CRITIC = {"critic_channels": 16}
AUTOENCODER = {"channels": [8, 16, 16], "n_residual_units": 1, "norm_groups": 4}
WALKS = (1, 10)
KINDS: dict[str, Contender] = {
    "mean": Contender({"n_tracers": 3}),
    "ridge": Contender(REGIONAL),
    "unet": Contender(UNET),
    "pix2pix": Contender(UNET, CRITIC),
    "cyclegan": Contender(UNET, CRITIC),
    "ddpm": Contender(DIFFUSION, steps=WALKS),
    "ficd": Contender(DIFFUSION, steps=WALKS),
    "ddgan": Contender(DIFFUSION, CRITIC),
    "rela": Contender(DIFFUSION, {**CRITIC, "critic_crop": 24}, steps=WALKS),
    "rela-latent": Contender(
        {**DIFFUSION, "patch": 1, "autoencoder": AUTOENCODER},
        {**CRITIC, "autoencoder_steps": 100},
        steps=WALKS,
    ),
    "rela-published": Contender(
        dict(PUBLISHED), {"adversarial_from": 0}, dict(PUBLISHED_DIFFUSION), steps=(50,)
    ),
}
"""All that the registry holds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--preset", default="strong", choices=["strong", "literature", "null"])
    parser.add_argument("--n-start", type=int, default=240)
    parser.add_argument("--n-train", type=int, default=240)
    parser.add_argument("--n-held-out", type=int, default=30)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _compare(args, Path(folder))


def _compare(args: argparse.Namespace, folder: Path) -> None:
    """Train and score; phantoms are kept in ``folder``."""
    grid = phantom_grid()
    make = kept_phantoms(grid, args.preset, SEED, folder)
    held_out = Cohort(
        kept_phantoms(grid, args.preset, HELD_OUT_SEED, folder), range(args.n_held_out)
    )
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
        for name, answer in _answers(model, KINDS[kind].steps).items():
            rows += _scores(f"{kind} {name}".strip(), answer, held_out, mean, grid)
        print(pd.DataFrame(rows).query("model.str.startswith(@kind)").to_string(index=False))
    print(pd.DataFrame(rows).sort_values(["tracer", "skill"]).to_string(index=False))


def phantom_grid() -> Grid:
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -78, -106, -70
    return Grid((40, 46, 40), affine)


def kept_phantoms(grid: Grid, preset: str, seed: int, folder: Path) -> Kept:
    maker = PhantomMaker(grid, preset, seed, 1.0, SUVR_MAX, MRIContract())
    return Kept(maker, maker.key, folder)


def _trained(
    kind: str, grid: Grid, walk: Cohort, first: Cohort, config: TrainConfig
) -> tuple[Model, dict[str, list[float]]]:
    model = KINDS[kind].build(kind, grid)
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


def _answers(model: Model, walks: Sequence[int | None]) -> dict[str, Callable[[Tensor], Tensor]]:
    """One draw of each walk, by its name in the table."""

    def ask(steps: int | None) -> Callable[[Tensor], Tensor]:
        return lambda mri: torch.stack(
            [model.predict(mri, tracer, steps=steps)[:, 0] for tracer in range(3)], 1
        )

    return {f"{steps} steps" if steps and steps > 1 else "": ask(steps) for steps in walks}


@torch.inference_mode()
def _scores(
    name: str, answer: Callable[[Tensor], Tensor], cohort: Cohort, mean: Tensor, grid: Grid
) -> list[dict[str, object]]:
    batches = [collate([cohort[i]]) for i in range(len(cohort))]
    # Outside the brain nobody is asked: some kinds answer there and some do not.
    answers = [torch.where(batch.mask, answer(batch.mri), BACKGROUND) for batch in batches]
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
