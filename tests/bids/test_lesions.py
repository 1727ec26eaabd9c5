from pathlib import Path

import numpy as np
import pytest
from toys import oblique, save_nifti

from relad_bids.bids.lesions import find_lesions
from relad_bids.sessions import Derived, Reused, Unit

T1W, FLAIR = oblique((3.0, 3.5, 4.0)), oblique((4.0, 4.0, 5.0), degrees=-10.0)
SHAPES = {"T1w": (16, 18, 14), "FLAIR": (12, 14, 10)}


def image(path, kind="T1w", affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.zeros(SHAPES[kind], np.uint8)
    data[3, 4, 5] = 1
    save_nifti(path, data, {"T1w": T1W, "FLAIR": FLAIR}[kind] if affine is None else affine)
    return path


@pytest.fixture
def data(tmp_path):
    return tmp_path / "bids"


def unit(data, session=None, run="", **more):
    head = "sub-01" + (f"_ses-{session}" if session else "")
    anat = data.joinpath(*head.split("_"), "anat")
    t1w, flair = image(anat / f"{head}{run}_T1w.nii.gz"), anat / f"{head}_FLAIR.nii.gz"
    return Unit("01", session, t1w, image(flair, "FLAIR"), ("pib",), **more)


def find(data, *units, **derivatives):
    return find_lesions(units, bids_dir=data, derivatives=derivatives)


@pytest.mark.parametrize(
    ("name", "on"),
    [
        ("sub-01_label-lesion_mask.nii.gz", "T1w"),
        ("sub-01_space-T1w_label-lesion_mask.nii.gz", "T1w"),
        ("sub-01_label-lesion_roi.nii.gz", "T1w"),
        ("sub-01_T1w_label-lesion_roi.nii.gz", "T1w"),
        ("sub-01_space-FLAIR_label-lesion_mask.nii.gz", "FLAIR"),
        ("sub-01_space-orig_label-lesion_desc-wmh_mask.nii.gz", None),
        ("sub-01_space-MNI152NLin2009cAsym_label-lesion_mask.nii.gz", None),
        ("sub-01_label-lesion_mask.json", None),
        ("sub-01_label-tumor_mask.nii.gz", None),
        ("sub-010_label-lesion_mask.nii.gz", None),
    ],
)
def test_names(data, name, on):
    image(data / "sub-01" / "anat" / name, on or "T1w") if name.endswith("gz") else None
    found, refused = find(data, unit(data))
    assert refused == {}
    assert [lesion.on for lesion in found.values()] == ([on] if on else [])
    if on:
        assert found["sub-01"].uri == f"bids:raw:sub-01/anat/{name}"


def test_the_t1w_goes_before_the_flair_and_the_dataset_before_derivatives(data, tmp_path):
    image(data / "sub-01/anat/sub-01_space-FLAIR_label-lesion_mask.nii.gz", "FLAIR")
    other = image(tmp_path / "prep/sub-01/anat/sub-01_label-lesion_mask.nii.gz")
    found, _ = find(data, unit(data), prep=tmp_path / "prep")
    assert found["sub-01"].on == "FLAIR"
    own = image(data / "sub-01/anat/sub-01_label-lesion_mask.nii.gz")
    assert find(data, unit(data), prep=tmp_path / "prep")[0]["sub-01"].path == own
    own.unlink()
    (data / "sub-01/anat/sub-01_space-FLAIR_label-lesion_mask.nii.gz").unlink()
    lesion = find(data, unit(data), prep=tmp_path / "prep")[0]["sub-01"]
    assert (lesion.path, lesion.uri) == (
        other, "bids:prep:sub-01/anat/sub-01_label-lesion_mask.nii.gz",
    )  # fmt: skip


def test_a_mask_of_a_run_that_is_not_used_is_not_taken(data):
    image(data / "sub-01/anat/sub-01_run-2_label-lesion_mask.nii.gz")
    assert find(data, unit(data, run="_run-1"))[0] == {}
    assert len(find(data, unit(data, run="_run-2"))[0]) == 1


def test_a_participants_mask_is_not_that_of_two_sessions(data):
    image(data / "sub-01/anat/sub-01_label-lesion_mask.nii.gz")
    assert len(find(data, unit(data, "a"))[0]) == 1
    assert find(data, unit(data, "a"), unit(data, "b"))[0] == {}


def test_a_mask_beside_its_image_is_refused(data):
    moved = T1W.copy()
    moved[0, 3] += 2.0
    image(data / "sub-01/anat/sub-01_label-lesion_mask.nii.gz", affine=moved)
    found, refused = find(data, unit(data))
    assert found == {}
    assert "does not lie on the image that it was drawn on" in refused["sub-01"]
    assert "2 mm apart" in refused["sub-01"]


def test_a_mask_on_the_t1w_of_derivatives(data, tmp_path):
    moved = T1W.copy()
    moved[0, 3] += 2.0
    prepared = image(tmp_path / "prep.nii.gz", affine=moved)
    image(data / "sub-01/anat/sub-01_label-lesion_mask.nii.gz", affine=moved)
    reused = Reused(t1w=Derived(Path(prepared), "fmriprep", "bids:fmriprep:x"))
    assert len(find(data, unit(data, reused=reused))[0]) == 1


def test_two_masks_are_not_chosen_among(data):
    for name in ("mask", "roi"):
        image(data / f"sub-01/anat/sub-01_label-lesion_{name}.nii.gz")
    assert "has 2 lesion masks of its T1w" in find(data, unit(data))[1]["sub-01"]
