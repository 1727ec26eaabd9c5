"""Closed forms: noise of known width, images whose entropy is known, smoothing of known FWHM."""

import numpy as np
import pytest
from scipy import ndimage

from relad_bids.core import image_quality as iq

RNG = np.random.default_rng
SHAPE = (60, 50, 40)
VOXEL_MM = (1.0, 1.2, 1.5)


def rayleigh(sigma, n, seed=1):
    return np.hypot(*RNG(seed).normal(0, sigma, (2, n)))


def test_snr_of_known_noise():
    # 100 / 5; the standard deviation of 50,000 draws is known to 0.3 %, four times that.
    tissue = RNG(0).normal(100, 5, 50_000)
    assert iq.snr(tissue) == pytest.approx(20, rel=0.012)
    assert iq.snr(3 * tissue) == pytest.approx(iq.snr(tissue), rel=1e-12)


def test_snr_is_the_median_over_the_sample_deviation():
    tissue = np.r_[np.arange(100.0), 1000.0]
    assert iq.snr(tissue) == pytest.approx(50 / np.std(tissue, ddof=1), rel=1e-12)


@pytest.mark.parametrize("n", [iq.FEWEST - 1, iq.FEWEST])
def test_few_voxels_tell_no_noise(n):
    told = n >= iq.FEWEST
    values = np.arange(1.0, n + 1)
    assert (iq.snr(values) is not None) is told
    assert (iq.cnr(values, values, None) is not None) is told
    assert (iq.snr_dietrich(values, rayleigh(1, 500)) is not None) is told


def test_no_spread_is_no_snr():
    flat = np.full(500, 7.0)
    assert iq.snr(flat) is None
    assert iq.cnr(flat, flat, None) is None
    assert iq.snr_dietrich(flat, None) is None
    assert iq.snr_dietrich(flat, np.zeros(500)) is None


def test_dietrich_gives_back_the_noise_of_the_channel():
    """Magnitude of pure noise is Rayleigh; its deviation is that of a channel times .655."""
    assert pytest.approx(1 / 0.6551364, rel=1e-6) == iq.RAYLEIGH
    noise = rayleigh(4.0, 200_000)
    # 200,000 draws: 0.2 %; five times that.
    assert iq.snr_dietrich(np.full(200, 80.0), noise) == pytest.approx(20, rel=0.01)


def test_cnr_in_closed_form():
    gm, wm = np.repeat([57.0, 63.0], 100), np.repeat([86.0, 94.0], 100)
    air = np.repeat([-12.0, 12.0], 100)
    assert iq.cnr(gm, wm, None) == pytest.approx(30 / 5, rel=1e-12)  # sqrt(9 + 16)
    assert iq.cnr(gm, wm, air) == pytest.approx(30 / 13, rel=1e-12)  # sqrt(9 + 16 + 144)
    assert iq.cnr(wm, gm, air) == pytest.approx(30 / 13, rel=1e-12)


def test_entropy_focus_between_its_bounds():
    """0 for one bright voxel, 1 for a uniform image, (k / n)^(1/2) ln k / ln n for k of n."""
    image = np.zeros(10_000)
    image[7] = 5
    assert iq.entropy_focus(image) == pytest.approx(0, abs=1e-12)
    assert iq.entropy_focus(np.full((20, 25, 20), 3.0)) == pytest.approx(1, rel=1e-12)
    image[:100] = 2
    expected = np.sqrt(100 / 10_000) * np.log(100) / np.log(10_000)
    assert iq.entropy_focus(image) == pytest.approx(expected, rel=1e-12)
    assert iq.entropy_focus(-9 * image) == pytest.approx(expected, rel=1e-12)


def test_a_ghost_raises_the_entropy_focus():
    head = np.zeros(SHAPE)
    head[15:45, 12:38, 10:30] = 100
    ghost = head + 0.1 * np.roll(head, SHAPE[1] // 2, axis=1)
    assert iq.entropy_focus(ghost) > iq.entropy_focus(head) + 0.03


def test_energy_of_head_over_air():
    head, air = np.full(50, 30.0), np.r_[np.full(60, 2.0), np.full(40, 9.0)]
    assert iq.foreground_background(head, air) == pytest.approx(225, rel=1e-12)
    assert iq.foreground_background(head, None) is None
    assert iq.foreground_background(head, np.zeros(200)) is None


@pytest.mark.parametrize("fwhm_mm", [3.0, 5.0, 8.0])
def test_smoothness_of_smoothed_noise(fwhm_mm):
    sigma = fwhm_mm / np.sqrt(8 * np.log(2)) / np.array(VOXEL_MM)
    noise = RNG(3).normal(size=(90, 80, 70))
    image = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    mask = np.zeros(image.shape, bool)
    mask[5:-5, 5:-5, 5:-5] = True
    # At 3 mm the kernel is sampled every half FWHM along k (2 % off); at 8 mm a volume holds few
    # independent places.
    found = iq.smoothness_mm(image, mask, voxel_mm=VOXEL_MM)
    assert found == pytest.approx(fwhm_mm, rel=0.04)
    assert iq.smoothness_mm(5 * image + 9, mask, voxel_mm=VOXEL_MM) == pytest.approx(found)


def test_smoothness_needs_voxels_and_contrast():
    mask = np.ones(SHAPE, bool)
    assert iq.smoothness_mm(np.full(SHAPE, 4.0), mask, voxel_mm=VOXEL_MM) is None
    few = np.zeros(SHAPE, bool)
    few[:4, :5, :4] = True
    assert iq.smoothness_mm(RNG(0).normal(size=SHAPE), few, voxel_mm=VOXEL_MM) is None
    # Noise from voxel to voxel has no width that neighbours could tell.
    white = iq.smoothness_mm(RNG(0).normal(size=SHAPE), mask, voxel_mm=VOXEL_MM)
    assert white < 0.6 * min(VOXEL_MM)


def test_range_of_a_known_field():
    """A field that rises from 0.8 to 1.2: its middle 90 % span 0.36 of the median."""
    field = np.linspace(0.8, 1.2, SHAPE[0])[:, None, None] * np.ones(SHAPE)
    after = RNG(2).uniform(50, 150, SHAPE)
    mask = np.ones(SHAPE, bool)
    # 60 slices: each percentile is known to a slice, 0.007.
    assert iq.field_range(after * field, after, mask) == pytest.approx(0.36, abs=0.014)
    assert iq.field_range(7 * after * field, after, mask) == pytest.approx(
        iq.field_range(after * field, after, mask)
    )
    assert iq.field_range(after, after, mask) == pytest.approx(0, abs=1e-12)
    assert iq.field_range(after, np.zeros(SHAPE), mask) is None


def head_in_air(zeroed):
    head = np.zeros((80, 70, 60), bool)
    head[25:55, 20:50, 15:45] = True
    image = np.where(head, 100.0, rayleigh(5, head.size).reshape(head.shape))
    far = ndimage.distance_transform_edt(~head, sampling=VOXEL_MM) > iq.AIR_MM
    places = np.flatnonzero(far)
    image.ravel()[places[: round(zeroed * len(places))]] = 0
    return image, head


def test_air_is_far_from_the_head_and_of_noise():
    image, head = head_in_air(0.0)
    head[2, 2, 2] = True  # a speck of noise above the threshold is no head
    found = iq.air(image, head, voxel_mm=VOXEL_MM)
    # A Rayleigh mean is sigma sqrt(pi / 2); 30,000 voxels: 0.3 %.
    assert found.mean() == pytest.approx(5 * np.sqrt(np.pi / 2), rel=0.02)
    assert found.max() < 100


@pytest.mark.parametrize(("zeroed", "told"), [(0.0, True), (0.4, True), (0.9, False)])
def test_masked_air_is_no_noise(zeroed, told):
    image, head = head_in_air(zeroed)
    # Zeros come first in the order of the voxels: half of the air by a look at every second one.
    assert (iq.air(image, head, voxel_mm=VOXEL_MM) is not None) is told


def test_no_air_in_the_picture():
    image, head = head_in_air(0.0)
    assert iq.air(image, np.ones_like(head), voxel_mm=VOXEL_MM) is None
    assert iq.air(image, np.zeros_like(head), voxel_mm=VOXEL_MM) is None
