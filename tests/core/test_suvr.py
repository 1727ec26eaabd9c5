import numpy as np
import pytest

from relad_bids.core.regions import VOI
from relad_bids.core.suvr import (
    MIN_REFERENCE_VOXELS,
    SMALL_REFERENCE_MM3,
    Reference,
    reference_of,
    reference_of_parts,
    to_suvr,
    voi_table,
)
from relad_bids.errors import EmptyRegionError

SHAPE = (8, 9, 7)
VOXEL_MM3 = 3.0


@pytest.fixture
def rng():
    return np.random.default_rng(20240501)


@pytest.fixture
def activity(rng):
    return rng.uniform(1_000, 9_000, size=SHAPE)


@pytest.fixture
def region():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:4] = True
    return mask


@pytest.fixture
def labels(rng):
    """Labels 0 to 4 in unequal shares."""
    return rng.choice(5, size=SHAPE, p=[0.3, 0.1, 0.15, 0.2, 0.25])


ONE = Reference(mean=1.0, volume_mm3=2e4, cov=0.1, fov_fraction=1.0)


def reference(activity, region, **settings):
    return reference_of(activity, region, voxel_volume_mm3=VOXEL_MM3, **settings)


def table_of(activity, labels, vois, reference=ONE, **settings):
    made = voi_table(activity, labels, vois, reference, voxel_volume_mm3=VOXEL_MM3, **settings)
    return made.set_index(["voi", "hemi"])


def test_reference_region_averages_to_one(activity, region):
    """A mean of float32 ratios: the rounding of each, 6e-8, averages out."""
    suvr = to_suvr(activity, reference(activity, region))
    assert suvr[region].mean(dtype=np.float64) == pytest.approx(1.0, abs=1e-6)


def test_reference_row_of_the_table_is_one(activity, region):
    labels = np.where(region, 8, 0)
    table = table_of(activity, labels, [VOI("ref", "r", (8,))], reference(activity, region))
    assert table.loc[("r", "B"), "suvr_mean"] == pytest.approx(1.0)


def test_gain_cancels(activity, region, labels):
    """Dose and body weight are one common factor: no ratio may see it."""
    vois = [VOI("f", "v", (1, 3))]
    plain = table_of(activity, labels, vois, reference(activity, region))
    gained = table_of(37 * activity, labels, vois, reference(37 * activity, region))
    for name in ("suvr_mean", "suvr_median", "suvr_sd"):
        assert gained[name].item() == pytest.approx(plain[name].item())
    assert gained["mean"].item() == pytest.approx(37 * plain["mean"].item())


def test_offset_does_not_cancel(activity, region):
    plain = to_suvr(activity, reference(activity, region))
    shifted = to_suvr(activity + 5_000, reference(activity + 5_000, region))
    assert np.abs(shifted - plain).max() > 0.1


@pytest.mark.parametrize(("n", "enough"), [(MIN_REFERENCE_VOXELS - 1, False), (50, True)])
def test_fewest_reference_voxels(activity, n, enough):
    region = np.zeros(SHAPE, dtype=bool)
    region.flat[:n] = True
    if enough:
        assert reference(activity, region).volume_mm3 == n * VOXEL_MM3
    else:
        with pytest.raises(EmptyRegionError, match="has 49 finite voxels, needs 50"):
            reference(activity, region)


def test_only_finite_voxels_count_towards_the_fewest(activity, region):
    region = np.zeros(SHAPE, dtype=bool)
    region.flat[:60] = True
    activity.flat[:11] = np.nan
    with pytest.raises(EmptyRegionError, match="has 49 finite voxels"):
        reference(activity, region)


def test_nan_is_left_out_of_the_reference(activity, region):
    activity[0, 0, 0] = np.nan
    found = reference(activity, region)
    inside = activity[region].ravel()[1:]
    assert found.mean == pytest.approx(inside.mean())
    assert found.cov == pytest.approx(inside.std() / inside.mean())
    assert found.fov_fraction == pytest.approx(1 - 1 / region.sum())


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_reference_must_be_positive(region, level):
    with pytest.raises(EmptyRegionError, match=f"is {level:g}, must be above 0"):
        reference(np.full(SHAPE, level), region)


@pytest.mark.parametrize(
    ("fov_fraction", "volume_mm3", "flags"),
    [
        (0.95, SMALL_REFERENCE_MM3, []),
        (0.949, SMALL_REFERENCE_MM3, ["ref_fov"]),
        (0.95, SMALL_REFERENCE_MM3 - 1, ["ref_small"]),
        (0.5, 100.0, ["ref_fov", "ref_small"]),
    ],
)
def test_flags_of_the_reference(fov_fraction, volume_mm3, flags):
    found = Reference(mean=1.0, volume_mm3=volume_mm3, cov=0.1, fov_fraction=fov_fraction)
    assert found.flags() == flags


def test_denominator_stands_beside_the_ratio():
    assert Reference(2.0, 3.0, 0.4, 1.0).columns("pons") == {
        "ref_region": "pons", "ref_mean": 2.0, "ref_volume_mm3": 3.0, "ref_cov": 0.4,
    }  # fmt: skip


def test_pooled_mean_is_the_volume_weighted_mean_of_its_labels(activity, labels):
    vois = [VOI("f", "all", (1, 2, 4)), *(VOI("label", str(n), (n,)) for n in (1, 2, 4))]
    table = table_of(activity, labels, vois)
    single = table[table.index.get_level_values("voi") != "all"]
    expected = (single["mean"] * single["volume_mm3"]).sum() / single["volume_mm3"].sum()
    assert table.loc[("all", "B"), "mean"] == pytest.approx(expected)
    assert table.loc[("all", "B"), "volume_mm3"] == single["volume_mm3"].sum()


def test_statistics_are_those_of_the_voxels(activity, labels):
    row = table_of(activity, labels, [VOI("f", "v", (2, 3))]).loc[("v", "B")]
    values = activity[np.isin(labels, (2, 3))]
    expected = {
        "n_voxels": values.size,
        "mean": values.mean(),
        "median": np.median(values),
        "sd": values.std(),
        "p05": np.percentile(values, 5),
        "p95": np.percentile(values, 95),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["labels"] == "2,3"


def test_mean_of_parts_has_no_weights(activity, labels):
    """Sizes of the parts differ by design; the amyloid composite must not see them."""
    vois = [
        VOI("amyloid", "a", (1,)),
        VOI("amyloid", "b", (2, 3)),
        VOI("amyloid", "both", (1, 2, 3), parts=("a", "b")),
    ]
    table = table_of(activity, labels, vois, Reference(2.0, 2e4, 0.1, 1.0))
    expected = (table.loc[("a", "B"), "mean"] + table.loc[("b", "B"), "mean"]) / 2
    both = table.loc[("both", "B")]
    assert both["mean"] == pytest.approx(expected)
    assert both["suvr_mean"] == pytest.approx(expected / 2)
    assert both["n_voxels"] == np.isin(labels, (1, 2, 3)).sum()
    assert np.isnan([both[name] for name in ("median", "sd", "p05", "p95")]).all()


def test_mean_of_parts_is_missing_where_a_part_is(activity, labels):
    vois = [
        VOI("f", "here", (1,)), VOI("f", "gone", (99,)),
        VOI("f", "both", (1, 99), parts=("here", "gone")),
    ]  # fmt: skip
    assert np.isnan(table_of(activity, labels, vois).loc[("both", "B"), "mean"])


def test_an_absent_region_is_missing_and_not_zero(activity, labels):
    row = table_of(activity, labels, [VOI("f", "gone", (99,))]).loc[("gone", "B")]
    assert np.isnan(row["mean"])
    assert np.isnan(row["suvr_mean"])
    assert np.isnan(row["fov_fraction"])
    assert row["n_voxels"] == 0
    assert row["flags"] == ["voi_small", "labels_missing"]


def test_missing_labels_are_named_and_none_is_no_empty_cell(activity, labels):
    table = table_of(activity, labels, [VOI("f", "v", (1, 98, 99)), VOI("f", "w", (1,))])
    assert table.loc[("v", "B"), "labels_missing"] == "98,99"
    assert table["labels_missing"].isna().tolist() == [False, True]


def test_outside_the_field_of_view_never_reads_as_low(activity, labels):
    """NaN pulls no mean down: what is left keeps its own mean."""
    cut = activity.copy()
    cut[:, :, :2] = np.nan
    seen = np.isfinite(cut) & (labels == 3)
    row = table_of(cut, labels, [VOI("f", "v", (3,))]).loc[("v", "B")]
    assert row["mean"] == pytest.approx(activity[seen].mean())
    assert row["n_voxels"] == (labels == 3).sum()
    assert row["fov_fraction"] == pytest.approx(seen.sum() / (labels == 3).sum())
    assert "voi_fov" in row["flags"]


@pytest.mark.parametrize(
    ("n_seen", "min_coverage", "covered"),
    [(50, 0.5, True), (49, 0.5, False), (1, 0.0, True), (0, 0.0, False), (99, 1.0, False)],
)
def test_least_coverage(n_seen, min_coverage, covered):
    activity = np.full((10, 10, 1), np.nan)
    activity.flat[:n_seen] = 4.0
    table = table_of(
        activity, np.ones_like(activity, int), [VOI("f", "v", (1,))], min_coverage=min_coverage
    )
    expected = 4.0 if covered else np.nan
    assert table["mean"].item() == pytest.approx(expected, nan_ok=True)
    assert table["suvr_sd"].item() == pytest.approx(0.0 if covered else np.nan, nan_ok=True)


@pytest.mark.parametrize(("n_seen", "flagged"), [(95, False), (94, True)])
def test_flag_of_a_cut_voi(n_seen, flagged):
    activity = np.full((10, 10, 1), np.nan)
    activity.flat[:n_seen] = 4.0
    flags = table_of(activity, np.ones_like(activity, int), [VOI("f", "v", (1,))])["flags"]
    assert ("voi_fov" in flags.item()) is flagged


@pytest.mark.parametrize(
    ("n_voxels", "voxel_mm3", "small"),
    [(30, 20.0, False), (29, 20.0, True), (50, 10.0, False), (50, 9.9, True)],
)
def test_flag_of_a_small_voi(n_voxels, voxel_mm3, small):
    labels = np.zeros((5, 6, 7), dtype=int)
    labels.flat[:n_voxels] = 1
    table = voi_table(
        np.ones(labels.shape), labels, [VOI("f", "v", (1,))], ONE, voxel_volume_mm3=voxel_mm3
    )
    assert ("voi_small" in table["flags"].item()) is small


def test_rows_keep_the_order_asked_for(activity, labels):
    vois = [VOI("f", name, (n,)) for name, n in (("z", 4), ("a", 1), ("m", 2))]
    assert list(table_of(activity, labels, vois).index) == [("z", "B"), ("a", "B"), ("m", "B")]


def test_parts_of_a_region_count_alike_whatever_their_size():
    activity = np.repeat([1.0, 4.0, 7.0], [100, 200, 600]).reshape(9, 10, 10)
    parts = [activity == value for value in (1.0, 4.0, 7.0)]
    found = reference_of_parts(activity, parts, voxel_volume_mm3=2.0)
    assert found.mean == pytest.approx(4.0)
    assert found.volume_mm3 == 1800.0
    assert found.fov_fraction == 1.0
    assert found.cov == pytest.approx(activity.std() / 4.0)
    one = reference_of_parts(activity, [activity > 1], voxel_volume_mm3=2.0)
    assert one == reference_of(activity, activity > 1, voxel_volume_mm3=2.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 20, 21, 1000])
def test_quantiles_are_numpys_of_the_same_numbers_in_double_precision(dtype, n):
    """Independent implementation; the type of the image costs no digit of its own."""
    values = np.random.default_rng(n).normal(3, 1, n).astype(dtype)
    row = table_of(values.reshape(-1, 1, 1), np.ones((n, 1, 1), int), [VOI("f", "v", (1,))])
    expected = np.percentile(values.astype(np.float64), [5, 50, 95])
    found = row.iloc[0][["p05", "median", "p95"]].astype(float)
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_numbers_beyond_sixteen_bits_are_labels_like_others(activity, labels):
    """As atlases have them; 70001 is 4465 in sixteen bits."""
    moved = np.where(labels == 2, 70_001, np.where(labels == 3, 70_001 - 2**16, labels))
    plain = table_of(activity, labels, [VOI("f", "a", (2,)), VOI("f", "b", (3,))])
    large = table_of(activity, moved, [VOI("f", "a", (70_001,)), VOI("f", "b", (4465,))])
    assert large["mean"].tolist() == plain["mean"].tolist()
    assert large["n_voxels"].tolist() == plain["n_voxels"].tolist()


@pytest.mark.parametrize(("n", "flagged"), [(1, False), (2, True)])
def test_voxels_below_zero_are_flagged_from_one_in_a_hundred_on(n, flagged):
    """Both sides of 1 % of 100 voxels; zero itself is no negative activity."""
    activity = np.ones((100, 1, 1))
    activity[:n], activity[50:60] = -0.1, 0.0
    row = table_of(activity, np.ones((100, 1, 1), int), [VOI("f", "v", (1,))]).iloc[0]
    assert ("negative_voxels" in row["flags"]) is flagged
