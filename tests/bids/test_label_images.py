import gzip
import os
import time
import zlib

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


@pytest.mark.parametrize("name", ["x.nii.gz", "x.mgz"])
def test_a_header_that_tells_of_more_than_any_head(tmp_path, name):
    """An array of that size would be asked of memory before the file turned out to be short."""
    header = (nb.MGHImage if name.endswith("mgz") else nb.Nifti1Image).header_class()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((2000, 1000, 1000))
    block = header.binaryblock + bytes(1000)
    (tmp_path / name).write_bytes(gzip.compress(block))
    with pytest.raises(ImageError, match=r"2000000000 voxels, at most"):
        read_label_image(tmp_path / name)


@pytest.mark.parametrize("name", ["x.nii", "x.mgz"])
def test_nobody_waits_for_a_pipe(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ImageError, match="a pipe or a device"):
        read_label_image(tmp_path / name)


def test_a_file_of_zeros_behind_a_good_header(tmp_path):
    """200 MB packed in 200 kB: what the header does not tell of is not unpacked."""
    good = nb.MGHImage(np.arange(60, dtype=np.int32).reshape(3, 4, 5), np.eye(4)).to_bytes()
    packer = zlib.compressobj(9, wbits=31)
    blocks = [packer.compress(good), *(packer.compress(bytes(10**6)) for _ in range(200))]
    (tmp_path / "x.mgz").write_bytes(b"".join([*blocks, packer.flush()]))
    start = time.monotonic()
    assert read_label_image(tmp_path / "x.mgz")[0].max() == 59
    assert time.monotonic() - start < 5  # 200 MB take 0.5 s on an idle machine
