"""One evaluation from models and participants to rows: what the command does, without files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from relad_bids.core.ood import MIN_PARTICIPANTS
from relad_bids.errors import UsageError
from relad_bids.evaluate.contender import Contender, Fold, Question
from relad_bids.evaluate.leakage import require_unseen
from relad_bids.evaluate.regions import Regions
from relad_bids.evaluate.score import AGE_SEX
from relad_bids.evaluate.sources import Found, learned_from
from relad_bids.evaluate.training_side import demographics, look_back
from relad_bids.evaluate.walk import Rows, walk
from relad_bids.tables import tracers
from relad_bids.vois import reference_regions

Bar = Callable[[str, int], Callable[[], object]]
"""Title and number of steps -> what is called after each."""


def silent(title: str, total: int) -> Callable[[], object]:
    """A bar that nobody sees."""
    return lambda: None


@dataclass(frozen=True, eq=False)
class Bench:
    """Models that share a grid, and whom they are asked about.

    Raises
    ------
    DataError
        A model has seen some of them; they are named.
    """

    contenders: tuple[Contender, ...]
    found: Found
    regions: Regions

    def __post_init__(self) -> None:
        asked = {case.participant_id for case in self.found.cases}
        for contender in self.contenders:
            require_unseen(contender.name, [fold.seen for fold in contender.folds], asked)

    def looked_back(self, n: int, bar: Bar = silent) -> Bench:
        """Look again at up to ``n`` training participants of each checkpoint.

        A checkpoint of whose training too few are at hand learns nothing about itself.
        """
        known: dict[tuple[str, ...], Fold] = {}

        def look(fold: Fold) -> Fold:
            cases = learned_from(fold, n, [*self.found.cases, *self.found.others])
            if len({case.participant_id for case in cases}) < MIN_PARTICIPANTS:
                return fold
            key = tuple(case.label for case in cases)
            if key not in known:
                side = look_back(cases, self.regions, report=bar("look back", len(cases)))
                known[key] = replace(fold, training=side)
            return replace(fold, training=known[key].training)

        contenders = (
            replace(contender, folds=tuple(look(fold) for fold in contender.folds))
            for contender in self.contenders
        )
        return replace(self, contenders=tuple(contenders))

    def rows(self, question: Question, suvr_range: dict[str, float], bar: Bar = silent) -> Rows:
        """Ask everything, and add the floor of age and sex where it is known."""
        cases = self.found.cases
        rows = walk(
            self.contenders, cases, self.regions, question,
            suvr_range=suvr_range, report=bar("evaluate", len(cases)),
        )  # fmt: skip
        voi = rows["voi"]
        floors = [self._age_sex(contender, voi) for contender in self.contenders]
        known = pd.concat(floors) if floors else pd.Series(dtype=float)
        if known.notna().any():
            rows["voi"] = voi.assign(**{AGE_SEX: known})
        return rows

    def _age_sex(self, contender: Contender, voi: pd.DataFrame) -> pd.Series:
        """By the training side of whichever checkpoint answered for the participant."""
        mine = voi[voi["model"] == contender.name]
        found = pd.Series(np.nan, index=mine.index)
        folds = mine["participant_id"].map(contender.for_participant)
        for fold in contender.folds:
            of_fold = mine[[answering is fold for answering in folds]]
            if fold.training is not None and len(of_fold):
                found[of_fold.index] = demographics(of_fold, fold.training, self.found.cases)
        return found


def can_be_compared(tracer: str) -> bool:
    """Whether the reference region of a tracer is known, and labels give it."""
    return tracer in tracers() and tracers()[tracer].reference in reference_regions()


def known_tracers(contenders: Sequence[Contender]) -> tuple[str, ...]:
    """Tracers of the models that can be compared, in order.

    Raises
    ------
    UsageError
        There is none.
    """
    every = dict.fromkeys(t.name for c in contenders for t in c.card.tracers)
    if known := tuple(name for name in every if can_be_compared(name)):
        return known
    raise UsageError(
        f"the models synthesise {', '.join(every)}; of none of them a reference region is known "
        f"that labels give. Those that can be compared are "
        f"{', '.join(name for name in tracers() if can_be_compared(name))}."
    )


RANGE = {"tau": 5.0, "amyloid": 4.0, "tspo": 3.0, "metabolism": 3.0}
"""Target -> range of SUVr where no model states one (pet-quantification, section 0.1)."""


def suvr_ranges(contenders: Sequence[Contender], names: Sequence[str]) -> dict[str, float]:
    """L of PSNR and SSIM per tracer: the largest ``suvr_max`` of the models, or by target."""
    found = {}
    for name in names:
        stated = [
            tracer.suvr_max
            for contender in contenders
            for tracer in contender.card.tracers
            if tracer.name == name and tracer.suvr_max is not None
        ]
        found[name] = max(stated, default=RANGE[tracers()[name].target])
    return found
