import dataclasses

import numpy as np
import pytest

from relad_bids.cohorts.phantoms import PhantomMaker
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract


@pytest.fixture
def maker():
    affine = np.diag([10.0, 9.0, 9.0, 1.0])
    affine[:3, 3] = (-75.0, -105.0, -75.0)
    grid = Grid((16, 20, 18), affine)
    return PhantomMaker(grid, "strong", 3, 1.0, {"pib": 4.0, "pbr28": 3.0}, MRIContract())


def test_a_participant_is_the_same_whenever_asked_for(maker):
    """Training is resumed in the middle: nobody may depend on who came before."""
    first = maker(2)
    maker(5)
    again = maker(2)
    for name in ("mri", "pet", "available", "mask"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.mri.shape == (2, 16, 20, 18)
    assert first.pet.shape == (2, 16, 20, 18)
    assert np.all(first.mri[:, ~first.mask] == -1)
    assert not np.array_equal(first.mri, maker(3).mri)


def test_the_key_is_that_of_equal_makers_only(maker):
    """Whatever changes a voxel changes the name under which it is kept."""
    moved = maker.grid.affine + 1e-3
    changes = [
        {"grid": Grid((16, 20, 19), maker.grid.affine)},
        {"grid": Grid((16, 20, 18), moved)},
        {"preset": "null"},
        {"seed": 4},
        {"residual_mm": 1.1},
        {"suvr_max": {"pbr28": 3.0, "pib": 4.0}},
        {"suvr_max": {"pib": 4.1, "pbr28": 3.0}},
        {"mri": MRIContract(upper_percentile=99.0)},
    ]
    others = [dataclasses.replace(maker, **change).key(2) for change in changes]
    assert len({maker.key(2), maker.key(3), *others}) == 2 + len(changes)
    assert maker.key(2) == dataclasses.replace(maker, suvr_max=dict(maker.suvr_max)).key(2)
    assert maker.key(2).startswith("phantom-0002_")
