"""Synthetic against measured PET: agreement, floors from the cohort, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from relad_bids.core.agreement import ASSOCIATIONS
from relad_bids.core.cohort_floors import left_out, permuted, ridge_on
from relad_bids.core.evaluation import dictionary, evaluate
from relad_bids.core.method_comparison import METHOD_METRICS, method_table
from relad_bids.core.skill import SKILL_COLUMNS, skill_table
from relad_bids.group.paired import SESSION
from relad_bids.group.people import People
from relad_bids.group.predictors import DEMOGRAPHICS, partly_known, predictors_of
from relad_bids.group.scans import compared, primary_voi
from relad_bids.group.written import Table

FLOORS: Mapping[str, str] = {
    "mean": "the mean of the other participants",
    "age_sex": "demographics (age and sex)",
    "ridge": "the ridge regression on MRI volumes",
    "permuted": "its answer about somebody else",
}
"""Floor -> what a verdict calls it. All know the measured PET of the other participants."""

FLOOR_WORDS: Mapping[str, str] = {
    "mean": "mean of the other participants' measured SUVr; it falls where the person's own "
    "rises, so that correlations and slopes of it mean nothing and are n/a",
    "age_sex": "least squares on age and sex, from the other participants; for the same reason "
    "its AUC lies a little below 0.5 where it knows nothing",
    "ridge": "ridge regression on regional MRI volumes (and age and sex, where known; APOE e4 and "
    "white matter hyperintensities, where participants.tsv has them of everybody), fitted in nine "
    "tenths of the participants for the tenth",
    "permuted": "the synthetic SUVr of another participant, drawn at random",
}


def comparable(paired: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Pairs that agreement may be told of: regions of the tracer's target, people not seen.

    Returns
    -------
    DataFrame
        ``participant_id session_id run tracer voi estimate truth checkpoint_id
        seen_in_training ref_region``, words as text; the primary VOI of each tracer first.
    """
    rows = compared(paired, SESSION)
    seen = rows["seen_in_training"] == "yes"
    if seen.any():
        n = rows.loc[seen, "participant_id"].nunique()
        notes.append(
            f"{n} participants had a say in the checkpoint that estimated their PET; they are in "
            "the paired table, and in no statistic of agreement."
        )
    if (rows["seen_in_training"] == "unknown").any():
        n = rows.loc[rows["seen_in_training"] == "unknown", "participant_id"].nunique()
        notes.append(
            f"Whether the checkpoint had seen {n} of the participants is not known: its list was "
            "not given (--checkpoints). If it had, agreement is too good."
        )
    kept = rows[~seen].rename(columns={"synthetic_suvr": "estimate", "real_suvr": "truth"})
    names = [*SESSION, "voi", "ref_region", "checkpoint_id", "seen_in_training"]
    pairs = kept[[*names, "estimate", "truth"]].dropna(subset=["estimate", "truth"])
    pairs = pairs.astype(dict.fromkeys(names, object)).reset_index(drop=True)
    return pairs.assign(primary=_is_primary(pairs)).sort_values(
        ["tracer", "primary"], ascending=[True, False], kind="stable", ignore_index=True
    )


def primaries(pairs: pd.DataFrame) -> dict[str, str]:
    """Tracer -> the VOI that was declared before looking."""
    found = {
        str(tracer): primary_voi(str(tracer), rows["voi"].drop_duplicates())
        for tracer, rows in pairs.groupby("tracer", sort=True)
    }
    return {tracer: voi for tracer, voi in found.items() if voi is not None}


def _is_primary(pairs: pd.DataFrame) -> pd.Series:
    return pairs["voi"] == pairs["tracer"].map(primaries(pairs))


def with_floors(
    pairs: pd.DataFrame,
    volumes: pd.DataFrame,
    people: People,
    *,
    rng: np.random.Generator,
    notes: list[str],
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Give each pair what is predicted without its images; the floors that can be told."""
    known = [name for name in DEMOGRAPHICS if people.has(name)]
    found = {"mean": left_out(pairs)}
    if len(known) == len(DEMOGRAPHICS):
        with_people = pairs.assign(**people.of(pairs, known))
        found["age_sex"] = left_out(with_people, known)
    else:
        notes.append(
            "Age and sex of the participants are not known (no participants.tsv, or no such "
            "columns): the floor of demographics is left out."
        )
    if len(volumes.columns):
        notes.extend(partly_known(pairs, people))
        sessions = pairs.groupby(["participant_id", "session_id"], dropna=False, sort=False)
        scans = pairs.assign(scan=sessions.ngroup())
        once = scans.drop_duplicates("scan").set_index("scan")
        found["ridge"] = ridge_on(scans, predictors_of(once, volumes, people), rng=rng)
    found["permuted"] = permuted(pairs, rng=rng)
    floors = tuple(name for name in FLOORS if name in found and found[name].notna().any())
    return pairs.assign(**{name: found[name] for name in floors}), floors


def agreement_tables(
    pairs: pd.DataFrame,
    floors: Sequence[str],
    retest: pd.DataFrame | None,
    *,
    rng: np.random.Generator,
    n_draws: int,
) -> tuple[Table, Table]:
    """Agreement per tracer and VOI, and the skill over each floor with its verdict.

    Parameters
    ----------
    retest
        :func:`relad_bids.core.repeats.retest_table` of this dataset; None if there is none.
    """
    agreed = evaluate(pairs, rng=rng, floors=floors, n_draws=n_draws)
    if "mean" in floors:
        # The mean of the others knows of the person only what is not in it.
        agreed.loc[agreed["metric"].isin(ASSOCIATIONS), "mean"] = np.nan
    skill = skill_table(
        agreed, pairs, floors=floors, primary=primaries(pairs), rng=rng, n_draws=n_draws,
        words=FLOORS,
    )  # fmt: skip
    words = {name: FLOOR_WORDS[name] for name in floors}
    facts = {"Floors": words, "Truth": "measured SUVr", "Estimate": "synthetic SUVr"}
    lines = method_table(
        pairs, error_ratios=_error_ratios(retest), primary=set(primaries(pairs).items())
    )
    return (
        Table("agreement", _together(agreed, lines), _columns(floors), facts),
        Table("skill", skill, SKILL_COLUMNS, facts),
    )


def _error_ratios(retest: pd.DataFrame | None) -> dict[tuple[str, str], float]:
    """Error variance of synthetic over that of measured PET, where two scans tell of both."""
    if retest is None:
        return {}
    within = retest[retest["metric"] == "within_sd"]
    table = within.pivot_table("value", ["tracer", "voi"], "source").reindex(
        columns=["real", "synthetic"]
    )
    ratio = (table["synthetic"] / table["real"]) ** 2
    known = ratio[np.isfinite(ratio) & (ratio > 0)]
    return {(str(tracer), str(voi)): float(value) for (tracer, voi), value in known.items()}


def _together(agreed: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of each tracer and VOI behind its other measures."""
    if lines.empty:
        return agreed
    both = pd.concat([agreed, lines], ignore_index=True).reindex(columns=agreed.columns)
    place = both.groupby(["tracer", "voi"], sort=False, observed=True).ngroup()
    return both.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)


def _columns(floors: Sequence[str]) -> dict[str, dict[str, object]]:
    columns = dictionary(floors)
    levels = columns["metric"]["Levels"]
    return {**columns, "metric": {**columns["metric"], "Levels": {**levels, **METHOD_METRICS}}}  # type: ignore[dict-item]
