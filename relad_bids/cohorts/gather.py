"""From a recipe to the participants of one training run, read or made when their turn comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from relad_bids.bids.pairs import Pairs
from relad_bids.cohorts.kept import Kept, digest
from relad_bids.cohorts.phantoms import VALIDATION_SEED, PhantomMaker
from relad_bids.cohorts.real import PairReader, find_cohort, session_table
from relad_bids.cohorts.sides import Sides, deal_sides
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import BACKGROUND
from relad_bids.model.data import Cohort, Sample
from relad_bids.model.learning.recipe import PairData, PhantomData, Recipe
from relad_bids.pet.sharpness import FIELD as FWHM


@dataclass(frozen=True, eq=False)
class Cohorts:
    """The participants of one run, by what they are for."""

    start: Cohort
    """For what has a closed form; nobody in fine-tuning."""
    train: Cohort
    """For the network; nobody where it has nothing to learn."""
    validation: Cohort
    """For early stopping and pictures."""
    test: Cohort
    """For the figures in the card, if there is anybody; they have no say."""
    facts: Mapping[str, Any]
    """What the card says of them; names nobody and no folder."""
    asked: str
    """Whom the figures in the card are of."""
    identity: str
    """Changes with anybody's side and with any file."""
    sides: Sides | None = None
    """Who is who, where they are people."""
    lacks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Session -> what is missing or cannot be used, and why."""

    @property
    def judges(self) -> Cohort:
        """Whom the figures are of."""
        return self.test if len(self.test) else self.validation

    @property
    def learned(self) -> Cohort:
        """Whose mean is the floor that the figures are measured from."""
        return self.start if len(self.start) else self.train


def grid_of(recipe: Recipe) -> Grid:
    return Grid(shape=recipe.grid.shape, affine=np.array(recipe.grid.affine, dtype=float))


def gather_phantoms(recipe: Recipe, data: PhantomData, *, folder: Path, start: bool) -> Cohorts:
    """Phantoms as a recipe says; ``start``: whether any are needed to fit a closed form to.

    ``folder`` is where they are kept once they are made.
    """

    def make(seed: int) -> Callable[[int], Sample]:
        maker = PhantomMaker(
            grid_of(recipe), data.preset, seed, data.residual_mm, recipe.suvr_max, recipe.mri
        )
        return in_classes(Kept(maker, maker.key, folder), recipe)

    learned, held_out = make(recipe.seed), make(recipe.seed + VALIDATION_SEED)
    n_start = data.n_start if start else 0
    return Cohorts(
        start=Cohort(learned, range(n_start)),
        train=Cohort(learned, range(n_start, n_start + data.n_train)),
        validation=Cohort(held_out, range(data.n_validation)),
        test=Cohort(held_out, ()),
        facts=asdict(data),
        asked=f"{data.n_validation} phantoms of another seed, template space",
        identity=digest([asdict(data), start]),
    )


def gather_pairs(
    recipe: Recipe,
    data: PairData,
    *,
    folder: Path,
    resolution: str,
    fold: int | None,
    start_share: float,
) -> Cohorts:
    """Measured pairs as a recipe says.

    Parameters
    ----------
    folder
        Where they are kept once they were read.
    resolution
        ``res`` label of the grid, used where the recipe names none.
    fold, start_share
        As in :func:`~relad_bids.cohorts.sides.deal_sides`.

    Raises
    ------
    InputError, DataError
        There are no pairs, or they cannot be dealt to sides so that nothing leaks.
    """
    grid = grid_of(recipe)
    found = find_cohort(
        data, grid=grid, space=recipe.grid.space, resolution=data.resolution or resolution,
        tracers=list(recipe.suvr_max),
    )  # fmt: skip
    table = session_table(found, data)
    sides = deal_sides(table, data, tracers=found.tracers, fold=fold, start_share=start_share)
    reader = PairReader(found.pairs, grid, recipe.suvr_max, recipe.mri)
    keys = reader.keys()
    read = in_classes(Kept(reader, keys.__getitem__, folder), recipe)
    cohorts = {
        side.name: Cohort(read, sides.rows(table, side.name).tolist()) for side in fields(sides)
    }
    return Cohorts(
        **cohorts,
        facts=_facts(data, found, sides, cohorts, fold),
        asked=_asked(sides, data, fold),
        identity=digest([asdict(sides), keys]),
        sides=sides,
        lacks=found.lacks,
    )


@dataclass(frozen=True)
class InClasses:
    """Put tracers in the places of their class numbers; the other classes have no scan."""

    make: Callable[[int], Sample]
    numbers: tuple[int, ...]
    n_classes: int

    def __call__(self, index: int) -> Sample:
        sample = self.make(index)
        pet = np.full((self.n_classes, *sample.mask.shape), BACKGROUND, dtype=np.float32)
        available = np.zeros(self.n_classes, dtype=bool)
        pet[list(self.numbers)] = sample.pet
        available[list(self.numbers)] = sample.available
        return replace(sample, pet=pet, available=available)


def in_classes(make: Callable[[int], Sample], recipe: Recipe) -> Callable[[int], Sample]:
    """Give samples the tracers of the network, where it has more than are learned."""
    numbers = tuple(tracer.index for tracer in recipe.tracers)
    if numbers == tuple(range(recipe.n_classes)):
        return make
    return InClasses(make, numbers, recipe.n_classes)


def _facts(
    data: PairData, found: Pairs, sides: Sides, cohorts: Mapping[str, Cohort], fold: int | None
) -> dict[str, Any]:
    """What the card says: how it was dealt and how many there are, but no label and no path."""
    untold = {"root", "participants_tsv", "leave_out", "test_participants", "resolution"}
    table = found.table()
    return {
        **{name: value for name, value in asdict(data).items() if name not in untold},
        "fold": fold,
        "participants": {side.name: len(getattr(sides, side.name)) for side in fields(sides)},
        "sessions": {name: len(cohort) for name, cohort in cohorts.items()},
        "scans": {
            tracer: {
                name: int(table[tracer].to_numpy()[list(cohort.indices)].sum())
                for name, cohort in cohorts.items()
            }
            for tracer in found.tracers
        },
        "reference_regions": dict(found.references),
        FWHM: found.fwhm_mm(),
    }


def _asked(sides: Sides, data: PairData, fold: int | None) -> str:
    if not sides.test:
        return f"{len(sides.validation)} participants held out, on whom early stopping looked"
    which = "held out" if fold is None else f"of fold {fold} of {data.n_folds}"
    return f"{len(sides.test)} participants {which}, who had no say in anything"
