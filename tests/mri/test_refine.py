"""Refining an outline, on heads of nested balls whose brain is known."""

import numpy as np
import pytest

from relad_bids.core.brain_checks import dice
from relad_bids.core.grid import Grid
from relad_bids.errors import ImageError
from relad_bids.mri.refine import FINEST_MM, refine, tissue_range, working_grid
from relad_bids.mri.resample import grid_of, like, reference_image

RADIUS_MM = 58.0
LEVELS = {"fluid": 25.0, "grey": 70.0, "white": 100.0, "dura": 38.0, "bone": 10.0, "fat": 170.0}


def oblique(shape, mm):
    affine = np.eye(4)
    c, s = np.cos(0.15), np.sin(0.15)
    affine[:3, :3] = np.array([[-c, -s, 0], [-s, c, 0], [0, 0, 1.0]]) * np.array(mm)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape=shape, affine=affine)


def places_mm(grid):
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def distance_mm(grid):
    return np.linalg.norm(places_mm(grid), axis=-1)


def head(grid, *, levels=LEVELS):
    """Ventricle, white and grey balls, a furrow of fluid, 3 mm of dura, bone, scalp, noise."""
    r = distance_mm(grid)
    bounds = [18.0, 46.0, RADIUS_MM, RADIUS_MM + 3, RADIUS_MM + 8, RADIUS_MM + 14]
    kinds = ["fluid", "white", "grey", "dura", "bone", "fat"]
    values = np.array([*(levels[k] for k in kinds), 0.0])[np.digitize(r, bounds)]
    mm = places_mm(grid)
    values[(np.abs(mm[..., 0]) < 4) & (r < RADIUS_MM) & (mm[..., 2] > 20)] = levels["fluid"]
    noise = np.random.default_rng(4).normal(0, 3, grid.shape)
    return like(reference_image(grid), np.abs(values + noise)), r < RADIUS_MM


GRIDS = {
    "2 mm": oblique((76, 80, 72), (2.0, 2.0, 2.0)),
    "thick slices": oblique((120, 112, 30), (1.3, 1.3, 5.0)),
    "sagittal": oblique((36, 78, 82), (4.0, 2.0, 2.0)),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("off_mm", [-3.0, 4.0])
def test_the_image_mends_an_outline_that_is_too_small_or_too_large(name, off_mm):
    t1w, truth = head(GRIDS[name])
    r = distance_mm(GRIDS[name])
    outline = r < RADIUS_MM + off_mm
    found = refine(t1w, like(t1w, outline))
    # The rim is 1 mm of a ball of 58 mm: Dice 0.975 where all else is right.
    assert dice(found, truth) > 0.96
    assert dice(found, truth) > dice(outline, truth) + 0.01
    assert found[truth].mean() > 0.98


def test_ventricle_and_furrow_stay_and_bone_does_not():
    grid = GRIDS["2 mm"]
    t1w, _ = head(grid)
    r = distance_mm(grid)
    found = refine(t1w, like(t1w, r < RADIUS_MM + 3))
    assert found[r < 20].all()
    assert found[r < RADIUS_MM - 2].mean() > 0.999  # the furrow reaches the surface
    assert not found[r > RADIUS_MM + 4].any()


def test_a_brain_that_leaves_the_image_is_kept_to_the_last_slice():
    grid = GRIDS["2 mm"]
    t1w, truth = head(grid)
    r = distance_mm(grid)
    outline = like(t1w, r < RADIUS_MM + 3)
    parts = [x.crop_indices((0, 0, 0), (76, 80, 40)) for x in (t1w, outline, like(t1w, truth))]
    found = refine(parts[0], parts[1])
    last = parts[2].numpy()[..., -1] > 0
    assert dice(found[..., -1], last) > 0.96


def test_a_distant_muscle_is_no_brain():
    """Darker than grey matter and as near as thin bone lets it come: 3 mm from the outline."""
    grid = GRIDS["2 mm"]
    t1w, _ = head(grid)
    r = distance_mm(grid)
    values = t1w.numpy().copy()
    muscle = (r > RADIUS_MM + 2) & (r < RADIUS_MM + 12)
    values[muscle] = 0.8 * LEVELS["grey"]
    found = refine(like(t1w, values), like(t1w, r < RADIUS_MM))
    assert found[muscle & (r > RADIUS_MM + 3.5)].mean() < 0.02


def test_the_same_image_gives_the_same_brain():
    t1w, _ = head(GRIDS["thick slices"])
    r = distance_mm(GRIDS["thick slices"])
    outline = like(t1w, r < RADIUS_MM)
    np.testing.assert_array_equal(refine(t1w, outline), refine(t1w, outline))


def test_an_image_without_contrast_is_refused():
    levels = {**LEVELS, "fluid": 66.0, "grey": 70.0, "white": 72.0}
    t1w, truth = head(GRIDS["2 mm"], levels=levels)
    with pytest.raises(ImageError, match="nearly alike"):
        refine(t1w, like(t1w, truth))


def test_tissue_starts_half_way_between_fluid_and_grey_matter():
    """2 % fluid, 58 % grey, 40 % white, no noise: (25 + 70) / 2 and 1.35 x 100."""
    values = np.repeat([25.0, 70.0, 100.0], [200, 5800, 4000]).astype(np.float32)
    depth = np.full(values.shape, 9.0)
    low, grey, high = tissue_range(values, depth)
    # Five rounds of the mixture move the means by a few parts in a hundred.
    assert low == pytest.approx(47.5, rel=0.05)
    assert grey == pytest.approx(70.0, rel=0.05)
    assert high == pytest.approx(135.0, rel=0.05)


def test_fine_voxels_become_larger_and_coarse_ones_stay():
    grid = oblique((100, 90, 20), (0.5, 1.25, 5.0))
    made = working_grid(reference_image(grid))
    sizes = np.linalg.norm(made.affine[:3, :3], axis=0)
    np.testing.assert_allclose(sizes, [FINEST_MM, 1.25, 5.0], rtol=1e-5)
    assert made.shape == (41, 90, 20)  # 99 x 0.5 mm in steps of 1.25 mm, and one more
    np.testing.assert_allclose(made.affine[:3, 3], grid_of(reference_image(grid)).affine[:3, 3])
