import time

import nibabel as nb
import numpy as np
import pytest

from relad_bids.bids.images import ImageFacts, require_readable, require_usable
from relad_bids.errors import ImageError

SHAPE = (20, 24, 16)


def oblique(zooms=(1.0, 1.5, 2.0), degrees=20.0):
    """Voxel axes i, j, k towards A, S, R, turned by ``degrees`` about z, and shifted."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine[:3, :3] = turned @ np.eye(3)[:, [1, 2, 0]] * zooms
    affine[:3, 3] = [-31.0, 17.5, 8.0]
    return affine


@pytest.fixture
def make_nifti(tmp_path):
    """Write an image; ``edit`` may spoil its header after nibabel has filled it in."""

    def make(data=None, affine=None, *, shape=SHAPE, codes=(1, 1), edit=None):
        if data is None:
            data = np.random.default_rng(7).uniform(0, 100, shape).astype(np.float32)
        image = nb.Nifti1Image(data, oblique() if affine is None else affine)
        image.header.set_qform(image.affine, code=codes[0])
        image.header.set_sform(image.affine, code=codes[1])
        path = tmp_path / "sub-01_T1w.nii"
        image.to_filename(path)
        if edit:
            content = path.read_bytes()
            header = nb.Nifti1Header(content[:348], check=False)
            edit(header)
            path.write_bytes(header.binaryblock + content[348:])
        return path

    return make


def test_facts_of_an_oblique_image(make_nifti):
    facts = require_readable(make_nifti())
    assert facts.shape == SHAPE
    assert facts.zooms == pytest.approx((1.0, 1.5, 2.0), abs=1e-5)  # float32 header
    assert facts.axcodes == "ASR"
    assert facts.n_volumes == 1


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 4)])
def test_one_orientation_is_enough(make_nifti, codes):
    assert require_readable(make_nifti(codes=codes)).axcodes == "ASR"


def test_trailing_axes_of_length_one_do_not_count(make_nifti):
    facts = require_readable(make_nifti(shape=(*SHAPE, 1, 1)))
    assert (facts.shape, facts.n_volumes) == (SHAPE, 1)


def test_a_series_is_accepted_only_where_one_is_expected(make_nifti):
    path = make_nifti(shape=(*SHAPE, 3))
    assert require_readable(path, series=True).n_volumes == 3
    with pytest.raises(
        ImageError, match=r"sub-01_T1w\.nii.*\n  has 3 volumes \(20 x 24 x 16 x 3\)"
    ):
        require_readable(path)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("n", "enough"), [(9, False), (10, True)])
def test_ten_voxels_along_each_axis(make_nifti, axis, n, enough):
    path = make_nifti(shape=tuple(n if i == axis else 12 for i in range(3)))
    if enough:
        require_readable(path)
    else:
        with pytest.raises(ImageError, match="needed are at least 10 along each axis"):
            require_readable(path)


def test_a_flat_image(make_nifti):
    with pytest.raises(ImageError, match=r"is 2-D \(20 x 24\), needed is a 3-D image"):
        require_readable(make_nifti(shape=(20, 24)))


@pytest.mark.parametrize(
    ("zooms", "accepted"),
    [
        ((0.101, 1, 1), True),
        ((1, 0.099, 1), False),
        ((1, 1, 14.9), True),
        ((15.1, 1, 1), False),
        ((0.001, 0.001, 0.001), False),
    ],
)
def test_voxel_sizes(make_nifti, zooms, accepted):
    path = make_nifti(affine=oblique(zooms))
    if accepted:
        require_readable(path)
    else:
        with pytest.raises(ImageError, match=r"has voxels of .* mm .*, needed are 0\.1 to 15 mm"):
            require_readable(path)


@pytest.mark.parametrize("value", [0, np.nan, np.inf, -1])
def test_voxel_sizes_that_are_none(make_nifti, value):
    def edit(header):
        header["pixdim"][2] = value

    with pytest.raises(ImageError, match=r"has voxel sizes 1 x .* x 2 mm, needed are three"):
        require_readable(make_nifti(edit=edit))


def test_no_orientation_at_all(make_nifti):
    def edit(header):
        header["qform_code"] = header["sform_code"] = 0

    with pytest.raises(
        ImageError, match=r"about its orientation .* so left and right are unknown"
    ):
        require_readable(make_nifti(edit=edit))


def shifted_qform(mm):
    def edit(header):
        header["qoffset_y"] += mm

    return edit


@pytest.mark.parametrize(("mm", "same"), [(0.99, True), (1.01, False)])
def test_qform_and_sform_may_differ_by_a_millimetre(make_nifti, mm, same):
    path = make_nifti(edit=shifted_qform(mm))
    if same:
        require_readable(path)
    else:
        with pytest.raises(
            ImageError, match=r"put a corner 1\.01 mm apart \(limit 1 mm\).*fslorient"
        ):
            require_readable(path)


def test_a_qform_that_is_switched_off_is_not_compared(make_nifti):
    require_readable(make_nifti(codes=(0, 1), edit=shifted_qform(50)))


def test_a_left_right_flip_is_seen(make_nifti):
    """Column k runs along x, 15 steps of 2 mm; mirrored in place its far end moves 60 mm."""

    def flip(header):
        sform = header.get_sform()
        sform[:, 2] *= -1
        header.set_sform(sform)

    with pytest.raises(ImageError, match=r"put a corner 60 mm apart .*left and right"):
        require_readable(make_nifti(edit=flip))


def test_a_small_turn_is_measured_at_the_far_corner(make_nifti):
    """0.4 degrees about z: 0.0070 x the far corner's distance from voxel (0, 0, 0) in x, y."""
    arm_mm = np.hypot(19 * 1.0, 15 * 2.0)

    def turn(header):
        header.set_qform(oblique(degrees=20.0 + np.degrees(1.1 / arm_mm)))

    with pytest.raises(ImageError, match=r"put a corner 1\.1 mm apart"):
        require_readable(make_nifti(edit=turn))


def test_sform_and_voxel_sizes_disagree(make_nifti):
    def edit(header):
        header["pixdim"][1] = 1.1

    with pytest.raises(ImageError, match=r"1\.1 x .* \(pixdim\), but 1 x .* by its sform: 2 mm"):
        require_readable(make_nifti(codes=(0, 1), edit=edit))


def test_one_contradiction_is_told_once(make_nifti):
    """The qform is built from the voxel sizes, so it already tells that they differ."""

    def edit(header):
        header["pixdim"][1] = 1.1

    with pytest.raises(ImageError, match=r"put a corner 1\.9 mm apart") as caught:
        require_readable(make_nifti(edit=edit))
    assert "pixdim" not in str(caught.value)


def test_an_affine_without_a_third_direction(make_nifti):
    def edit(header):
        header["srow_x"][2] = header["srow_x"][1]
        header["srow_y"][2] = header["srow_y"][1]
        header["srow_z"][2] = header["srow_z"][1]

    with pytest.raises(ImageError, match="has a sform that cannot be inverted"):
        require_readable(make_nifti(edit=edit))


def test_nan_in_the_affine(make_nifti):
    def edit(header):
        header["srow_y"][3] = np.nan

    with pytest.raises(ImageError, match="NaN or infinity in its sform"):
        require_readable(make_nifti(edit=edit))


def test_a_quaternion_that_is_no_rotation(make_nifti):
    def edit(header):
        header["quatern_b"] = 3

    with pytest.raises(ImageError, match="has a qform that is no orientation"):
        require_readable(make_nifti(edit=edit))


@pytest.mark.parametrize("dtype", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_one_real_number_per_voxel(make_nifti, dtype):
    with pytest.raises(ImageError, match="needed is one real number per voxel"):
        require_readable(make_nifti(np.zeros(SHAPE, dtype)))


def test_an_unknown_data_type(make_nifti):
    def edit(header):
        header["datatype"] = 999

    with pytest.raises(ImageError, match="has a data type nobody knows"):
        require_readable(make_nifti(edit=edit))


def test_everything_wrong_is_said_at_once(make_nifti):
    with pytest.raises(ImageError, match=r"(?s)has 2 volumes.*at least 10.*one real number"):
        require_readable(make_nifti(np.zeros((9, 12, 12, 2), np.complex64)))


def test_a_file_cut_short(make_nifti):
    path = make_nifti()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        ImageError, match=r"holds 0\.0311 MB of 0\.0311 MB\. The copy .* cut short"
    ):
        require_readable(path)


def test_the_header_costs_milliseconds(tmp_path):
    """It runs on every scan first. Measured 1 ms on an image of 8 MB; best of 5, limit 5 ms."""
    path = tmp_path / "T1w.nii.gz"
    noise = np.random.default_rng(3).integers(1, 255, (200, 201, 202), dtype=np.uint8)
    nb.Nifti1Image(noise, oblique()).to_filename(path)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        require_readable(path)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 5e-3


def test_an_ordinary_image_is_usable(make_nifti):
    require_usable(make_nifti())


def test_a_series_is_usable_if_one_frame_is_not_empty(make_nifti):
    """The first frame of a dynamic PET may be before the injection."""
    data = np.zeros((*SHAPE, 2), np.int16)
    data[3, 4, 5, 1] = 7
    require_usable(make_nifti(data), series=True)


@pytest.mark.parametrize("value", [0, 37])
@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 2)])
def test_nothing_in_it(make_nifti, value, shape):
    with pytest.raises(ImageError, match=rf"T1w\.nii: every voxel is {value}, needed is an image"):
        require_usable(make_nifti(np.full(shape, value, np.int16)), series=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_counted(make_nifti, value):
    data = np.ones(SHAPE, np.float32)
    data[:3, 0, 0] = value
    with pytest.raises(ImageError, match=r"3 of 7680 voxels \(0\.04%\) are NaN or infinite"):
        require_usable(make_nifti(data))


def test_nothing_but_nan(make_nifti):
    with pytest.raises(ImageError, match=r"7680 of 7680 voxels \(100\.00%\)"):
        require_usable(make_nifti(np.full(SHAPE, np.nan, np.float32)))


@pytest.mark.parametrize(("highest", "accepted"), [(0, False), (1, True)])
def test_nothing_above_zero(make_nifti, highest, accepted):
    data = np.full(SHAPE, -5, np.int16)
    data[1, 2, 3] = highest
    if accepted:
        require_usable(make_nifti(data))
    else:
        with pytest.raises(ImageError, match=r"no voxel is above 0 \(they range from -5 to 0\)"):
            require_usable(make_nifti(data))


def test_damage_in_the_middle(make_nifti, tmp_path):
    """The length at the end is right, so the header alone passes."""
    path = tmp_path / "T1w.nii.gz"
    nb.load(make_nifti()).to_filename(path)
    content = bytearray(path.read_bytes())
    content[3000:3200] = b"\xff" * 200
    path.write_bytes(bytes(content))
    require_readable(path)
    with pytest.raises(ImageError, match="the file is damaged"):
        require_usable(path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("inside", "message"),
    [
        ("pet001/sub-01/ses-01/anat/sub-01_ses-01_T1w.nii", "web page"),
        ("pet003/sub-01/ses-01/anat/sub-01_ses-01_T1w.nii", "holds 1 bytes"),
        ("pet003/sub-01/ses-01/pet/sub-01_ses-01_pet.nii.gz", "web page"),
        ("ds004869_subset/sub-01/anat/sub-01_T1w.nii.gz", "git-annex link"),
        ("pet001/sub-01/ses-01/pet/sub-01_ses-01_trc-CIMBI36_pet.nii.gz", "every voxel is 0"),
    ],
)
def test_bad_files_that_people_really_have(real_data, inside, message):
    with pytest.raises(ImageError, match=message):
        require_usable(real_data / "bids-layouts" / inside, series=True)


@pytest.mark.real_data
def test_good_files_that_people_really_have(real_data):
    """Oblique, LPS, 5.5 mm slices, already stripped: all of them are images to work with."""
    paths = sorted((real_data / "bids-mri").rglob("*.nii.gz"))
    assert len(paths) == 13
    for path in paths:
        assert isinstance(require_readable(path), ImageFacts)
    require_usable(real_data / "bids-mri/sub-neck/anat/sub-neck_T1w.nii.gz")
