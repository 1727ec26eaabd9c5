"""Who is learned from and who is asked: splits that no person, family or site crosses.

Participants are drawn, never scans. Where groups are named, two participants who share a value
in any of these columns stay together, and so do those who share one with either of them: the
connected components of participants and values are what is dealt out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from relad_bids.errors import DataError, UsageError

PARTICIPANT = "participant_id"
SHOWN = 5
"""Labels listed in a message before it stops."""

_MISSING = ("", "n/a")


@dataclass(frozen=True)
class Split:
    """Participants on two sides; each list is sorted."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def rows(self, table: pd.DataFrame) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Positions of the rows of a table that belong to either side.

        Raises
        ------
        DataError
            A row belongs to neither.
        """
        person = _values(table, PARTICIPANT)
        sides = [np.isin(person, side) for side in (self.train, self.test)]
        if outside := sorted(set(person[~(sides[0] | sides[1])])):
            raise DataError(
                f"the split knows nothing of {_some(outside)}, who stand in the table. Split the "
                "table that is used."
            )
        train, test = (np.flatnonzero(side) for side in sides)
        return train, test


def hold_out(
    table: pd.DataFrame,
    *,
    share: float,
    seed: int,
    groups: Sequence[str] = (),
    stratify: Sequence[str] = (),
) -> Split:
    """Set participants aside, about ``share`` of them.

    Parameters
    ----------
    table
        One row per scan or session, in any order; ``participant_id`` and the columns below.
    share
        Of the participants, between 0 and 1. It is met as nearly as whole components allow.
    seed
        Another seed sets other participants aside.
    groups
        Columns that must not be cut through, such as family or site. A missing value is an
        error: whom it would tie together is not known.
    stratify
        Columns of bool, such as the tracers: each side gets its share of the participants with
        each of them.

    Raises
    ------
    UsageError
        ``share`` is no share.
    DataError
        A column or value is missing, or one side would stay empty.
    """
    if not 0 < share < 1:
        raise UsageError(f"the share to hold out is {share:g}, needed is one between 0 and 1.")
    dealt = _deal(table, np.array([1 - share, share]), seed, groups, stratify)
    split = dealt.split(1)
    if not (split.train and split.test):
        kept = f" Kept together are {dealt.largest(table, groups)}." if groups else ""
        raise DataError(
            f"a share of {share:g} was to be held out of {len(dealt.people)} participants; that "
            f"leaves nobody to {'be asked' if split.train else 'learn from'}.{kept} Hold out "
            f"another share{_or_fewer(groups)}."
        )
    return _checked(split, table, groups)


def k_fold(
    table: pd.DataFrame,
    *,
    n_folds: int,
    seed: int,
    groups: Sequence[str] = (),
    stratify: Sequence[str] = (),
) -> tuple[Split, ...]:
    """Deal the participants to folds of nearly equal size; each is the test side once.

    Parameters are those of :func:`hold_out`.

    Raises
    ------
    UsageError
        Fewer than two folds.
    DataError
        A column or value is missing, or participants who must stay together are more than a
        fold holds, or form fewer sets than there are folds.
    """
    if n_folds < 2:
        raise UsageError(f"{n_folds} folds were asked for, needed are at least 2.")
    dealt = _deal(table, np.full(n_folds, 1 / n_folds), seed, groups, stratify)
    n, n_sets, largest = len(dealt.people), dealt.block.max(initial=-1) + 1, dealt.n_largest
    holds = -(-n // n_folds)
    if largest > holds:
        fewer = f"ask for at most {n // largest} folds, or " if n // largest > 1 else ""
        raise DataError(
            f"{largest} of {n} participants must stay together and are more than the {holds} "
            f"that one of {n_folds} folds holds: {dealt.largest(table, groups)}. To go on, "
            f"{fewer}name fewer columns."
        )
    if n_sets < n_folds:
        raise DataError(
            f"{n} participants make {n_sets} sets that must stay together, needed is one for "
            f"each of {n_folds} folds. Ask for fewer folds{_or_fewer(groups)}."
        )
    return tuple(_checked(dealt.split(fold), table, groups) for fold in range(n_folds))


def check_disjoint(
    train: pd.DataFrame, test: pd.DataFrame, columns: Sequence[str] = (PARTICIPANT,)
) -> None:
    """Refuse two sides that share a value in any of these columns.

    Raises
    ------
    DataError
        They do, or a column or value is missing; all columns and the participants are named.
    """
    lines = []
    for column in columns:
        ours, theirs = _values(train, column), _values(test, column)
        if shared := sorted(set(ours) & set(theirs)):
            who = "" if column == PARTICIPANT else f" ({_who(train, test, column, shared)})"
            lines.append(f"{column} {_some(shared)}{who}")
    if lines:
        raise DataError(
            f"the training and the test side share {'; '.join(lines)}. What is learned from one "
            "side would be asked for on the other; split by these columns."
        )


def join_groups(
    table: pd.DataFrame, participants: pd.DataFrame, columns: Sequence[str]
) -> pd.DataFrame:
    """Add columns of ``participants.tsv`` to a table, by ``participant_id``.

    Raises
    ------
    DataError
        A participant of the table has no row, or two; or a column is missing.
    """
    known = _values(participants, PARTICIPANT)
    if twice := sorted(set(known[pd.Series(known).duplicated()])):
        raise DataError(f"{_some(twice)} have more than one row among the participants; keep one.")
    person = _values(table, PARTICIPANT)
    if unknown := sorted(set(person) - set(known)):
        raise DataError(
            f"{_some(unknown)} have no row among the participants, so their "
            f"{', '.join(columns)} is not known. Add them to participants.tsv."
        )
    _require(participants, columns)
    place = pd.Index(known).get_indexer(person)
    added = {column: participants[column].to_numpy()[place] for column in columns}
    return table.assign(**added)


def levels(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of groups as columns of bool, one for each value, to stratify by.

    A missing value is a group of its own; a column of bool stays as it is.

    Raises
    ------
    DataError
        A column is missing, or has more values than half of the participants.
    """
    _require(table, [PARTICIPANT, *columns])
    most = table[PARTICIPANT].nunique() / 2
    made = {}
    for column in columns:
        if pd.api.types.is_bool_dtype(table[column].dtype):
            made[column] = table[column]
            continue
        text = table[column].map(_text).where(table[column].notna(), "n/a")
        values = sorted(set(text))
        if len(values) > most:
            raise DataError(
                f"the column {column} to stratify by has {len(values)} values among "
                f"{2 * most:g} participants ({_some(values)}), needed are a few groups. Add a "
                "column of such groups to participants.tsv, or do not stratify by it."
            )
        made |= {f"{column}={value}": text == value for value in values}
    return pd.DataFrame(made, index=table.index)


@dataclass(frozen=True, eq=False)
class _Dealt:
    """Participants, the set each must stay with, and the fold it went to; all (P,)."""

    people: NDArray[np.object_]
    block: NDArray[np.intp]
    fold: NDArray[np.intp]

    def split(self, fold: int) -> Split:
        here = self.fold == fold
        return Split(tuple(self.people[~here]), tuple(self.people[here]))

    @property
    def n_largest(self) -> int:
        return int(np.bincount(self.block, minlength=1).max())

    def largest(self, table: pd.DataFrame, groups: Sequence[str]) -> str:
        """Name the participants of the largest set and the values that tie them."""
        people = self.people[self.block == np.bincount(self.block, minlength=1).argmax()]
        ties = "; ".join(_ties(table[np.isin(_values(table, PARTICIPANT), people)], groups))
        return f"{_some(list(people))}" + (f" ({ties})" if ties else "")


def _deal(
    table: pd.DataFrame,
    weights: NDArray[np.float64],
    seed: int,
    groups: Sequence[str],
    stratify: Sequence[str],
) -> _Dealt:
    """Deal the components to folds of these weights (F,), which sum to 1."""
    person, people = pd.factorize(_values(table, PARTICIPANT), sort=True)
    block = _components(person, [pd.factorize(_values(table, name))[0] for name in groups])
    has = [_flags(table, name)[:, None] for name in stratify]
    counts = np.zeros((len(people), 1 + len(stratify)), dtype=np.float64)
    np.maximum.at(counts, person, np.hstack([np.ones((len(table), 1)), *has]))
    size = np.zeros((block.max(initial=-1) + 1, counts.shape[1]))
    np.add.at(size, block, counts)
    fold = _assign(size, weights, np.random.default_rng(seed))
    return _Dealt(people, block, fold[block])


def _components(person: NDArray[np.intp], groups: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Number the connected components of participants and values by their first participant."""
    n_people = n_nodes = person.max(initial=-1) + 1
    ours, theirs = [], []
    for group in groups:
        ours.append(person)
        theirs.append(n_nodes + group)
        n_nodes += group.max(initial=-1) + 1
    edges = (np.hstack([[], *ours]).astype(int), np.hstack([[], *theirs]).astype(int))
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(n_nodes, n_nodes))
    label = connected_components(graph, directed=False)[1]
    return pd.factorize(label[:n_people])[0]


def _assign(
    size: NDArray[np.float64], weights: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.intp]:
    r"""Deal components (N, C) to folds (F,) so that each holds its weight of every count.

    Greedy descent of :math:`\sum_{fc} L_{fc}^2 / (w_f T_c^2)`, L the count c in fold f and T
    that of all: the largest first, each to the fold where the sum grows least. With one count
    and equal weights that is Graham's longest-processing-time rule, with components of one
    participant Webster's apportionment, so a share is met to half a participant.
    """
    total = size.sum(0)
    part = size[:, total > 0] / total[total > 0]
    order = rng.permutation(len(part))
    order = order[np.argsort(-np.square(part[order]).sum(1), kind="stable")]
    load, fold = np.zeros((len(weights), part.shape[1])), np.zeros(len(part), dtype=np.intp)
    for one in order:
        growth = ((2 * load + part[one]) * part[one]).sum(1) / weights
        fold[one] = growth.argmin()
        load[fold[one]] += part[one]
    return fold


def _checked(split: Split, table: pd.DataFrame, groups: Sequence[str]) -> Split:
    train, test = split.rows(table)
    check_disjoint(table.iloc[train], table.iloc[test], (PARTICIPANT, *groups))
    return split


def _values(table: pd.DataFrame, column: str) -> NDArray[np.object_]:
    """A column as text, without blanks around it; every value must be there."""
    _require(table, [column])
    text = table[column].map(_text)
    missing = table[column].isna() | text.isin(_MISSING)
    if missing.any():
        rows = np.flatnonzero(missing)
        people = {f"row {row}" for row in rows}
        if column != PARTICIPANT and PARTICIPANT in table:
            people = set(table[PARTICIPANT].iloc[rows].map(_text))
        raise DataError(
            f"{column} is missing for {len(rows)} rows ({_some(sorted(people))}), needed is a "
            "value for each: whom it ties together must be known. Who belongs to no group gets "
            "a value of their own."
        )
    return np.asarray(text.to_numpy(dtype=object))


def _text(value: object) -> str:
    """Write 1.0 as 1: one missing value elsewhere makes a column of numbers one of floats."""
    whole = isinstance(value, float) and value.is_integer()
    return f"{value:.0f}" if whole else str(value).strip()


def _flags(table: pd.DataFrame, column: str) -> NDArray[np.bool_]:
    _require(table, [column])
    if not pd.api.types.is_bool_dtype(table[column].dtype):
        raise DataError(
            f"the column {column} to stratify by holds {table[column].dtype}, needed is true or "
            "false in each row."
        )
    return np.asarray(table[column].to_numpy(dtype=bool))


def _require(table: pd.DataFrame, columns: Sequence[str]) -> None:
    if missing := [column for column in columns if column not in table]:
        raise DataError(
            f"the table has no column {', '.join(missing)}; it has {', '.join(table.columns)}."
        )


def _ties(table: pd.DataFrame, groups: Sequence[str]) -> Iterator[str]:
    """Values that more than one of the participants of a table have."""
    person = _values(table, PARTICIPANT)
    for column in groups:
        shared = pd.Series(person).groupby(_values(table, column)).nunique()
        if values := sorted(shared.index[shared > 1]):
            yield f"{column} {_some(values)}"


def _who(train: pd.DataFrame, test: pd.DataFrame, column: str, shared: Sequence[str]) -> str:
    """Name those who have one of the values, on either side."""
    sides = [side[np.isin(_values(side, column), shared)] for side in (train, test)]
    ours, theirs = (_some(sorted(set(_values(side, PARTICIPANT)))) for side in sides)
    return f"{ours} on one, {theirs} on the other"


def _or_fewer(groups: Sequence[str]) -> str:
    return f", or name fewer columns than {', '.join(groups)}" if groups else ""


def _some(labels: Sequence[str]) -> str:
    more = f", ... ({len(labels)} in all)" if len(labels) > SHOWN else ""
    return ", ".join(labels[:SHOWN]) + more
