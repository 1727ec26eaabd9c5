import numpy as np
import pytest
from toys import centres_mm

from relad_bids.core.grid import Grid
from relad_bids.core.regions import (
    VOI,
    by_hemisphere,
    cut_by_tissue,
    eroded_white,
    inferior_cerebellum,
)
from relad_bids.errors import DataError


def test_a_pair_gives_both_and_its_halves():
    voi = VOI("tau", "v", (17, 53, 1006))
    found = list(by_hemisphere(voi, {17: "L", 53: "R", 1006: "L"}))
    assert [(v.hemi, v.labels) for v in found] == [
        ("B", (17, 53, 1006)), ("L", (17, 1006)), ("R", (53,)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "voi",
    [
        VOI("f", "midline", (16,)),
        VOI("f", "one side", (17,)),
        VOI("f", "composite", (17, 53), parts=("a", "b")),
    ],
)
def test_what_has_no_two_halves_stays_whole(voi):
    assert list(by_hemisphere(voi, {16: "M", 17: "L", 53: "R"})) == [voi]


@pytest.fixture
def cerebellum():
    """A box of labels 8 and 47 with cortex above, on a grid of 4 x 5 x 3 mm."""
    affine = np.diag([4.0, 5.0, 3.0, 1.0])
    affine[:3, 3] = (-38.0, -95.0, -70.0)
    labels = np.zeros((20, 14, 17), dtype=np.int32)
    labels[2:10, 2:11, 1:14] = 8
    labels[10:17, 2:11, 1:14] = 47
    labels[2:17, 2:11, 14:] = 1007
    return labels, Grid(labels.shape, affine)


def test_plane_of_the_inferior_cerebellum(cerebellum):
    """z + 0.35 (y - yc) < zc + 5 mm, with (yc, zc) the centroid of labels 8 and 47."""
    labels, grid = cerebellum
    inside = np.isin(labels, (8, 47))
    _, y, z = centres_mm(labels.shape, grid.affine)
    plane = z + 0.35 * (y - y[inside].mean()) < z[inside].mean() + 5.0
    mask = inferior_cerebellum(labels, grid)
    np.testing.assert_array_equal(mask, inside & plane)
    assert 0 < mask.sum() < inside.sum()


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 2, 0)])
def test_the_plane_lies_in_millimetres_not_in_voxels(cerebellum, axes):
    """The same head stored with its axes in another order, one of them backwards."""
    labels, grid = cerebellum
    turned = labels.transpose(axes)[::-1]
    affine = np.eye(4)
    affine[:3, :3] = grid.affine[:3, :3][:, axes]
    affine[:3, 3] = grid.affine[:3, 3] + affine[:3, 0] * (turned.shape[0] - 1)
    affine[:3, 0] *= -1
    mask = inferior_cerebellum(turned, Grid(turned.shape, affine))
    np.testing.assert_array_equal(mask, inferior_cerebellum(labels, grid).transpose(axes)[::-1])


def test_no_cerebellum(cerebellum):
    labels, grid = cerebellum
    with pytest.raises(DataError, match="no cerebellar grey matter"):
        inferior_cerebellum(np.where(labels == 1007, labels, 0), grid)


def cut_one(tissue, *, csf=0.0, gm=0.0, wm=0.0):
    maps = {name: np.full((1, 1, 1), p) for name, p in (("csf", csf), ("gm", gm), ("wm", wm))}
    return cut_by_tissue(np.full((1, 1, 1), 7), {7: tissue}, **maps).item() == 7


@pytest.mark.parametrize(
    ("tissue", "probability", "kept"),
    [
        ("cortex", {"gm": 0.51}, True),
        ("cortex", {"gm": 0.5, "wm": 0.5}, False),
        ("cerebellar-gm", {"gm": 0.51}, True),
        ("cerebellar-gm", {"wm": 1.0}, False),
        ("wm", {"wm": 0.51}, True),
        ("wm", {"wm": 0.5, "gm": 0.5}, False),
        ("cerebellar-wm", {"gm": 1.0}, False),
        ("subcortical-gm", {"csf": 0.5, "wm": 0.5}, True),
        ("subcortical-gm", {"csf": 0.51}, False),
        ("subcortical-mixed", {"wm": 1.0}, True),
        ("brainstem", {"csf": 0.51}, False),
        ("csf", {"gm": 1.0}, True),
    ],
)
def test_each_tissue_has_its_cut(tissue, probability, kept):
    assert cut_one(tissue, **probability) is kept


def test_cut_keeps_unknown_labels_and_background():
    labels = np.array([[[0, 5, 1007]]])
    nothing = np.zeros(labels.shape)
    cut = cut_by_tissue(labels, {1007: "cortex"}, csf=nothing, gm=nothing, wm=nothing)
    assert cut.tolist() == [[[0, 5, 0]]]
    assert cut.dtype == np.int32


def test_cut_of_an_empty_parcellation():
    labels = np.zeros((2, 3, 4), dtype=int)
    ones = np.ones(labels.shape)
    assert not cut_by_tissue(labels, {}, csf=ones, gm=ones, wm=ones).any()


@pytest.mark.parametrize("voxel_mm", [(1.0, 1.0, 1.0), (2.0, 1.5, 3.0)])
def test_eroded_white_matter_keeps_its_distance_in_mm(voxel_mm):
    """At a flat border a smoothed mask reaches 0.7 where its Gaussian does: 0.524 sigma inside."""
    shape = tuple(round(60 / size) for size in voxel_mm)
    depth = (np.arange(shape[0]) * voxel_mm[0])[:, None, None] + np.zeros(shape)
    white = depth >= 24
    kept = eroded_white(white, voxel_mm=voxel_mm)
    sigma_mm = 8 / np.sqrt(8 * np.log(2))
    # The border lies half a voxel before the first voxel of white matter.
    distance = depth - (24 - voxel_mm[0] / 2)
    np.testing.assert_array_equal(kept, white & (distance > 0.5244 * sigma_mm))
    assert not eroded_white(white & (depth < 27), voxel_mm=voxel_mm).any()
