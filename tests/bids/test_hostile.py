"""Datasets that somebody made to do harm: nothing is run, written elsewhere, or waited for."""

import gzip
import json
import struct
import time
import zlib
from contextlib import suppress

import nibabel as nb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relad_bids.bids.images import MAX_VOXELS, require_readable, require_usable
from relad_bids.bids.inputs import find_scans
from relad_bids.bids.measured import Wanted, find_measured, read_weights
from relad_bids.bids.outputs import file_name, product_path
from relad_bids.errors import DataError, ImageError, ReladError
from relad_bids.pet.sharpness import read_psf_table
from relad_bids.plan import plan_units

QUICK_S = 5.0
"""Far above what a header takes, far below a file that is read to its end."""


@pytest.fixture
def image(tmp_path):
    """Bytes of a good image, unpacked, and where to put changed ones."""
    data = np.random.default_rng(3).uniform(1, 100, (20, 24, 22)).astype("f4")
    good = nb.Nifti1Image(data, np.diag([8.0, 8, 8, 1]))
    good.set_sform(good.affine, 1)
    good.set_qform(good.affine, 1)
    return bytearray(good.to_bytes()), tmp_path / "sub-01_T1w.nii.gz"


def judge(path):
    """Whether an image passes; no error but our own may come."""
    start = time.monotonic()
    try:
        require_usable(path)
    except ImageError:
        return False
    finally:
        assert time.monotonic() - start < QUICK_S
    return True


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=12))
def test_any_bytes_in_a_header(image, changes):
    """Used or refused: with whatever it says, what is used can be read and has a place."""
    good, path = image
    content = bytearray(good)
    for at, value in changes:
        content[at] = value
    path.write_bytes(gzip.compress(content, 1))
    if judge(path):
        found = nb.load(path)
        assert np.isfinite(found.affine).all()
        assert np.isfinite(found.get_fdata()).all()


@pytest.mark.parametrize("edges", [(32_000, 32_000, 32_000), (2000, 2000, 2000)])
def test_a_header_of_more_voxels_than_memory(image, edges):
    """The trailer is made to agree, so that no look at the size would tell."""
    good, path = image
    good[40:48] = struct.pack("<4h", 3, *edges)
    packed = bytearray(gzip.compress(good, 1))
    packed[-4:] = struct.pack("<I", (352 + 4 * int(np.prod(edges, dtype=object))) % 2**32)
    path.write_bytes(packed)
    with pytest.raises(ImageError, match="needed are at most"):
        require_readable(path)


def test_the_largest_head_is_far_below_the_limit():
    assert MAX_VOXELS > 640 * 640 * 640


def test_a_bomb_behind_a_good_header(image):
    """200 MB of zeros, packed in 200 kB, after the last voxel."""
    good, path = image
    packer = zlib.compressobj(9, wbits=31)
    blocks = [packer.compress(bytes(good)), *(packer.compress(bytes(10**6)) for _ in range(200))]
    path.write_bytes(b"".join([*blocks, packer.flush()]))
    start = time.monotonic()
    with pytest.raises(ImageError, match="twice what its header says"):
        require_usable(path)
    assert time.monotonic() - start < QUICK_S


LABELS = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]),
    min_size=1, max_size=20,
)  # fmt: skip


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(subject=LABELS, session=LABELS, rest=LABELS)
def test_names_of_any_letters(tmp_path_factory, subject, session, rest):
    """A participant whose name cannot be a label is not there; no path leaves the folder."""
    root = tmp_path_factory.mktemp("bids")
    good = root / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    names = [f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz"]
    names += [f"sub-01/ses-{session}/anat/sub-01_ses-{session}_acq-{rest}_T1w.nii.gz"]
    names += [f"sub-01/anat/sub-01_{rest}_FLAIR.nii.gz"]
    for path in (good, *(root / name for name in names)):
        with suppress(OSError):  # longer than a file system takes
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    found = find_scans(root)
    plan = plan_units(
        found.scans, participants=found.participants, tracers=("pib",), missing_flair="t1w-only"
    )
    out = tmp_path_factory.getbasetemp() / "out"
    for unit in plan.units:
        made = out / product_path("kinpar", unit.label, space="S", resolution="2")
        assert made.resolve().is_relative_to(out.resolve())
        assert not set(unit.label) & set("/\\'\" .;$`<>\n")


@pytest.mark.parametrize("label", ["..", "../x", "a/b", "a b", "a'b", "a\nb", "", "-", "$(id)"])
def test_no_name_is_made_of_such_a_label(label):
    with pytest.raises(ValueError, match="lead out of the folder"):
        file_name({"sub": label}, "T1w", ".nii.gz")


@pytest.fixture
def pet(write_skeleton, image):
    good, _ = image
    root = write_skeleton("sub-01/pet/sub-01_pet.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz")
    (root / "sub-01/pet/sub-01_pet.nii.gz").write_bytes(gzip.compress(good, 1))
    return root


@pytest.fixture
def scans(pet):
    return find_scans(pet).scans


FIELDS = (
    "TracerName", "TracerRadionuclide", "Units", "FrameTimesStart", "FrameDuration", "TimeZero",
    "ScanStart", "InjectionStart", "ImageDecayCorrected", "ImageDecayCorrectionTime",
    "InjectedRadioactivity", "InjectedRadioactivityUnits", "BodyWeight", "ReconMethodName",
    "ReconFilterType", "ReconFilterSize", "AttenuationCorrection", "DecayCorrectionFactor",
    "Manufacturer", "ManufacturersModelName",
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["PiB", "C11", "Bq/mL", "<script>alert(1)</script>", 10**400, "n/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)  # fmt: skip
GOOD = {
    "TracerName": "PiB", "TracerRadionuclide": "C11", "Units": "Bq/mL", "TimeZero": "10:00:00",
    "ScanStart": 0, "InjectionStart": 0, "FrameTimesStart": [3000], "FrameDuration": [1200],
    "ImageDecayCorrected": True, "ImageDecayCorrectionTime": 0,
}  # fmt: skip


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3))
def test_fields_of_a_sidecar_that_hold_anything(pet, scans, changes):
    """A scan is measured or left with a reason; the run goes on in both cases."""
    (pet / "sub-01/pet/sub-01_pet.json").write_text(json.dumps({**GOOD, **changes}))
    measured, unread = find_measured(pet, scans, Wanted())
    assert len(measured) + len(unread) == 1
    assert all(one.reason for one in unread)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
def test_tables_of_any_bytes(tmp_path, content):
    """With and without a heading that is understood."""
    path = tmp_path / "table.tsv"
    for head in (b"", b"participant_id\tbody_weight\n", b"participant_id\tpsf_x\tpsf_y\tpsf_z\n"):
        path.write_bytes(head + content)
        for read in (read_weights, read_psf_table):
            with suppress(ReladError):
                read(path)


def test_a_field_too_long_for_a_table(tmp_path):
    (tmp_path / "t.tsv").write_text("participant_id\n" + "x" * 200_000)
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_weights(tmp_path / "t.tsv")


def test_a_folder_that_leads_back_into_itself(write_skeleton):
    root = write_skeleton("sub-01/anat/sub-01_T1w.nii.gz")
    (root / "sub-01" / "ses-a").symlink_to("..", target_is_directory=True)
    (root / "sub-02").symlink_to(".", target_is_directory=True)
    start = time.monotonic()
    found = find_scans(root)
    assert "01" in found.participants
    assert time.monotonic() - start < QUICK_S


def test_a_link_out_of_the_dataset_is_read_and_never_written(write_skeleton, tmp_path):
    """DataLad keeps all images behind links, so that links are no sign of harm."""
    outside = tmp_path / "outside.nii.gz"
    outside.write_bytes(b"content")
    root = write_skeleton("sub-01/anat/sub-01_FLAIR.nii.gz")
    link = root / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    link.symlink_to(outside)
    assert link in {scan.path for scan in find_scans(root).scans}
    with pytest.raises(ImageError, match="a NIfTI header alone takes"):
        require_readable(link)
    assert outside.read_bytes() == b"content"
