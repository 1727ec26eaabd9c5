import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from relad_bids.core.agreement import METRICS
from relad_bids.core.image_metrics import (
    BRAIN,
    IMAGE_METRICS,
    PAPER_COMPAT_METRICS,
    image_metrics,
    on_references,
    paper_compat,
    ssim_map,
)
from relad_bids.errors import DataError, EmptyRegionError, GridMismatchError

SHAPE = (15, 17, 16)
RANGE = 4.0


@pytest.fixture
def rng():
    return np.random.default_rng(20240503)


@pytest.fixture
def brain():
    """An ellipsoid that leaves no plane of symmetry of the array."""
    centre, radii = np.array([7, 8, 7]), np.array([5.5, 7.0, 6.0])
    distance = ((np.moveaxis(np.indices(SHAPE), 0, -1) - centre) / radii) ** 2
    return distance.sum(-1) < 1


@pytest.fixture
def truth(rng):
    return rng.uniform(0.8, 2.2, size=SHAPE)


@pytest.fixture
def estimate(truth, rng):
    return 0.1 + 0.9 * truth + rng.normal(0, 0.2, size=SHAPE)


def metrics(estimate, truth, brain, suvr_range=RANGE, voi=BRAIN, **settings):
    """Metric -> value of one region."""
    table = image_metrics(estimate, truth, brain, suvr_range=suvr_range, **settings)
    return table[table["voi"] == voi].set_index("metric")["value"].to_dict()


def gaussian_window(n_axes):
    """11 taps along each axis, sigma 1.5, sum 1; written out from Wang et al. 2004."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = line
    for _ in range(n_axes - 1):
        window = window[..., None] * line
    return window / window.sum()


def ssim_of_windows(x, y, data_range):
    """SSIM of every window that fits into the arrays, from its weighted moments."""
    window = gaussian_window(x.ndim)
    axes = tuple(range(-x.ndim, 0))

    def mean(values):
        return (sliding_window_view(values, window.shape) * window).sum(axes)

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    return (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))


def test_errors_by_hand(brain):
    """Errors 0.2 and -0.4 where the truth is 1 and 2; every other voxel is outside."""
    truth, estimate = np.zeros(SHAPE), np.full(SHAPE, 9.0)
    pair = np.zeros(SHAPE, dtype=bool)
    pair[7, 8, 7:9] = True
    truth[pair], estimate[pair] = [1, 2], [1.2, 1.6]
    found = metrics(estimate, truth, pair)
    assert found["voxel_bias"] == pytest.approx(-0.1)
    assert found["voxel_nbias"] == pytest.approx(-0.1 / 1.5)
    assert found["voxel_mae"] == pytest.approx(0.3)
    assert found["voxel_nmae"] == pytest.approx(0.2)
    assert found["voxel_rmse"] == pytest.approx(np.sqrt(0.1))
    assert found["psnr"] == pytest.approx(10 * np.log10(16 / 0.1))


def test_table(estimate, truth, brain):
    table = image_metrics(estimate, truth, brain, suvr_range=RANGE, regions={"gm": truth > 1.5})
    assert list(table) == ["voi", "metric", "value", "n_voxels"]
    assert table["metric"].tolist() == 2 * list(IMAGE_METRICS)
    assert table["voi"].unique().tolist() == ["brain", "gm"]
    sizes = [brain.sum(), (brain & (truth > 1.5)).sum()]
    assert table["n_voxels"].unique().tolist() == sizes


def test_the_truth_itself(truth, brain):
    found = metrics(truth, truth, brain)
    assert found["psnr"] == np.inf
    assert found["ssim"] == pytest.approx(1)
    assert found["voxel_mae"] == found["voxel_rmse"] == found["voxel_nbias"] == 0


def test_half_the_error_is_six_decibels(estimate, truth, brain):
    full = metrics(estimate, truth, brain)["psnr"]
    half = metrics((estimate + truth) / 2, truth, brain)["psnr"]
    assert half - full == pytest.approx(20 * np.log10(2))


def test_range_is_the_tracers_and_not_the_images(estimate, truth, brain):
    """Another maximum of the truth changes no decibel; another range does, by its square."""
    found = metrics(estimate, truth, brain)["psnr"]
    spike, both = truth.copy(), estimate.copy()
    spike[7, 8, 7] = both[7, 8, 7] = 50.0
    error = (estimate - truth)[7, 8, 7]
    mse = 16 / 10 ** (found / 10) - error**2 / brain.sum()
    assert metrics(both, spike, brain)["psnr"] == pytest.approx(10 * np.log10(16 / mse))
    assert metrics(estimate, truth, brain, 2 * RANGE)["psnr"] - found == pytest.approx(
        20 * np.log10(2)
    )


def test_unit_and_range_scale_together(estimate, truth, brain):
    plain = metrics(estimate, truth, brain)
    scaled = metrics(10 * estimate, 10 * truth, brain, 10 * RANGE)
    for name in ("psnr", "ssim", "voxel_nbias", "voxel_nmae"):
        assert scaled[name] == pytest.approx(plain[name])
    for name in ("voxel_bias", "voxel_mae", "voxel_rmse"):
        assert scaled[name] == pytest.approx(10 * plain[name])


def test_what_lies_outside_the_brain_does_not_count(estimate, truth, brain):
    other = np.where(brain, estimate, 100.0)
    assert metrics(other, truth, brain) == pytest.approx(
        metrics(estimate, truth, brain), nan_ok=True
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_voxel_without_a_value_is_outside_the_brain(estimate, truth, brain, value):
    holes = [estimate.copy(), truth.copy()]
    holes[0][7, 8, 7] = value
    holes[1][6, 6, 6] = value
    smaller = brain.copy()
    smaller[7, 8, 7] = smaller[6, 6, 6] = False
    found = image_metrics(*holes, brain, suvr_range=RANGE)
    expected = image_metrics(estimate, truth, smaller, suvr_range=RANGE)
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-12)
    assert found["n_voxels"].tolist() == expected["n_voxels"].tolist()


def test_float32_images_are_averaged_in_double(estimate, truth, brain):
    """The values differ by 1e-7 of themselves after rounding, the sums by no more."""
    single = metrics(estimate.astype(np.float32), truth.astype(np.float32), brain)
    assert single == pytest.approx(metrics(estimate, truth, brain), rel=1e-6, nan_ok=True)


def test_ssim_at_every_voxel_against_windows_written_out(estimate, truth, brain):
    """Both images 0 outside the brain, also beyond the border of the array."""
    padded = [np.pad(np.where(brain, image, 0), 5) for image in (estimate, truth)]
    expected = ssim_of_windows(*padded, RANGE)
    found = ssim_map(estimate, truth, brain, suvr_range=RANGE)
    np.testing.assert_allclose(found[brain], expected[brain], rtol=1e-9)
    assert np.isnan(found[~brain]).all()
    assert metrics(estimate, truth, brain)["ssim"] == pytest.approx(expected[brain].mean())


def test_ssim_does_not_see_how_much_background_there_is(estimate, truth, brain):
    def wide(image):
        return np.pad(image, [(3, 9), (0, 12), (20, 1)])

    found = metrics(wide(estimate), wide(truth), wide(brain))
    assert found == pytest.approx(metrics(estimate, truth, brain), nan_ok=True)


def test_ssim_is_symmetric(estimate, truth, brain):
    one, two = (metrics(*pair, brain)["ssim"] for pair in ((estimate, truth), (truth, estimate)))
    assert one == pytest.approx(two)
    assert 0.2 < one < 0.98


def test_background_in_a_window_makes_unlike_images_more_alike(rng):
    """The step from brain to 0 is the same in both: why ssim stands above ssim_core."""
    cube = np.pad(np.ones((13, 13, 13), dtype=bool), 2)
    one, two = rng.uniform(0.8, 2.2, size=(2, *cube.shape))
    found = metrics(one, two, cube)
    assert found["ssim_core"] < found["ssim"] - 0.1


@pytest.mark.parametrize(("edge", "n_core"), [(10, 0), (11, 1), (13, 27)])
def test_core_holds_the_windows_without_background(edge, n_core):
    """Constant images: SSIM = (2ab + C1) / (a^2 + b^2 + C1) where no window leaves the brain,
    and the array's own border is outside, too."""
    a, b, c1 = 1.0, 1.5, (0.01 * RANGE) ** 2
    cube = np.ones((edge,) * 3, dtype=bool)
    found = metrics(np.full(cube.shape, a), np.full(cube.shape, b), cube)
    expected = (2 * a * b + c1) / (a**2 + b**2 + c1) if n_core else np.nan
    assert found["ssim_core"] == pytest.approx(expected, nan_ok=True)
    assert found["ssim"] != pytest.approx(expected, abs=1e-6)
    alike = np.isclose(
        ssim_map(np.full(cube.shape, a), np.full(cube.shape, b), cube, suvr_range=RANGE),
        (2 * a * b + c1) / (a**2 + b**2 + c1),
        atol=1e-9,
    )
    assert alike.sum() == n_core


def test_a_region_is_cut_to_the_brain(estimate, truth, brain):
    half = np.zeros(SHAPE, dtype=bool)
    half[:8] = True
    found = metrics(estimate, truth, brain, voi="half", regions={"half": half})
    error = (estimate - truth)[half & brain]
    assert found["voxel_mae"] == pytest.approx(np.abs(error).mean())
    whole = ssim_map(estimate, truth, brain, suvr_range=RANGE)
    assert found["ssim"] == pytest.approx(whole[half & brain].mean())


def test_the_core_of_a_region_is_its_part_of_the_brains_core(rng):
    """Its own edge is no edge: the images go on there."""
    cube = np.pad(np.ones((13, 13, 13), dtype=bool), 1)
    one, two = rng.uniform(0.8, 2.2, size=(2, *cube.shape))
    half = np.zeros_like(cube)
    half[:7] = True
    found = metrics(one, two, cube, voi="half", regions={"half": half})["ssim_core"]
    similarity = ssim_map(one, two, cube, suvr_range=RANGE)
    assert found == pytest.approx(similarity[6:7, 6:9, 6:9].mean())


def test_an_empty_region_has_no_values(estimate, truth, brain):
    table = image_metrics(estimate, truth, brain, suvr_range=RANGE, regions={"none": ~brain})
    empty = table[table["voi"] == "none"]
    assert (empty["n_voxels"] == 0).all()
    assert empty["value"].isna().all()


def test_an_empty_brain_has_no_values(estimate, truth):
    table = image_metrics(estimate, truth, np.zeros(SHAPE, dtype=bool), suvr_range=RANGE)
    assert table["value"].isna().all()


@pytest.mark.parametrize("suvr_range", [0.0, -1.0, np.nan])
def test_range_must_be_positive(estimate, truth, brain, suvr_range):
    with pytest.raises(DataError, match=rf"is {suvr_range}, must be above 0"):
        metrics(estimate, truth, brain, suvr_range)


def test_one_grid(estimate, truth, brain):
    with pytest.raises(GridMismatchError, match=r"estimate .*\(14, 17, 16\), the truth \(15"):
        metrics(estimate[:14], truth, brain)
    with pytest.raises(GridMismatchError, match=r"gm has the shape"):
        image_metrics(estimate, truth, brain, suvr_range=RANGE, regions={"gm": brain[1:]})
    with pytest.raises(GridMismatchError, match=r"brain has the shape"):
        paper_compat(estimate, truth, brain[1:])


def test_references(estimate, truth, brain):
    """A gain cancels over its own reference, and stays over that of the truth."""
    plain, gained = (on_references(k * estimate, truth, brain) for k in (1, 1.1))
    np.testing.assert_allclose(gained["own"][0], plain["own"][0])
    np.testing.assert_allclose(gained["real"][0], 1.1 * plain["real"][0])
    assert plain["own"][0][brain].mean() == pytest.approx(1)
    assert plain["real"][0][brain].mean() == pytest.approx(
        estimate[brain].mean() / truth[brain].mean()
    )
    for kind in ("own", "real"):
        np.testing.assert_allclose(gained[kind][1], truth / truth[brain].mean())


def test_references_need_voxels(estimate, truth):
    with pytest.raises(EmptyRegionError, match=r"has 0 finite voxels"):
        on_references(estimate, truth, np.zeros(SHAPE, dtype=bool))


def compat(estimate, truth, brain):
    return paper_compat(estimate, truth, brain).set_index("metric")["value"]


def rescaled(image, brain):
    masked = np.where(brain, image, 0)
    return 2 * (masked - masked.min()) / (masked.max() - masked.min()) - 1


def test_paper_compat_by_hand(estimate, truth, brain):
    """The whole array counts, each image on its own [-1, 1]."""
    found = compat(estimate, truth, brain)
    error = rescaled(estimate, brain) - rescaled(truth, brain)
    assert found["paper_compat_mae"] == pytest.approx(np.abs(error).mean())
    assert found["paper_compat_psnr"] == pytest.approx(10 * np.log10(4 / (error**2).mean()))


def test_paper_compat_ssim_is_of_sagittal_slices(estimate, truth, brain):
    """Mean over the windows that fit into a slice of the first axis, written out."""
    images = [rescaled(image, brain) for image in (estimate, truth)]
    along = [
        np.mean([ssim_of_windows(x, y, 2.0) for x, y in zip(*moved, strict=True)])
        for moved in ([np.moveaxis(image, axis, 0) for image in images] for axis in range(3))
    ]
    found = compat(estimate, truth, brain)["paper_compat_ssim2d"]
    assert found == pytest.approx(along[0])
    assert min(abs(found - other) for other in along[1:]) > 1e-3


def test_paper_compat_is_blind_to_a_gain_and_suvr_is_not(truth, brain):
    """10 % too high: above 120 dB there (rounding alone), 20 log10(L / 0.1 rms) here."""
    assert compat(1.1 * truth, truth, brain)["paper_compat_psnr"] > 120
    rms = np.sqrt((truth[brain] ** 2).mean())
    assert metrics(1.1 * truth, truth, brain)["psnr"] == pytest.approx(
        20 * np.log10(RANGE / (0.1 * rms))
    )


def test_paper_compat_lets_the_background_speak(rng):
    """Unrelated noise in 3 % of the array: nearly all of its SSIM is agreement about nothing."""
    brain = np.zeros((32, 40, 36), dtype=bool)
    brain[11:21, 14:26, 12:24] = True
    one, two = rng.uniform(0.8, 2.2, size=(2, *brain.shape))
    assert compat(one, two, brain)["paper_compat_ssim2d"] > 0.85
    assert metrics(one, two, brain)["ssim"] < 0.75


def test_paper_compat_table(estimate, truth, brain):
    table = paper_compat(estimate, truth, brain)
    assert list(table) == ["voi", "metric", "value", "n_voxels"]
    assert table["metric"].tolist() == list(PAPER_COMPAT_METRICS)
    assert set(table["voi"]) == {"whole-fov"}
    assert set(table["n_voxels"]) == {truth.size}


def test_names_of_the_sets_never_meet():
    """Tables are put below each other; no number may be taken for one of another definition."""
    names = [*METRICS, *IMAGE_METRICS, *PAPER_COMPAT_METRICS]
    assert len(set(names)) == len(names)
    assert all(name.startswith("paper_compat_") for name in PAPER_COMPAT_METRICS)


@pytest.mark.filterwarnings("error")
def test_paper_compat_of_one_intensity(truth, brain):
    assert compat(np.zeros(SHAPE), truth, brain).isna().all()


@pytest.mark.parametrize(("edge", "fits"), [(10, False), (11, True)])
def test_paper_compat_needs_slices_as_large_as_its_window(rng, edge, fits):
    one, two = rng.uniform(0.8, 2.2, size=(2, 3, 12, edge))
    found = compat(one, two, np.ones(one.shape, dtype=bool))
    assert np.isfinite(found["paper_compat_ssim2d"]) == fits
    assert np.isfinite(found["paper_compat_psnr"])
