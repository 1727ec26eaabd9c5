import gzip
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from toys import oblique

from relad_bids.core.grid import Grid
from relad_bids.errors import DataError, GridMismatchError, OutputError
from relad_bids.interfaces.base import (
    grid_from,
    grid_of_file,
    load,
    load_labels,
    load_on,
    naming_files,
    save,
    write_image,
)

SHAPE = (6, 9, 7)


@pytest.fixture
def data():
    return np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)


def test_round_trip_of_an_oblique_image(tmp_path, data):
    grid = Grid(SHAPE, oblique())
    back, found = load(save(tmp_path / "x.nii.gz", data, grid))
    np.testing.assert_array_equal(back, data)
    grid.require_same(found, ours="written", theirs="read")
    grid.require_same(grid_of_file(str(tmp_path / "x.nii.gz")), ours="a", theirs="b")


def test_both_orientations_say_the_same(tmp_path, data):
    """Some readers follow the qform, some the sform."""
    save(tmp_path / "x.nii.gz", data, Grid(SHAPE, oblique()))
    header = nb.Nifti1Image.from_filename(tmp_path / "x.nii.gz").header
    assert (header["qform_code"], header["sform_code"]) == (2, 2)
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-5)


def test_the_same_image_has_the_same_bytes(tmp_path, data):
    """No time of day in the gzip header."""
    save(tmp_path / "x.nii.gz", data, Grid(SHAPE, oblique()))
    assert (tmp_path / "x.nii.gz").read_bytes()[4:8] == bytes(4)
    assert gzip.decompress((tmp_path / "x.nii.gz").read_bytes())


def test_trailing_axes_of_length_one_do_not_count(make_nifti, data):
    back, grid = load(make_nifti("x.nii", data[..., None], oblique()))
    assert back.shape == grid.shape == SHAPE


def test_scale_of_the_header_is_applied(tmp_path):
    image = nb.Nifti1Image(np.full(SHAPE, 3, np.int16), oblique())
    image.header.set_slope_inter(0.5, 10)
    image.to_filename(tmp_path / "x.nii")
    values = np.unique(load(str(tmp_path / "x.nii"))[0])
    stored = np.unique(nb.load(tmp_path / "x.nii").get_fdata())
    np.testing.assert_allclose(values, stored)


def test_labels_are_whole_numbers(make_nifti):
    """A label image stored as float32 with the rounding of a resampling program."""
    path = make_nifti("x.nii", np.full(SHAPE, 1034.9999, np.float32), oblique())
    labels, _ = load_labels(path)
    assert labels.dtype == np.int32
    assert np.unique(labels).tolist() == [1035]


def test_another_grid_is_refused(make_nifti, data):
    path = make_nifti("x.nii", data, oblique())
    moved = Grid(SHAPE, oblique(origin=(-31.0, 17.5, 9.0)))
    with pytest.raises(GridMismatchError, match=r"t1w and mask .* lie 1 mm apart"):
        load_on(moved, path, ours="t1w", theirs="mask")


def test_an_error_of_the_core_is_told_with_its_files():
    with pytest.raises(DataError, match="empty") as caught, naming_files(in_file="a.nii", m=None):
        raise DataError("empty")
    assert caught.value.__notes__ == ["in_file: a.nii", "m: None"]


def test_a_grid_from_plain_lists():
    affine = oblique()
    grid = grid_from({"shape": [6, 9, 7], "affine": affine.tolist()})
    Grid(SHAPE, affine).require_same(grid, ours="a", theirs="b")
    assert grid.shape == SHAPE


class CutShort:
    """What ITK does on a full disk: it writes what fits, and says nothing."""

    def __init__(self, content, kept):
        self.content = content[:kept]

    def to_filename(self, path):
        Path(path).write_bytes(self.content)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_an_image_that_was_cut_short_is_no_result(tmp_path, make_nifti, ending):
    data = np.random.default_rng(1).random((20, 24, 22), dtype=np.float32)
    content = Path(make_nifti(f"whole{ending}", data, np.eye(4))).read_bytes()
    path = str(tmp_path / f"made{ending}")
    write_image(CutShort(content, None), path)
    assert Path(path).read_bytes() == content
    for kept in (0, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(OutputError, match="not written whole; the disk"):
            write_image(CutShort(content, kept), path)
