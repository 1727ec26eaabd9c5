"""Primary rows and those beside them."""

import numpy as np
import pandas as pd
import pytest

from relad_bids.core.columns import complete, joined
from relad_bids.core.regions import VOI
from relad_bids.core.rows import over_another, primary_rows, referred
from relad_bids.core.suvr import reference_of, voi_table

LABELS = np.repeat([1, 2, 3], 4000).reshape(3, 40, 100)


@pytest.fixture
def image():
    """Uptake 2, 4 and 8, with noise: three regions in 1 mm voxels of 4 mL."""
    return LABELS.astype(float) ** 0 * 2.0**LABELS + np.random.default_rng(3).normal(
        0, 0.1, LABELS.shape
    )


@pytest.fixture
def tables(image):
    first, second = (
        reference_of(image, number == LABELS, voxel_volume_mm3=1.0) for number in (1, 2)
    )
    table = voi_table(image, LABELS, [VOI("f", "a", (3,))], first, voxel_volume_mm3=1.0)
    one = referred(table, first, name="one", method="labels")
    other = over_another(table, second, name="two", method="labels")
    return one, other


def test_the_same_mean_over_two_regions(tables, image):
    one, other = (table.iloc[0] for table in tables)
    assert one["mean"] == other["mean"]
    for row, number in ((one, 1), (other, 2)):
        reference = image[number == LABELS].mean()
        assert row["ref_mean"] == pytest.approx(reference, rel=1e-12)
        assert row["suvr_mean"] == pytest.approx(image[LABELS == 3].mean() / reference, rel=1e-12)
        assert row["suvr_sd"] == pytest.approx(image[LABELS == 3].std() / reference, rel=1e-12)
    # 4 mL: each region is small, whichever stands below.
    assert one["flags"] == ["ref_small"]
    assert other["flags"] == ["ref_small", "second_reference"]


def stacked(tables):
    one, other = (complete(table, {"pvc": "none"}, flags=[]) for table in tables)
    corrected = complete(tables[0], {"pvc": "GTM"}, flags=[])
    return joined([one, other, corrected])


def test_one_row_a_region_is_primary_in_any_order(tables):
    full = stacked(tables)
    assert len(full) == 3
    for order in ([0, 1, 2], [2, 1, 0]):
        (found,) = primary_rows(full.iloc[order]).to_dict("records")
        assert (found["ref_region"], found["pvc"]) == ("one", "none")


def test_a_table_without_either_is_kept_whole():
    table = pd.DataFrame({"pvc": [np.nan, "none"], "qc_flags": ["ok", np.nan], "x": [1, 2]})
    pd.testing.assert_frame_equal(primary_rows(table), table)


def test_a_flag_is_a_whole_word():
    table = pd.DataFrame({"pvc": ["none"], "qc_flags": ["no_second_reference_here"]})
    assert len(primary_rows(table)) == 1


def test_blocks_keep_their_columns_and_values(tables):
    full = stacked(tables)
    assert full["ref_region"].tolist() == ["one", "two", "one"]
    assert full["pvc_fwhm_mm"].isna().all()
    assert list(full) == list(complete(tables[0], {}, flags=[]))
