"""A made-up cohort whose tables the tests of evaluation, floors and calibration share."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(77)


@pytest.fixture
def make_cohort():
    """Estimates that keep half of what is individual, with noise; a spread that fits."""

    def make(n, rng, *, vois=("hippocampus", "neocortex"), tracers=("pib",)):
        rows = [
            {"participant_id": f"sub-{i:03}", "tracer": tracer, "voi": voi}
            for tracer in tracers
            for i in range(n)
            for voi in vois
        ]
        truth = rng.normal(1.4, 0.2, len(rows))
        error = rng.normal(0, 0.1, len(rows))
        estimate = 1.45 + 0.5 * (truth - 1.4) + error
        return pd.DataFrame(rows).assign(truth=truth, estimate=estimate, mean=1.4, spread=0.1)

    return make


@pytest.fixture
def of_voi():
    """Choose one VOI of one tracer from a table; its rows are named by metric."""

    def choose(table, voi, tracer="pib"):
        chosen = table[(table["voi"] == voi) & (table["tracer"] == tracer)]
        return chosen.set_index("metric")

    return choose
