"""The parcellation's way to another space and to a participant."""

from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from toys import centres_mm, oblique, write_transform

from relad_bids.data.template import template_file
from relad_bids.interfaces.atlas import AlignAtlas, WarpParcellation
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
