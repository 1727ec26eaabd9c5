import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.phantom.fields import index_points
from relad_bids.phantom.head import FLAIR_AROUND, T1W_AROUND, Around, dress, shells, whole_head


def test_shells_follow_from_inside_to_outside():
    depth = np.array([1.0, 4.0, 5.5, 7.0, 9.0, 12.0, 20.0])
    assert shells(depth).tolist() == [
        Around.MENINGES,
        Around.SKULL,
        Around.FAT,
        Around.SKULL,
        Around.MUSCLE,
        Around.FAT,
        Around.AIR,
    ]


@pytest.mark.parametrize(("depth", "kind"), [(2.99, Around.MENINGES), (3.0, Around.SKULL)])
def test_both_sides_of_the_inner_table(depth, kind):
    assert shells(np.array([depth]))[0] == kind


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ((32.0, 66.0, -36.0), Around.EYE),
        ((30.0, -40.0, -110.0), Around.MUSCLE),  # neck
        ((0.0, -46.0, -110.0), Around.CORD),
        ((0.0, 45.0, -72.0), Around.AIR),  # airway
        ((0.0, 200.0, 0.0), Around.AIR),  # in front of the face
    ],
)
def test_landmarks(point, kind):
    points = np.array(point).reshape(3, 1, 1, 1)
    assert whole_head(np.full((1, 1, 1), 30.0), points)[0, 0, 0] == kind


def test_face_does_not_grow_into_the_skull():
    """Inside the outer table only the cord may pass."""
    depth = np.full((1, 1, 1), 6.0)
    points = np.array((32.0, 60.0, -40.0)).reshape(3, 1, 1, 1)
    assert whole_head(depth, points)[0, 0, 0] == shells(depth)[0, 0, 0]


@pytest.mark.parametrize("intensities", [T1W_AROUND, FLAIR_AROUND])
def test_the_brain_stays_as_it_is(intensities):
    grid = Grid((12, 10, 9), np.diag([4.0, 4.0, 5.0, 1.0]))
    x, y, z = index_points(grid, grid.affine)
    depth = np.sqrt((x - 22) ** 2 + (y - 18) ** 2 + (z - 20) ** 2) - 12
    mask = depth < 0
    brain = np.where(mask, 0.77, 0.0)
    head = dress(brain, mask, shells(depth), intensities, grid, np.random.default_rng(0))
    assert (head[mask] == np.float32(0.77)).all()
    assert head[(depth > 11) & (depth < 14)].mean() > 0.8  # scalp is bright
