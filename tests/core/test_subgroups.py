import numpy as np
import pandas as pd
import pytest

from relad_bids.core.agreement import agreement
from relad_bids.core.subgroups import SUBGROUP_COLUMNS, subgroup_table, tertiles


def cohort(rng, n=60, bias=0.0):
    truth = rng.normal(1.4, 0.2, n)
    sex = np.where(np.arange(n) % 2, "F", "M")
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02}" for i in range(n)],
            "tracer": "pib", "voi": "neocortex",
            "truth": truth,
            "estimate": truth + rng.normal(0, 0.1, n) + bias * (sex == "F"),
            "sex": sex,
        }
    )  # fmt: skip


def told(pairs, variables=("sex",)):
    table = subgroup_table(pairs, variables, rng=np.random.default_rng(1), n_draws=200)
    assert list(table) == list(SUBGROUP_COLUMNS)
    return table


def test_figures_of_a_group_are_those_of_its_people():
    pairs = cohort(np.random.default_rng(1))
    table = told(pairs).set_index(["level", "metric"])
    women = pairs[pairs["sex"] == "F"]
    expected = agreement(women["estimate"], women["truth"])
    for name in ("bias", "mae", "ccc", "sd_ratio"):
        row = table.loc[("F", name)]
        assert row["value"] == pytest.approx(float(getattr(expected, name)))
        assert row["low"] < row["value"] < row["high"]
        assert row["n"] == 30


@pytest.mark.parametrize(("bias", "small"), [(0.0, False), (0.15, True)])
def test_a_bias_of_one_group_is_found(bias, small):
    table = told(cohort(np.random.default_rng(2), bias=bias))
    assert (table["p_bias"] < 0.001).all() == small
    assert (table["p_bias_fdr"] >= table["p_bias"]).all()


@pytest.mark.parametrize(("n", "shown"), [(19, 1), (20, 2)])
def test_small_cells_are_not_shown(n, shown):
    """Of 19 people, 10 are men and 9 women."""
    table = told(cohort(np.random.default_rng(3), n=n))
    told_levels = table.dropna(subset="value")["level"].unique()
    assert len(told_levels) == shown
    assert table["level"].nunique() == 2
    assert set(table["n"]) == ({10, 9} if shown == 1 else {10})


def test_people_without_the_word_are_in_no_group():
    pairs = cohort(np.random.default_rng(4))
    pairs.loc[:9, "sex"] = np.nan
    assert told(pairs).drop_duplicates("level")["n"].sum() == 50


def test_tertiles_are_thirds_and_named_by_their_bounds():
    ages = pd.Series([60, 61, 62, 70, 71, 72, 80, 81, np.nan, 82.5])
    found = tertiles(ages)
    assert found.tolist()[:8] == ["60 to 62"] * 3 + ["70 to 72"] * 3 + ["80 to 82.5"] * 2
    assert pd.isna(found[8])
    assert tertiles(pd.Series([70.0, 70.0, 71.0])).isna().all()
