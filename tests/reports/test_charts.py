"""Names in charts: whoever gave them to a model, a site or a region."""

import numpy as np
import pandas as pd
import pytest

from relad_bids.reports.charts import agreement_figure, rank_figure, skill_figure

NAMES = ["$\\frac$ {0}", "$x_{y$", "a_b^c $5$", "%s", "\\", "<b>"]
"""Formulas that cannot be, templates, markup."""


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name_and_no_formula(name):
    values = np.arange(6.0) + 1
    pairs = pd.DataFrame(
        {
            "model": name,
            "participant_id": list("abcdef"),
            "estimate": values,
            "truth": values[::-1],
        }
    )
    ranks = pd.DataFrame({"model": name, "rank": range(3), "count": 2, "expected": 2.0, "n": 6})
    skill = pd.DataFrame(
        {"model": [name, "b"], "voi": name, "primary": True, "floor": "mean", "skill": 0.2,
         "low": 0.1, "high": 0.3, "n": 6}
    )  # fmt: skip
    pictures = [
        agreement_figure(pairs, tracer=name, voi=name, held_to="measured"),
        rank_figure(ranks, tracer=name, voi=name),
        skill_figure(skill, tracer=name, floor="mean", words=name),
    ]
    assert all(picture[:4] == b"RIFF" for picture in pictures)
