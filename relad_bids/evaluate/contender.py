"""Models that are compared, each with the floors that its own training gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from relad_bids.core.intensity import activity_from_network
from relad_bids.errors import UsageError
from relad_bids.evaluate.cases import Answer, Case, Images
from relad_bids.evaluate.leakage import Seen, seen_by
from relad_bids.evaluate.training_side import TrainingSide
from relad_bids.model.base import Model
from relad_bids.model.card import Card
from relad_bids.model.checkpoint import CARD, load_checkpoint
from relad_bids.model.kinds.mean import TrainingMean
from relad_bids.model.kinds.ridge import Ridge
from relad_bids.model.predictor import Predictor

CLOSED_FORMS = ("mean", "ridge")
"""Floors that a checkpoint carries: its training mean, its regression on regional MRI means."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One checkpoint, what it answers without learning, and whom it has seen."""

    predictor: Predictor
    floors: Mapping[str, Predictor]
    """Those of :data:`CLOSED_FORMS` that it has."""
    seen: Seen
    folder: Path | None
    """Where its card lies; None of a floor that is compared as a model."""
    training: TrainingSide | None = None
    """What is told by those it was trained on, once they were looked at again."""

    @property
    def ood(self) -> Mapping[str, Any] | None:
        """Statistics of its training inputs, just made or from its card."""
        return self.training.ood if self.training else self.predictor.card.ood


@dataclass(frozen=True, eq=False)
class Contender:
    """One model: a checkpoint, or the checkpoints of a cross-validation, who answer in turn."""

    name: str
    kind: str
    folds: tuple[Fold, ...]

    @property
    def card(self) -> Card:
        return self.folds[0].predictor.card

    @property
    def tracers(self) -> frozenset[str]:
        return frozenset(tracer.name for tracer in self.card.tracers)

    @property
    def draws(self) -> bool:
        """Whether there is more than one answer."""
        return self.folds[0].predictor.network.stochastic

    @property
    def in_suvr(self) -> bool:
        """Whether the scale of the answers is that of the PET they are held to."""
        return self.card.pet_contract == "suvr-fixed"

    def for_participant(self, participant_id: str) -> Fold | None:
        """The first checkpoint that never saw this participant; None if all did."""
        unseen = (fold for fold in self.folds if participant_id not in fold.seen)
        return next(unseen, None)


def load_contenders(models: Sequence[str], *, device: str) -> tuple[Contender, ...]:
    """Load what is to be compared.

    Parameters
    ----------
    models
        Checkpoint folders, folders that hold those of a cross-validation (``fold-1`` ...), or
        the words ``mean`` and ``ridge``: the floors of the first folder, as models.

    Raises
    ------
    UsageError
        No folder is among them, a floor was asked for that the first folder has not, or one
        model is given twice.
    """
    folders = [Path(model) for model in models if model not in CLOSED_FORMS]
    if not folders:
        raise UsageError(
            f"--models names {', '.join(models) or 'nothing'}; mean and ridge are taken from a "
            "checkpoint, so at least one checkpoint folder is needed."
        )
    of_folder = {str(folder): _load(folder, device) for folder in folders}
    first = of_folder[str(folders[0])]
    found = [
        _closed(first, model) if model in CLOSED_FORMS else of_folder[str(Path(model))]
        for model in models
    ]
    names = [contender.name for contender in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"--models names {', '.join(twice)} more than once; give each model once."
        )
    return tuple(found)


def _load(folder: Path, device: str) -> Contender:
    inside = sorted(path.parent for path in folder.glob(f"fold-*/{CARD}"))
    parts = [folder] if (folder / CARD).is_file() or not inside else inside
    folds = tuple(_fold(part, device) for part in parts)
    card = folds[0].predictor.card
    several = f"{card.name}-{card.version}, {len(folds)} folds"
    return Contender(card.label if len(folds) == 1 else several, card.kind, folds)


def _fold(folder: Path, device: str) -> Fold:
    network, card = load_checkpoint(folder)
    floors = {
        name: Predictor(floor.eval(), card, device=device)
        for name, floor in closed_forms(network, card).items()
    }
    predictor = Predictor(network, card, device=device)
    return Fold(predictor, floors, seen_by(folder, card), folder)


def closed_forms(network: Model, card: Card) -> dict[str, Model]:
    """The floors inside a model, as models of their own."""
    regression = network.regression if isinstance(network, Ridge) else network.linear_part()
    if isinstance(network, TrainingMean):
        return {"mean": network}
    if regression is None:
        return {}
    n_tracers, (rank, n_sequences) = len(regression.prior), regression.loadings.shape[:2]
    mean = TrainingMean(n_tracers=n_tracers, shape=card.shape)
    mean.mean.copy_(regression.prior)
    ridge = Ridge(n_sequences=n_sequences, n_tracers=n_tracers, rank=rank, shape=card.shape)
    ridge.regression.load_state_dict(regression.state_dict())
    return {"mean": mean, "ridge": ridge}


def _closed(contender: Contender, name: str) -> Contender:
    lacking = [fold for fold in contender.folds if name not in fold.floors]
    if lacking:
        raise UsageError(
            f"--models names {name}, which is taken from the first checkpoint, and "
            f"{contender.name} carries none. Put a checkpoint first that starts from the "
            "regression, such as one of the kinds unet or rela."
        )
    folds = tuple(
        replace(fold, predictor=fold.floors[name], folder=None) for fold in contender.folds
    )
    return Contender(f"{name} of {contender.name}", name, folds)


@dataclass(frozen=True, kw_only=True)
class Question:
    """How every model is asked."""

    n_samples: int = 1
    """Of a model that draws; the others have one answer."""
    steps: int | None = None
    """Network calls for each sample; as the card says if None."""
    seed: int = 0


def ask(
    predictor: Predictor, case: Case, images: Images, tracer: str, question: Question
) -> Answer:
    """Ask one model, as the app would: the same MRI, the same seed, the same way back."""
    draws = predictor.network.stochastic
    x = predictor.predict(
        images.mri(predictor.card),
        tracer,
        n_samples=question.n_samples if draws else 1,
        steps=question.steps if draws else None,
        generator=torch.Generator().manual_seed(case.seed(question.seed, tracer)),
    )
    card = predictor.card
    activity = activity_from_network(
        x[:, 0], contract=card.pet_contract, suvr_max=card.tracer(tracer).suvr_max
    )
    return Answer(np.where(images.mask, activity, np.float32(0)))
