import numpy as np
import pandas as pd
import pytest

from relad_bids.group.ceiling import ceiling_table, published_icc

PAIRS = pd.DataFrame(
    {
        "tracer": ["pbr28", "pbr28", "pib"], "voi": ["lobe-frontal", "striatum", "neocortex"],
        "ref_region": ["cerebellum-gm", "cerebellum-gm", "cerebellum-whole"],
    }
)  # fmt: skip


def retest(source, value, low=np.nan, high=np.nan, n=20):
    return {"tracer": "pib", "source": source, "voi": "neocortex", "metric": "icc_a1",
            "value": value, "low": low, "high": high, "n": n}  # fmt: skip


def told(*rows):
    frame = ceiling_table(PAIRS, pd.DataFrame(rows) if rows else None).frame
    return frame.set_index("voi")


def test_the_published_values_are_those_of_the_reference():
    """Section 1.6 of the reference text, by name."""
    icc = {(row["voi"], row["reference"]): row["icc"] for row in published_icc()}
    assert icc["lobe-frontal", "cerebellum-gm"] == 0.55
    assert icc["striatum", "cerebellum-gm"] == 0.13
    assert icc["lobe-frontal", "global-brain"] == 0.83
    assert len(icc) == 7


def test_without_repeats_the_literature_speaks_where_it_can():
    table = told()
    assert table.index.tolist() == ["lobe-frontal", "striatum"]
    assert table.loc["striatum", "r_max"] == pytest.approx(np.sqrt(0.13))
    assert np.isnan(table.loc["striatum", "r_max_low"])


def test_own_repeats_go_before():
    row = told(retest("real", 0.81, 0.64, 0.9), retest("synthetic", 0.25)).loc["neocortex"]
    assert row["r_max"] == pytest.approx(0.9 * 0.5)
    assert row["r_max_low"] == pytest.approx(0.8 * 0.5)
    assert row["origin"] == "repeated scans of this dataset"
    assert row["n"] == 20
    alone = told(retest("real", 0.81)).loc["neocortex"]
    assert alone["r_max"] == pytest.approx(0.9)


def test_an_icc_that_is_not_above_0_bounds_nothing():
    assert np.isnan(told(retest("real", -0.1)).loc["neocortex", "r_max"])
