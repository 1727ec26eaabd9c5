import ants
import nibabel as nb
import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.errors import ImageError, InputError
from relad_bids.mri.linear import write_affine
from relad_bids.mri.resample import grid_of, isotropic_grid, like, reference_image, resample


def test_reference_image_lies_where_nibabel_says(oblique_grid, tmp_path):
    """ITK thinks in LPS+, the file's header in RAS+: a file is the judge."""
    ants.image_write(reference_image(oblique_grid), str(tmp_path / "grid.nii.gz"))
    saved = nb.load(tmp_path / "grid.nii.gz")
    assert saved.shape == oblique_grid.shape
    Grid(saved.shape, saved.affine).require_same(oblique_grid, ours="saved", theirs="asked")


def test_nibabel_file_is_read_where_it_lies(oblique_grid, tmp_path):
    nb.save(
        nb.Nifti1Image(np.zeros(oblique_grid.shape, "float32"), oblique_grid.affine),
        tmp_path / "image.nii.gz",
    )
    read = ants.image_read(str(tmp_path / "image.nii.gz"))
    grid_of(read).require_same(oblique_grid, ours="read", theirs="written")


def test_grid_round_trip(oblique_grid):
    back = grid_of(reference_image(oblique_grid))
    back.require_same(oblique_grid, ours="back", theirs="first")


@pytest.mark.parametrize(("cosine", "fails"), [(0.0005, False), (0.002, True)])
def test_shear_is_refused(oblique_grid, cosine, fails):
    sheared = np.diag([2.0, 2.0, 2.0, 1.0])
    sheared[0, 1] = 2 * cosine
    grid = Grid((5, 6, 7), sheared)
    if fails:
        with pytest.raises(ImageError, match="not at right angles"):
            reference_image(grid)
    else:
        assert reference_image(grid).shape == (5, 6, 7)


def test_no_transform_changes_the_grid_only(head):
    """A straight line in space is kept exactly by linear interpolation."""
    index = np.stack(np.meshgrid(*map(np.arange, head.shape), indexing="ij"), axis=-1)
    affine = grid_of(head).affine
    ramp = like(head, index @ affine[:3, :3].T @ [1.0, 2.0, 3.0])
    target = reference_image(Grid((4, 5, 6), np.diag([3.0, 3.0, 3.0, 1.0])))
    found = resample(ramp, target, []).numpy()
    there = np.stack(np.meshgrid(*map(np.arange, (4, 5, 6)), indexing="ij"), axis=-1) * 3.0
    expected = (there - affine[:3, 3]) @ [1.0, 2.0, 3.0]
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_last_transform_is_applied_first(head, tmp_path):
    """A shift along x after a doubling about the origin is not a doubling after a shift."""
    shift, double = np.eye(4), np.diag([2.0, 2.0, 2.0, 1.0])
    shift[0, 3] = 10.0
    files = [
        write_affine(shift, tmp_path / "shift.mat"),
        write_affine(double, tmp_path / "double.mat"),
    ]
    both = write_affine(double @ shift, tmp_path / "both.mat")
    chain = resample(head, head, files).numpy()
    np.testing.assert_allclose(chain, resample(head, head, [both]).numpy(), atol=1e-3)


@pytest.mark.parametrize("interpolation", ["nearest", "genericLabel"])
def test_labels_stay_labels(head, tmp_path, interpolation):
    nudge = np.eye(4)
    nudge[:3, 3] = [1.3, -0.7, 2.1]
    moved = resample(
        head, head, [write_affine(nudge, tmp_path / "n.mat")], interpolation=interpolation
    )
    assert set(np.unique(moved.numpy())) <= set(np.unique(head.numpy()))


def test_missing_transform_is_named(head, tmp_path):
    with pytest.raises(InputError, match=r"gone\.h5"):
        resample(head, head, [tmp_path / "gone.h5"])


def test_isotropic_grid_covers_the_image(head):
    grid = isotropic_grid(head, spacing_mm=2.0)
    corners, box = grid_of(head).corners_mm(), grid.corners_mm()
    assert (box.min(axis=0) <= corners.min(axis=0) + 1e-6).all()
    assert (box.max(axis=0) >= corners.max(axis=0) - 1e-6).all()
    assert grid.voxel_volume_mm3 == pytest.approx(8.0)
