import gzip
import os

import nibabel as nb
import numpy as np
import pytest

from relad_bids.bids.headers import missing_bytes, read_header, require_intact
from relad_bids.errors import ImageError

HTML = b"\n\n\n<!DOCTYPE html>\n<html lang='en'>" + b" " * 1000


@pytest.fixture
def whole(tmp_path):
    """A compressed image of noise, (20, 24, 16) int16: 15 kB that do not shrink."""
    path = tmp_path / "T1w.nii.gz"
    noise = np.random.default_rng(1).integers(0, 30000, (20, 24, 16), dtype=np.int16)
    nb.Nifti1Image(noise, np.eye(4)).to_filename(path)
    return path


@pytest.mark.parametrize("kind", [nb.Nifti1Image, nb.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_both_versions_packed_or_not(tmp_path, kind, name):
    kind(np.zeros((3, 4, 5), np.uint8), np.eye(4)).to_filename(tmp_path / name)
    header = read_header(tmp_path / name)
    assert header.get_data_shape() == (3, 4, 5)
    assert missing_bytes(tmp_path / name, header) is None


def test_other_byte_order(tmp_path):
    header = nb.Nifti1Header(endianness=">")
    nb.Nifti1Image(np.zeros((3, 4, 5), ">i2"), np.eye(4), header).to_filename(tmp_path / "a.nii")
    assert read_header(tmp_path / "a.nii").get_data_shape() == (3, 4, 5)


def test_the_header_is_not_mended(tmp_path):
    """nibabel's own reader turns a voxel size of 0 into 1 and goes on."""
    header = nb.Nifti1Header()
    header["pixdim"][1] = 0
    header["magic"] = b"n+1"
    (tmp_path / "a.nii").write_bytes(header.binaryblock + b"\0" * 4)
    assert read_header(tmp_path / "a.nii")["pixdim"][1] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HTML, "looks like a web page, needed is a NIfTI image. The download saved the page"),
        (b"<?xml version='1.0'?><Error/>" * 20, "an XML text"),
        (b"../../.git/annex/objects/px/3v/SHA256E-s1.nii.gz", "git-annex link.* datalad get /"),
        (b"/annex/objects/MD5E-s2053--0a.nii.gz\n", "git-annex link"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
            "LFS pointer.* git lfs pull",
        ),
        (b"\0" * 128 + b"DICM" + b"\0" * 500, "a DICOM file.* dcm2niix"),
        (b"", "holds 0 bytes, but a NIfTI header alone takes 348"),
        (b"\n", "holds 1 bytes"),
        (b"x" * 347, "holds 347 bytes"),
        (b"x" * 348, r"has no NIfTI header \(starts with b'xxxxxxxx'\)"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_image(tmp_path, content, message, packed):
    path = tmp_path / "T1w.nii.gz"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ImageError, match=message):
        read_header(path)


def test_nothing_there(tmp_path):
    with pytest.raises(ImageError, match=r"cannot be read .*No such file"):
        read_header(tmp_path / "T1w.nii.gz")


def test_a_folder(tmp_path):
    with pytest.raises(ImageError, match=r"cannot be read .*is a folder"):
        read_header(tmp_path)


def test_a_link_into_an_annex_that_was_not_fetched(tmp_path):
    (tmp_path / "T1w.nii.gz").symlink_to("../.git/annex/objects/gone")
    with pytest.raises(ImageError, match=r"not here \(\.\./\.git/annex/.*datalad get"):
        read_header(tmp_path / "T1w.nii.gz")


def test_an_image_under_a_wrong_name(whole, tmp_path):
    packed, plain = tmp_path / "b.nii", tmp_path / "c.nii.gz"
    packed.write_bytes(whole.read_bytes())
    plain.write_bytes(gzip.decompress(whole.read_bytes()))
    with pytest.raises(ImageError, match=r"file is compressed, .* rename it to end in \.nii\.gz$"):
        read_header(packed)
    with pytest.raises(ImageError, match=r"file is not compressed, .* rename it to end in \.nii$"):
        read_header(plain)


@pytest.mark.parametrize("lost", [1, 4, 8, 100, 5000])
def test_a_compressed_file_that_was_cut_short(whole, lost):
    """The last 8 bytes are checksum and length; without only these the voxels are all there."""
    whole.write_bytes(whole.read_bytes()[:-lost])
    missing = missing_bytes(whole, read_header(whole))
    assert (missing is None) is (lost <= 8)
    if missing:
        assert "MB of 0.0157 MB. The copy or download was cut short" in missing


@pytest.mark.parametrize(("lost", "complete"), [(0, True), (1, False)])
def test_a_plain_file_that_was_cut_short(whole, tmp_path, lost, complete):
    content = gzip.decompress(whole.read_bytes())
    path = tmp_path / "T1w.nii"
    path.write_bytes(content[: len(content) - lost])
    assert (missing_bytes(path, read_header(path)) is None) is complete


@pytest.mark.parametrize("offset", [0, np.nan])
def test_an_offset_left_out_is_that_of_a_single_file(whole, tmp_path, offset):
    """352 bytes: the header and four that announce extensions."""
    path = tmp_path / "T1w.nii"
    path.write_bytes(gzip.decompress(whole.read_bytes())[:-1])
    header = read_header(path)
    header["vox_offset"] = offset
    assert "cut short" in missing_bytes(path, header)


def test_a_file_packed_in_several_members_is_whole(whole):
    """bgzip and parallel packers write such files; the last length is that of a part."""
    content = gzip.decompress(whole.read_bytes())
    whole.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]))
    assert missing_bytes(whole, read_header(whole)) is None


def test_damage_inside_a_cut_file_does_not_stop_the_check(whole):
    content = bytearray(whole.read_bytes()[:-100])
    content[3000:3050] = os.urandom(50)
    whole.write_bytes(bytes(content))
    assert "cut short" in missing_bytes(whole, read_header(whole))


def test_a_checksum_that_does_not_fit(whole, tmp_path):
    """One voxel changed in an incompressible image: only the checksum knows."""
    require_intact(whole)
    content = bytearray(whole.read_bytes())
    content[5000] ^= 1
    whole.write_bytes(bytes(content))
    with pytest.raises(ImageError, match=r"T1w\.nii\.gz: the file is damaged \("):
        require_intact(whole)
    plain = tmp_path / "T1w.nii"
    plain.touch()
    require_intact(plain)
