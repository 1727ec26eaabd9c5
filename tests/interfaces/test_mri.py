"""The cheap steps of the MRI preparation; whole heads are prepared in tests/end_to_end."""

import nibabel as nb
import numpy as np
import pytest
from toys import centres_mm, oblique, write_transform

from relad_bids.errors import ImageError
from relad_bids.interfaces.mri import CheckImage, CorrectBias, ResampleToGrid, SegmentTissue

SHAPE = (24, 30, 20)
AFFINE = oblique((4.0, 3.5, 5.0), degrees=15.0, origin=(-40.0, -50.0, -45.0))


def linear(xyz_mm):
    return 200.0 + np.einsum("a,a...->...", np.array([1.0, -0.5, 0.25]), xyz_mm)


@pytest.fixture
def shells():
    """Three nested balls of 40, 100 and 200 (fluid, grey, white) in empty space."""
    radius = np.linalg.norm(
        centres_mm(SHAPE, AFFINE) - centres_mm(SHAPE, AFFINE).mean((1, 2, 3))[:, None, None, None],
        axis=0,
    )
    noise = np.random.default_rng(5).normal(0, 3, SHAPE)
    tissue = np.select([radius < 22, radius < 32, radius < 40], [200.0, 100.0, 40.0])
    return np.where(tissue > 0, tissue + noise, 0).astype(np.float32), tissue


def test_a_usable_image_is_handed_on_as_float(run_step, make_nifti):
    data = np.random.default_rng(1).integers(0, 900, (*SHAPE, 1)).astype(np.int16)
    made = nb.load(run_step(CheckImage(in_file=make_nifti("x.nii.gz", data, AFFINE))).out_file)
    assert made.shape == SHAPE
    assert made.get_data_dtype() == np.float32
    np.testing.assert_array_equal(made.get_fdata(), data[..., 0])
    np.testing.assert_allclose(made.affine, AFFINE, atol=1e-5)


def test_an_unusable_image_is_named(make_nifti, tmp_path):
    data = np.ones(SHAPE, np.float32)
    data[3, 4, 5] = np.nan
    step = CheckImage(in_file=make_nifti("sub-01_T1w.nii.gz", data, AFFINE))
    with pytest.raises(ImageError, match=r"sub-01_T1w\.nii\.gz: 1 of 14400 voxels"):
        step.run(cwd=str(tmp_path))


@pytest.fixture
def image(make_nifti):
    return make_nifti("x.nii.gz", linear(centres_mm(SHAPE, AFFINE)).astype(np.float32), AFFINE)


def inside_of_image(xyz_mm, margin=0.0):
    """Voxel indices of these places lie between the centres of the outermost voxels."""
    inverse = np.linalg.inv(AFFINE)
    index = np.einsum("ab,b...->a...", inverse[:3, :3], xyz_mm) + inverse[:3, 3, None, None, None]
    last = np.array(SHAPE)[:, None, None, None] - 1
    return np.all((index >= margin) & (index <= last - margin), axis=0)


def test_grid_and_transforms_in_one_interpolation(run_step, image, tmp_path):
    """A point of the grid goes through the transforms in the order listed: first shifted, then
    halved in x. Applied to the image the last one comes first, as in antsApplyTransforms.
    """
    shape, affine = (12, 9, 10), np.diag([5.0, 6.0, 4.0, 1.0])
    affine[:3, 3] = (-20.0, -30.0, -15.0)
    transforms = [
        write_transform(tmp_path / "first.txt", (-8.0, 0.0, 3.0)),  # LPS: 8 mm right, 3 mm up
        write_transform(tmp_path / "second.txt", stretch_x=0.5),
    ]
    step = ResampleToGrid(
        in_file=image,
        transforms=transforms,
        grid={"shape": list(shape), "affine": affine.tolist()},
    )
    made = nb.load(run_step(step).out_file)
    where = centres_mm(shape, affine) + np.array([8.0, 0.0, 3.0])[:, None, None, None]
    where[0] /= 2
    inside = inside_of_image(where, margin=0.01)
    assert inside.sum() > 200
    np.testing.assert_allclose(made.affine, affine, atol=1e-5)
    np.testing.assert_allclose(made.get_fdata()[inside], linear(where)[inside], atol=1e-2)


def test_a_reference_image_gives_the_grid(run_step, image, make_nifti, tmp_path):
    other = oblique((7.0, 5.0, 6.0), degrees=-30.0, origin=(-20.0, -20.0, -20.0))
    reference = make_nifti("r.nii.gz", np.zeros((9, 11, 7), np.float32), other)
    step = ResampleToGrid(
        in_file=image, transforms=[write_transform(tmp_path / "i.txt")], reference=reference
    )
    made = nb.load(run_step(step).out_file)
    assert made.shape == (9, 11, 7)
    np.testing.assert_allclose(made.affine, other, atol=1e-4)


def test_nearest_invents_no_label(run_step, make_nifti, tmp_path):
    labels = np.random.default_rng(2).choice([0, 3, 1007], SHAPE).astype(np.float32)
    step = ResampleToGrid(
        in_file=make_nifti("l.nii.gz", labels, AFFINE),
        transforms=[write_transform(tmp_path / "i.txt", (1.3, -0.7, 2.1))],
        grid={"shape": [15, 13, 11], "affine": oblique((5, 6, 7)).tolist()},
        interpolation="nearest",
    )
    assert set(np.unique(nb.load(run_step(step).out_file).get_fdata())) <= {0, 3, 1007}


def test_bias_field_is_divided_out(run_step, make_nifti, shells):
    """A slope of +-40 % along one axis of a uniform head: evener after than before."""
    _, tissue = shells
    ramp = np.linspace(0.6, 1.4, SHAPE[1])[None, :, None]
    data = (np.where(tissue > 0, 300.0, 2.0) * ramp).astype(np.float32)
    step = CorrectBias(in_file=make_nifti("x.nii.gz", data, AFFINE))
    made = nb.load(run_step(step).out_file)
    before, after = data[tissue > 0], made.get_fdata()[tissue > 0]
    assert after.std() / after.mean() < 0.5 * before.std() / before.mean()
    assert made.get_fdata().min() >= 0
    np.testing.assert_allclose(made.affine, AFFINE, atol=1e-4)


def test_a_constant_image_has_no_bias_to_find(make_nifti, tmp_path):
    path = make_nifti("x.nii.gz", np.full(SHAPE, 7.0, np.float32), AFFINE)
    with pytest.raises(ImageError, match="holds the value 7 everywhere") as caught:
        CorrectBias(in_file=path).run(cwd=str(tmp_path))
    assert caught.value.__notes__ == [f"in_file: {path}"]


def test_tissue_by_brightness(run_step, make_nifti, shells):
    """Each shell is mostly its own class, and classes share out every voxel of the mask."""
    data, tissue = shells
    out = run_step(
        SegmentTissue(
            t1w=make_nifti("x.nii.gz", data, AFFINE),
            mask=make_nifti("m.nii.gz", (tissue > 0).astype(np.uint8), AFFINE),
        )
    )
    maps = {name: nb.load(getattr(out, name)).get_fdata() for name in ("csf", "gm", "wm")}
    for name, level in (("csf", 40.0), ("gm", 100.0), ("wm", 200.0)):
        assert (maps[name][tissue == level] > 0.5).mean() > 0.9
    total = sum(maps.values())
    np.testing.assert_allclose(total[tissue > 0], 1, atol=1e-4)
    assert np.all(total[tissue == 0] == 0)
