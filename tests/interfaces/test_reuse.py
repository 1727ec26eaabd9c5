"""Files of others in place of own steps; whole chains are in tests/end_to_end."""

from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from toys import centres_mm, oblique, write_transform

from relad_bids.data.template import template_file
from relad_bids.errors import DataError, GridMismatchError
from relad_bids.interfaces.reuse import AdoptLesion, AdoptMask, AdoptT1w, AdoptWarp

SHAPE, AFFINE = (40, 50, 36), oblique((5.0, 4.0, 5.0), origin=(90.0, -95.0, -70.0))


@pytest.fixture
def brain(make_nifti):
    """A ball of 1.4 L and its mask."""
    places = centres_mm(SHAPE, AFFINE)
    away = np.linalg.norm(places - places.mean((1, 2, 3))[:, None, None, None], axis=0)
    mask = (away < 70).astype(np.uint8)
    t1w = np.where(mask, 100.0, -2.0).astype(np.float32)
    return make_nifti("t1w.nii.gz", t1w, AFFINE), make_nifti("mask.nii.gz", mask, AFFINE)


def test_a_t1w_is_kept_but_for_negative_voxels(run_step, brain):
    made = nb.load(run_step(AdoptT1w(in_file=brain[0])).out_file)
    given = nb.load(brain[0])
    np.testing.assert_array_equal(made.get_fdata(), np.maximum(given.get_fdata(), 0))
    np.testing.assert_allclose(made.affine, given.affine, atol=1e-6)


def test_a_mask_of_another_grid_is_refused(tmp_path, brain, make_nifti):
    moved = AFFINE.copy()
    moved[0, 3] += 1.0
    other = make_nifti("other.nii.gz", nb.load(brain[1]).get_fdata(), moved)
    step = AdoptMask(in_file=brain[0], mask_file=other, source="x")
    with pytest.raises(GridMismatchError, match="1 mm apart") as caught:
        step.run(cwd=str(tmp_path))
    assert any("other.nii.gz" in note for note in caught.value.__notes__)


@pytest.fixture
def template_person(make_nifti):
    """A person who is the template, but 30 mm away from it."""
    image = nb.load(template_file("T1w"))
    affine = image.affine.copy()
    affine[0, 3] += 30.0
    data = np.asarray(image.dataobj, dtype=np.float32)[::2, ::2, ::2]
    affine[:3, :3] *= 2
    return (
        make_nifti("t1w.nii.gz", data, affine),
        make_nifti("mask.nii.gz", (data > 0).astype(np.uint8), affine),
    )


def test_a_mask_says_whose_it_is_and_meets_the_checks_of_our_own(run_step, template_person):
    """The whole brain, one without a hemisphere, and the affine that all judging needs."""
    t1w, mask = template_person
    out = run_step(AdoptMask(in_file=t1w, mask_file=mask, source="fmriprep"))
    given = nb.load(mask)
    assert out.facts["method"] == "derivatives:fmriprep"
    assert out.facts["volume_ml"] == pytest.approx(float(given.get_fdata().sum()) * 8 / 1000)
    assert out.facts["flags"] == []
    assert out.facts["overlap"] > 0.95
    np.testing.assert_array_equal(nb.load(out.mask).get_fdata(), given.get_fdata())
    assert Path(out.t1w_to_mni_affine).suffix == ".mat"


def test_half_a_brain_is_flagged(run_step, template_person, make_nifti):
    t1w, mask = template_person
    given = nb.load(mask)
    half = np.asarray(given.dataobj).copy()
    half[: half.shape[0] // 2 - 8] = 0
    out = run_step(
        AdoptMask(in_file=t1w, mask_file=make_nifti("h.nii.gz", half, given.affine), source="x")
    )
    assert {"mask_asymmetric", "mask_off_template"} <= set(out.facts["flags"])


def ways(tmp_path, forward=30.0, inverse=-30.0):
    """ITK maps points of the fixed image to the moving one; LPS, so that x is turned."""
    return {
        "forward_file": write_transform(tmp_path / "to.txt", (-forward, 0, 0)),
        "inverse_file": write_transform(tmp_path / "from.txt", (-inverse, 0, 0)),
    }


def test_transforms_that_fit_are_handed_on(run_step, template_person, tmp_path):
    t1w, mask = template_person
    out = run_step(AdoptWarp(t1w=t1w, mask=mask, **ways(tmp_path)))
    for name in ("forward", "inverse"):
        given = ways(tmp_path)[f"{name}_file"]
        assert Path(getattr(out, name)).read_bytes() == Path(given).read_bytes()


@pytest.mark.parametrize(
    ("forward", "inverse", "match"),
    [
        (30.0, 30.0, "60.0 mm from where it was"),
        (-30.0, 30.0, "lays the brain on the template with a Dice of"),
        (30.0, -27.0, "3.0 mm from where it was"),
    ],
)
def test_transforms_that_do_not_fit(template_person, tmp_path, forward, inverse, match):
    t1w, mask = template_person
    step = AdoptWarp(t1w=t1w, mask=mask, **ways(tmp_path, forward, inverse))
    with pytest.raises(DataError, match=match) as caught:
        step.run(cwd=str(tmp_path))
    assert any("to.txt" in note for note in caught.value.__notes__)


def test_a_lesion_of_the_flair_goes_through_its_transform(run_step, brain, make_nifti, tmp_path):
    """Drawn 20 mm beside its place on the T1w, which the transform undoes."""
    places = centres_mm(SHAPE, AFFINE)
    centre = places.mean((1, 2, 3))
    flair = AFFINE.copy()
    flair[0, 3] += 20.0
    drawn = np.linalg.norm(places - centre[:, None, None, None], axis=0) < 15
    lesion = make_nifti("lesion.nii.gz", drawn.astype(np.uint8), flair)
    xfm = write_transform(tmp_path / "x.txt", (-20.0, 0, 0))
    out = run_step(AdoptLesion(lesion=lesion, t1w=brain[0], mask=brain[1], xfm=xfm))
    np.testing.assert_array_equal(nb.load(out.out_file).get_fdata() > 0, drawn)
    assert out.facts["volume_ml"] == pytest.approx(drawn.sum() * 0.1)


def test_an_empty_lesion_is_none(run_step, brain, make_nifti):
    empty = make_nifti("lesion.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE)
    out = run_step(AdoptLesion(lesion=empty, t1w=brain[0], mask=brain[1]))
    assert out.facts["volume_ml"] == 0


def test_a_lesion_outside_the_brain_is_refused(tmp_path, brain, make_nifti):
    corner = np.zeros(SHAPE, np.uint8)
    corner[:3, :3, :3] = 1
    lesion = make_nifti("lesion.nii.gz", corner, AFFINE)
    step = AdoptLesion(lesion=lesion, t1w=brain[0], mask=brain[1])
    with pytest.raises(DataError, match="0% of the lesion mask lies inside"):
        step.run(cwd=str(tmp_path))
