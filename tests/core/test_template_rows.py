"""Masks read out in their own space."""

import numpy as np
import pandas as pd
import pytest

from relad_bids.core.scales import Scaled
from relad_bids.core.template_rows import mask_rows, scaled
from relad_bids.errors import EmptyRegionError

SHAPE = (12, 15, 18)


@pytest.fixture
def image():
    return np.random.default_rng(4).uniform(1, 2, SHAPE)


@pytest.fixture
def masks():
    """Two targets that overlap, two references; a voxel may be in several."""
    made = {}
    for name, span in (("a", (0, 6)), ("b", (4, 8)), ("r", (8, 10)), ("s", (9, 12))):
        made[name] = np.zeros(SHAPE, bool)
        made[name][slice(*span)] = True
    return made


def rows(image, masks, **settings):
    targets = {name: masks[name] for name in "ab"}
    references = {name: masks[name] for name in "rs"}
    given = {"family": "centiloid", "voxel_volume_mm3": 8.0, "min_coverage": 0.5, **settings}
    return list(mask_rows(image, targets, references, **given))


def test_ratios_are_those_of_plain_means(image, masks):
    first, second = rows(image, masks)
    for table, name in ((first, "r"), (second, "s")):
        for voi, suvr in zip(table["voi"], table["suvr_mean"], strict=True):
            expected = image[masks[voi]].mean() / image[masks[name]].mean()
            assert suvr == pytest.approx(expected, rel=1e-12)
        assert (table["ref_region"] == name).all()
    assert first["labels"].isna().all()
    assert all("second_reference" in flags for flags in second["flags"])
    assert not any("second_reference" in flags for flags in first["flags"])


def test_a_second_reference_out_of_view_has_no_rows(image, masks):
    image[10:] = np.nan
    image[9] = np.nan
    masks["s"][:10] = False
    (only,) = rows(image, masks)
    assert (only["ref_region"] == "r").all()
    image[8] = np.nan
    with pytest.raises(EmptyRegionError, match="0 finite voxels"):
        rows(image, masks)


def test_a_mask_half_out_of_view_is_missing(image, masks):
    image[:4] = np.nan
    first, _ = rows(image, masks)
    assert first.set_index("voi")["suvr_mean"].isna().to_dict() == {"a": True, "b": False}


def test_a_value_only_where_the_scale_has_one():
    table = pd.DataFrame(
        {"suvr_mean": [1.5, 1.6, 1.7], "voi": ["a", "b", "a"], "ref_region": ["r", "r", "s"]}
    )

    def scale(suvr, voi, reference):
        if reference != "r":
            return Scaled(float("nan"), None, "no equation")
        return Scaled(10 * suvr, "p", "ok" if voi == "a" else "uncalibrated-pipeline")

    made = scaled(table, scale, columns=("centiloid", "centiloid_pipeline"))
    assert made["centiloid"].tolist() == pytest.approx([15, 16, np.nan], nan_ok=True)
    assert made["centiloid_pipeline"].tolist()[:2] == ["p", "p;uncalibrated-pipeline"]
    assert made["centiloid_pipeline"].isna().tolist() == [False, False, True]
    by_mask = scaled(table, scale, columns=("centaurz", "centaurz_mask"))
    assert by_mask["centaurz_mask"].tolist()[:2] == ["a", "b"]
    assert by_mask["centaurz_mask"].isna().tolist() == [False, False, True]
