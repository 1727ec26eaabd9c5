"""The parcellation's way to another space and to a participant."""

from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
import pytest
from toys import centres_mm, oblique, write_transform

from relad_bids.data.template import template_file
from relad_bids.interfaces.atlas import AdoptLabels, AlignAtlas, WarpAtlas, WarpParcellation
from relad_bids.mri import registration

T1W_SHAPE = (30, 26, 28)
T1W = oblique((6.5, 6.0, 7.0), degrees=12.0, origin=(-70.0, -105.0, -75.0))


@pytest.fixture
def parcellate(run_step, make_nifti):
    def run(name, **transforms):
        def everywhere(kind, value):
            data = np.full(T1W_SHAPE, value, np.float32)
            return make_nifti(f"{name}_{kind}.nii.gz", data, T1W)

        maps = {kind: everywhere(kind, float(kind != "csf")) for kind in ("csf", "gm", "wm")}
        step = WarpParcellation(t1w=everywhere("t1w", 1.0), **transforms, **maps)
        out = run_step(step, name)
        return np.asarray(nb.load(out.dseg).dataobj), np.asarray(nb.load(out.inferior).dataobj)

    return run


def labels_at(xyz_mm):
    """The packaged labels at RAS+ places (3, ...), by the nearest voxel."""
    image = nb.load(template_file("aparcaseg"))
    data = np.asarray(image.dataobj).astype(int)
    to_index = np.linalg.inv(image.affine)
    index = np.einsum("ab,b...->a...", to_index[:3, :3], xyz_mm)
    index = np.rint(index + to_index[:3, 3, None, None, None]).astype(int)
    sides = np.array(data.shape)[:, None, None, None]
    inside = ((index >= 0) & (index < sides)).all(0)
    return np.where(inside, data[tuple(np.clip(index, 0, sides - 1))], 0)


def test_labels_go_through_both_spaces_in_their_order(parcellate, tmp_path):
    """A place in the T1w is looked up in the template first, from there in the parcellation.

    ITK's x runs to the left: x is made 1.25 times as large, then shifted by 8 mm to the right.
    """
    to_t1w = write_transform(tmp_path / "stretch.txt", stretch_x=1.25)
    to_mni = write_transform(tmp_path / "shift.txt", (-8.0, 0.0, 0.0))
    found, below = parcellate("both", mni_to_t1w=to_t1w, atlas_to_mni=to_mni)
    where = centres_mm(T1W_SHAPE, T1W)
    where[0] = 1.25 * where[0] + 8.0
    expected = labels_at(where)
    # The vote among neighbours moves borders by less than a voxel of 1 mm.
    assert (found == expected)[(found > 0) | (expected > 0)].mean() > 0.9
    turned_round = centres_mm(T1W_SHAPE, T1W)
    turned_round[0] = 1.25 * (turned_round[0] + 8.0)
    assert (found == labels_at(turned_round))[found > 0].mean() < 0.9
    cerebellum = np.isin(expected, (8, 47))
    assert 0.2 < (below > 0)[cerebellum].mean() < 0.9


def test_without_a_way_between_the_spaces_they_are_one(parcellate, tmp_path):
    nowhere = write_transform(tmp_path / "nowhere.txt")
    one, one_below = parcellate("one", mni_to_t1w=nowhere)
    two, two_below = parcellate("two", mni_to_t1w=nowhere, atlas_to_mni=nowhere)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one_below, two_below)


@pytest.fixture
def align(run_step, tmp_path):
    def run(name, space="MNI152NLin2009cAsym"):
        step = AlignAtlas(space=space, cache_dir=str(tmp_path / "shared"), sloppy=True)
        return run_step(step, name).xfm

    return run


def test_the_second_session_finds_the_work_done(align, tmp_path, monkeypatch):
    first = align("first")
    back, kept = sorted((tmp_path / "shared").iterdir())
    assert kept.name.startswith("from-MNI152NLin6Asym_to-MNI152NLin2009cAsym_")
    assert back.name.startswith("from-MNI152NLin2009cAsym_to-MNI152NLin6Asym_")

    def never(*args, **settings):
        raise AssertionError("registered again")

    monkeypatch.setattr(registration, "register_atlas", never)
    second = align("second")
    assert Path(first).read_bytes() == Path(second).read_bytes() == kept.read_bytes()
    with pytest.raises(Exception, match="registered again"):
        align("elsewhere", space="MNI152NLin6Asym")


def test_a_node_keeps_its_own_copy(align, tmp_path):
    """Work folders are moved and cleaned; what a step gave stays with it."""
    xfm = align("own")
    assert tmp_path / "nodes" in Path(xfm).parents


CONFORMED = np.array([[-1.0, 0, 0, 96.5], [0, 0, 1, -140.5], [0, -1, 0, 110.5], [0, 0, 0, 1]])
"""FreeSurfer's voxels: 1 mm, running left, down, front; here of a corner of its 256^3."""


def head_labels(xyz_mm):
    """White matter in an ellipsoid of two halves, cortex around it, a cerebellum below."""
    x, y, z = xyz_mm
    distance = np.sqrt((x / 60) ** 2 + ((y + 20) / 75) ** 2 + ((z - 10) / 55) ** 2)
    found = np.where(distance < 1, np.where(x < 0, 1003, 2003), 0)
    found = np.where(distance < 0.8, np.where(x < 0, 2, 41), found)
    below = ((x / 45) ** 2 + ((y + 60) / 30) ** 2 + ((z + 45) / 22) ** 2 < 1) & (distance >= 1)
    return np.where(below, np.where(x < 0, 8, 47), found)


@pytest.fixture
def adopt(run_step, make_nifti, tmp_path):
    def run(name, *, shift_mm=(0, 0, 0), dtype=np.int32, suit=False):
        where = centres_mm(T1W_SHAPE, T1W)
        truth = head_labels(where)
        maps = {
            "t1w": truth > 0, "mask": truth > 0, "wm": np.isin(truth, (2, 41)),
            "csf": truth < 0, "gm": truth > 1000,
        }  # fmt: skip
        files = {
            kind: make_nifti(f"{name}_{kind}.nii.gz", data.astype(np.float32), T1W)
            for kind, data in maps.items()
        }
        affine = CONFORMED.copy()
        affine[:3, 3] += shift_mm
        labels = head_labels(centres_mm((194, 200, 230), CONFORMED)).astype(dtype)
        path = tmp_path / f"{name}.mgz"
        nb.MGHImage(labels, affine).to_filename(path)
        to_t1w = write_transform(tmp_path / f"{name}.txt", (0.0, 0.0, 0.0))
        if suit:
            affine = np.array(
                [[-2.0, 0, 0, 60], [0, 2.0, 0, -100], [0, 0, 2.0, -80], [0, 0, 0, 1]]
            )
            lobules = np.where(centres_mm((60, 50, 40), affine)[1] < -60, 10, 3)
            files["suit"] = make_nifti("lobules.nii.gz", lobules.astype(np.uint8), affine)
        out = run_step(AdoptLabels(labels=str(path), mni_to_t1w=to_t1w, **files), name)
        return truth, out

    return run


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_given_labels_keep_their_place_in_the_scanner(adopt, dtype):
    """From FreeSurfer's turned voxels onto an oblique grid of unequal sides."""
    truth, out = adopt("given", dtype=dtype)
    found = np.asarray(nb.load(out.dseg).dataobj)
    # Nearest voxels of 1 mm: a border is off by half of one, of voxels of 6 to 7 mm.
    assert (found == truth)[truth > 0].mean() > 0.95
    assert out.flags == []
    assert {8, 47, 1003, 1032} <= set(out.numbers), "rows do not depend on what a person has"
    below = np.asarray(nb.load(out.inferior).dataobj) > 0
    z = centres_mm(T1W_SHAPE, T1W)[2]
    cerebellum = np.isin(found, (8, 47))
    assert 0.3 < below[cerebellum].mean() < 0.9
    assert not below[~cerebellum].any()
    assert z[below].mean() < z[cerebellum].mean()


def test_given_labels_of_another_place_are_refused(adopt):
    with pytest.raises(Exception, match="not in its scanner space") as caught:
        adopt("far", shift_mm=(40.0, 0, 0))
    assert "far.mgz" in str(caught.value)


@pytest.mark.parametrize("cut", [True, False])
def test_an_added_atlas_goes_through_both_spaces_in_their_order(
    run_step, make_nifti, tmp_path, cut
):
    """float32 numbers on voxels that run left, front and down, as some are given away."""
    affine = np.array([[-2.0, 0, 0, 90], [0, 2.0, 0, -120], [0, 0, -2.0, 100], [0, 0, 0, 1]])
    labels = np.where((xyz := centres_mm((92, 100, 90), affine))[0] < 0, 5, 9) * (xyz[2] > -40)
    atlas = make_nifti("atlas.nii.gz", labels.astype(np.float32), affine)
    to_t1w = write_transform(tmp_path / "stretch.txt", stretch_x=1.25)
    to_mni = write_transform(tmp_path / "shift.txt", (-24.0, 0.0, 0.0))
    where = centres_mm(T1W_SHAPE, T1W)
    grey = where[1] > 0
    files = {"t1w": make_nifti("t1w.nii.gz", np.ones(T1W_SHAPE, np.float32), T1W)}
    if cut:
        files["gm"] = make_nifti("gm.nii.gz", grey.astype(np.float32), T1W)
    regions = [(5, "LH_x"), (9, "RH_x"), (12, "absent")]
    step = WarpAtlas(atlas=atlas, regions=regions, mni_to_t1w=to_t1w, atlas_to_mni=to_mni, **files)
    out = run_step(step, f"atlas_{cut}")
    found = np.asarray(nb.load(out.dseg).dataobj)
    # x of the T1w is stretched, then shifted by 24 mm to the right: the border lies at -19.2.
    left = where[0] < -19.2
    clear = (np.abs(where[0] + 19.2) > 2) & (np.abs(where[0]) < 40) & (where[2] > -35)
    clear &= (where[2] < 90) & (np.abs(where[1] + 20) < 70)
    np.testing.assert_array_equal(found[clear & grey], np.where(left, 5, 9)[clear & grey])
    assert (found[clear & ~grey] == 0).all() == cut
    morph = pd.read_csv(out.morph, sep="\t", index_col="index")
    assert morph["n_voxels"].to_dict() == {n: int((found == n).sum()) for n in (5, 9, 12)}
    assert morph.loc[12, "name"] == "absent"


def test_lobules_of_suit_draw_the_inferior_cerebellum(adopt):
    """Superior lobules in front, inferior ones behind: a plane would cut otherwise."""
    _, out = adopt("suit", suit=True)
    below = np.asarray(nb.load(out.inferior).dataobj) > 0
    cerebellum = np.isin(np.asarray(nb.load(out.dseg).dataobj), (8, 47))
    y = centres_mm(T1W_SHAPE, T1W)[1]
    assert not below[~cerebellum].any()
    clear = cerebellum & (np.abs(y + 60) > 8)
    np.testing.assert_array_equal(below[clear], y[clear] < -60)
