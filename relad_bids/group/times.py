"""When sessions were: from one table of all, from ``sessions.tsv``, or from ``scans.tsv``."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from relad_bids.errors import DataError, InputError
from relad_bids.files import no_table, read_users_table
from relad_bids.group.people import labelled
from relad_bids.untrusted import require_small

DAYS_PER_YEAR = 365.25
TIME_COLUMNS = ("years", "acq_time", "age")
CLOCKS = ("years", "acq_time", "scans", "age")
"""In order of preference; ``scans``: acq_time of the session's scans. Age often counts whole
years, and stands last."""
DATA_TYPES = ("anat/", "pet/")
"""Of the scans that a session's time is taken from: what is read of it."""
FAR_APART = 0.5
"""Years between the first and the last scan of one session from which on it is said."""

_KEYS = ["participant_id", "session_id"]


def read_session_times(
    given: Path | None, folders: Iterable[Path], notes: list[str]
) -> pd.DataFrame:
    """When sessions were: the given file, else sessions.tsv and scans.tsv of the folders.

    A participant's times are all of one clock: that which tells most of the sessions, of several
    the first of :data:`CLOCKS`. Shifted dates (1925 and before) serve as well as others: only
    the time between sessions is used. A session is as old as the first of its ``anat`` and
    ``pet`` scans.

    Parameters
    ----------
    notes
        Gets a sentence where scans of one session lie far apart.

    Returns
    -------
    DataFrame
        ``participant_id session_id years``, years since the participant's first session known;
        empty where nothing is known.

    Raises
    ------
    InputError, DataError
        The given file is not there, or has no clock.
    """
    if given is not None:
        if not given.is_file():
            raise InputError(f"--sessions-tsv names {given}, which is no file.")
        found = list(_clocks(labelled(given)))
        if not found:
            columns = ", ".join(map(str, read_users_table(given)))
            raise DataError(
                f"{given} has the columns {columns}; it needs "
                f"participant_id, session_id and one of {', '.join(TIME_COLUMNS)}."
            )
    else:
        places = list(folders)
        found = [clock for path in _paths(places, "sub-*/sub-*_sessions.tsv")
                 for clock in _clocks(_of_participant(path))]  # fmt: skip
        found += _scans(_paths(places, "sub-*/ses-*/sub-*_scans.tsv"), notes)
    if not found:
        return pd.DataFrame(columns=[*_KEYS, "years"])
    known = pd.concat(found, ignore_index=True).dropna().drop_duplicates([*_KEYS, "clock"])
    every = _one_clock(known)
    first = every.groupby("participant_id")["years"].transform("min")
    return every.assign(years=every["years"] - first)[[*_KEYS, "years"]]


def _paths(folders: Iterable[Path], pattern: str) -> list[Path]:
    return sorted({path.resolve() for folder in folders for path in folder.glob(pattern)})


def _one_clock(known: pd.DataFrame) -> pd.DataFrame:
    """Times of different clocks have no difference."""
    told = known.groupby(["participant_id", "clock"]).size().reset_index(name="n")
    place = told["clock"].map({name: index for index, name in enumerate(CLOCKS)})
    order = told.assign(place=place).sort_values(["n", "place"], ascending=[False, True])
    chosen = order.drop_duplicates("participant_id").set_index("participant_id")["clock"]
    return known[known["clock"] == known["participant_id"].map(chosen)].reset_index(drop=True)


def _of_participant(path: Path) -> pd.DataFrame:
    table = read_users_table(path)
    return table.assign(participant_id=path.parent.name)


def _clocks(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """What each of its clocks tells: ``participant_id session_id years clock``."""
    if "session_id" not in table:
        return
    session = "ses-" + table["session_id"].astype(str).str.removeprefix("ses-")
    for name in TIME_COLUMNS:
        if name in table:
            column = table[name]
            years = _years(column) if name == "acq_time" else pd.to_numeric(column, "coerce")
            yield pd.DataFrame(
                {"participant_id": table["participant_id"], "session_id": session,
                 "years": years.astype(np.float64), "clock": name}
            )  # fmt: skip


def _scans(paths: Iterable[Path], notes: list[str]) -> list[pd.DataFrame]:
    """What scans.tsv tell, in one frame; none where they tell nothing."""
    rows = [
        (path.parent.parent.name, path.parent.name, row.get("acq_time"))
        for path in paths
        for row in _rows(path)
        if str(row.get("filename", "")).startswith(DATA_TYPES)
    ]
    frame = pd.DataFrame(rows, columns=[*_KEYS, "acq_time"])
    scans = frame.assign(years=_years(frame["acq_time"])).dropna(subset=["years"])
    if scans.empty:
        return []
    sessions = scans.groupby(_KEYS)["years"].agg(["min", "max"])
    far = int((sessions["max"] - sessions["min"] > FAR_APART).sum())
    if far:
        notes.append(
            f"By scans.tsv the scans of {far} sessions lie more than {FAR_APART:g} years apart; "
            "the first counts as the time of the session."
        )
    first = sessions["min"].rename("years").reset_index()
    return [first.assign(clock="scans")]


def _rows(path: Path) -> Iterator[dict[str, str | None]]:
    try:
        require_small(path)
        with path.open(encoding="utf-8-sig", newline="") as text:
            yield from csv.DictReader(text, delimiter="\t")
    except (OSError, ValueError, csv.Error) as error:
        raise no_table(path, error) from error


def _years(dates: pd.Series) -> pd.Series:
    """Dates as years since 1900; those without a zone count as UTC, as do those with a Z."""
    moments = pd.to_datetime(dates.astype(object), errors="coerce", format="ISO8601", utc=True)
    days = (moments - pd.Timestamp("1900-01-01", tz="UTC")) / pd.Timedelta(days=1)
    return days / DAYS_PER_YEAR
