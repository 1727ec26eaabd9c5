"""The score of PET on T1w: on a head of known lobes, moved by known millimetres and degrees."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from toys import centres_mm, oblique

from relad_bids.core.coregistration import MAX_SHIFT_MM, MIN_NMI, Coregistration, coregistration
from relad_bids.errors import EmptyRegionError

SHAPE, VOXEL_MM = (66, 78, 50), (2.5, 2.0, 3.0)
PLACE = oblique(VOXEL_MM, degrees=15.0, origin=(-70.0, -95.0, -82.0))
WHERE = centres_mm(SHAPE, PLACE)
LOBES = [((-20, 30, 10), 20), ((30, -20, 25), 16), ((0, -40, -30), 18), ((10, 20, -35), 14)]


def head(xyz_mm):
    """Distance from the middle of an ellipsoid, 1 on its surface, and four lobes inside it."""
    distance = np.sqrt(sum((x / half) ** 2 for x, half in zip(xyz_mm, (62, 75, 58), strict=True)))
    lobes = sum(
        np.exp(-0.5 * ((xyz_mm - np.array(m, float)[:, None, None, None]) ** 2).sum(0) / w**2)
        for m, w in LOBES
    )
    return distance, lobes


def scan(xyz_mm, *, scalp=0.0, noise=0.03):
    distance, lobes = head(xyz_mm)
    uptake = (distance < 1) * (0.7 + lobes) + scalp * ((distance > 1.08) & (distance < 1.2))
    return uptake + np.random.default_rng(5).normal(0, noise, SHAPE)


DISTANCE, INSIDE = head(WHERE)
MASK = DISTANCE < 1
T1W = (MASK * (60 + 40 * (INSIDE > 0.5)) + 30 * ((DISTANCE > 1.08) & (DISTANCE < 1.2))).astype(
    "f4"
)


def moved(shift_mm=(0, 0, 0), turn_deg=(0, 0, 0), **how):
    turn = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    places = (
        np.einsum("ab,b...->a...", turn, WHERE) - np.array(shift_mm, float)[:, None, None, None]
    )
    return scan(places, **how)


def score(pet, mask=MASK):
    return coregistration(pet, T1W, mask, voxel_mm=VOXEL_MM)


@pytest.mark.parametrize("scalp", [0.0, 0.8])
def test_a_pet_on_its_t1w_is_not_suspect(scalp):
    """Nor where the scalp takes up as much as the brain, which Dice cannot tell."""
    found = score(moved(scalp=scalp))
    assert found.flags() == []
    assert found.margin > 0
    assert found.shift_mm < 3
    assert (found.dice > 0.95) is (scalp == 0)


@pytest.mark.parametrize("how", [
    {"shift_mm": (0, 5, 0)}, {"shift_mm": (-5, 0, 0)}, {"shift_mm": (0, 0, 12)},
    {"turn_deg": (10, 0, 0)}, {"turn_deg": (0, 0, -10)}, {"shift_mm": (0, 40, 0)},
])  # fmt: skip
def test_a_pet_that_lies_elsewhere_is(how):
    found = score(moved(**how))
    assert found.flags() == ["coreg_suspect"]
    assert found.nmi < score(moved()).nmi


def test_units_and_offsets_of_the_scale_do_not_matter():
    pet = moved()
    one, other = score(pet), score(37_000 * pet)
    assert other.nmi == pytest.approx(one.nmi, rel=1e-4)
    assert other.dice == one.dice


def test_only_what_was_seen_counts():
    """A field of view that ends in the cerebellum is no reason to doubt the place."""
    cut = moved()
    cut[WHERE[2] < -30] = np.nan
    found = score(cut)
    assert found.flags() == []
    assert found.dice > 0.95


@pytest.mark.parametrize("pet", [np.full(SHAPE, np.nan), np.ones(SHAPE)])
def test_nothing_to_see(pet):
    with pytest.raises(EmptyRegionError, match="has no contrast, or no voxel of the brain"):
        score(pet)


def test_bounds_of_the_flag():
    good = {"nmi": MIN_NMI, "margin": 0.0, "dice": 0.3, "shift_mm": MAX_SHIFT_MM}
    assert Coregistration(**good).flags() == []
    for bad in ({"nmi": MIN_NMI - 1e-6}, {"margin": -1e-6}, {"shift_mm": MAX_SHIFT_MM + 0.01}):
        assert Coregistration(**{**good, **bad}).flags() == ["coreg_suspect"]
    assert Coregistration(np.nan, 0.0, 1.0, 0.0).flags() == ["coreg_suspect"]
    again = Coregistration.from_facts(Coregistration(**good).facts())
    assert again == Coregistration(**good)
