from pathlib import Path

import pytest

from relad_bids.bids.labels import find_labels
from relad_bids.errors import InputError
from relad_bids.sessions import Unit

APARC = "mri/aparc+aseg.mgz"
DEEP = "mri/aparc.DKTatlas+aseg.deep.mgz"


def unit(subject="01", session="a"):
    return Unit(subject, session, Path("t1w"), None, ("pib",))


@pytest.fixture
def write(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def find(root, *units, fs=True, **derivatives):
    return find_labels(units, fs_subjects_dir=root / "fs" if fs else None, derivatives=derivatives)


@pytest.mark.parametrize("folder", ["sub-01_ses-a", "sub-01", "01"])
def test_freesurfer_by_each_name_of_its_folder(write, folder):
    found, lacking = find(write(f"fs/{folder}/{APARC}"), unit())
    labels = found["sub-01_ses-a"]
    assert (labels.source, labels.atlas) == ("freesurfer", "DesikanKilliany")
    assert labels.uri == f"bids:fs:{folder}/{APARC}"
    assert lacking == {}


def test_fastsurfer_is_known_although_it_leaves_freesurfers_file(write):
    found, _ = find(write(f"fs/sub-01/{APARC}", f"fs/sub-01/{DEEP}"), unit())
    assert (found["sub-01_ses-a"].source, found["sub-01_ses-a"].atlas) == ("fastsurfer", "DKT")


def test_a_sessions_own_labels_go_first(write):
    root = write(f"fs/sub-01/{APARC}", "prep/sub-01/ses-a/anat/x")
    name = "sub-01_ses-a_acq-x_desc-aparcaseg_dseg.nii.gz"
    write(f"prep/sub-01/ses-a/anat/{name}")
    found, _ = find(root, unit(), fmriprep=root / "prep")
    assert found["sub-01_ses-a"].source == "fmriprep"
    assert found["sub-01_ses-a"].uri == f"bids:fmriprep:sub-01/ses-a/anat/{name}"


def test_labels_of_one_of_several_t1w_are_nobodys(write):
    """A longitudinal study parcellated once: which of its T1w that was is not known."""
    root = write(f"fs/sub-01/{APARC}")
    found, lacking = find(root, unit(), unit(session="b"), unit("02"))
    assert found == {}
    assert "several sessions and a parcellation of its participant only" in lacking["sub-01_ses-b"]
    assert "no parcellation of it was found in" in lacking["sub-02_ses-a"]


def test_labels_of_another_participant_are_not_taken(write):
    root = write(f"fs/sub-010/{APARC}", "prep/sub-010/anat/sub-010_desc-aparcaseg_dseg.nii.gz")
    assert find(root, unit(session=None), prep=root / "prep")[0] == {}


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("sub-01_desc-aparcaseg_dseg.nii.gz", True),
        ("sub-01_space-T1w_desc-aparcaseg_dseg.nii.gz", True),
        ("sub-01_space-MNI152NLin2009cAsym_desc-aparcaseg_dseg.nii.gz", False),
        ("sub-01_desc-aseg_dseg.nii.gz", False),
    ],
)
def test_derivatives_in_the_space_of_the_t1w(write, name, taken):
    root = write(f"prep/sub-01/anat/{name}")
    found, lacking = find(root, unit(session=None), fs=False, prep=root / "prep")
    assert bool(found) is taken
    assert bool(lacking) is not taken
    if "aseg_" in name and "aparc" not in name:
        assert "has no cortical regions" in lacking["sub-01"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"read from .*fs, and there is no such folder"):
        find(tmp_path, unit())
