"""What is known of the participants beside images: demographics and scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from relad_bids.errors import DataError, InputError, UsageError
from relad_bids.files import read_users_table

NAMES: Mapping[str, tuple[str, ...]] = {
    "age": ("age", "age_years", "age_at_scan", "age_at_baseline"),
    "sex": ("sex", "gender"),
    "education": ("education", "education_years", "years_of_education", "educ", "edu", "pteducat"),
    "diagnosis": ("diagnosis", "dx", "dx_group", "diagnosis_group", "group"),
    "site": ("site", "site_id", "scanner", "scanner_id", "center", "centre"),
    "apoe": ("apoe", "apoe4", "apoe_e4", "apoe_genotype", "apoe_status"),
    "race": ("race", "race_ethnicity", "ethnicity", "ptraccat"),
    "wmh": ("wmh", "wmh_ml", "wmh_volume", "wmh_volume_ml", "wmh_mm3", "wmh_volume_mm3"),
}
"""What it is -> column names it goes by, in any case; the first that is there counts."""

NUMBERS = frozenset({"age", "education", "wmh"})

SEXES = {"f": "F", "female": "F", "w": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}


@dataclass(frozen=True, eq=False)
class People:
    """One row per participant."""

    table: pd.DataFrame
    """Index ``participant_id``: all columns of the file, and ``age education wmh`` as numbers,
    ``sex`` (F, M) ``diagnosis site apoe race`` as words, ``female`` (1, 0), ``apoe4`` (alleles, or
    1 of a carrier), as far as known."""
    path: Path | None
    """Where it was read; None if there is none."""

    def has(self, name: str) -> bool:
        """Whether anybody's is known."""
        return name in self.table and bool(self.table[name].notna().any())

    def column(self, name: str, asked_by: str) -> pd.Series:
        """One column of the file.

        Raises
        ------
        UsageError
            It is not there.
        """
        if name not in self.table:
            there = ", ".join(map(str, self.table)) or "no columns"
            raise UsageError(
                f"{asked_by} names the column {name!r}; {self.path or 'no participants.tsv'} has "
                f"{there}. Give one of these, or another file with --participants-tsv."
            )
        return self.table[name]

    def of(self, rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
        """These columns for each row of a frame with ``participant_id``; NaN of who is not in."""
        found = self.table.reindex(rows["participant_id"].astype(str))
        return found.reindex(columns=list(names)).set_axis(rows.index)


def read_people(given: Path | None, places: Iterable[Path]) -> People:
    """Read ``participants.tsv``: the given one, else the first that is there.

    Raises
    ------
    InputError
        The given one cannot be read.
    DataError
        It has no ``participant_id``, or names somebody twice.
    """
    if given is not None and not given.is_file():
        raise InputError(
            f"--participants-tsv names {given}, which is no file. Give the participants.tsv."
        )
    candidates = [given] if given else [folder / "participants.tsv" for folder in places]
    path = next((one for one in candidates if one.is_file()), None)
    if path is None:
        return People(pd.DataFrame(index=pd.Index([], name="participant_id")), None)
    return People(_known(_by_participant(path)), path)


def _by_participant(path: Path) -> pd.DataFrame:
    table = labelled(path)
    if table["participant_id"].duplicated().any():
        who = table.loc[table["participant_id"].duplicated(), "participant_id"].iloc[0]
        raise DataError(f"{path} has two rows of {who}; it needs one row per participant.")
    return table.set_index("participant_id")


def labelled(path: Path) -> pd.DataFrame:
    """A table with ``participant_id``, and ``session_id``, with their prefixes."""
    table = read_users_table(path)
    if "participant_id" not in table:
        raise DataError(f"{path} has no column participant_id; its first row must name it.")
    for name, prefix in (("participant_id", "sub-"), ("session_id", "ses-")):
        if name in table:
            text = table[name].astype(object)
            known = text.notna()
            text[known] = prefix + text[known].astype(str).str.removeprefix(prefix)
            table[name] = text
    return table


def _known(table: pd.DataFrame) -> pd.DataFrame:
    lower = {str(name).lower(): name for name in reversed(table.columns)}
    found = {}
    for name, spellings in NAMES.items():
        column = next((lower[word] for word in spellings if word in lower), None)
        if column is not None:
            # BIDS writes ages above 89 as "89+": such an age is not known.
            found[name] = (
                pd.to_numeric(table[column], errors="coerce")
                if name in NUMBERS
                else _words(table[column])
            )
    if "sex" in found:
        found["sex"] = found["sex"].str.lower().map(SEXES)
        found["female"] = found["sex"].map({"F": 1.0, "M": 0.0})
    if "apoe" in found:
        found["apoe4"] = found["apoe"].map(_alleles).astype(float)
    return table.assign(**found)


def _words(values: pd.Series) -> pd.Series:
    """Text without spaces around it; an empty one is missing. 1.0 is the word 1."""
    known = values.dropna()
    whole = pd.api.types.is_float_dtype(known) and bool((known % 1 == 0).all())
    text = (known.astype(int) if whole else known).astype(str).str.strip()
    return text[text != ""].reindex(values.index).astype(object)


def _alleles(text: object) -> float:
    """e4 alleles of a genotype (``e3/e4``, ``34``, ``E3E4``) or a count; 1 of a carrier.

    >>> [_alleles(text) for text in ("e3/e4", "44", "33", "2", "Yes", "non-carrier")]
    [1.0, 2.0, 0.0, 2.0, 1.0, 0.0]
    """
    word = str(text).lower()
    if word in _CARRIERS:
        return _CARRIERS[word]
    digits = "".join(letter for letter in word if letter.isdigit())
    if len(digits) == 2 and set(digits) <= set("234"):
        return float(digits.count("4"))
    return float("nan")


_CARRIERS = {
    **{str(count): float(count) for count in range(3)},
    **dict.fromkeys(("yes", "y", "true", "carrier", "positive", "pos", "+", "e4+"), 1.0),
    **dict.fromkeys(
        ("no", "n", "false", "noncarrier", "non-carrier", "negative", "neg", "-", "e4-"), 0.0
    ),
}


def read_scores(
    files: Sequence[Path], names: Sequence[str], people: People
) -> Mapping[str, pd.DataFrame]:
    """Find each score in the phenotype files, else in ``participants.tsv``.

    Returns
    -------
    Mapping
        Score -> ``participant_id value``, with ``session_id`` where the file has it.

    Raises
    ------
    InputError, UsageError, DataError
        A file cannot be read, a score is in none, or in two, or is no number.
    """
    tables = {}
    for path in files:
        if not path.is_file():
            raise InputError(f"--phenotype names {path}, which is no file.")
        tables[str(path)] = labelled(path)
    if people.path is not None:
        tables.setdefault(str(people.path), people.table.reset_index())
    return {name: _score(name, tables) for name in names}


def _score(name: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    holding = [path for path, table in tables.items() if name in table]
    if not holding:
        there = sorted({str(c) for t in tables.values() for c in t if c not in _KEYS})
        raise UsageError(
            f"--scores names {name!r}; the files {', '.join(tables) or '(none)'} have "
            f"{', '.join(there[:30]) or 'no such columns'}. Name one of these, or give its file "
            "with --phenotype."
        )
    table = tables[holding[0]]
    values = pd.to_numeric(table[name], errors="coerce")
    if (values.isna() & table[name].notna()).any() or not values.notna().any():
        raise DataError(
            f"the score {name!r} of {holding[0]} is not a number everywhere; a score must be one "
            "(n/a where missing)."
        )
    keys = [key for key in _KEYS if key in table]
    found = table[keys].assign(value=values).dropna(subset=["value"])
    if found.duplicated(keys).any():
        raise DataError(
            f"{holding[0]} has two values of {name!r} for one {' and '.join(keys)}; it needs one. "
            "Add session_id, or keep one row."
        )
    return found


_KEYS = ("participant_id", "session_id")
