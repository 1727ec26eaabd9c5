"""``relad train``: from a recipe to a checkpoint folder."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from tqdm import tqdm

from relad_bids import __version__
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract, normalise_mri, stack_mri, suvr_to_network
from relad_bids.files import require_writable
from relad_bids.model.base import Model
from relad_bids.model.card import Card, TracerOutput
from relad_bids.model.checkpoint import save_checkpoint
from relad_bids.model.data import Cohort, Sample, loader
from relad_bids.model.learning.floor import training_mean
from relad_bids.model.learning.recipe import Recipe, read_recipe
from relad_bids.model.learning.training import every_tracer, skill, train
from relad_bids.model.registry import build_model
from relad_bids.phantom.latent import draw_subject
from relad_bids.phantom.prepared import simulate_prepared

VALIDATION_SEED = 1_000_003
"""Added to the recipe's seed: validation phantoms share no draw with those of training."""


@dataclass(frozen=True)
class PhantomMaker:
    """Make participant ``index`` of a simulated cohort, the same whenever it is asked for."""

    grid: Grid
    preset: str
    seed: int
    residual_mm: float
    suvr_max: Mapping[str, float]
    mri: MRIContract

    def __call__(self, index: int) -> Sample:
        subject = draw_subject(index, seed=self.seed, preset=self.preset)  # type: ignore[arg-type]
        generator = np.random.default_rng([self.seed, index])
        made = simulate_prepared(subject, self.grid, generator, residual_mm=self.residual_mm)
        sequences = {
            "T1w": normalise_mri(made.t1w, made.mask, self.mri).data,
            "FLAIR": normalise_mri(made.flair, made.mask, self.mri).data,
        }
        pet = np.stack(
            [suvr_to_network(made.pet[name], suvr_max=s) for name, s in self.suvr_max.items()]
        )
        return Sample(
            mri=stack_mri(sequences, ("T1w", "FLAIR")),
            pet=pet,
            available=np.ones(len(pet), dtype=bool),
            mask=made.mask,
        )


class Kept:
    """Remember what was made, as float16: 6 MB a participant on the 2 mm grid."""

    def __init__(self, make: Callable[[int], Sample]) -> None:
        self.make = make
        self.kept: dict[int, Sample] = {}

    def __call__(self, index: int) -> Sample:
        if index not in self.kept:
            made = self.make(index)
            half = (made.mri.astype(np.float16), made.pet.astype(np.float16))
            self.kept[index] = Sample(*half, made.available, made.mask)  # type: ignore[arg-type]
        kept = self.kept[index]
        whole = (kept.mri.astype(np.float32), kept.pet.astype(np.float32))
        return Sample(*whole, kept.available, kept.mask)


def training_order(n_train: int, length: int, *, seed: int) -> list[int]:
    """Participants in training order: all of them once, then again in another order."""
    n_epochs = -(-length // n_train)
    orders = [
        np.random.default_rng([seed, epoch]).permutation(n_train) for epoch in range(n_epochs)
    ]
    return [int(index) for order in orders for index in order][:length]


def run_train(args: Namespace) -> None:
    """Train by the recipe; write ``OUT/model.safetensors`` and ``OUT/model.json``."""
    recipe = read_recipe(args.recipe)
    require_writable(args.out)
    grid = Grid(shape=recipe.grid.shape, affine=np.array(recipe.grid.affine, dtype=float))
    torch.manual_seed(recipe.seed)  # only the initial weights; the loop carries its own chance
    network = build_model(
        recipe.kind, recipe.architecture, shape=recipe.grid.shape, diffusion=recipe.diffusion,
        sampler=recipe.sampler, objective=recipe.objective, training=True,
    )  # fmt: skip
    make = Kept(_maker(recipe, grid, recipe.seed))
    first, n_walk = recipe.data.n_start, recipe.train.steps * recipe.train.batch_size
    walk = training_order(recipe.data.n_train, n_walk, seed=recipe.seed)
    print(
        f"making {first} phantoms to start from; {recipe.data.n_train} more are made on the way",
        file=sys.stderr,
    )
    with tqdm(total=recipe.train.steps, unit="step", desc="train") as bar:
        fitted = train(
            network,
            Cohort(make, [first + index for index in walk]),
            recipe.train,
            start_from=Cohort(make, range(first)),
            seed=recipe.seed,
            state_file=args.out / "training-state.pt",
            report=_progress(bar),
        )
    held_out = Cohort(
        _maker(recipe, grid, recipe.seed + VALIDATION_SEED), range(recipe.data.n_validation)
    )
    mean, _ = training_mean(
        loader(Cohort(make, range(first)), batch_size=1, workers=recipe.train.workers)
    )
    answers = {recipe.kind: every_tracer(fitted, len(mean)), "regression": fitted.linear_part()}
    skills = {
        name: skill(answer, held_out, mean=mean, workers=recipe.train.workers)
        for name, answer in answers.items()
        if answer is not None
    }
    card = save_checkpoint(args.out, fitted, _card(recipe, fitted, skills))
    print(f"{args.out}: {card.label}; skill over the training mean")
    for tracer in card.tracers:
        scores = (f"{name} {values[tracer.index]:+.3f}" for name, values in skills.items())
        print(f"  {tracer.name}: {', '.join(scores)}")


def _maker(recipe: Recipe, grid: Grid, seed: int) -> PhantomMaker:
    data = recipe.data
    return PhantomMaker(grid, data.preset, seed, data.residual_mm, recipe.suvr_max, recipe.mri)


def _progress(bar: tqdm) -> Callable[[int, Mapping[str, float]], None]:
    """Show what the model says of its steps, averaged over the last hundred in which it did."""
    recent: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=100))

    def report(step: int, log: Mapping[str, float]) -> None:
        for name, value in log.items():
            recent[name].append(value)
        bar.set_postfix({name: f"{np.mean(values):.3g}" for name, values in recent.items()})
        bar.update(step - bar.n)

    return report


def _card(recipe: Recipe, fitted: Model, skills: Mapping[str, torch.Tensor]) -> Card:
    tracers = tuple(
        TracerOutput(name=name, index=index, suvr_max=value)
        for index, (name, value) in enumerate(recipe.suvr_max.items())
    )
    return Card(
        name=recipe.name,
        version=recipe.version,
        kind=recipe.kind,
        architecture=dict(recipe.architecture),
        space=recipe.grid.space,
        shape=recipe.grid.shape,
        affine=recipe.grid.affine,
        tracers=tracers,
        missing_flair=recipe.train.missing_flair > 0,
        mri_contract=recipe.mri,
        diffusion=fitted.diffusion,
        sampler=dict(fitted.sampler),
        statement=recipe.statement,
        training={
            "data": {"source": "phantom", **asdict(recipe.data)},
            "optimisation": asdict(recipe.train),
            "objective": dict(recipe.objective),
            "seed": recipe.seed,
            "software": f"relad-bids {__version__}, torch {torch.__version__}",
        },
        validation={
            "cohort": f"{recipe.data.n_validation} phantoms of another seed, template space",
            "skill_over_training_mean": {
                of: {t.name: float(values[t.index]) for t in tracers}
                for of, values in skills.items()
            },
        },
    )
