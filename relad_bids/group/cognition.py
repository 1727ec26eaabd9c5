"""From tables to the samples of the cognitive-score regression, and its table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from relad_bids.core.cognition import COGNITION_COLUMNS, THEORY, Sample, cognition_table
from relad_bids.group.people import People
from relad_bids.group.predictors import SESSION_KEYS, known_of_all, partly_known, predictors_of
from relad_bids.group.scans import compared
from relad_bids.group.seen import Checkpoints, require_unseen
from relad_bids.group.settings import GroupSettings
from relad_bids.group.written import Table

PERSON = ("age", "female", "education")

MAX_YEARS_APART = 0.5
"""Between scan and score (pet-quantification, section 5.7: 6 months on either side)."""

MIN_VISITS, MIN_SPAN_YEARS = 3, 1.0
"""Scores of a participant, and time between the first and the last of them, from which a change
is told: two scores fix a line whatever their error, and of MMSE that is a point or two."""
SLOPE = "change per year"


def cognition(
    primary: pd.DataFrame,
    scores: Mapping[str, pd.DataFrame],
    volumes: pd.DataFrame,
    people: People,
    times: pd.DataFrame,
    checkpoints: Checkpoints,
    settings: GroupSettings,
    *,
    rng: np.random.Generator,
    notes: list[str],
) -> Table:
    """Score the nested models for each score and tracer: everybody, and each diagnosis.

    Raises
    ------
    DataError
        A checkpoint has seen, or may have seen, somebody whose synthetic PET is used.
    """
    rows = compared(primary)
    synthetic = rows[rows["source"] == "synthetic"]
    used = synthetic[synthetic["participant_id"].isin(_scored(scores))]
    require_unseen(used.drop_duplicates("scan"), checkpoints, "a regression of cognitive scores")
    if not people.has("age"):
        notes.append("Age is not known: M0 of the cognitive scores lacks it.")
    notes.extend(text for text in partly_known(used, people) if text not in notes)
    tables = []
    for tracer, images in used.groupby("tracer", observed=True):
        pet = _by_session(images)
        real = _by_session(rows[(rows["source"] == "real") & (rows["tracer"] == tracer)])
        for score, values in with_slopes(scores, pet, times).items():
            for name, sample in _samples(values, pet, real, volumes, people, times).items():
                found = cognition_table(
                    sample, rng=rng, n_permutations=settings.n_permutations,
                    n_draws=settings.n_draws,
                )  # fmt: skip
                tables.append(found.assign(score=score, tracer=str(tracer), sample=name))
    frame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    table = frame.reindex(columns=list(COGNITION_COLUMNS))
    facts = {
        "Theory": THEORY,
        "Permutations": settings.n_permutations,
        "Folds": "5 of participants, penalties by 5 inner folds",
        "ScoreToScan": f"nearest score within {MAX_YEARS_APART:g} years of the scan where the "
        "scores have sessions, and those have times; else of the same session; scores without "
        "sessions go with the first scan, whenever it was",
        "ChangePerYear": f"of {MIN_VISITS} scores or more over {MIN_SPAN_YEARS:g} year or more, "
        f"none earlier than {MAX_YEARS_APART:g} years before the participant's first scan",
    }
    return Table("cognition", table, COGNITION_COLUMNS, facts)


def _scored(scores: Mapping[str, pd.DataFrame]) -> set[str]:
    return {str(who) for values in scores.values() for who in values["participant_id"]}


def with_slopes(
    scores: Mapping[str, pd.DataFrame], pet: pd.DataFrame, times: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The scores, and the change per year of those that were asked for again and again.

    Parameters
    ----------
    scores
        Score -> ``participant_id value``, and ``session_id`` where they are of sessions.
    pet
        Indexed by participant and session.
    times
        ``participant_id session_id years``, as far as known.

    Returns
    -------
    dict
        The same, and ``<score>, change per year`` -> ``participant_id value``, where anybody's is
        known: least squares over the scores from :data:`MAX_YEARS_APART` before the first scan
        on. Scores at different times weigh alike, and so do participants.
    """
    found = dict(scores)
    started = pet.index.to_frame(index=False).merge(times, on=list(SESSION_KEYS))
    first = started.groupby("participant_id")["years"].min().rename("scanned")
    for name, values in scores.items():
        if "session_id" not in values or first.empty:
            continue
        timed = values.merge(times, on=list(SESSION_KEYS)).merge(first, on="participant_id")
        after = timed[timed["years"] >= timed["scanned"] - MAX_YEARS_APART]
        slopes = {
            who: float(np.polyfit(rows["years"], rows["value"], 1)[0])
            for who, rows in after.groupby("participant_id", sort=True)
            if len(rows) >= MIN_VISITS and np.ptp(rows["years"]) >= MIN_SPAN_YEARS
        }
        if slopes:
            table = pd.Series(slopes, name="value").rename_axis("participant_id").reset_index()
            found[f"{name}, {SLOPE}"] = table
    return found


def _by_session(rows: pd.DataFrame) -> pd.DataFrame:
    """Regional SUVr (sessions, VOIs); regions that a session lacks are left out."""
    if rows.empty:
        return pd.DataFrame()
    first = rows.sort_values("run", na_position="first", kind="stable")
    once = first.drop_duplicates([*SESSION_KEYS, "voi"])
    text = once.assign(
        participant_id=once["participant_id"].astype(str),
        session_id=once["session_id"].astype(object).where(once["session_id"].notna(), ""),
        voi=once["voi"].astype(str),
    )
    table = text.pivot_table("suvr_mean", SESSION_KEYS, "voi", observed=True)
    return table.loc[:, table.notna().all()]


def _samples(
    values: pd.DataFrame,
    pet: pd.DataFrame,
    real: pd.DataFrame,
    volumes: pd.DataFrame,
    people: People,
    times: pd.DataFrame,
) -> dict[str, Sample]:
    """Everybody with score, MRI and synthetic PET, those who have measured PET, too, and those
    of each diagnosis: it lies between disease and score, and is no covariate."""
    scored = at_sessions(values, pet, times)
    everyone = _sample(scored, pet, None, volumes, people)
    found = {"all": everyone}
    if len(real):
        both = scored[scored.set_index(SESSION_KEYS).index.isin(real.index)]
        if len(both):
            found["with-measured"] = _sample(both, pet, real, volumes, people)
    of_row = people.of(scored, ["diagnosis"])["diagnosis"]
    groups = list(scored.groupby(of_row, sort=True))
    if len(groups) > 1:
        for diagnosis, rows in groups:
            found[f"diagnosis {diagnosis}"] = _sample(rows, pet, None, volumes, people)
    return found


def at_sessions(values: pd.DataFrame, pet: pd.DataFrame, times: pd.DataFrame) -> pd.DataFrame:
    """Scores with the session whose PET is used.

    Parameters
    ----------
    values
        ``participant_id value``, and ``session_id`` where the scores are of sessions.
    pet
        Indexed by participant and session.
    times
        ``participant_id session_id years``, as far as known.

    Returns
    -------
    DataFrame
        ``values`` with the session of the PET. Of scores with sessions the nearest of each PET,
        its own session's first, within :data:`MAX_YEARS_APART`; where times are not known, only
        that of its own session. Each score serves once. Scores without sessions go with the
        participant's first PET.
    """
    sessions = pet.index.to_frame(index=False)
    if "session_id" not in values:
        first = sessions.sort_values("session_id").drop_duplicates("participant_id")
        return values.merge(first, on="participant_id")
    keys = list(SESSION_KEYS)
    scores = values.merge(times, on=keys, how="left")
    pairs = sessions.merge(times, on=keys, how="left").merge(
        scores, on="participant_id", suffixes=("", "_score")
    )
    apart = (pairs["years"] - pairs["years_score"]).abs()
    apart = apart.mask(pairs["session_id"] == pairs["session_id_score"], 0.0)
    near = pairs.assign(apart=apart)[apart <= MAX_YEARS_APART]
    near = near.sort_values(["apart", "session_id_score"], kind="stable")
    once = near.drop_duplicates(keys).drop_duplicates(["participant_id", "session_id_score"])
    return once.sort_values(keys)[[*keys, "value"]].reset_index(drop=True)


def _sample(
    scored: pd.DataFrame,
    pet: pd.DataFrame,
    real: pd.DataFrame | None,
    volumes: pd.DataFrame,
    people: People,
) -> Sample:
    keys = pd.MultiIndex.from_frame(scored[SESSION_KEYS])
    known = [name for name in PERSON if people.has(name)]
    known += ["apoe4"] if known_of_all(scored, people, "apoe4") else []
    person = people.of(scored, known)
    if people.has("site"):
        site = people.of(scored, ["site"])["site"]
        dummies = pd.get_dummies(site, prefix="site", dtype=float).iloc[:, 1:]
        person = pd.concat([person, dummies.where(site.notna(), axis=0)], axis=1)
    mri = predictors_of(scored, volumes, _NOBODY)
    if known_of_all(scored, people, "wmh"):
        mri = mri.assign(wmh=people.of(scored, ["wmh"])["wmh"])
    parts = [person, mri, pet.reindex(keys).set_axis(scored.index)]
    if real is not None:
        parts.append(real.reindex(keys).set_axis(scored.index))
    complete = pd.concat(parts, axis=1).notna().all(axis=1).to_numpy()
    arrays = [part[complete].to_numpy(dtype=np.float64) for part in parts]
    return Sample(
        people=scored["participant_id"][complete].to_numpy(dtype=str),
        score=scored["value"][complete].to_numpy(dtype=np.float64),
        person=arrays[0], mri=arrays[1], synthetic=arrays[2],
        measured=arrays[3] if real is not None else None,
    )  # fmt: skip


_NOBODY = People(pd.DataFrame(), None)
"""Age and sex stand among what is known of the person, and not among the volumes."""
