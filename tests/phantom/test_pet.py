import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.phantom.head import Around
from relad_bids.phantom.pet import (
    FWHM_PER_SIGMA,
    Scanner,
    acquire,
    blur,
    draw_scanner,
    paint,
    reference_mean,
)
from relad_bids.phantom.regions import CEREBELLUM_GM


@pytest.fixture
def pet_grid():
    return Grid((48, 44, 40), np.diag([2.0, 2.0, 2.5, 1.0]))


def test_point_spread_conserves_activity(pet_grid):
    image = np.zeros(pet_grid.shape, dtype=np.float32)
    image[20:28, 18:26, 16:24] = np.random.default_rng(0).uniform(1, 3, (8, 8, 8))
    spread = blur(image, pet_grid, fwhm_mm=7.0)
    assert spread.sum(dtype=float) == pytest.approx(image.sum(dtype=float), rel=1e-5)


def test_point_spread_has_the_asked_width_along_every_axis(pet_grid):
    image = np.zeros(pet_grid.shape)
    image[24, 22, 20] = 1.0
    spread = blur(image, pet_grid, fwhm_mm=7.0).astype(float)
    for axis, size in enumerate((2.0, 2.0, 2.5)):
        profile = spread.sum(axis=tuple(a for a in range(3) if a != axis))
        where = np.arange(profile.size) * size
        mean = (profile * where).sum()
        sigma = np.sqrt((profile * (where - mean) ** 2).sum())
        # cutting the kernel at 3.5 sigma takes 1 % of the variance
        assert sigma * FWHM_PER_SIGMA == pytest.approx(7.0, rel=0.015)


@pytest.mark.parametrize(("fwhm", "counts", "published"), [(6.0, 20, 0.022), (6.0, 5, 0.045)])
def test_noise_follows_the_formula(fwhm, counts, published):
    """CoV = 1 / sqrt(8 pi^1.5 sigma^3 counts); away from the border."""
    grid = Grid((52, 48, 44), np.diag([2.0, 2.0, 2.0, 1.0]))
    image = acquire(
        np.ones(grid.shape),
        grid,
        fwhm_mm=fwhm,
        counts=counts,
        generator=np.random.default_rng(1),
    )[8:-8, 8:-8, 8:-8]
    sigma = fwhm / FWHM_PER_SIGMA / 2.0
    formula = 1 / np.sqrt(8 * np.pi**1.5 * sigma**3 * counts)
    measured = image.std() / image.mean()
    assert measured == pytest.approx(formula, rel=0.05)
    assert measured == pytest.approx(published, abs=0.001)
    assert image.mean() == pytest.approx(1.0, abs=0.003)


def test_noise_is_unbiased_and_never_negative(pet_grid):
    uptake = np.full(pet_grid.shape, 0.05)
    image = acquire(uptake, pet_grid, fwhm_mm=5.0, counts=2.0, generator=np.random.default_rng(3))
    assert image.min() >= 0
    assert image[8:-8, 8:-8, 8:-8].mean() == pytest.approx(0.05, rel=0.05)


def test_counts_scale_with_the_voxel_and_the_isotope():
    scanner = Scanner(fwhm_mm=6.0, counts=10.0, carbon=0.4)
    small = Grid((2, 2, 2), np.diag([2.0, 2.0, 2.0, 1.0]))
    large = Grid((2, 2, 2), np.diag([4.0, 2.0, -2.0, 1.0]))
    assert scanner.counts_for("flortaucipir", small) == pytest.approx(10.0)
    assert scanner.counts_for("pib", small) == pytest.approx(4.0)
    assert scanner.counts_for("pbr28", large) == pytest.approx(8.0)


def test_scanners_stay_in_range():
    drawn = [draw_scanner(np.random.default_rng(k)) for k in range(300)]
    widths = np.array([s.fwhm_mm for s in drawn])
    assert widths.min() >= 4.5
    assert widths.max() <= 8.0
    assert widths.mean() == pytest.approx(6.0, abs=0.15)
    assert all(2 <= s.counts <= 20 and 0.3 <= s.carbon <= 0.5 for s in drawn)


def test_pure_voxels_hold_their_labels_uptake(tissue, subject):
    painted = paint(tissue, subject, "flortaucipir")
    for share, label in ((tissue.wm, tissue.wm_label), (tissue.csf, tissue.csf_label)):
        pure = share > 0.9999
        assert pure.sum() > 20
        expected = [subject.uptake["flortaucipir"][int(i)] for i in label[pure]]
        np.testing.assert_allclose(painted[pure], expected, rtol=1e-3)


def test_surroundings_are_painted_as_given(tissue, subject):
    around = np.full(tissue.grid.shape, Around.MENINGES, dtype=np.uint8)
    painted = paint(tissue, subject, "pib", around=around)
    assert painted[~tissue.mask] == pytest.approx(subject.uptake["pib"][257], rel=1e-6)
    assert paint(tissue, subject, "pib")[0, 0, 0] == 0.0  # far from the head


def test_reference_mean_is_that_of_the_tracers_labels(tissue, subject):
    labels = tissue.labels()
    image = np.isin(labels, CEREBELLUM_GM).astype(float)
    assert reference_mean(image, labels, "flortaucipir") == 1.0
    whole = np.isin(labels, (7, 8, 46, 47))
    expected = image.sum() / whole.sum()
    assert reference_mean(image, labels, "pib") == pytest.approx(expected)
