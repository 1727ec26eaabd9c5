"""Participants who were scanned more than once: repeatability, and change over the years."""

from __future__ import annotations

import numpy as np
import pandas as pd

from relad_bids.core.change import CHANGE_COLUMNS, change_table
from relad_bids.core.repeats import RETEST_COLUMNS, retest_table
from relad_bids.group.people import People
from relad_bids.group.predictors import DEMOGRAPHICS
from relad_bids.group.scans import compared
from relad_bids.group.settings import GroupSettings
from relad_bids.group.times import DAYS_PER_YEAR
from relad_bids.group.written import Table

KEYS = ["participant_id", "tracer", "source", "voi"]


def repeated_rows(primary: pd.DataFrame) -> pd.DataFrame:
    """One value per session: ``participant_id session_id tracer source voi suvr``, as text."""
    rows = compared(primary)
    rows = rows[rows["session_id"].notna()].sort_values("run", na_position="first", kind="stable")
    once = rows.drop_duplicates([*KEYS, "session_id"])
    names = [*KEYS, "session_id"]
    found = once[[*names, "suvr_mean"]].rename(columns={"suvr_mean": "suvr"})
    again = found.groupby(KEYS, observed=True)["session_id"].transform("nunique") > 1
    return found[again].astype(dict.fromkeys(names, object)).reset_index(drop=True)


def retest(
    rows: pd.DataFrame, times: pd.DataFrame, settings: GroupSettings, *, rng: np.random.Generator
) -> Table | None:
    """Repeatability of the sessions that were named, or that lie near each other.

    Returns
    -------
    Table or None
        None where the user said neither, or nobody has such a pair.
    """
    if settings.retest_sessions:
        pairs = _named(rows, *settings.retest_sessions)
        how = f"sessions {' and '.join(settings.retest_sessions)}"
    elif settings.retest_days is not None:
        pairs = _near(rows, times, settings.retest_days)
        how = f"the first two sessions within {settings.retest_days:g} days"
    else:
        return None
    if pairs.empty:
        return None
    table = retest_table(pairs, rng=rng, n_draws=settings.n_draws)
    return Table("retest", table, RETEST_COLUMNS, {"Pairs": how})


def _named(rows: pd.DataFrame, test: str, again: str) -> pd.DataFrame:
    sides = {
        name: rows[rows["session_id"] == session].set_index(KEYS)["suvr"]
        for name, session in (("test", test), ("retest", again))
    }
    return pd.concat(sides, axis=1, join="inner").reset_index()


def _near(rows: pd.DataFrame, times: pd.DataFrame, days: float) -> pd.DataFrame:
    timed = rows.merge(times, on=["participant_id", "session_id"]).sort_values("years")
    groups = timed.groupby(KEYS, sort=False)
    timed["retest"], after = groups["suvr"].shift(-1), groups["years"].shift(-1)
    near = (after - timed["years"]) * DAYS_PER_YEAR <= days
    pairs = timed[near].rename(columns={"suvr": "test"})
    return pairs.drop_duplicates(KEYS)[[*KEYS, "test", "retest"]]


def change(rows: pd.DataFrame, times: pd.DataFrame, people: People) -> Table | None:
    """Annual change by mixed models; None where no times are known, or nobody came twice."""
    timed = rows.merge(times, on=["participant_id", "session_id"])
    if timed.empty:
        return None
    known = [name for name in DEMOGRAPHICS if people.has(name)]
    timed = timed.assign(**people.of(timed, known))
    first = timed.groupby("participant_id")["years"].transform("min")
    table = change_table(timed.assign(years=timed["years"] - first), covariates=known)
    told = table.dropna(subset=["n"])
    return Table("change", told, CHANGE_COLUMNS) if len(told) else None
