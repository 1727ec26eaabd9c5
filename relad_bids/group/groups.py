"""The table of subgroups: sex, age, diagnosis, site, APOE and race, where they are known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from relad_bids.core.subgroups import SUBGROUP_COLUMNS, subgroup_table, tertiles
from relad_bids.group.agreement import primaries
from relad_bids.group.people import People
from relad_bids.group.written import Table

WORDS = ("sex", "diagnosis", "site", "apoe", "race")


def subgroups(
    pairs: pd.DataFrame, people: People, *, rng: np.random.Generator, n_draws: int
) -> Table | None:
    """Agreement of the primary VOIs in each subgroup; None where no variable is known."""
    known = [name for name in WORDS if people.has(name)]
    own = pairs[pairs["voi"] == pairs["tracer"].map(primaries(pairs))]
    columns = {name: people.of(own, [name])[name] for name in known}
    if people.has("age"):
        each = people.table["age"].reindex(own["participant_id"].unique())
        columns["age"] = own["participant_id"].map(tertiles(each))
    if not columns or own.empty:
        return None
    table = subgroup_table(own.assign(**columns), list(columns), rng=rng, n_draws=n_draws)
    return Table("subgroups", table, SUBGROUP_COLUMNS)
