"""Whether synthetic PET tells who is positive: at preset cut-offs, and at those of folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from relad_bids.core.fold_positivity import FOLD_COLUMNS, fold_positivity
from relad_bids.core.positivity import dictionary, positivity_table
from relad_bids.cutoffs import cutoffs
from relad_bids.group.agreement import FLOOR_WORDS, primaries
from relad_bids.group.scans import default_reference
from relad_bids.group.written import Table
from relad_bids.tables import tracers

RIVALS = ("age_sex", "ridge")
"""Floors that could tell positivity; a mean calls everybody the same."""
TARGETS = frozenset({"tau", "amyloid"})
"""Of the tracers that people are positive of."""


def positivity_tables(
    pairs: pd.DataFrame, floors: Sequence[str], *, rng: np.random.Generator, n_draws: int
) -> tuple[Table, Table]:
    """Both ways, one scan of each participant: the first session's.

    Parameters
    ----------
    pairs
        Of :func:`relad_bids.group.agreement.with_floors`.
    """
    order = pairs.sort_values(["session_id", "run"], na_position="first", kind="stable")
    once = order.drop_duplicates(["participant_id", "tracer", "voi"]).sort_index()
    rivals = [name for name in RIVALS if name in floors]
    preset = once[default_reference(once)]
    judged = positivity_table(preset, cutoffs(), rng=rng, floors=rivals, n_draws=n_draws)
    # What needs training pairs is told by the folds, in the other table.
    learnt = judged["metric"].str.endswith("_trained") | judged["metric"].isin(
        ["trained_cutoff", "brier", "logistic_slope"]
    )
    own = once["voi"] == once["tracer"].map(primaries(once))
    folded = fold_positivity(once[own & once["tracer"].map(_positive)], rng=rng)
    facts = {"Floors": {name: FLOOR_WORDS[name] for name in rivals}}
    return (
        Table("positivity", judged[~learnt].reset_index(drop=True), dictionary(rivals), facts),
        Table("positivity_folds", folded, FOLD_COLUMNS),
    )


def _positive(tracer: str) -> bool:
    known = tracers().get(tracer)
    return known is not None and known.declared and known.target in TARGETS
