import numpy as np
import pytest
from toys import oblique, save_nifti

from relad_bids.bids.reuse import find_reused
from relad_bids.sessions import Unit

SPACE, OTHER = "MNI152NLin2009cAsym", "MNI152NLin6Asym"
SHAPE, AFFINE = (16, 18, 14), oblique((10.0, 11.0, 12.0))
CONFORMED = np.diag([-9.0, 9.0, 9.0, 1.0])
CONFORMED[:3, 3] = AFFINE[:3, :3] @ [7.5, 8.5, 6.5] + AFFINE[:3, 3] - [-90.0, 90.0, 81.0]


def image(path, affine=CONFORMED, shape=(21, 21, 19)):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(1).integers(0, 100, shape).astype(np.int16)
    save_nifti(path, data, affine)
    return path


def transform(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"\x89HDF\r\n\x1a\n" + bytes(32) + (100).to_bytes(8, "little")
    path.write_bytes(content.ljust(100, b"x"))
    return path


@pytest.fixture
def unit(tmp_path):
    def make(session=None, subject="01", run=""):
        head = f"sub-{subject}" + (f"_ses-{session}" if session else "")
        path = tmp_path.joinpath("bids", *head.split("_"), "anat", f"{head}{run}_T1w.nii.gz")
        return Unit(subject, session, image(path, AFFINE, SHAPE), None, ("pib",))

    return make


@pytest.fixture
def prep(tmp_path):
    """Write derivatives of ``head`` as fMRIPrep names them."""

    def make(head="sub-01", *, root="prep", leave=(), run="", space=SPACE):
        folder = tmp_path.joinpath(root, *head.split("_"), "anat")
        files = {
            "t1w": (image, f"{head}{run}_desc-preproc_T1w.nii.gz"),
            "mask": (image, f"{head}{run}_desc-brain_mask.nii.gz"),
            "to": (transform, f"{head}{run}_from-T1w_to-{space}_mode-image_xfm.h5"),
            "back": (transform, f"{head}{run}_from-{space}_to-T1w_mode-image_xfm.h5"),
        }
        for key, (write, name) in files.items():
            if key not in leave:
                write(folder / name)
        image(folder / f"{head}_space-{SPACE}_res-2_desc-preproc_T1w.nii.gz")
        image(folder / f"{head}_space-{SPACE}_res-2_desc-brain_mask.nii.gz")
        return tmp_path / root

    return make


def find(*units, space=SPACE, **derivatives):
    return find_reused(units, derivatives=derivatives, space=space)


def test_all_that_fmriprep_wrote_is_taken(unit, prep):
    found, refused = find(unit(), fmriprep=prep())
    assert refused == {}
    assert list(found["sub-01"].steps()) == ["bias-correction", "brain-mask", "warp"]
    assert found["sub-01"].t1w.uri == "bids:fmriprep:sub-01/anat/sub-01_desc-preproc_T1w.nii.gz"
    assert {one.source for one in found["sub-01"].steps().values()} == {"fmriprep"}
    assert "to-T1w" in found["sub-01"].from_template.path.name


def test_a_session_and_a_participant_without_one(unit, prep):
    assert len(find(unit("a"), p=prep("sub-01_ses-a"))[0]) == 1
    assert find(unit("a"), p=prep("sub-01_ses-b", root="other"))[0] == {}


def test_derivatives_outside_sessions_serve_a_single_session(unit, prep):
    root = prep("sub-01")
    assert len(find(unit("a"), p=root)[0]) == 1
    assert find(unit("a"), unit("b"), p=root) == ({}, {})
    assert set(find(unit("a"), unit("a", "02"), p=root)[0]) == {"sub-01_ses-a"}


@pytest.mark.parametrize("leave", ["to", "back"])
def test_one_way_is_no_way(unit, prep, leave):
    found, _ = find(unit(), p=prep(leave=[leave]))
    assert list(found["sub-01"].steps()) == ["bias-correction", "brain-mask"]


def test_transforms_to_another_space_are_of_no_use(unit, prep):
    assert "warp" not in find(unit(), p=prep(space=OTHER))[0]["sub-01"].steps()
    assert "warp" in find(unit(), p=prep(space=OTHER), space=OTHER)[0]["sub-01"].steps()


def test_what_was_made_together_stays_together(unit, prep):
    """A second dataset does not fill the gaps of the first."""
    one, other = prep(leave=["to", "back"], root="one"), prep(root="other")
    (reused,) = find(unit(), one=one, other=other)[0].values()
    assert (reused.t1w.source, reused.to_template) == ("one", None)


def test_a_mask_without_its_t1w_must_lie_on_ours(unit, prep):
    found, refused = find(unit(), p=prep(leave=["t1w"]))
    assert found == {}
    assert "sub-01_desc-brain_mask.nii.gz: the brain mask does not lie on" in refused["sub-01"]
    assert "--reuse labels" in refused["sub-01"]


def test_the_mask_of_another_t1w_is_refused(unit, prep):
    root = prep()
    image(root / "sub-01/anat/sub-01_desc-brain_mask.nii.gz", AFFINE, SHAPE)
    assert "does not lie on the T1w" in find(unit(), p=root)[1]["sub-01"]


def test_a_t1w_elsewhere_in_the_scanner_is_refused(unit, prep):
    root, away = prep(), CONFORMED.copy()
    away[2, 3] += 200.0
    for name in ("desc-preproc_T1w", "desc-brain_mask"):
        image(root / f"sub-01/anat/sub-01_{name}.nii.gz", away)
    assert "lies elsewhere in the scanner" in find(unit(), p=root)[1]["sub-01"]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("desc-preproc_T1w.nii.gz", b"<html>", "looks like a web page"),
        ("desc-brain_mask.nii.gz", b"", "holds 0 bytes"),
        (f"from-T1w_to-{SPACE}_mode-image_xfm.h5", b"", "needed is an ITK transform in HDF5"),
        (f"from-{SPACE}_to-T1w_mode-image_xfm.h5", b"/annex/objects/x", "git-annex or DataLad"),
        (
            f"from-{SPACE}_to-T1w_mode-image_xfm.h5",
            b"\x89HDF\r\n\x1a\n" + bytes(32) + (100).to_bytes(8, "little") + b"x",
            "holds 49 bytes of 100",
        ),
    ],
)
def test_files_that_are_none_cost_their_session_alone(unit, prep, name, content, match):
    root = prep()
    prep("sub-02")
    (root / "sub-01" / "anat" / f"sub-01_{name}").write_bytes(content)
    found, refused = find(unit(), unit(subject="02"), p=root)
    assert list(found) == ["sub-02"]
    assert match in refused["sub-01"]


def test_of_two_runs_the_one_in_use(unit, prep):
    root = prep(run="_run-1")
    prep(run="_run-2")
    (reused,) = find(unit(run="_run-2"), p=root)[0].values()
    assert "run-2" in reused.t1w.path.name
    assert "has 2 files of one kind" in find(unit(), p=root)[1]["sub-01"]


def test_a_real_transform_is_whole_and_its_half_is_not(unit, prep, tmp_path):
    """The header is read as the library writes it."""
    ants = pytest.importorskip("ants")
    affine = ants.create_ants_transform(transform_type="AffineTransform", dimension=3)
    file = prep() / "sub-01" / "anat" / f"sub-01_from-T1w_to-{SPACE}_mode-image_xfm.h5"
    ants.write_transform(affine, str(file))
    assert find(unit(), p=tmp_path / "prep")[1] == {}
    file.write_bytes(file.read_bytes()[:-1])
    assert "was cut short" in find(unit(), p=tmp_path / "prep")[1]["sub-01"]
