"""``relad train``: from a recipe to a checkpoint folder, or to one for each fold."""

from __future__ import annotations

import os
import shutil
import sys
from argparse import Namespace
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from relad_bids.cli.trained import STATE, claim, draft_card, write_checkpoint
from relad_bids.cli.tuning import Base, read_base
from relad_bids.cohorts.gather import Cohorts, gather_pairs, gather_phantoms, grid_of
from relad_bids.cohorts.walk import training_order
from relad_bids.cohorts.watching import device_of, pictures, regional_error
from relad_bids.errors import UsageError
from relad_bids.files import require_writable
from relad_bids.model.base import ClosedForm, Model
from relad_bids.model.data import Cohort
from relad_bids.model.learning.recipe import PairData, Recipe, read_recipe
from relad_bids.model.learning.training import Watch, every_tracer, train
from relad_bids.model.registry import KINDS, build_model
from relad_bids.records import resolution_label

KEPT = "training-cache"
"""In OUT, shared by its folds: samples as they were first read or made."""

SHOWN = 10
"""Sessions listed before a message stops."""


def run_train(args: Namespace) -> None:
    """Train by the recipe; write a checkpoint to OUT, or one for each fold to OUT/fold-K."""
    base = read_base(args.finetune) if args.finetune else None
    recipe = read_recipe(args.recipe, base.card if base else None)
    require_writable(args.out)
    for fold in _folds(recipe, args):
        folder = args.out if fold is None else args.out / f"fold-{fold}"
        folder.mkdir(exist_ok=True)
        _train_one(recipe, base, fold, folder, kept=args.out / KEPT)
    # With --fold others may be at work in the same folder.
    if args.fold is None and is_first_process():
        shutil.rmtree(args.out / KEPT, ignore_errors=True)


def is_first_process() -> bool:
    """Whether this process talks and writes: the only one, or the first that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _folds(recipe: Recipe, args: Namespace) -> Sequence[int | None]:
    """Folds to train, from 1; None is the run in which none is set aside.

    Raises
    ------
    UsageError
        A fold was asked for that the recipe does not have.
    """
    n = recipe.data.n_folds if isinstance(recipe.data, PairData) else 0
    if args.fold is None and not args.folds:
        return [None]
    if not n:
        raise UsageError(
            f"a fold was asked for, and {args.recipe} has none. Say in its table data, of "
            "derivatives, with n_folds how many there are, or leave --fold and --folds out."
        )
    if args.folds:
        return range(1, n + 1)
    if not 1 <= args.fold <= n:
        raise UsageError(f"--fold {args.fold} was asked for, the recipe has folds 1 to {n}.")
    return [args.fold]


def _train_one(
    recipe: Recipe, base: Base | None, fold: int | None, folder: Path, *, kept: Path
) -> None:
    draft = draft_card(recipe)
    cohorts = _gather(recipe, base, fold, kept, resolution_label(draft))
    if base is not None:
        base.require_unseen(cohorts, recipe.data)
        base.require_same_references(cohorts)
    if is_first_process():
        claim(folder, recipe, cohorts, base)
        for line in _told(cohorts, base):
            print(line, file=sys.stderr)
    torch.manual_seed(recipe.seed)  # only the initial weights; the loop carries its own chance
    network = base.network(recipe) if base else _new_network(recipe)
    with tqdm(
        total=recipe.train.steps, unit="step", desc=folder.name, disable=not is_first_process()
    ) as bar:
        fitted = train(
            network,
            _walk(recipe, cohorts),
            recipe.train,
            start_from=cohorts.start,
            seed=recipe.seed,
            state_file=folder / STATE,
            report=_progress(bar),
            watch=_watch(recipe, cohorts),
            events=folder / "events",
            preview=pictures(cohorts.validation, grid_of(recipe), recipe.tracers),
            spread=base.spread(cohorts, recipe) if base and is_first_process() else None,
        )
    if is_first_process():
        card = write_checkpoint(folder, fitted, draft, recipe, cohorts, base)
        print(f"{folder}: {card.label}; skill over the training mean ({cohorts.asked})")
        for tracer in card.tracers:
            of_tracer = (
                f"{of} {skills[tracer.name]:+.3f}"
                for of, skills in card.validation["skill_over_training_mean"].items()
                if tracer.name in skills
            )
            print(f"  {tracer.name}: {', '.join(of_tracer) or 'no scan among them'}")


def _gather(
    recipe: Recipe, base: Base | None, fold: int | None, kept: Path, resolution: str
) -> Cohorts:
    data = recipe.data
    if not isinstance(data, PairData):
        return gather_phantoms(recipe, data, folder=kept, start=base is None)
    share = 0.0 if base else data.start_share
    if issubclass(KINDS[recipe.kind], ClosedForm):
        share = 1.0
    return gather_pairs(
        recipe, data, folder=kept, resolution=resolution, fold=fold, start_share=share
    )


def _told(cohorts: Cohorts, base: Base | None) -> Iterator[str]:
    """What a person should know before the training starts, in lines."""
    sides = {
        "to start from": cohorts.start,
        "to learn from": cohorts.train,
        "held out for validation": cohorts.validation,
        "set aside": cohorts.test,
    }
    counts = ", ".join(f"{len(side)} {what}" for what, side in sides.items() if len(side))
    unit, verb = ("sessions", "read") if cohorts.sides else ("phantoms", "made")
    yield f"{unit}: {counts}; each is {verb} when its turn comes first, and kept on disk"
    lacks = list(cohorts.lacks.items())
    for label, reasons in lacks[:SHOWN]:
        yield f"  {label} lacks: {' '.join(reasons)}"
    if len(lacks) > SHOWN:
        yield f"  ... ({len(lacks)} sessions lack something)"
    if base is not None and base.seen is None:
        yield (
            f"whom {base.card.label} has learned from did not come with it: whether any of them "
            "are held out here cannot be checked"
        )


def _new_network(recipe: Recipe) -> Model:
    return build_model(
        recipe.kind, recipe.architecture, shape=recipe.grid.shape, diffusion=recipe.diffusion,
        sampler=recipe.sampler, objective=recipe.objective, training=True,
    )  # fmt: skip


def _walk(recipe: Recipe, cohorts: Cohorts) -> Cohort:
    """Whom each step meets, in order; a model in closed form takes no step."""
    members = cohorts.train if len(cohorts.train) else cohorts.start
    length = recipe.train.steps * recipe.train.per_step
    order = training_order(len(members), length, seed=recipe.seed)
    return Cohort(members.make, [members.indices[place] for place in order])


def _watch(recipe: Recipe, cohorts: Cohorts) -> Watch | None:
    """Early stopping on the error of regional SUVr in the validation participants."""
    regional = regional_error(recipe, cohorts.validation)
    if recipe.watch is None or not recipe.watches or regional is None:
        return None

    def error(model: Model) -> float:
        of_tracer = regional(every_tracer(model, recipe.n_classes), device_of(model))
        return float(np.mean(list(of_tracer.values())))

    return Watch(error, recipe.watch.every, recipe.watch.patience)


def _progress(bar: tqdm) -> Callable[[int, Mapping[str, float]], None]:
    """Show what the model says of its steps, averaged over the last hundred in which it did."""
    recent: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=100))

    def report(step: int, log: Mapping[str, float]) -> None:
        for name, value in log.items():
            recent[name].append(value)
        bar.set_postfix({name: f"{np.mean(values):.3g}" for name, values in recent.items()})
        bar.update(step - bar.n)

    return report
