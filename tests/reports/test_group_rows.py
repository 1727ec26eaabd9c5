import numpy as np
import pandas as pd
import pytest

from relad_bids.reports.group_rows import (
    Printed,
    agreement_lines,
    images_found,
    long_lines,
    p_value,
    pivoted,
)

NAN = np.nan


def rows(**columns):
    return pd.DataFrame(columns)


def test_metrics_become_columns():
    table = rows(
        voi=["a", "a", "b", "b"], metric=["bias", "mae"] * 2, value=[0.1234, 2.0, NAN, 3.0],
        low=[0.1, 1.0, NAN, NAN], high=[0.2, 3.0, NAN, NAN], n=[12, 12, 9, 9],
    )  # fmt: skip
    found = pivoted(table, ["voi"], {"bias": ("bias", 2), "mae": ("MAE", 1), "ccc": ("CCC", 1)})
    assert found.head == ("VOI", "bias", "MAE", "n")
    assert found.rows == (
        ("a", "0.12 [0.10, 0.20]", "2.0 [1.0, 3.0]", "12"), ("b", "n/a", "3.0", "9"),
    )  # fmt: skip
    assert found.numeric == (False, True, True, True)


def test_columns_of_words_stand_left():
    printed = Printed(("a", "b", "c"), (("x", "60 to 62", "< 0.0001"), ("y", "none", "n/a")))
    assert printed.numeric == (False, False, True)
    assert Printed(("a", "b"), ()).numeric == (False, True)


@pytest.mark.parametrize(
    ("p", "text"), [(0.01234, "0.0123"), (1e-4, "0.0001"), (9.9e-5, "< 0.0001"), (NAN, "n/a")]
)
def test_p_values_are_never_zero(p, text):
    assert p_value(p) == text


def test_counts_and_p_values_in_long_tables():
    table = rows(voi=["a"], value=[0.5], low=[NAN], high=[NAN], n=[40.0], p=[1e-9], note=["ok"])
    assert long_lines(table, ["voi"], 2, ["n", "p", "note"]).rows == (
        ("a", "0.50", "40", "< 0.0001", "ok"),
    )


def test_floors_stand_below_without_intervals():
    table = rows(metric=["mae", "ccc"], value=[0.1, 0.9], low=[0.05, NAN], high=[0.2, NAN],
                 mean=[0.3, NAN])  # fmt: skip
    found = agreement_lines(table, ["mean"])
    assert found.head[1:4] == ("MAE", "bias", "CCC")
    assert found.rows[0][:4] == ("synthetic PET", "0.100 [0.050, 0.200]", "n/a", "0.90")
    assert found.rows[1][:4] == ("floor: others' mean", "0.300", "n/a", "n/a")


def test_images_are_counted_by_tracer_and_source():
    images = rows(
        participant_id=["1", "1", "2"], session_id=["a", "b", "a"], tracer="pib",
        source=["real"] * 3, qc_flags=["ok", "x;y", "y"],
    )  # fmt: skip
    assert images_found(images).rows == (("pib", "real", "2", "3", "3", "y (2), x (1)"),)
