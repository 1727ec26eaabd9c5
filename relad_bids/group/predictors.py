"""What is known of a scan without PET: regional volumes of its MRI, age and sex."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from relad_bids.group.people import People
from relad_bids.tables import label_names

SESSION_KEYS = ["participant_id", "session_id"]
TISSUES = frozenset({"cortex", "subcortical-gm", "csf", "wmh"})
"""Of the labels whose volumes predict: grey matter, ventricles, hypointense white matter (of given
parcellations; the packaged one has none)."""
NOT_PREDICTORS = frozenset({"CSF"})
DEMOGRAPHICS = ("age", "female")
RISK: Mapping[str, str] = {
    "apoe4": "APOE e4",
    "wmh": "Volume of white matter hyperintensities",
}
"""What else tells of disease without PET (pet-quantification 5.4): used where it is known of
everybody, since whoever lacks it would be left out of the comparison."""


def regional_volumes(rows: pd.DataFrame, qc: pd.DataFrame | None) -> pd.DataFrame:
    """Volume of each label, both sides together, and of the brain, mm3 and mL.

    From the rows of the VOI tables, which hold the volumes of the participant's parcellation
    whatever image was read out.

    Parameters
    ----------
    rows
        Primary rows.
    qc
        The participants' QC rows, whose ``brain_volume_ml`` stands for the size of the head; None
        if there are none.

    Returns
    -------
    DataFrame
        Index ``(participant_id, session_id)``, the session ``""`` where there is none.
    """
    tissue = {label.name: label.tissue for label in label_names().values()}
    labels = rows[rows["family"] == "label"]
    names = labels["voi"].astype(object)
    kept = names.map(tissue).isin(TISSUES) & ~names.isin(NOT_PREDICTORS)
    volumes = labels[kept].drop_duplicates([*SESSION_KEYS, "voi"])
    both = names[volumes.index].map(_without_side)
    table = pd.DataFrame(
        {**_session(volumes), "region": both, "volume": volumes["volume_mm3"]}
    ).pivot_table("volume", SESSION_KEYS, "region", aggfunc="sum")
    # A label that nobody, or not everybody, has tells nothing of the others.
    table = table.loc[:, table.notna().all() & (table.std() > 0)]
    if qc is None or "brain_volume_ml" not in qc:
        return table
    head = pd.DataFrame({**_session(qc), "brain": qc["brain_volume_ml"]})
    return table.join(head.groupby(SESSION_KEYS)["brain"].first()).dropna(axis=1, how="all")


def predictors_of(rows: pd.DataFrame, volumes: pd.DataFrame, people: People) -> pd.DataFrame:
    """Volumes, age and sex and :data:`RISK`, as far as known, of each row.

    NaN where a session has none.
    """
    keys = pd.MultiIndex.from_frame(pd.DataFrame(_session(rows)))
    found = volumes.reindex(keys).set_axis(rows.index)
    known = [name for name in DEMOGRAPHICS if people.has(name)]
    known += [name for name in RISK if known_of_all(rows, people, name)]
    return pd.concat([found, people.of(rows, known)], axis=1)


def known_of_all(rows: pd.DataFrame, people: People, name: str) -> bool:
    """Whether a column is known of each participant of a frame."""
    return len(rows) > 0 and bool(people.of(rows, [name])[name].notna().all())


def partly_known(rows: pd.DataFrame, people: People) -> list[str]:
    """A sentence for each of :data:`RISK` that is known of some participants and not of all."""
    once = rows.drop_duplicates("participant_id")
    found = []
    for name, words in RISK.items():
        n = int(people.of(once, [name])[name].notna().sum())
        if 0 < n < len(once):
            found.append(
                f"{words} is known of {n} of {len(once)} participants: it is in no model, since "
                "the others would be left out."
            )
    return found


def _session(rows: pd.DataFrame) -> Mapping[str, pd.Series]:
    return {
        "participant_id": rows["participant_id"].astype(str),
        "session_id": rows["session_id"].astype(object).where(rows["session_id"].notna(), ""),
    }


def _without_side(label: str) -> str:
    """``Left-Hippocampus`` -> ``Hippocampus``; ``ctx-lh-cuneus`` -> ``cuneus``."""
    for start in ("Left-", "Right-", "ctx-lh-", "ctx-rh-"):
        label = label.removeprefix(start)
    return label
