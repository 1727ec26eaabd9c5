r"""Who starts, who trains, who is watched, who is tested: four sides without a common person.

Between those who are learned from and those who are asked (validation, test) no line cuts
through a person, a family, a site or whatever else the recipe's ``groups`` name.

Those who are learned from are dealt once more. What has a closed form (a regression on regional
means) is fitted to one part, and the network learns from the other: on its own participants the
regression errs less than on others, by about :math:`2\,\mathrm{df}\,\sigma^2/n`, and a network
that watched it there would trust it too much elsewhere. Cross-fitting would spare the division,
but for each fold the network would need another regression as its input, and at the end one that
it never saw. So there is a share, and by default it is a half. With :math:`d/n_\text{start}` the
regression's excess error and :math:`c/n_\text{train}` the network's, a share :math:`s` costs
:math:`d/s + c/(1-s)`, at best :math:`(\sqrt d + \sqrt c)^2`. Nobody knows :math:`c/d`
beforehand; the worst ratio of the two is :math:`\max(1/s, 1/(1-s))`, which is least, 2, at a
half. A site or a family may have people in both parts: neither is ever asked, and a regression
fitted to one site would be a poor start at all others.

Where so few are left that the regression cannot be fitted, sharing the same people would only
hide it: fine-tuning keeps the checkpoint's regression, so that all are trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.errors import DataError, InputError
from relad_bids.model.learning.recipe import PairData
from relad_bids.model.learning.regional_fit import FOLDS
from relad_bids.model.learning.splits import (
    PARTICIPANT,
    SHOWN,
    Split,
    check_disjoint,
    hold_out,
    k_fold,
    levels,
)

FEWEST = 3
"""Participants for fine-tuning: two to learn from and one to see when to stop."""


@dataclass(frozen=True)
class Sides:
    """Participants by what they are for; each list is sorted."""

    start: tuple[str, ...]
    """To whom what has a closed form is fitted; nobody in fine-tuning."""
    train: tuple[str, ...]
    """From whom the network learns; nobody where all of a model has a closed form."""
    validation: tuple[str, ...]
    """On whom early stopping looks."""
    test: tuple[str, ...] = ()
    """Who has no say in anything."""

    def rows(self, table: pd.DataFrame, side: str) -> NDArray[np.intp]:
        """Positions of the rows of a table that belong to a side."""
        return np.flatnonzero(table[PARTICIPANT].isin(getattr(self, side)))

    def table(self) -> pd.DataFrame:
        """One row per participant: label and side."""
        rows = [(who, side.name) for side in fields(self) for who in getattr(self, side.name)]
        return pd.DataFrame(rows, columns=[PARTICIPANT, "side"])


def deal_sides(
    table: pd.DataFrame,
    data: PairData,
    *,
    tracers: Sequence[str],
    fold: int | None = None,
    start_share: float,
) -> Sides:
    """Deal participants to sides by a recipe.

    Parameters
    ----------
    table
        One row per session: ``participant_id``, the tracers (bool), the columns that the recipe
        names.
    fold
        Number of the fold that is tested, from 1; None without folds.
    start_share
        Of those who are learned from, to whom what has a closed form is fitted: the recipe's;
        0 in fine-tuning, 1 for a model that has nothing else.

    Raises
    ------
    InputError
        One who is to be tested has no pair.
    DataError
        A side would stay empty or lack a tracer, or who is to be tested shares a value of the
        recipe's groups with others.
    """
    strata = levels(table, data.stratify)
    table = table.assign(**strata)
    marks = [*tracers, *strata]
    learners, test = _set_aside(table, data, marks, fold)
    n = learners[PARTICIPANT].nunique()
    if start_share == 0 and n < FEWEST:
        raise DataError(
            f"{n} participants are left to fine-tune with, needed are at least {FEWEST}: two to "
            "learn from and one to see when to stop."
        )
    share = max(data.validation_share, 1 / max(n, 2))
    watched = _hold_out(learners, "validation_share", share, data, marks)
    learners = learners[learners[PARTICIPANT].isin(watched.train)]
    start, train = _divide(learners, start_share, data, marks)
    sides = Sides(start, train, watched.test, test)
    _require_scans(table, sides, tracers)
    return sides


def _set_aside(
    table: pd.DataFrame, data: PairData, marks: Sequence[str], fold: int | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Rows of those who are not tested, and labels of those who are."""
    test = tuple(sorted(data.test_participants))
    if fold is not None:
        groups = _others(data.groups)
        folds = k_fold(table, n_folds=data.n_folds, seed=data.seed, groups=groups, stratify=marks)
        test = folds[fold - 1].test
    elif data.test_share:
        test = _hold_out(table, "test_share", data.test_share, data, marks).test
    tested = table[PARTICIPANT].isin(test)
    if unknown := sorted(set(test) - set(table[PARTICIPANT])):
        raise InputError(
            f"data.test_participants names {_some(unknown)}, of whom there is no pair. Correct "
            "the label, or look at what the session lacks."
        )
    if test:
        check_disjoint(table[~tested], table[tested], data.groups)
    return table[~tested], test


def _divide(
    learners: pd.DataFrame, start_share: float, data: PairData, marks: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    everybody = tuple(sorted(set(learners[PARTICIPANT])))
    if start_share in (0, 1):
        return (everybody, ()) if start_share else ((), everybody)
    alone = replace(data, groups=(PARTICIPANT,))
    dealt = _hold_out(learners, "start_share", start_share, alone, marks)
    return dealt.test, dealt.train


def _hold_out(
    table: pd.DataFrame, name: str, share: float, data: PairData, marks: Sequence[str]
) -> Split:
    try:
        return hold_out(
            table, share=share, seed=data.seed, groups=_others(data.groups), stratify=marks
        )
    except DataError as error:
        error.add_note(f"The share is that of data.{name}.")
        raise


def _require_scans(table: pd.DataFrame, sides: Sides, tracers: Sequence[str]) -> None:
    """Refuse a tracer that a side which must have it lacks; all are named at once."""
    needed = {"start": FOLDS, "train": 1}
    lines = [
        f"{tracer}: {n} scans of the side {side}, needed {'is' if least == 1 else 'are'} {least}"
        for side, least in needed.items()
        if getattr(sides, side)
        for tracer in tracers
        if (n := int(table.iloc[sides.rows(table, side)][tracer].sum())) < least
    ]
    if lines:
        counts = ", ".join(
            f"{len(getattr(sides, side.name))} {side.name}" for side in fields(sides)
        )
        raise DataError(
            f"{table[PARTICIPANT].nunique()} participants were dealt to the sides ({counts}):\n  "
            + "\n  ".join(lines)
            + "\n  Name under suvr_max only tracers that there are, change data.start_share, hold "
            "out fewer, or fine-tune a checkpoint (--finetune), which needs no side start."
        )


def _others(groups: Sequence[str]) -> list[str]:
    return [name for name in groups if name != PARTICIPANT]


def _some(labels: Sequence[str]) -> str:
    more = f", ... ({len(labels)} in all)" if len(labels) > SHOWN else ""
    return ", ".join(labels[:SHOWN]) + more
