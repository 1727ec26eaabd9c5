import nibabel as nb
import numpy as np
import pytest
from scipy.stats import norm

from relad_bids.core.grid import Grid
from relad_bids.core.regions import inferior_cerebellum
from relad_bids.core.suit import SUIT_KEEP, SUIT_TOSS, suit_inferior_cerebellum
from relad_bids.data.template import template_file
from relad_bids.errors import DataError, EmptyRegionError, GridMismatchError

VOXEL_MM = (2.0, 1.5, 1.0)
SHAPE = (13, 16, 40)


@pytest.fixture
def labels():
    """Left and right cerebellar grey, white matter between, cortex above."""
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[:6] = 8
    labels[6] = 46
    labels[7:] = 47
    labels[:, :, 36:] = 1007
    return labels


def drawn(lobules, labels, **changes):
    return suit_inferior_cerebellum(lobules, labels, voxel_mm=VOXEL_MM, **changes)


def layers(below, above, *, edge=20):
    """One lobule below a plane and another above it."""
    lobules = np.full(SHAPE, below)
    lobules[:, :, edge:] = above
    return lobules


def test_every_lobule_has_one_role():
    """29 to 32, the dentate and interposed nuclei, have none."""
    assert set(SUIT_KEEP) & set(SUIT_TOSS) == set()
    assert set(range(1, 35)) - set(SUIT_KEEP) - set(SUIT_TOSS) == {29, 30, 31, 32}


def test_two_half_spaces_part_at_their_border(labels):
    """By symmetry both smoothed sets are equal at the plane between voxels 19 and 20."""
    region = drawn(layers(8, 1), labels)
    below = np.arange(SHAPE[2]) < 20
    np.testing.assert_array_equal(region, np.isin(labels, (8, 47)) & below)


@pytest.mark.parametrize(("n", "n_tossed"), [(4, 0), (5, 3), (8, 8)])
def test_a_layer_of_tossed_lobules_needs_half_of_the_kernel(labels, n, n_tossed):
    """n mm between kept ones; the share of 8 mm FWHM in them is a difference of two normals."""
    lobules = np.full(SHAPE, 20)
    lobules[:, :, 14 : 14 + n] = 5
    z = np.arange(SHAPE[2])
    sigma = 8 / np.sqrt(8 * np.log(2))
    share = norm.cdf((z - 13.5) / sigma) - norm.cdf((z - 13.5 - n) / sigma)
    assert (share > 0.5).sum() == n_tossed
    region = drawn(lobules, labels)
    np.testing.assert_array_equal(region, np.isin(labels, (8, 47)) & (share <= 0.5))


def test_nuclei_of_neither_set_decide_nothing(labels):
    """Their voxels go to the set that lies nearer."""
    lobules = layers(10, 7, edge=24)
    lobules[:, :, 18:24] = 30  # the plane half way between 18 and 24
    region = drawn(lobules, labels)
    np.testing.assert_array_equal(region, np.isin(labels, (8, 47)) & (np.arange(40) < 21))


def test_the_size_of_a_voxel_counts(labels):
    """The layer that 8 mm pass over at 1 mm stands at 2 mm."""
    lobules = np.full(SHAPE, 20)
    lobules[:, :, 14:18] = 5
    grey = np.isin(labels, (8, 47))
    passed = suit_inferior_cerebellum(lobules, labels, voxel_mm=(1, 1, 1))
    stands = suit_inferior_cerebellum(lobules, labels, voxel_mm=(1, 1, 2))
    assert passed.sum() == grey.sum()
    np.testing.assert_array_equal(stands, grey & ~np.isin(np.arange(40), (14, 15, 16, 17)))


def test_grey_matter_out_of_reach_of_the_lobules_is_left_out(labels):
    lobules = np.zeros(SHAPE, dtype=int)
    lobules[:, :, 5:10] = 25
    region = drawn(lobules, labels)
    assert region[:6, :, 21].all()  # 3.5 sigma are 12 mm
    assert not region[:, :, 22:].any()


def test_only_voxels_with_activity_are_kept(labels):
    lobules = layers(8, 1)
    pet = np.ones(SHAPE)
    pet[0], pet[1, 0], pet[1, 1] = np.nan, 0.0, -1.0
    whole = drawn(lobules, labels)
    region = drawn(lobules, labels, pet=pet)
    np.testing.assert_array_equal(region, whole & (pet > 0))
    assert region.sum() < whole.sum()


@pytest.mark.parametrize(("number", "fits"), [(34, True), (35, False), (0, False), (-1, False)])
def test_numbers_of_the_atlas(labels, number, fits):
    lobules = np.full(SHAPE, number)
    if fits:
        assert drawn(lobules, labels).any()
    else:
        with pytest.raises(DataError, match=f"holds the numbers {min(number, 0)} to"):
            drawn(lobules, labels)


def test_images_that_do_not_fit(labels):
    lobules = layers(8, 1)
    with pytest.raises(GridMismatchError, match=r"\(12, 16, 40\), \(13, 16, 40\) voxels"):
        drawn(lobules[1:], labels)
    with pytest.raises(GridMismatchError, match="resample them onto one grid"):
        drawn(lobules, labels, pet=np.ones((13, 16, 39)))
    with pytest.raises(DataError, match=r"no cerebellar grey matter \(labels 8 and 47\)"):
        drawn(lobules, np.where(np.isin(labels, (8, 47)), 0, labels))
    with pytest.raises(EmptyRegionError, match="no voxel of labels 8 and 47"):
        drawn(np.full(SHAPE, 1), labels)
    with pytest.raises(EmptyRegionError, match="inside the PET image"):
        drawn(lobules, labels, pet=np.zeros(SHAPE))


@pytest.mark.real_data
def test_agreement_with_the_geometric_rule_on_the_packaged_labels(real_data):
    """Known of this atlas and these labels: 96.6 of 132.1 mL kept, Dice 0.92, 99 % inside."""
    atlas = nb.load(template_file("aparcaseg"))
    suit = nb.load(real_data / "atlases/SUIT-Anatom_space-MNI152NLin6Asym_res-1_dseg.nii.gz")
    labels = np.asarray(atlas.dataobj).astype(np.int32)
    # Whole millimetres and parallel axes on both sides: no interpolation.
    to_suit = np.linalg.inv(suit.affine) @ atlas.affine
    where = np.argwhere(np.ones(labels.shape, dtype=bool))
    index = np.rint(where @ to_suit[:3, :3].T + to_suit[:3, 3]).astype(int)
    inside = ((index >= 0) & (index < suit.shape)).all(axis=1)
    lobules = np.zeros_like(labels)
    lobules[tuple(where[inside].T)] = np.asarray(suit.dataobj)[tuple(index[inside].T)]
    ours = suit_inferior_cerebellum(lobules, labels, voxel_mm=(1, 1, 1))
    geometric = inferior_cerebellum(labels, Grid(labels.shape, atlas.affine))
    assert np.isin(labels, (8, 47)).sum() == pytest.approx(132_100, abs=50)
    assert ours.sum() == pytest.approx(96_600, abs=50)
    both = (ours & geometric).sum()
    assert 2 * both / (ours.sum() + geometric.sum()) == pytest.approx(0.92, abs=0.005)
    assert both / geometric.sum() == pytest.approx(0.99, abs=0.005)
