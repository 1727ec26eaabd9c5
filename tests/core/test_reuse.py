import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.core.reuse import MAX_RETURN_MM, check_lesion, check_mask, check_warp
from relad_bids.errors import DataError

SHAPE = (30, 36, 24)
GRID = Grid(SHAPE, np.diag([5.0, 4.0, 6.0, 1.0]))  # 3.1 L in all


def ball(scale=1.0, shift=0.0):
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    middle = np.array([15, 18, 12]) + shift
    return (((index - middle) / (np.array([13, 16, 11]) * scale)) ** 2).sum(-1) < 1


def test_volume_of_a_mask():
    t1w = ball().astype(float)
    check_mask(ball(), t1w, GRID)
    with pytest.raises(DataError, match=r"holds 1 mL, a brain 300 to 2600 mL"):
        check_mask(ball(0.1), t1w, GRID)


def test_a_mask_that_reaches_into_the_air_is_of_another_image():
    t1w = ball(0.99).astype(float)
    check_mask(ball(), t1w, GRID)
    with pytest.raises(DataError, match=r"the T1w is 0 in \d+% of the given brain mask"):
        check_mask(ball(shift=2.0), t1w, GRID)


@pytest.mark.parametrize(("mm", "refused"), [(0.99, False), (1.01, True)])
def test_there_and_back(mm, refused):
    apart = np.full((50, 3), mm * MAX_RETURN_MM / np.sqrt(3))
    if refused:
        with pytest.raises(DataError, match="not the two ways of one registration"):
            check_warp(ball(), ball(), apart)
    else:
        check_warp(ball(), ball(), apart)


def test_no_point_is_no_proof():
    with pytest.raises(DataError, match="inf mm"):
        check_warp(ball(), ball(), np.empty((0, 3)))


def test_a_brain_beside_the_template():
    still = np.zeros((5, 3))
    check_warp(ball(0.95), ball(), still)  # Dice .92
    with pytest.raises(DataError, match=r"Dice of 0\.\d\d, needed is 0\.85"):
        check_warp(ball(0.8), ball(), still)


def test_lesion():
    inside = ball(0.2)
    assert check_lesion(inside, ball(), GRID, drawn_empty=False) == pytest.approx(
        inside.sum() * 0.12
    )
    assert check_lesion(np.zeros(SHAPE, bool), ball(), GRID, drawn_empty=True) == 0
    with pytest.raises(DataError, match="0% of the lesion mask lies inside"):
        check_lesion(~ball(), ball(), GRID, drawn_empty=False)
    # Drawn, but nothing of it arrives on the T1w.
    with pytest.raises(DataError, match="drawn on another image"):
        check_lesion(np.zeros(SHAPE, bool), ball(), GRID, drawn_empty=False)


def test_a_lesion_at_the_edge_counts_where_it_is_brain():
    brain, lesion = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    brain[:10], lesion[6:12, 5:9, 5:9] = True, True
    assert check_lesion(lesion, brain, GRID, drawn_empty=False) == pytest.approx(64 * 0.12)
    lesion[12:15, 5:9, 5:9] = True
    with pytest.raises(DataError, match="44% of the lesion mask"):
        check_lesion(lesion, brain, GRID, drawn_empty=False)
