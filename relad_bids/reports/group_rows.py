"""The group's numbers as they are printed: rounded, with intervals, n and reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from relad_bids.reports.evaluation_rows import MISSING, REGIONAL, number, with_interval

FLOOR_WORDS = {
    "mean": "floor: others' mean",
    "age_sex": "floor: age and sex",
    "ridge": "floor: ridge on MRI volumes",
    "permuted": "floor: somebody else's",
}
MEASURES = [*REGIONAL[:4], *REGIONAL[4:]]
TOP_FLAGS = 4


@dataclass(frozen=True)
class Printed:
    """One table of the page."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column but the first holds numbers alone."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.head)
        return (False, *(all(map(_is_number, column)) for column in list(columns)[1:]))


def images_found(images: pd.DataFrame) -> Printed:
    """How many images of what, and what was flagged of them.

    Parameters
    ----------
    images
        One row per image: ``participant_id session_id tracer source``.
    """
    rows = []
    for (tracer, source), group in images.groupby(["tracer", "source"], observed=True):
        sessions = group.drop_duplicates(["participant_id", "session_id"])
        flags = group["qc_flags"].astype(str).str.split(";").explode()
        common = flags[~flags.isin(["ok", "nan"])].value_counts().head(TOP_FLAGS)
        told = ", ".join(f"{flag} ({count})" for flag, count in common.items()) or "none"
        rows.append(
            (str(tracer), str(source), str(group["participant_id"].nunique()),
             str(len(sessions)), str(len(group)), told)
        )  # fmt: skip
    head = ("Tracer", "Source", "Participants", "Sessions", "Images",
            "Flags of the first region (images)")  # fmt: skip
    return Printed(head, tuple(rows))


def agreement_lines(table: pd.DataFrame, floors: Sequence[str]) -> Printed:
    """One VOI of one tracer: the synthetic PET, and what floors reach.

    Parameters
    ----------
    table
        ``metric value low high`` and the floors.
    """
    by_metric = table.set_index("metric")
    rows = [("synthetic PET", *(_cell(by_metric, m, "value") for m in MEASURES))]
    rows += [
        (FLOOR_WORDS[name], *(_cell(by_metric, m, name) for m in MEASURES)) for name in floors
    ]
    return Printed(("", *(m.title for m in MEASURES)), tuple(rows))


def _cell(table: pd.DataFrame, measure: object, column: str) -> str:
    metric, digits, signed = measure.metric, measure.digits, measure.signed  # type: ignore[attr-defined]
    if metric not in table.index:
        return MISSING
    row = table.loc[metric]
    if column != "value":
        return number(float(row[column]), digits, signed=signed)
    return with_interval(
        float(row["value"]), float(row["low"]), float(row["high"]), digits, signed=signed
    )


def long_lines(
    table: pd.DataFrame, words: Sequence[str], digits: int, more: Sequence[str] = ("n",)
) -> Printed:
    """Rows of a table as they are: words, value with interval, counts.

    Parameters
    ----------
    table
        ``words``, ``value low high`` and ``more``.
    """
    rows = []
    for row in table.to_dict("records"):
        value, low, high = (_float(row[name]) for name in ("value", "low", "high"))
        told = with_interval(value, low, high, digits)
        cells = [_count(row[name]) for name in more]
        rows.append((*(_word(row[name]) for name in words), told, *cells))
    head = (*(_title(name) for name in words), "Value [95 %]", *(_title(name) for name in more))
    return Printed(head, tuple(rows))


def pivoted(
    table: pd.DataFrame,
    keys: Sequence[str],
    measures: Mapping[str, tuple[str, int]],
    more: Sequence[str] = ("n",),
) -> Printed:
    """One row for each of the keys, a column for each measure.

    Parameters
    ----------
    table
        ``keys metric value low high`` and ``more``, which are the same for all metrics of a key.
    measures
        Metric -> title and digits; those that are in the table.
    """
    there = {name: told for name, told in measures.items() if (table["metric"] == name).any()}
    rows = []
    for key, group in table.groupby(list(keys), sort=False, dropna=False):
        by_metric = {row["metric"]: row for row in group.to_dict("records")}
        cells = [_interval(by_metric.get(name), digits) for name, (_, digits) in there.items()]
        first = group.iloc[0]
        rows.append((*map(_word, key), *cells, *(_count(first[name]) for name in more)))
    titles = (title for title, _ in there.values())
    head = (*map(_title, keys), *titles, *map(_title, more))
    return Printed(head, tuple(rows))


def _interval(row: Mapping[str, object] | None, digits: int) -> str:
    if row is None:
        return MISSING
    value, low, high = (_float(row[name]) for name in ("value", "low", "high"))
    return with_interval(value, low, high, digits)


def change_lines(table: pd.DataFrame) -> Printed:
    """Annual change with its interval, and what was fitted."""
    rows = [
        (
            row.source, row.voi,
            with_interval(_float(row.annual_change), _float(row.low), _float(row.high), 4,
                          signed=True),
            p_value(_float(row.p)), _word(row.model), _count(row.n), _count(row.n_scans),
            number(_float(row.years), 1), _word(row.note),
        )
        for row in table.itertuples()
    ]  # fmt: skip
    head = ("Source", "VOI", "SUVr / year [95 %]", "p", "Random effects", "n", "Scans", "Years",
            "Note")  # fmt: skip
    return Printed(head, tuple(rows))


def effect_lines(table: pd.DataFrame) -> Printed:
    """Fixed effects of a mixed model with their intervals, and how it was fitted."""
    rows = [
        (
            row.voi, _word(row.term),
            with_interval(_float(row.estimate), _float(row.low), _float(row.high), 4,
                          signed=True),
            p_value(_float(row.p)), _word(row.method), _count(row.n), _count(row.n_rows),
            _word(row.note),
        )
        for row in table.itertuples()
    ]  # fmt: skip
    return Printed(
        ("VOI", "Effect", "SUVr [95 %]", "p", "Method", "n", "Images", "Note"), tuple(rows)
    )


_TITLES = {
    "n": "n", "p": "p", "voi": "VOI", "p_bias": "p, bias", "p_bias_fdr": "p, FDR",
    "n_positive": "positive", "n_negative": "negative", "n_predictors": "predictors",
}  # fmt: skip


def p_value(value: float) -> str:
    """Four digits, and no zero.

    >>> p_value(0.01234), p_value(1e-9)
    ('0.0123', '< 0.0001')
    """
    return "< 0.0001" if value < 0.0001 else number(value, 4)


def _is_number(cell: str) -> bool:
    return cell == MISSING or (cell[:1] in "<+-0123456789" and " to " not in cell)


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " ").capitalize())


def _float(value: object) -> float:
    return math.nan if value is None or pd.isna(value) else float(value)  # type: ignore[arg-type]


def _word(value: object) -> str:
    return MISSING if value is None or pd.isna(value) else str(value)


def _count(value: object) -> str:
    """Counts as such, p values with four digits, words as they are."""
    if value is None or pd.isna(value):
        return MISSING
    if isinstance(value, str):
        return value
    found = float(value)  # type: ignore[arg-type]
    return str(int(found)) if found == int(found) and found != 0 else p_value(found)
