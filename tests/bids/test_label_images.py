import nibabel as nb
import numpy as np
import pytest

from relad_bids.bids.label_images import read_label_image
from relad_bids.errors import ImageError


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["x.nii.gz", "x.mgz"])
def test_numbers_in_any_type(tmp_path, dtype, name):
    if name.endswith("mgz") and dtype == np.float64:
        dtype = np.int32  # MGH has no float64
    numbers = np.arange(60).reshape(3, 4, 5)
    kind = nb.MGHImage if name.endswith("mgz") else nb.Nifti1Image
    kind(numbers.astype(dtype), np.diag([2.0, 3, 4, 1])).to_filename(tmp_path / name)
    found, grid = read_label_image(tmp_path / name)
    np.testing.assert_array_equal(found, numbers)
    assert (found.dtype, grid.shape) == (np.int32, (3, 4, 5))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.full((3, 4, 5), 0.5, np.float32), "holds fractions"),
        (np.full((3, 4, 5), np.nan, np.float32), "holds fractions"),
        (np.ones((3, 4, 5, 2), np.float32), "one image of label numbers with three axes"),
    ],
)
def test_what_is_no_label_image_is_refused(tmp_path, data, message):
    nb.Nifti1Image(data, np.eye(4)).to_filename(tmp_path / "x.nii.gz")
    with pytest.raises(ImageError, match=message):
        read_label_image(tmp_path / "x.nii.gz")
    (tmp_path / "broken.mgz").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.mgz cannot be read"):
        read_label_image(tmp_path / "broken.mgz")
