"""From an activity image to the table, in a world where MNI space is the participant's own."""

import nibabel as nb
import numpy as np
import pytest
from toys import AFFINE, SHAPE, centres_mm, oblique, write_transform

from relad_bids.core.columns import COLUMNS
from relad_bids.errors import EmptyRegionError, GridMismatchError
from relad_bids.files import read_table
from relad_bids.interfaces.atlas import WarpParcellation
from relad_bids.interfaces.quantify import MeasureSpread, QuantifyPET, WarpActivity

T1W_SHAPE = (30, 26, 28)
T1W = oblique((6.5, 6.0, 7.0), degrees=12.0, origin=(-70.0, -105.0, -75.0))
"""About the whole head, axes towards A, S, R, turned by 12 degrees."""


def flipped(affine, shape):
    """The same places with the k axis stored backwards: an image of the other handedness."""
    other = affine.copy()
    other[:3, 3] += affine[:3, 2] * (shape[2] - 1)
    other[:3, 2] *= -1
    return other


def uptake(xyz_mm):
    """Linear in space, so that linear interpolation is exact; left is hotter than right."""
    x, y, z = xyz_mm
    return 3.0 - 0.01 * x + 0.003 * y - 0.004 * z


@pytest.fixture
def identity(tmp_path):
    return write_transform(tmp_path / "identity.txt")


@pytest.fixture
def activity_mni(make_nifti):
    data = uptake(centres_mm(SHAPE, np.array(AFFINE))).astype(np.float32)
    return make_nifti("activity_mni.nii.gz", data, np.array(AFFINE))


@pytest.fixture
def t1w(make_nifti):
    def make(name="t1w", affine=T1W):
        return make_nifti(f"{name}.nii.gz", np.ones(T1W_SHAPE, np.float32), affine)

    return make


@pytest.fixture
def parcellate(run_step, make_nifti, t1w, identity):
    """Warp the packaged atlas; every voxel is confirmed by every tissue unless told otherwise."""

    def run(name="plain", affine=T1W, **tissue):
        maps = {
            kind: make_nifti(
                f"{name}_{kind}.nii.gz",
                np.full(T1W_SHAPE, tissue.get(kind, 0.0 if kind == "csf" else 1.0), np.float32),
                affine,
            )
            for kind in ("csf", "gm", "wm")
        }
        step = WarpParcellation(t1w=t1w(name, affine), mni_to_t1w=identity, **maps)
        return run_step(step, f"parcellate_{name}")

    return run


@pytest.fixture
def quantify(run_step, activity_mni):
    def run(
        activity, parcellation, *, ref_region="cerebellum-gm", min_coverage=0.5, name="plain",
        **settings,
    ):  # fmt: skip
        step = QuantifyPET(
            activity=activity, activity_mni=activity_mni, dseg=parcellation.dseg,
            inferior=parcellation.inferior, numbers=parcellation.numbers, ref_region=ref_region,
            min_coverage=min_coverage, context={"tracer": "pib"}, flags=["single_sample"],
            **settings,
        )  # fmt: skip
        out = run_step(step, f"quantify_{name}")
        table = read_table(out.table).set_index(["family", "voi", "hemi"]).sort_index()
        return table, out

    return run


def warp(run_step, in_file, t1w, transform, name="warp"):
    step = WarpActivity(in_file=in_file, t1w=t1w, xfm=transform)
    return run_step(step, name).out_file


def seen_by_the_network(xyz_mm, margin_mm=0.0):
    """Inside the grid, whose outermost voxels reach half a voxel beyond their centres."""
    affine = np.array(AFFINE)
    index = (
        np.einsum("ab,b...->a...", np.linalg.inv(affine[:3, :3]), xyz_mm.astype(float))
        - (np.linalg.inv(affine[:3, :3]) @ affine[:3, 3])[:, None, None, None]
    )
    edge = 0.5 - margin_mm / np.diag(affine)[:3]
    last = np.array(SHAPE) - 1
    return np.all(
        (index > -edge[:, None, None, None]) & (index < (last + edge)[:, None, None, None]), axis=0
    )


def test_warped_activity_is_exact_inside_and_missing_outside(
    run_step, activity_mni, t1w, identity
):
    made = nb.load(warp(run_step, activity_mni, t1w(), identity))
    where = centres_mm(T1W_SHAPE, T1W)
    data = made.get_fdata()
    well_inside = seen_by_the_network(where, margin_mm=5.1)  # no voxel centre is extrapolated
    np.testing.assert_allclose(data[well_inside], uptake(where)[well_inside], atol=2e-5)
    outside = ~seen_by_the_network(where, margin_mm=-0.01)
    assert outside.any()
    assert np.isnan(data[outside]).all()
    assert not np.any(data == 0)
    np.testing.assert_allclose(made.affine, T1W, atol=1e-5)


def test_the_transform_is_used_in_its_direction(run_step, activity_mni, t1w, tmp_path):
    """ITK's x runs to the left: -10 in the file looks each point up 10 mm to the right."""
    shift = write_transform(tmp_path / "shift.txt", (-10.0, 0.0, 0.0))
    data = nb.load(warp(run_step, activity_mni, t1w(), shift)).get_fdata()
    where = centres_mm(T1W_SHAPE, T1W) + np.array([10.0, 0, 0])[:, None, None, None]
    inside = seen_by_the_network(where, margin_mm=5.1)
    np.testing.assert_allclose(data[inside], uptake(where)[inside], atol=2e-5)


def test_parcellation_lies_on_the_right_sides(parcellate):
    """MNI: left is x < 0; the hippocampi are 17 (left) and 53 (right)."""
    made = parcellate()
    image = nb.load(made.dseg)
    x = centres_mm(T1W_SHAPE, image.affine)[0]
    labels = np.asarray(image.dataobj)
    assert x[labels == 17].max() < 0 < x[labels == 53].min()
    assert {17, 53, 8, 47, 1007, 2007} <= set(made.numbers)
    assert 0 not in made.numbers


def test_inferior_cerebellum_lies_low(parcellate):
    made = parcellate()
    z = centres_mm(T1W_SHAPE, T1W)[2]
    labels = np.asarray(nb.load(made.dseg).dataobj)
    below = np.asarray(nb.load(made.inferior).dataobj) > 0
    cerebellum = np.isin(labels, (8, 47))
    assert 0.2 < (below & cerebellum).sum() / cerebellum.sum() < 0.9
    assert z[below].mean() < z[cerebellum].mean()


def test_tissue_cuts_the_labels_but_not_the_list_of_them(parcellate):
    """Without grey matter the cortex goes, deep grey stays; each label keeps its row."""
    made = parcellate(gm=0.0)
    labels = np.unique(np.asarray(nb.load(made.dseg).dataobj))
    assert not np.isin(labels, (8, 47, 1007, 2007)).any()
    assert {10, 49, 17, 53} <= set(labels.tolist())
    assert {8, 1007} <= set(made.numbers)


def test_rows_are_the_means_of_the_places(
    quantify, parcellate, run_step, activity_mni, t1w, identity
):
    """Closed form: the mean of a linear uptake over each region's voxel centres."""
    parcellation = parcellate()
    table, _ = quantify(warp(run_step, activity_mni, t1w(), identity), parcellation)
    where = centres_mm(T1W_SHAPE, T1W)
    labels = np.asarray(nb.load(parcellation.dseg).dataobj)
    reference = uptake(where)[np.isin(labels, (8, 47))].mean()
    for hemi, numbers in {
        "L": (11, 12, 26),
        "R": (50, 51, 58),
        "B": (11, 12, 26, 50, 51, 58),
    }.items():
        inside = np.isin(labels, numbers)
        row = table.loc[("tspo", "striatum", hemi)]
        assert row["suvr_mean"] == pytest.approx(
            uptake(where)[inside].mean() / reference, abs=2e-5
        )
        assert row["n_voxels"] == inside.sum()
    assert table.loc[("ref", "cerebellum-gm", "B"), "suvr_mean"] == pytest.approx(1, abs=1e-5)


def test_a_flipped_image_keeps_left_and_right(
    quantify, parcellate, run_step, activity_mni, t1w, identity
):
    """The same head stored with one axis backwards, its affine saying so: the same table."""
    tables = []
    for name, affine in (("plain", T1W), ("flipped", flipped(T1W, T1W_SHAPE))):
        activity = warp(run_step, activity_mni, t1w(name, affine), identity, f"warp_{name}")
        tables.append(quantify(activity, parcellate(name, affine), name=name)[0])
    plain, other = tables
    assert plain.index.equals(other.index)
    for column in ("suvr_mean", "n_voxels", "volume_mm3", "fov_fraction"):
        np.testing.assert_allclose(plain[column], other[column], rtol=1e-4)
    striatum = plain.loc[("tspo", "striatum"), "suvr_mean"]
    assert striatum["L"] > striatum["B"] > striatum["R"]


def test_maps_and_mask_agree_with_the_table(
    quantify, parcellate, run_step, activity_mni, t1w, identity
):
    """The region in the mask file averages to 1 in the map file, by the table's denominator."""
    activity = warp(run_step, activity_mni, t1w(), identity)
    table, out = quantify(activity, parcellate(), ref_region="cerebellum-inferior-gm")
    suvr, mask = (nb.load(path).get_fdata() for path in (out.suvr_t1w, out.ref_mask))
    assert np.nanmean(suvr[mask > 0]) == pytest.approx(1, abs=1e-5)
    ref_mean = table["ref_mean"].unique().item()
    mni = nb.load(out.suvr_mni).get_fdata() * ref_mean
    np.testing.assert_allclose(mni, nb.load(activity_mni).get_fdata(), rtol=1e-5)
    assert table["ref_method"].unique().tolist() == ["geometric"]
    assert table["tracer"].unique().tolist() == ["pib"]
    assert set(table.reset_index()) == set(COLUMNS)


@pytest.mark.parametrize(("min_coverage", "missing"), [(0.4, False), (0.7, True)])
def test_a_region_half_outside_the_view(quantify, parcellate, make_nifti, min_coverage, missing):
    """The right half of the brain was never seen: its rows are n/a, not low."""
    parcellation = parcellate()
    data = uptake(centres_mm(T1W_SHAPE, T1W)).astype(np.float32)
    labels = np.asarray(nb.load(parcellation.dseg).dataobj)
    right = (centres_mm(T1W_SHAPE, T1W)[0] > 0) & ~np.isin(labels, (8, 47))
    activity = make_nifti("cut.nii.gz", np.where(right, np.nan, data).astype(np.float32), T1W)
    table, _ = quantify(activity, parcellation, min_coverage=min_coverage)
    striatum = table.loc[("tspo", "striatum")]
    assert np.isnan(striatum.loc["R", "suvr_mean"])
    assert striatum.loc["R", "fov_fraction"] == 0
    assert np.isnan(striatum.loc["B", "suvr_mean"]) == missing
    assert 0.4 < striatum.loc["B", "fov_fraction"] < 0.7
    assert "voi_fov" in striatum.loc["B", "qc_flags"]
    left = np.isin(labels, (11, 12, 26))
    reference = data[np.isin(labels, (8, 47))].mean()
    assert striatum.loc["L", "suvr_mean"] == pytest.approx(data[left].mean() / reference, rel=1e-4)


def test_errors_name_their_files(tmp_path, parcellate, make_nifti, activity_mni):
    parcellation = parcellate()
    settings = {
        "activity_mni": activity_mni, "dseg": parcellation.dseg, "numbers": [8, 47],
        "inferior": parcellation.inferior, "min_coverage": 0.5, "context": {}, "flags": [],
        "ref_region": "cerebellum-gm",
    }  # fmt: skip
    shifted = oblique((6.5, 6.0, 7.0), degrees=12.0, origin=(-70.0, -105.0, -74.0))
    for affine, value, error, message in (
        (shifted, 1.0, GridMismatchError, "activity and dseg .* lie 1 mm apart"),
        (T1W, np.nan, EmptyRegionError, "has 0 finite voxels, needs 50"),
        (T1W, 0.0, EmptyRegionError, "is 0, must be above 0"),
    ):
        activity = make_nifti("a.nii.gz", np.full(T1W_SHAPE, value, np.float32), affine)
        with pytest.raises(error, match=message) as caught:
            QuantifyPET(activity=activity, **settings).run(cwd=str(tmp_path))
        assert caught.value.__notes__ == [f"activity: {activity}", f"dseg: {parcellation.dseg}"]


TILTS = np.array([-0.009, -0.006, -0.002, 0.0, 0.001, 0.004, 0.005, 0.008])
"""Slopes along x, per mm, by which eight samples of one PET differ."""


def tilted(xyz_mm, tilt):
    return uptake(xyz_mm) + tilt * xyz_mm[0]


@pytest.fixture
def spread(run_step, make_nifti, t1w, identity):
    """Run the step on samples given as functions of the place; return table, map, samples."""

    def run(functions, parcellation, *, min_coverage=0.5, name="spread", **settings):
        where = centres_mm(SHAPE, np.array(AFFINE))
        data = [function(where).astype(np.float32) for function in functions]
        step = MeasureSpread(
            samples=[
                make_nifti(f"{name}{i}.nii.gz", image, np.array(AFFINE))
                for i, image in enumerate(data)
            ],
            t1w=t1w(), mni_to_t1w=identity, dseg=parcellation.dseg,
            inferior=parcellation.inferior, numbers=parcellation.numbers,
            ref_region="cerebellum-gm", min_coverage=min_coverage, **settings,
        )  # fmt: skip
        out = run_step(step, name)
        table = read_table(out.table).set_index(["family", "voi", "hemi"]).sort_index()
        return table["suvr_sd_samples"], out, np.array(data)

    return run


def test_spread_of_a_region_is_that_of_its_ratios(spread, parcellate):
    """Closed form: the mean of each linear sample over the voxel centres, each by its own
    reference."""
    parcellation = parcellate()
    found, _, _ = spread([lambda x, k=k: tilted(x, k) for k in TILTS], parcellation)
    where = centres_mm(T1W_SHAPE, T1W)
    labels = np.asarray(nb.load(parcellation.dseg).dataobj)
    images = np.array([tilted(where, tilt) for tilt in TILTS])
    reference = images[:, np.isin(labels, (8, 47))].mean(1)
    for hemi, numbers in {"L": (11, 12, 26), "R": (50, 51, 58)}.items():
        ratios = images[:, np.isin(labels, numbers)].mean(1) / reference
        # Six digits are written, of a spread of a few percent.
        assert found["tspo", "striatum", hemi] == pytest.approx(ratios.std(ddof=1), rel=1e-3)
    assert found["ref", "cerebellum-gm", "B"] == pytest.approx(0, abs=1e-6)


def test_samples_that_differ_by_a_gain_alone(spread, parcellate):
    """A min-max network's unit is another one in each sample; no ratio may see it."""
    gains = np.linspace(0.5, 2, 8)
    found, out, _ = spread([lambda x, g=g: g * uptake(x) for g in gains], parcellate())
    assert found.notna().any()
    np.testing.assert_allclose(found.dropna(), 0, atol=1e-6)
    np.testing.assert_allclose(nb.load(out.suvr_sd_mni).get_fdata(), 0, atol=1e-6)


def test_spread_of_voxels_stays_on_the_networks_grid(spread, parcellate):
    parcellation = parcellate()
    _, out, samples = spread([lambda x, k=k: tilted(x, k) for k in TILTS], parcellation)
    labels = np.asarray(nb.load(parcellation.dseg).dataobj)
    where = centres_mm(T1W_SHAPE, T1W)[:, np.isin(labels, (8, 47))]
    reference = np.array([tilted(where, tilt).mean() for tilt in TILTS])
    expected = (samples / reference[:, None, None, None]).std(0, ddof=1)
    made = nb.load(out.suvr_sd_mni)
    np.testing.assert_allclose(made.get_fdata(), expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(made.affine, np.array(AFFINE))


def test_spread_stands_in_its_rows(
    quantify, spread, parcellate, run_step, activity_mni, t1w, identity
):
    parcellation = parcellate()
    found, out, _ = spread([lambda x, k=k: tilted(x, k) for k in TILTS], parcellation)
    activity = warp(run_step, activity_mni, t1w(), identity)
    plain, _ = quantify(activity, parcellation)
    table, _ = quantify(activity, parcellation, name="spread_in", spread=out.table)
    assert plain["suvr_sd_samples"].isna().all()
    assert table.index.equals(plain.index)
    np.testing.assert_allclose(table["suvr_sd_samples"], found.loc[table.index], rtol=1e-5)
    np.testing.assert_array_equal(table["suvr_mean"], plain["suvr_mean"])


def test_intervals_stand_in_their_rows(
    quantify, parcellate, run_step, activity_mni, t1w, identity
):
    activity = warp(run_step, activity_mni, t1w(), identity)
    given = {"factors": {"striatum": 0.25}, "times": "SUVr"}
    table, _ = quantify(activity, parcellate(), intervals=given)
    striatum = table.loc[("tspo", "striatum", "B")]
    width = striatum["suvr_pi90_high"] - striatum["suvr_pi90_low"]
    assert width == pytest.approx(0.5, abs=1e-5)
    assert striatum["suvr_pi90_low"] == pytest.approx(striatum["suvr_mean"] - 0.25, abs=1e-5)
    assert table["suvr_pi90_low"].notna().sum() == 1
    plain, _ = quantify(activity, parcellate("again"), name="without", intervals={})
    assert plain["suvr_pi90_low"].isna().all()


def test_a_sample_without_uptake_is_named(spread, parcellate):
    samples = [uptake] * 7 + [lambda x: 0 * uptake(x)]
    with pytest.raises(Exception, match=r"is 0, must be above 0") as caught:
        spread(samples, parcellate(), name="empty")
    assert "sample: " in str(caught.value)
    assert "empty7.nii.gz" in str(caught.value)
