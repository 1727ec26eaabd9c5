import numpy as np
import pytest

from relad_bids.core.label_fill import REACH_MM, fill_by_tissue
from relad_bids.core.regions import cut_by_tissue

TISSUE = {1007: "cortex", 2007: "cortex", 2: "wm", 10: "subcortical-gm", 4: "csf"}


def line(*values):
    return np.array(values).reshape(-1, 1, 1)


def fill(warped, gm, wm=None, *, voxel_mm=(1.0, 1.0, 1.0)):
    gm = gm.astype(float)
    wm = np.zeros_like(gm) if wm is None else wm.astype(float)
    cut = cut_by_tissue(warped, TISSUE, csf=1 - gm - wm, gm=gm, wm=wm)
    return fill_by_tissue(warped, cut, TISSUE, gm=gm, wm=wm, voxel_mm=voxel_mm).ravel().tolist()


def test_grey_matter_beside_its_label_gets_it_and_no_further_than_the_reach():
    warped = line(1007, 0, 0, 0, 0, 0)
    assert fill(warped, np.ones(warped.shape)) == [1007] * 4 + [0, 0]
    # In millimetres: three voxels of 1 mm, two of 1.5 mm, one of 3 mm, none of a thick slice.
    assert fill(warped, np.ones(warped.shape), voxel_mm=(1.5, 1, 1)) == [1007] * 3 + [0] * 3
    cubes = (3.0000001, 3.0, 3.0)
    assert fill(warped, np.ones(warped.shape), voxel_mm=cubes) == [1007] * 2 + [0] * 4
    assert fill(warped, np.ones(warped.shape), voxel_mm=(3.6, 1, 1)) == [1007] + [0] * 5
    assert REACH_MM == 3.0


def test_the_nearer_of_two_labels():
    warped = line(1007, 0, 0, 0, 0, 2007)
    assert fill(warped, np.ones(warped.shape)) == [1007] * 3 + [2007] * 3


def test_each_tissue_by_its_own_labels():
    """Cortex that was warped into white matter is taken back by white matter, and the reverse."""
    warped = line(1007, 1007, 1007, 2, 2, 2)
    gm = line(1, 1, 0, 0, 0, 0)
    assert fill(warped, gm, 1 - gm) == [1007, 1007, 2, 2, 2, 2]
    assert fill(warped, 1 - line(0, 0, 0, 0, 1, 1), line(0, 0, 0, 0, 1, 1)) == [1007] * 4 + [2, 2]


def test_fluid_and_air_stay_empty():
    warped = line(1007, 1007, 0, 0)
    assert fill(warped, line(1, 0, 0, 1)) == [1007, 0, 0, 1007]


def test_a_label_that_was_kept_is_never_overwritten():
    """A deep nucleus is grey matter beside cortex, and keeps its number; so does a ventricle."""
    warped = line(1007, 10, 4, 0)
    assert fill(warped, np.ones(warped.shape)) == [1007, 10, 4, 1007]


def test_a_place_is_counted_from_where_the_label_was_warped_to():
    """Cut away itself, a label still says what lies around it."""
    warped = line(0, 0, 1007, 0, 0)
    assert fill(warped, line(0, 1, 0, 1, 0)) == [0, 1007, 0, 1007, 0]


def test_nothing_warped_is_nothing_filled():
    assert fill(line(0, 0, 0), np.ones((3, 1, 1))) == [0, 0, 0]


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
def test_the_order_of_the_axes_does_not_matter(order):
    rng = np.random.default_rng(5)
    warped = rng.choice([0, 0, 0, 1007, 2, 10], (9, 8, 7))
    gm = (rng.uniform(size=warped.shape) < 0.6).astype(float)
    voxel_mm = (1.0, 1.3, 2.1)
    cut = cut_by_tissue(warped, TISSUE, csf=0 * gm, gm=gm, wm=1 - gm)
    one = fill_by_tissue(warped, cut, TISSUE, gm=gm, wm=1 - gm, voxel_mm=voxel_mm)
    turned = [np.transpose(x, order) for x in (warped, cut, gm, 1 - gm)]
    other = fill_by_tissue(
        *turned[:2], TISSUE, gm=turned[2], wm=turned[3], voxel_mm=[voxel_mm[k] for k in order]
    )
    # Where two labels are equally near either may win: but whether there is one does not change.
    np.testing.assert_array_equal(np.transpose(one, order) > 0, other > 0)
    assert (np.transpose(one, order) == other).mean() > 0.95
