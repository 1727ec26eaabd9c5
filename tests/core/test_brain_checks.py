"""Each check of a brain mask on both sides of its bound, on shapes of known figures."""

import numpy as np
import pytest

from relad_bids.core.brain_checks import (
    FLAGS,
    LEAST_OVERLAP,
    LEAST_SYMMETRY,
    MOST_CUT,
    MOST_CUT_STRIPPED,
    MOST_STRAY,
    ROOM_MM,
    USUAL_ML,
    BrainChecks,
    check_brain,
    cut_share,
    dice,
    largest_piece,
)

GOOD = {"volume_ml": 1400.0, "stray": 0.0, "symmetry": 0.96, "overlap": 0.95, "cut": 0.0}
STEP = 1e-6


@pytest.mark.parametrize(
    ("figure", "inside", "outside", "flag"),
    [
        ("volume_ml", USUAL_ML[0], USUAL_ML[0] - STEP, "mask_volume"),
        ("volume_ml", USUAL_ML[1], USUAL_ML[1] + STEP, "mask_volume"),
        ("stray", MOST_STRAY, MOST_STRAY + STEP, "mask_pieces"),
        ("symmetry", LEAST_SYMMETRY, LEAST_SYMMETRY - STEP, "mask_asymmetric"),
        ("overlap", LEAST_OVERLAP, LEAST_OVERLAP - STEP, "mask_off_template"),
        ("cut", MOST_CUT, MOST_CUT + STEP, "fov_cut"),
    ],
)
def test_each_figure_is_flagged_beyond_its_bound_alone(figure, inside, outside, flag):
    assert BrainChecks(**{**GOOD, figure: inside}).flags() == ()
    assert BrainChecks(**{**GOOD, figure: outside}).flags() == (flag,)
    assert flag in FLAGS


def test_an_image_without_skull_may_end_nearer_to_the_brain():
    between = (MOST_CUT + MOST_CUT_STRIPPED) / 2
    assert BrainChecks(**{**GOOD, "cut": between}).flags() == ("fov_cut",)
    assert BrainChecks(**{**GOOD, "cut": between}, has_skull=False).flags() == ()


def test_a_cut_is_the_images_fault_and_the_rest_the_masks():
    checks = BrainChecks(**{**GOOD, "cut": 0.5, "symmetry": 0.5})
    assert checks.flags() == ("mask_asymmetric", "fov_cut")
    assert checks.wrong() == ("mask_asymmetric",)


def test_what_is_not_known_is_not_flagged():
    assert BrainChecks(**{**GOOD, "symmetry": np.nan, "overlap": np.nan}).flags() == ()


def block(shape, *slices):
    mask = np.zeros(shape, dtype=bool)
    mask[slices] = True
    return mask


def test_largest_piece_keeps_its_ventricles_and_drops_crumbs():
    mask = block((12, 14, 10), slice(2, 9), slice(3, 12), slice(2, 8))
    solid = mask.copy()
    mask[4:6, 6:8, 4:6] = False
    mask[11, 13, 9] = True
    np.testing.assert_array_equal(largest_piece(mask), solid)


def test_nothing_has_no_piece_and_no_dice():
    nothing = np.zeros((3, 4, 5), dtype=bool)
    assert not largest_piece(nothing).any()
    assert np.isnan(dice(nothing, nothing))


VOXEL_MM = (2.0, 3.0, 3.0)


def measured(mask, *, in_template=None, seen=None, **given):
    template = block((11, 9, 8), slice(2, 9), slice(2, 7), slice(1, 6))
    seen = np.ones(template.shape, dtype=bool) if seen is None else seen
    return check_brain(
        mask,
        np.arange(mask.size, dtype=float).reshape(mask.shape),
        voxel_mm=VOXEL_MM,
        in_template=template if in_template is None else in_template,
        template=template,
        seen=seen,
        **given,
    )


def test_figures_of_a_block():
    """10 x 10 x 10 voxels of 18 mm3 and a crumb of 25 voxels: 18 mL, 25 of 1025 astray."""
    mask = block((20, 20, 20), slice(5, 15), slice(5, 15), slice(5, 15))
    mask[0, 0:5, 0:5] = True
    found = measured(mask)
    assert found.volume_ml == pytest.approx(18.0)
    assert found.stray == pytest.approx(25 / 1025)
    assert found.symmetry == found.overlap == 1.0


def test_half_a_brain_is_neither_symmetric_nor_like_the_template():
    """Left of the mid-plane and on it: 4 of 7 planes, of which one meets its mirror image."""
    mask = block((20, 20, 20), slice(5, 15), slice(5, 15), slice(5, 15))
    left = block((11, 9, 8), slice(2, 6), slice(2, 7), slice(1, 6))
    found = measured(mask, in_template=left)
    assert found.symmetry == pytest.approx(2 * 1 / (4 + 4))
    assert found.overlap == pytest.approx(2 * 4 / (4 + 7))


def test_what_the_image_does_not_show_is_no_asymmetry():
    mask = block((20, 20, 20), slice(5, 15), slice(5, 15), slice(5, 15))
    left = block((11, 9, 8), slice(2, 6), slice(2, 7), slice(1, 6))
    seen = block((11, 9, 8), slice(0, 6))
    found = measured(mask, in_template=left, seen=seen)
    assert found.symmetry == found.overlap == 1.0


def dome(top):
    """Slices that shrink towards the top; the last one with brain is ``top``, and 12 mm of air
    lie beside and below them."""
    mask = np.zeros((30, 30, 24), dtype=bool)
    for k in range(6, top + 1):
        half = min(11, 2 + top - k)
        mask[15 - half : 15 + half, 15 - half : 15 + half, k] = True
    return mask


IMAGE = np.random.default_rng(3).uniform(50, 100, (30, 30, 24))


@pytest.mark.parametrize("gap", [0, 1, 2])
@pytest.mark.parametrize("empty", [0, 3])
def test_a_vertex_without_room_is_a_cut_even_where_the_mask_stops_early(gap, empty):
    """3 mm slices: a mask that ends 0, 3 or 6 mm before the image (or its padding) has no skull
    above it; padded slices hold one value."""
    assert 2 * 3.0 < ROOM_MM <= 3 * 3.0
    image = IMAGE.copy()
    if empty:
        image[..., -empty:] = 0.0
    mask = dome(23 - empty - gap)
    areas = mask.sum(axis=(0, 1))
    found = cut_share(mask, image, (3.0, 3.0, 3.0), room_mm=ROOM_MM)
    assert found == pytest.approx(areas[23 - empty - 2] / areas.max())


def test_a_brain_under_its_skull_is_whole():
    assert cut_share(dome(23 - 3), IMAGE, (3.0, 3.0, 3.0), room_mm=ROOM_MM) == 0.0


def test_a_stripped_brain_may_touch_the_slice_before_the_last():
    assert cut_share(dome(22), IMAGE, (3.0, 3.0, 3.0), room_mm=0.0) == 0.0
    areas = dome(23).sum(axis=(0, 1))
    found = cut_share(dome(23), IMAGE, (3.0, 3.0, 3.0), room_mm=0.0)
    assert found == pytest.approx(areas[-1] / areas.max())


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [False, True])
def test_every_side_of_the_image_is_looked_at(axis, end):
    mask = np.moveaxis(dome(23), 2, axis)
    image = np.moveaxis(IMAGE, 2, axis)
    if end:
        mask, image = np.flip(mask, axis), np.flip(image, axis)
    assert cut_share(mask, image, (3.0, 3.0, 3.0), room_mm=ROOM_MM) > MOST_CUT
