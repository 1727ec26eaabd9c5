import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from relad_bids.core.resolution import (
    FWHM_PER_SIGMA,
    NARROW,
    REACH,
    point_spread,
    smooth_to,
)
from relad_bids.errors import DataError, UsageError

VOXEL_MM = (1.0, 1.5, 2.0)
SHAPE = (47, 35, 29)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def gaussian(fwhm_mm, centre_mm=(0.0, 0.0, 0.0)):
    """A point source as a scanner of this resolution shows it, its sum 1."""
    image = np.ones(SHAPE)
    for axis, (n, size) in enumerate(zip(SHAPE, VOXEL_MM, strict=True)):
        x = (np.arange(n) - n // 2) * size - centre_mm[axis]
        profile = np.exp(-0.5 * (x * FWHM_PER_SIGMA / fwhm_mm[axis]) ** 2)
        image *= np.expand_dims(profile, [a for a in range(3) if a != axis])
    return image / image.sum()


def widths_mm(image):
    """FWHM along each axis from the second moment."""
    found = []
    for axis, (n, size) in enumerate(zip(SHAPE, VOXEL_MM, strict=True)):
        x = np.arange(n) * size
        profile = image.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.float64)
        profile /= profile.sum()
        mean = (x * profile).sum()
        found.append(FWHM_PER_SIGMA * np.sqrt(((x - mean) ** 2 * profile).sum()))
    return found


@pytest.mark.parametrize("target_mm", [6.0, 8.0])
@pytest.mark.parametrize("native_mm", [(4.5, 4.5, 4.5), (4.0, 4.6, 5.9), (5.99, 5.0, 5.5)])
def test_a_point_source_gets_the_target_width_along_each_axis(native_mm, target_mm):
    """Cutting the kernel at 3.5 sigma takes 0.3 % of its width away, no more."""
    made = smooth_to(
        gaussian(native_mm), native_fwhm_mm=native_mm, target_fwhm_mm=target_mm, voxel_mm=VOXEL_MM
    )
    np.testing.assert_allclose(widths_mm(made), target_mm, rtol=4e-3)


def test_the_result_is_the_image_of_a_scanner_of_that_resolution():
    """Voxel by voxel, not by its width alone; within 0.3 % of the peak."""
    native, target = (5.0, 4.5, 5.5), (8.0, 8.0, 8.0)
    centre = (0.3, -0.7, 0.5)
    made = smooth_to(
        gaussian(native, centre), native_fwhm_mm=native, target_fwhm_mm=8, voxel_mm=VOXEL_MM
    )
    wanted = gaussian(target, centre)
    np.testing.assert_allclose(made, wanted, atol=3e-3 * wanted.max())


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.425, NARROW - 1e-9, NARROW, 1.3, 4.0])
def test_widths_from_far_below_a_voxel(sigma):
    """The variance of the kernel itself, in voxels; 1.2 % goes with the cut tails."""
    source = np.zeros((61, 1, 1))
    source[30] = 1
    made = point_spread((sigma * FWHM_PER_SIGMA, 0, 0), (1, 1, 1)).blur(source)[:, 0, 0]
    assert made.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    x = np.arange(61) - 30
    assert (made * x**2).sum(dtype=np.float64) == pytest.approx(sigma**2, rel=0.012)


def test_wide_kernels_are_those_of_scipy(rng):
    image = rng.normal(size=(20, 17, 13))
    fwhm_mm = (5.0, 6.0, 7.0)
    psf = point_spread(fwhm_mm, VOXEL_MM)
    sigma = np.array(fwhm_mm) / FWHM_PER_SIGMA / VOXEL_MM
    wanted = gaussian_filter(image, sigma, mode="nearest", truncate=REACH)
    np.testing.assert_allclose(psf.blur(image), wanted, atol=1e-6)


def test_the_sum_is_kept_away_from_the_edges(rng):
    image = np.zeros(SHAPE)
    image[18:29, 13:22, 12:17] = rng.uniform(1, 2, (11, 9, 5))
    made = smooth_to(image, native_fwhm_mm=4, target_fwhm_mm=8, voxel_mm=VOXEL_MM)
    assert made.sum(dtype=np.float64) == pytest.approx(image.sum(), rel=1e-6)


def test_constants_stay_even_at_the_edge_of_the_field_of_view():
    image = np.full(SHAPE, 3.0)
    image[:, :, :9] = np.nan
    image[20, 20, 20] = np.nan
    made = smooth_to(image, native_fwhm_mm=5, target_fwhm_mm=8, voxel_mm=VOXEL_MM)
    np.testing.assert_array_equal(np.isnan(made), np.isnan(image))
    np.testing.assert_allclose(made[np.isfinite(image)], 3.0, rtol=1e-6)


def test_a_resolution_already_reached_changes_nothing(rng):
    image = rng.normal(size=(9, 8, 7)).astype(np.float32)
    made = smooth_to(image, native_fwhm_mm=6, target_fwhm_mm=6, voxel_mm=VOXEL_MM)
    np.testing.assert_array_equal(made, image)


@pytest.mark.parametrize(
    ("native_mm", "fits"), [((6.0, 6.0, 6.0 + 5e-7), True), ((6.0, 5.0, 6.001), False)]
)
def test_nothing_is_sharpened(native_mm, fits):
    image = np.ones((5, 6, 7))
    settings = {"native_fwhm_mm": native_mm, "target_fwhm_mm": 6.0, "voxel_mm": VOXEL_MM}
    if fits:
        assert smooth_to(image, **settings).shape == image.shape
    else:
        with pytest.raises(DataError, match=r"to 6 mm, .* is 6 x 5 x 6\.001 mm .* --pet-fwhm"):
            smooth_to(image, **settings)


@pytest.mark.parametrize("fwhm_mm", [-1.0, np.nan, np.inf, (5.0, 6.0), (5.0, 5.0, -0.1)])
def test_widths_that_are_none(fwhm_mm):
    with pytest.raises(UsageError, match="is one number of mm, or three for the axes"):
        point_spread(fwhm_mm, VOXEL_MM)


def test_one_width_stands_for_all_axes():
    assert point_spread(6, VOXEL_MM) == point_spread((6.0, 6.0, 6.0), VOXEL_MM)


def test_reach_is_where_a_point_ends():
    source = np.zeros((41, 41, 41))
    source[20, 20, 20] = 1
    psf = point_spread((6.0, 0.0, 2.2), VOXEL_MM)
    where = np.argwhere(psf.blur(source) > 0)
    np.testing.assert_array_equal(where.max(axis=0) - 20, psf.reach)
    np.testing.assert_array_equal(20 - where.min(axis=0), psf.reach)
