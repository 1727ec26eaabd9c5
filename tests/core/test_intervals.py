import numpy as np
import pandas as pd
import pytest

from relad_bids.core.intervals import with_intervals

TABLE = pd.DataFrame(
    {
        "voi": ["braak1", "braak1", "thalamus", "pallidum"],
        "hemi": ["B", "L", "B", "B"],
        "suvr_mean": [1.2, 1.3, 0.9, np.nan],
        "suvr_sd_samples": [0.05, 0.04, 0.1, 0.2],
    }
)
FACTORS = {"braak1": 2.0, "pallidum": 1.5, "elsewhere": 9.0}


@pytest.mark.parametrize(("times", "half"), [("spread", 0.1), ("SUVr", 2.0)])
def test_half_width_is_the_factor_times_what_it_was_measured_in(times, half):
    made = with_intervals(TABLE, FACTORS, times=times).iloc[0]
    assert made["suvr_pi90_low"] == pytest.approx(1.2 - half)
    assert made["suvr_pi90_high"] == pytest.approx(1.2 + half)


def test_rows_that_nothing_was_measured_for_have_none():
    """One side alone, a VOI without factor, a VOI without value."""
    made = with_intervals(TABLE, FACTORS, times="spread")
    assert made[["suvr_pi90_low", "suvr_pi90_high"]].iloc[1:].isna().all(axis=None)


def test_a_network_with_one_answer_needs_no_spread():
    made = with_intervals(TABLE.drop(columns="suvr_sd_samples"), FACTORS, times="SUVr")
    assert made["suvr_pi90_high"].notna().tolist() == [True, False, False, False]


def test_nothing_else_changes():
    made = with_intervals(TABLE, FACTORS, times="spread")
    pd.testing.assert_frame_equal(made[list(TABLE)], TABLE)
    assert set(made) - set(TABLE) == {"suvr_pi90_low", "suvr_pi90_high"}
