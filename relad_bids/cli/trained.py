"""What a training leaves in its folder: which run it is, the checkpoint, and what it is worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relad_bids import __version__
from relad_bids.cli.tuning import Base
from relad_bids.cohorts.gather import Cohorts
from relad_bids.cohorts.record import write_participants
from relad_bids.cohorts.watching import device_of, regional_error
from relad_bids.errors import ConflictError
from relad_bids.files import write_text
from relad_bids.model.base import Model
from relad_bids.model.card import Card
from relad_bids.model.checkpoint import round_weights, save_checkpoint
from relad_bids.model.data import loader
from relad_bids.model.learning.floor import training_mean
from relad_bids.model.learning.recipe import Recipe
from relad_bids.model.learning.training import every_tracer, skill
from relad_bids.seen_list import HASH

STATE, RUN = "training-state.pt", "training-run.json"
"""What a stopped run goes on from, and what run it is."""

_FREE = ("batch_size", "accumulate", "checkpointing", "workers", "save_every", "device")
"""Settings of the training that may change when a stopped run goes on: a step is the same,
however its participants are divided."""


def claim(folder: Path, recipe: Recipe, cohorts: Cohorts, base: Base | None) -> None:
    """Write down which run the folder holds; refuse to go on with a stopped one that is another.

    It would have learned from other people, or by another recipe, than the card will say.

    Raises
    ------
    ConflictError
        Names what is different.
    """
    said = asdict(recipe)
    del said["data"]  # in the identity of the participants
    for name in _FREE:
        del said["train"][name]
    run = {
        **said,
        "per_step": recipe.train.per_step,
        "suvr_max": list(recipe.suvr_max.items()),  # their order counts
        "participants": cohorts.identity,
        "fine_tuned_from": base.card.sha256 if base else None,
    }
    ours = json.loads(json.dumps(run))
    path = folder / RUN
    if (folder / STATE).is_file() and path.is_file():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        if changed := sorted(_differences(ours, theirs, "")):
            raise ConflictError(
                f"{folder} holds a run that differs from this one in {', '.join(changed)}, and "
                f"cannot go on as this one. Give another folder, or remove {STATE} there to "
                "start again."
            )
    write_text(path, json.dumps(ours, indent=2) + "\n")


def _differences(ours: Any, theirs: Any, name: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() | theirs.keys():
            yield from _differences(ours.get(key), theirs.get(key), f"{name}.{key}".lstrip("."))
    elif ours != theirs:
        yield name


def draft_card(recipe: Recipe) -> Card:
    """What the card says before anything is learned."""
    return Card(
        name=recipe.name,
        version=recipe.version,
        kind=recipe.kind,
        architecture=dict(recipe.architecture),
        space=recipe.grid.space,
        shape=recipe.grid.shape,
        affine=recipe.grid.affine,
        tracers=recipe.tracers,
        missing_flair=recipe.train.missing_flair > 0,
        mri_contract=recipe.mri,
        statement=recipe.statement,
    )


def write_checkpoint(
    folder: Path, fitted: Model, draft: Card, recipe: Recipe, cohorts: Cohorts, base: Base | None
) -> Card:
    """Measure the fitted model; write the lists of participants, weights and card."""
    if recipe.half_weights:
        round_weights(fitted)
    training: dict[str, Any] = {
        "data": dict(cohorts.facts),
        "optimisation": asdict(recipe.train),
        "objective": dict(recipe.objective),
        "seed": recipe.seed,
        "software": f"relad-bids {__version__}, torch {torch.__version__}",
    }
    if recipe.watch is not None:
        training["watch"] = asdict(recipe.watch)
    if base is not None:
        training["fine_tuned_from"] = base.facts()
    if cohorts.sides is not None:
        before = base.seen_before(cohorts, recipe.data) if base else set()
        training[HASH] = write_participants(folder, cohorts.sides, before)
    card = replace(
        draft,
        diffusion=fitted.diffusion,
        sampler=dict(fitted.sampler),
        training=training,
        validation={"cohort": cohorts.asked, **_figures(recipe, cohorts, fitted)},
    )
    return save_checkpoint(folder, fitted, card)


def _figures(recipe: Recipe, cohorts: Cohorts, fitted: Model) -> dict[str, Any]:
    """Skill and regional error of the model and of its regression, by tracer.

    A tracer of which nobody asked has a scan has no figure.
    """
    workers, device = recipe.train.workers, device_of(fitted)
    mean, _ = training_mean(loader(cohorts.learned, batch_size=1, workers=workers))
    answers: dict[str, Callable[[Tensor], Tensor]] = {
        recipe.kind: every_tracer(fitted, recipe.n_classes)
    }
    if (regression := fitted.linear_part()) is not None:
        answers["regression"] = regression
    skills = {
        of: skill(answer, cohorts.judges, mean=mean.to(device), workers=workers)
        for of, answer in answers.items()
    }
    figures = {
        "skill_over_training_mean": {
            of: {t.name: float(v) for t in recipe.tracers if torch.isfinite(v := of_all[t.index])}
            for of, of_all in skills.items()
        }
    }
    if (regional := regional_error(recipe, cohorts.judges)) is not None:
        figures["voi_mae_suvr"] = {of: regional(answer, device) for of, answer in answers.items()}
    return figures
