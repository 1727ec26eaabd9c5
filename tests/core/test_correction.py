"""Which regions a head has for a correction, and that it brings back what was painted."""

from dataclasses import replace

import numpy as np
import pytest

from relad_bids.core.correction import (
    ATLAS,
    LEFT_CSF,
    LEFT_GM,
    LEFT_WM,
    PART,
    SHELL,
    Head,
    correct,
    corrected_image,
    head_regions,
    with_atlas,
)
from relad_bids.core.resolution import point_spread
from relad_bids.errors import DataError, UsageError

SHAPE, VOXEL_MM = (40, 34, 37), (2.0, 2.5, 2.2)


@pytest.fixture
def head():
    """A ball of brain with two labels and a reference that is the lower half of the second."""
    where = np.indices(SHAPE).transpose(1, 2, 3, 0) * VOXEL_MM
    centred = where - np.array(SHAPE) * VOXEL_MM / 2
    radius = np.linalg.norm(centred, axis=-1)
    brain = radius < 30
    labels = np.where((radius < 20) & (centred[..., 0] < 0), 10, 0)
    labels = np.where((radius < 20) & (centred[..., 0] >= 0), 8, labels)
    reference = (labels == 8) & (centred[..., 2] < 0)
    left = centred[..., 1]
    csf = np.where(left > 8, 0.9, 0.05)
    wm = np.where((left <= 8) & (left > -8), 0.9, 0.05)
    return Head(labels, reference, brain, csf, 1 - csf - wm, wm, VOXEL_MM)


def test_every_voxel_of_the_brain_and_its_shell_has_a_region(head):
    regions = head_regions(head)
    assert set(np.unique(regions)) == {0, 8, 10, 8 + PART, LEFT_GM, LEFT_WM, LEFT_CSF, SHELL}
    assert (regions[head.brain] > 0).all()
    assert ((regions == 8 + PART) == head.reference).all()
    assert not head.brain[regions == SHELL].any()


def test_the_shell_is_four_millimetres_thick_along_each_axis(head):
    """In voxels of other sizes on each axis: 2, 1 and 1 beyond the brain's edge."""
    regions = head_regions(head)
    centre = tuple(n // 2 for n in SHAPE)
    for axis, thick in ((0, 2), (1, 1), (2, 1)):
        line = regions[tuple(slice(None) if a == axis else centre[a] for a in range(3))]
        assert (line == SHELL).sum() == 2 * thick


def painted(head, value_of):
    regions = head_regions(head)
    image = np.zeros(SHAPE, np.float32)
    for number, value in value_of.items():
        image[regions == number] = value
    return image, regions


VALUES = {8: 1.0, 8 + PART: 1.4, 10: 2.0, LEFT_GM: 0.9, LEFT_WM: 1.6, LEFT_CSF: 0.3, SHELL: 0.6}


@pytest.mark.parametrize("method", ["gtm", "rbv"])
def test_the_right_psf_brings_back_what_was_painted(head, method):
    """pet-quantification 7.5: within 1e-3; the part of a label that is the reference, too."""
    image, regions = painted(head, VALUES)
    blurred = point_spread(6.0, VOXEL_MM).blur(image)
    made = corrected_image(blurred, head, method=method, fwhm_mm=6.0)
    for number in (8, 8 + PART, 10):
        inside = regions == number
        assert made[inside].mean() == pytest.approx(VALUES[number], rel=1e-3)
        assert abs(blurred[inside].mean() / VALUES[number] - 1) > 0.02  # there was work to do


def test_iterative_yang_comes_near(head):
    image, regions = painted(head, VALUES)
    blurred = point_spread(6.0, VOXEL_MM).blur(image)
    made = corrected_image(blurred, head, method="iy", fwhm_mm=6.0)
    assert made[regions == 10].mean() == pytest.approx(2.0, rel=0.02)  # ten steps, not all


def test_a_wrong_psf_errs_in_its_direction(head):
    image, regions = painted(head, VALUES)
    blurred = point_spread(6.0, VOXEL_MM).blur(image)
    hot = [
        corrected_image(blurred, head, method="gtm", fwhm_mm=width)[regions == 10].mean()
        for width in (4.5, 6.0, 7.5)
    ]
    assert hot[0] < hot[1] < hot[2]


def test_what_was_not_seen_stays_missing(head):
    image, _ = painted(head, VALUES)
    blurred = point_spread(6.0, VOXEL_MM).blur(image)
    cut = np.where(head.labels == 10, np.nan, blurred)
    made = corrected_image(cut, head, method="gtm", fwhm_mm=6.0)
    assert np.isnan(made[head.labels == 10]).all()
    assert np.isfinite(made[head.labels == 8]).all()


def test_the_box_around_the_brain_changes_nothing(head):
    """The same head with 30 voxels of air more on each side."""
    wide = ((30, 30),) * 3
    more = Head(
        *(np.pad(image, wide) for image in (head.labels, head.reference, head.brain)),
        np.pad(head.csf, wide), np.pad(head.gm, wide), np.pad(head.wm, wide), VOXEL_MM,
    )  # fmt: skip
    image, _ = painted(head, VALUES)
    inner = (slice(30, -30),) * 3
    big = point_spread(6.0, VOXEL_MM).blur(np.pad(image, wide))
    for method in ("gtm", "iy"):
        made = corrected_image(big, more, method=method, fwhm_mm=6.0)[inner]
        same = corrected_image(big[inner], head, method=method, fwhm_mm=6.0)
        at = head.labels > 0
        np.testing.assert_allclose(made[at], same[at], rtol=2e-3)


def test_refusals(head):
    image, _ = painted(head, VALUES)
    with pytest.raises(UsageError, match=r"a PSF of 1 mm was given for voxels of 2 mm"):
        corrected_image(image, head, method="gtm", fwhm_mm=1.0)
    with pytest.raises(ValueError, match="none is no partial volume correction"):
        corrected_image(image, head, method="none", fwhm_mm=6.0)


def test_labels_that_hide_behind_one_another_are_named(head):
    """Every other voxel: no scanner tells them apart."""
    image, _ = painted(head, VALUES)
    other = np.indices(SHAPE).sum(axis=0) % 2 == 0
    mixed = replace(head, labels=np.where((head.labels == 10) & other, 11, head.labels))
    with pytest.raises(DataError, match=r"condition number .* labels 10 .* 11"):
        corrected_image(image, mixed, method="gtm", fwhm_mm=8.0)


@pytest.fixture
def grey_head(head):
    """The same ball, each label and all reference of grey matter, the rest white or fluid."""
    gm = (head.labels > 0).astype(float)
    wm = (head.labels == 0) * (head.csf < 0.5).astype(float)
    return replace(head, gm=gm, wm=wm, csf=1 - gm - wm)


def test_mueller_gaertner_brings_back_grey_beside_fluid_of_nothing(grey_head):
    """Closed form: grey 2, white 1 and nothing else; each has one value."""
    image = 2.0 * grey_head.gm + 1.0 * grey_head.wm * grey_head.brain
    head = replace(grey_head, wm=grey_head.wm * grey_head.brain)
    blurred = point_spread(6.0, VOXEL_MM).blur(image)
    made = corrected_image(blurred, head, method="mg", fwhm_mm=6.0)
    assert made[head.gm > 0.5].mean() == pytest.approx(2.0, rel=0.02)  # white matter is read off
    assert np.isnan(made[head.gm < 0.5]).all()


def test_mueller_gaertner_needs_a_reference_of_grey_matter(grey_head):
    """Both sides of 95 %: what is left of a mixed region would be another region."""
    where = np.argwhere(grey_head.reference)
    for share, refused in ((0.04, False), (0.06, True)):
        gm = grey_head.gm.copy()
        gm[tuple(where[: round(share * len(where))].T)] = 0.2
        mixed = replace(grey_head, gm=gm)
        blurred = point_spread(6.0, VOXEL_MM).blur(gm + grey_head.wm)
        if refused:
            with pytest.raises(DataError, match="makes up 94% of the reference region"):
                corrected_image(blurred, mixed, method="mg", fwhm_mm=6.0)
        else:
            corrected_image(blurred, mixed, method="mg", fwhm_mm=6.0)


def small(head, *, n):
    """``n`` voxels of another label in the middle of label 10."""
    where = np.argwhere(head.labels == 10)
    near = np.argsort(np.linalg.norm((where - where.mean(axis=0)) * VOXEL_MM, axis=1))[:n]
    labels = head.labels.copy()
    labels[tuple(where[near].T)] = 26
    return replace(head, labels=labels)


@pytest.mark.parametrize(("n", "doubted"), [(15, True), (400, False)])
def test_a_region_smaller_than_the_point_spread_is_doubted(head, n, doubted):
    """Voxels of 11 mm3: 0.165 mL and 4.4 mL; the cube of a PSF of 6 mm has 0.216."""
    mixed = small(head, n=n)
    image, _ = painted(mixed, {**VALUES, 26: 1.5})
    blurred = point_spread(6.0, VOXEL_MM).blur(image)
    for method in ("gtm", "iy"):
        made = correct(blurred, mixed, method=method, fwhm_mm=6.0)
        assert made.unstable[mixed.labels == 26].all() == doubted
        assert not made.unstable[(mixed.labels != 26)].any()
        assert (made.condition is None) == (method == "iy")


def test_a_region_in_which_errors_grow_is_doubted(head):
    """Larger than the PSF, and in slices that no scanner tells from their neighbours."""
    k = np.indices(SHAPE)[2]
    sliced = replace(head, labels=np.where((head.labels == 10) & (k % 3 == 0), 26, head.labels))
    image, _ = painted(sliced, {**VALUES, 26: 1.5})
    blurred = point_spread(8.0, VOXEL_MM).blur(image)
    made = correct(blurred, sliced, method="gtm", fwhm_mm=8.0)
    assert (sliced.labels == 26).sum() * np.prod(VOXEL_MM) > 5 * 8.0**3
    assert made.unstable[sliced.labels == 26].all()
    assert not correct(blurred, head, method="gtm", fwhm_mm=8.0).unstable.any()


def test_what_is_at_or_below_zero_is_doubted(head):
    image, _ = painted(head, {**VALUES, 10: -0.1})
    made = correct(point_spread(6.0, VOXEL_MM).blur(image), head, method="gtm", fwhm_mm=6.0)
    assert made.unstable[head.labels == 10].all()
    assert not made.unstable[head.labels == 8].any()


def test_an_atlas_goes_before_the_labels_whatever_its_numbers(head):
    """Numbers of an atlas that are those of labels, of parts and of what is left."""
    i = np.indices(SHAPE)[0]
    inside = head.labels == 10
    atlas = np.where(inside, np.where(i % 12 < 6, 8, LEFT_WM), 0)
    with_it = with_atlas(head, atlas)
    values = {8: 1.0, 8 + PART: 1.4, LEFT_GM: 0.9, LEFT_WM: 1.6, LEFT_CSF: 0.3, SHELL: 0.6}
    image, _ = painted(head, values)
    image[atlas == 8], image[atlas == LEFT_WM] = 2.0, 3.0
    blurred = point_spread(6.0, VOXEL_MM).blur(image)
    made = corrected_image(blurred, with_it, method="gtm", fwhm_mm=6.0)
    assert made[atlas == 8].mean() == pytest.approx(2.0, rel=1e-3)
    assert made[atlas == LEFT_WM].mean() == pytest.approx(3.0, rel=1e-3)
    assert made[head.reference].mean() == pytest.approx(1.4, rel=1e-3)


def test_the_rim_that_an_atlas_leaves_of_a_label_is_of_its_nearest_region(head):
    """Along the second axis, of 2.5 mm: the first voxel is within 3 mm, the second is not."""
    j = np.indices(SHAPE)[1]
    atlas = np.where((head.labels > 0) & (j < 17), 3, 0)
    made = with_atlas(head, atlas)
    for number, rim in ((10, ATLAS), (8, 8)):
        where = (head.labels == number) & (head.reference == (number == 8))
        assert where[:, 17].any()
        assert (made.labels[where & (j == 17)] == rim).all(), "the reference keeps its own"
        assert (made.labels[where & (j > 18)] == number).all()
