import numpy as np
import pytest

from relad_bids.mri.lesion import RIM_MM, without_lesion
from relad_bids.mri.resample import like


@pytest.fixture
def brain(head):
    """White and grey matter, 0 elsewhere."""
    return like(head, np.where(np.isin(head.numpy(), (60.0, 90.0)), head.numpy(), 0))


@pytest.fixture
def lesion(brain):
    """A cube in white matter, dark in the brain that comes with it."""
    where = np.argwhere(brain.numpy() == 90.0)
    i, j, k = where[len(where) // 2]
    inside = np.zeros(brain.shape)
    inside[i - 2 : i + 3, j - 2 : j + 3, k - 2 : k + 3] = 1
    return like(brain, inside)


def test_without_one_nothing_changes(brain):
    filled, counted = without_lesion(brain, None)
    assert filled is brain
    assert counted is None
    assert without_lesion(brain, like(brain, np.zeros(brain.shape)))[1] is None


def test_it_is_filled_by_its_surroundings_and_all_else_is_kept(brain, lesion):
    inside = lesion.numpy() > 0
    dark = like(brain, np.where(inside, 1.0, brain.numpy()))
    filled, _ = without_lesion(dark, lesion)
    np.testing.assert_array_equal(filled.numpy()[~inside], dark.numpy()[~inside])
    # Between the grey and the white matter around it, whatever was there.
    assert 60.0 < filled.numpy()[inside].min() < filled.numpy()[inside].max() < 90.0


def test_the_cost_counts_beyond_the_rim(brain, lesion):
    """In millimetres along each axis, whatever the voxels."""
    counted = without_lesion(brain, lesion)[1].numpy() > 0
    inside = lesion.numpy() > 0
    assert not counted[inside].any()
    middle = np.argwhere(inside).mean(axis=0).round().astype(int)
    for axis, mm in enumerate(brain.spacing):
        line = np.take(np.moveaxis(counted, axis, 0), range(counted.shape[axis]), 0)
        others = np.delete(middle, axis)
        left_out = int((~line[:, others[0], others[1]]).sum())
        assert left_out == 5 + 2 * int(RIM_MM // mm)


def test_a_lesion_on_another_grid(brain, lesion):
    from ants import reorient_image2

    one, other = (without_lesion(brain, m) for m in (lesion, reorient_image2(lesion, "PSR")))
    np.testing.assert_array_equal(one[0].numpy(), other[0].numpy())
