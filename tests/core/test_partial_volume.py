import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from relad_bids.core.grid import Grid
from relad_bids.core.partial_volume import (
    FAR,
    MIN_DEEP_VOXELS,
    NEAR,
    gtm,
    gtm_covariance,
    iterative_yang,
    mueller_gaertner,
    rbv,
    region_model,
)
from relad_bids.core.resolution import FWHM_PER_SIGMA, REACH
from relad_bids.errors import DataError, EmptyRegionError, GridMismatchError, UsageError
from relad_bids.phantom.pet import blur

SHAPE = (34, 30, 25)
VOXEL_MM = (2.0, 2.5, 3.0)
FWHM_MM = (6.0, 7.0, 8.0)
UPTAKE = {2: 1.0, 8: 0.4, 17: 2.5, 1006: 1.6, 1007: 0.9}
BACKGROUND = 0.3


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.fixture
def labels():
    """A white box in a grey shell, a small deep region in it, and one that touches the edge."""
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[6:28, 6:25, 5:20] = 1006
    labels[17:28, 6:25, 5:20] = 1007
    labels[10:24, 9:22, 8:17] = 2
    labels[14:18, 13:18, 10:14] = 17
    labels[8:14, 8:20, :5] = 8
    return labels


def spread(labels, **changes):
    return region_model(labels, **{"fwhm_mm": FWHM_MM, "voxel_mm": VOXEL_MM, **changes})


def painted(labels, uptake=UPTAKE, background=BACKGROUND):
    image = np.full(labels.shape, background)
    for number, value in uptake.items():
        image[labels == number] = value
    return image


@pytest.fixture
def model(labels):
    return spread(labels)


@pytest.fixture
def scan(labels, model):
    """Noise-free: each region uniform, spread by the PSF."""
    return model.psf.blur(painted(labels))


@pytest.fixture
def noisy(scan, rng):
    return scan + rng.normal(0, 0.1, SHAPE)


def corrected(image, model):
    return gtm(image, model)["corrected"]


def share(mask):
    return mask.astype(np.float64)


def test_the_right_psf_gives_the_truth(scan, model):
    found = corrected(scan, model)
    wanted = {**UPTAKE, NEAR: BACKGROUND, FAR: BACKGROUND}
    assert found.index.tolist() == [*UPTAKE, NEAR, FAR]
    np.testing.assert_allclose(found, list(wanted.values()), atol=1e-5)


def test_the_phantom_scanner_has_this_psf(labels):
    """Its blur lets nothing in from outside, which only region 8 at the edge can tell."""
    labels[labels == 8] = 0
    truth = painted(labels, background=0.0)
    image = blur(truth, Grid(SHAPE, np.diag([*VOXEL_MM, 1])), fwhm_mm=6.0)
    found = corrected(image, spread(labels, fwhm_mm=6.0))
    for number in (2, 17, 1006, 1007):
        assert found[number] == pytest.approx(UPTAKE[number], abs=1e-5)


def test_observed_means_err_where_corrected_ones_do_not(scan, model):
    observed = gtm(scan, model)["observed"]
    assert observed[17] < 0.8 * UPTAKE[17]
    assert observed[1006] < 0.9 * UPTAKE[1006]
    assert observed[8] > 1.1 * UPTAKE[8]


def test_the_matrix_is_that_of_its_definition(labels, model):
    """Whole images, no boxes and no sparse matrix."""
    sigma = np.array(FWHM_MM) / FWHM_PER_SIGMA / VOXEL_MM
    brain = gaussian_filter(share(labels > 0), sigma, mode="nearest", truncate=REACH)
    regions = [labels == number for number in UPTAKE]
    regions += [(labels == 0) & (brain > 0.01), (labels == 0) & (brain <= 0.01)]
    wanted = np.empty((len(regions), len(regions)))
    for j, region in enumerate(regions):
        seen = gaussian_filter(share(region), sigma, mode="nearest", truncate=REACH)
        wanted[:, j] = [seen[other].mean() for other in regions]
    np.testing.assert_allclose(model.matrix, wanted, atol=1e-6)
    np.testing.assert_array_equal(model.n_voxels, [region.sum() for region in regions])


@pytest.mark.parametrize(
    ("cut", "unseen"), [("nothing", set()), ("regions", {8, 1006}), ("background", {NEAR, FAR})]
)
def test_constants_are_kept(labels, cut, unseen):
    """By every method, also where some region lies outside the field of view."""
    image = np.full(SHAPE, 2.0)
    if cut == "regions":
        image[:, :, :9] = np.nan
        image[:17] = np.nan
    elif cut == "background":
        image[labels == 0] = np.nan
    seen = np.isfinite(image)
    model = spread(labels, seen=seen)
    assert set(model.unseen) == unseen
    np.testing.assert_allclose(model.matrix.sum(axis=1), 1, atol=1e-6)
    found = corrected(image, model)
    np.testing.assert_allclose(found[model.numbers], 2.0, rtol=1e-5)
    assert set(found.index[found.isna()]) == set(model.unseen)
    for made in (rbv(image, model), iterative_yang(image, model)):
        np.testing.assert_array_equal(np.isfinite(made), seen)
        np.testing.assert_allclose(made[seen], 2.0, rtol=1e-5)


def test_a_region_outside_the_field_of_view_has_a_row(scan, labels):
    scan[:, :, :5] = np.nan
    table = gtm(scan, spread(labels, seen=np.isfinite(scan)))
    assert table.index.tolist() == [*UPTAKE, NEAR, FAR]
    assert table.loc[8, "n_voxels"] == 0
    assert np.isnan(table.loc[8, "corrected"])
    assert table.drop(8).notna().all().all()


def test_a_cut_field_of_view_changes_no_truth(scan, labels):
    """What is seen of a region suffices; what was not seen still spills in."""
    scan[:, :, :12] = np.nan
    scan[:8] = np.nan
    labels[labels == 8] = 1006
    truth = spread(labels).psf.blur(painted(labels))
    image = np.where(np.isfinite(scan), truth, np.nan)
    found = corrected(image, spread(labels, seen=np.isfinite(image)))
    for number in (2, 17, 1006, 1007):
        assert found[number] == pytest.approx(UPTAKE[number], abs=1e-4)


def test_no_psf_is_the_identity(labels, noisy):
    model = spread(labels, fwhm_mm=0)
    assert NEAR not in model.numbers
    table = gtm(noisy, model)
    for number in UPTAKE:
        assert table.loc[number, "corrected"] == pytest.approx(noisy[labels == number].mean())
    np.testing.assert_array_equal(table["observed"], table["corrected"])
    for made in (rbv(noisy, model), iterative_yang(noisy, model)):
        np.testing.assert_allclose(made, noisy, rtol=1e-6)
    gm = share(labels == 17)
    made = mueller_gaertner(
        noisy, gm=gm, wm=share(labels == 2), fwhm_mm=0, voxel_mm=VOXEL_MM
    )  # fmt: skip
    np.testing.assert_allclose(made[gm > 0], noisy[gm > 0], rtol=1e-6)


def test_the_gtm_is_linear_in_the_image(model, rng):
    one, other = rng.normal(2, 1, SHAPE), rng.normal(0, 3, SHAPE)
    both = corrected(3 * one - 0.5 * other, model)
    np.testing.assert_allclose(both, 3 * corrected(one, model) - 0.5 * corrected(other, model))


def test_a_gain_goes_through_every_voxelwise_method(noisy, model):
    for method in (rbv, iterative_yang):
        np.testing.assert_allclose(
            method(37e3 * noisy, model), 37e3 * method(noisy, model), rtol=1e-4, atol=0.4
        )  # fmt: skip


def test_rbv_has_the_means_of_the_gtm(scan, labels, model):
    """Exactly without noise. With it they differ by how noise and ratio go together."""
    made = rbv(scan, model)
    np.testing.assert_allclose(made, painted(labels), atol=1e-5)
    np.testing.assert_allclose(model.observe(made), corrected(scan, model), atol=1e-5)


def test_rbv_with_noise_stays_near_the_gtm(noisy, model):
    """Each mean within three standard errors of the noise it holds."""
    error = 3 * 0.1 / np.sqrt(model.n_voxels)
    gain = np.linalg.norm(np.linalg.inv(model.matrix), axis=1)
    assert (
        np.abs(model.observe(rbv(noisy, model)) - corrected(noisy, model)) < gain * error
    ).all()


def test_rbv_keeps_what_is_uneven_within_a_region(labels, model):
    """A hot half of a large region stays hot: no value is painted over it."""
    truth = painted(labels)
    truth[10:17, 9:22, 8:17] *= 1.3
    truth[labels == 17] = UPTAKE[17]
    made = rbv(model.psf.blur(truth), model)
    assert made[11, 15, 12] > 1.15 * made[22, 15, 12]


def test_iterative_yang_comes_to_the_truth(scan, labels, model):
    truth = painted(labels)
    errors = [
        np.abs(iterative_yang(scan, model, n_iterations=n) - truth).max() for n in (1, 5, 20, 60)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1
    assert errors[-1] < 1e-3


def test_one_iteration_of_yang_by_hand(scan, labels, model):
    means = [scan[labels == number].mean() for number in UPTAKE]
    number_of = model.numbers.tolist()
    start = painted(labels, dict(zip(UPTAKE, means, strict=True)), 0.0)
    observed = model.observe(scan)
    for side in (NEAR, FAR):
        unit = np.zeros(len(number_of))
        unit[number_of.index(side)] = 1
        start += observed[number_of.index(side)] * model.paint(unit)
    sigma = np.array(FWHM_MM) / FWHM_PER_SIGMA / VOXEL_MM
    expected = gaussian_filter(start, sigma, mode="nearest", truncate=REACH)
    made = iterative_yang(scan, model, n_iterations=1)
    np.testing.assert_allclose(made, scan * start / expected, rtol=1e-5)


def test_where_no_uptake_is_expected_the_image_stays(labels, model):
    """Regions below 0 are taken as 0, and where nothing else reaches nothing is divided."""
    image = np.where(labels == 17, 5.0, -0.2)
    for method in (rbv, iterative_yang):
        made = method(image, model)
        assert (made[labels == 17] > 4.9).all()
        np.testing.assert_array_equal(made[14:18, 13:18, 6], 0)  # reached from 17: expected is 0
        np.testing.assert_array_equal(made[0], np.float32(-0.2))


def test_fractions_of_ones_are_labels(labels, model, noisy):
    maps = {number: share(labels == number) for number in reversed(UPTAKE)}
    parted = spread(maps)
    assert parted.numbers.tolist() == model.numbers.tolist()
    np.testing.assert_allclose(parted.matrix, model.matrix, atol=1e-7)
    np.testing.assert_allclose(rbv(noisy, parted), rbv(noisy, model), rtol=1e-5)


def test_mixed_voxels_give_the_truth(labels):
    """Fractions between 0 and 1, with the background in what is left of a voxel."""
    maps = {number: gaussian_filter(share(labels == number), 0.8, truncate=3) for number in UPTAKE}
    model = spread(maps)
    assert ((maps[17] > 0.1) & (maps[17] < 0.9)).sum() > 100
    values = np.array([*UPTAKE.values(), BACKGROUND, BACKGROUND])
    np.testing.assert_allclose(
        corrected(model.psf.blur(model.paint(values)), model), values, atol=1e-3
    )  # fmt: skip


def test_the_two_backgrounds_are_told_apart(labels, model):
    """A bright scalp near the brain and empty air beyond bias no region."""
    near = model.paint((model.numbers == NEAR).astype(float)) > 0
    truth = painted(labels, background=0.0) + 0.8 * near
    found = corrected(model.psf.blur(truth), model)
    np.testing.assert_allclose(found, [*UPTAKE.values(), 0.8, 0.0], atol=1e-5)


def test_near_is_what_labels_spill_into(labels):
    """Within some FWHM of a flat surface: 2.33 sigma, where 1 % is left."""
    labels = np.zeros((40, 7, 6), dtype=int)
    labels[:15] = 3
    model = region_model(labels, fwhm_mm=6.0, voxel_mm=(1, 1, 1))
    near = model.paint((model.numbers == NEAR).astype(float))[:, 3, 3]
    assert np.flatnonzero(near).tolist() == list(range(15, 21))


def test_labels_that_fill_the_image_leave_no_background(rng):
    labels = rng.integers(1, 4, (6, 5, 4)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    model = spread(labels)
    assert model.numbers.tolist() == [1, 2, 3]
    np.testing.assert_allclose(
        corrected(model.psf.blur(labels.astype(float)), model), [1, 2, 3], atol=1e-4
    )  # fmt: skip


def test_noise_grows_as_its_covariance_says(model, scan, rng):
    """White noise of 400 scans; its corrected variance within 4 standard errors (28 %)."""
    sd = 0.3
    expected = gtm_covariance(np.diag(sd**2 / model.n_voxels), model)
    draws = np.stack(
        [
            np.linalg.solve(model.matrix, model.observe(rng.normal(0, sd, SHAPE)))
            for _ in range(400)
        ]
    )
    np.testing.assert_allclose(draws.var(axis=0), np.diag(expected), rtol=4 * np.sqrt(2 / 400))
    correlation = np.corrcoef(draws.T)[0, 2]  # white matter against the deep region within it
    scale = np.sqrt(np.diag(expected))
    assert correlation == pytest.approx(expected[0, 2] / scale[0] / scale[2], abs=0.15)
    assert correlation < -0.05
    # A correction pays for less bias with more noise, most in the smallest region.
    gain = np.sqrt(np.diag(expected) * model.n_voxels) / sd
    assert (gain[:5] > 1).all()
    assert gain[:5].argmax() == 2


def test_any_covariance_is_carried_over(model, rng):
    """White noise alone could not tell M^-1 C M^-T from M^-1 M^-1 C."""
    half = rng.normal(size=model.matrix.shape)
    inverse = np.linalg.inv(model.matrix)
    found = gtm_covariance(half @ half.T, model)
    np.testing.assert_allclose(found, inverse @ half @ half.T @ inverse.T, rtol=1e-8, atol=1e-8)


def test_the_condition_is_bounded(scan, labels, model):
    condition = np.linalg.cond(model.matrix)
    assert len(gtm(scan, model, max_condition=condition * 1.001)) == 7
    with pytest.raises(
        DataError,
        match=r"of 7 regions has a condition number of [\d.]+, must be at most [\d.]+: at a PSF "
        r"of 6 x 7 x 8 mm it cannot tell the uptake of the labels 17 \(80 voxels\)\. Join",
    ):
        gtm(scan, model, max_condition=condition * 0.999)


@pytest.mark.parametrize("method", [gtm, rbv])
def test_regions_that_lie_on_one_another_are_named(labels, scan, method):
    """Two halves of the same voxels: no image can tell them apart."""
    maps = {number: share(labels == number) for number in (2, 17, 1006)}
    maps[17] /= 2
    model = spread({**maps, 18: maps[17].copy()})
    with pytest.raises(DataError, match=r"labels 17 \(40 voxels\), 18 \(40 voxels\)\. Join"):
        method(scan, model)


@pytest.mark.parametrize(
    ("fwhm_mm", "fits"),
    [(3.0, True), (2.999, False), ((2.0, 2.5, 3.0), True), ((2.0, 2.49, 3.0), False), (0.0, True)],
)
def test_a_psf_below_a_voxel(labels, fwhm_mm, fits):
    if fits:
        assert spread(labels, fwhm_mm=fwhm_mm).shape == SHAPE
    else:
        with pytest.raises(UsageError, match=r"was given for voxels of (2\.5|3) mm along axis"):
            spread(labels, fwhm_mm=fwhm_mm)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (-1, 3)])
def test_labels_that_are_none(low, high):
    labels = np.zeros((3, 4, 5), dtype=int)
    labels[0, 0, 0], labels[0, 0, 1] = low, high
    with pytest.raises(DataError, match=f"labels run from {low} to {high}"):
        spread(labels)


def test_fractions_that_are_none(labels):
    half = np.full(SHAPE, 0.5)
    with pytest.raises(DataError, match=r"region 3 run from 0\.5 to 1\.5"):
        spread({2: half, 3: half + share(labels > 0)})
    with pytest.raises(DataError, match=r"region 2 run from -0\.1"):
        spread({2: half - 0.6})
    with pytest.raises(DataError, match="region 2 run from nan"):
        spread({2: np.where(labels > 0, np.nan, half)})
    with pytest.raises(DataError, match=r"sum to as much as 1\.002"):
        spread({2: half, 3: half + 0.002})
    assert spread({2: half, 3: half + 0.0009}).numbers.tolist() == [2, 3]
    with pytest.raises(DataError, match=r"numbered 0, 3, have the shapes"):
        spread({3: half, 0: half})
    with pytest.raises(DataError, match=r"share one grid"):
        spread({3: half, 4: half[1:]})


def test_images_of_other_shapes(labels, model, scan):
    with pytest.raises(GridMismatchError, match=r"PET image is \(33, 30, 25\) .* \(34, 30, 25\)"):
        gtm(scan[1:], model)
    with pytest.raises(GridMismatchError, match=r"field of view is \(33, 30, 25\)"):
        spread(labels, seen=np.ones((33, 30, 25), dtype=bool))


def test_holes_that_the_model_was_not_told_of(scan, model):
    scan[5, 5, 5:7] = np.nan
    for method in (gtm, rbv, iterative_yang):
        with pytest.raises(DataError, match=r"no value in 2 voxels .* seen=np\.isfinite"):
            method(scan, model)


@pytest.fixture
def tissues(labels):
    """Grey matter around white matter, with mixed voxels between them."""
    wm = gaussian_filter(share((labels == 2) | (labels == 17)), 0.7)
    brain = gaussian_filter(share(labels > 8), 0.7)
    return {"gm": np.clip(brain - wm, 0, 1), "wm": wm}


def mg(image, tissues, **changes):
    return mueller_gaertner(
        image, **tissues, **{"fwhm_mm": FWHM_MM, "voxel_mm": VOXEL_MM, **changes}
    )  # fmt: skip


def seen_of(tissues, grey, white):
    sigma = np.array(FWHM_MM) / FWHM_PER_SIGMA / VOXEL_MM
    return gaussian_filter(
        grey * tissues["gm"] + white * tissues["wm"], sigma, mode="nearest", truncate=REACH
    )  # fmt: skip


def test_mueller_gaertner_on_uniform_tissues(tissues):
    """y = 2.1 G' + 0.8 W': the grey matter is 2.1 in every voxel that has a value."""
    made = mg(seen_of(tissues, 2.1, 0.8), tissues, wm_value=0.8)
    np.testing.assert_allclose(made[tissues["gm"] > 0.5], 2.1, rtol=1e-5)
    np.testing.assert_array_equal(np.isfinite(made), tissues["gm"] > 0.5)


def test_a_wrong_uptake_of_white_matter_errs_by_its_share(tissues):
    sigma = np.array(FWHM_MM) / FWHM_PER_SIGMA / VOXEL_MM
    grey, white = (
        gaussian_filter(tissues[name], sigma, mode="nearest", truncate=REACH)
        for name in ("gm", "wm")
    )
    inside = tissues["gm"] > 0.5
    made = mg(seen_of(tissues, 2.1, 0.8), tissues, wm_value=0.9)
    np.testing.assert_allclose(made[inside], 2.1 - 0.1 * white[inside] / grey[inside], rtol=1e-4)


def test_white_matter_is_read_where_it_is_deep(tissues):
    """There at least 95 % of the signal is its own, so the value errs by 5 % of the contrast."""
    wm = np.zeros(SHAPE)
    wm[8:26, 8:23, 6:19] = 1
    gm = np.zeros(SHAPE)
    gm[4:30, 4:27, 3:22] = 1
    tissues = {"gm": gm - wm, "wm": wm}
    image = seen_of(tissues, 2.0, 1.0)
    made = mg(image, tissues)
    deep = seen_of(tissues, 0.0, 1.0) > 0.95
    exactly = mg(image, tissues, wm_value=image[deep].mean())
    np.testing.assert_allclose(made, exactly, rtol=1e-6)
    assert 1.0 < image[deep].mean() < 1.05
    # And linear, as the value read is.
    other = image + 0.3 * gm
    np.testing.assert_allclose(
        mg(2 * image - other, tissues), 2 * made - mg(other, tissues), rtol=1e-4, atol=1e-5
    )  # fmt: skip


@pytest.mark.parametrize(("missing", "enough"), [(0, True), (1, False)])
def test_fewest_voxels_of_deep_white_matter(missing, enough):
    wm = np.zeros(SHAPE)
    wm.flat[: MIN_DEEP_VOXELS - missing] = 1
    tissues = {"gm": 1 - wm, "wm": wm}
    if enough:
        assert np.isfinite(mg(np.ones(SHAPE), tissues, fwhm_mm=0)[10, 10, 10])
    else:
        with pytest.raises(EmptyRegionError, match=r"95% of the signal, which 49 .* needs 50"):
            mg(np.ones(SHAPE), tissues, fwhm_mm=0)


def test_holes_of_the_image_stay_holes(tissues):
    image = seen_of(tissues, 2.1, 0.8)
    image[:, :, 10] = np.nan
    made = mg(image, tissues, wm_value=0.8)
    inside = (tissues["gm"] > 0.5) & np.isfinite(image)
    np.testing.assert_array_equal(np.isfinite(made), inside)
    np.testing.assert_allclose(made[inside], 2.1, rtol=1e-5)


def test_tissues_on_another_grid(tissues):
    with pytest.raises(GridMismatchError, match=r"grey matter \(34, 30, 25\), white matter \(33,"):
        mg(np.ones(SHAPE), {**tissues, "wm": tissues["wm"][1:]})
