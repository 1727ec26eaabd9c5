import json

import numpy as np
import pytest
from derivatives import MEASURED, SPACE, Derivatives
from toys import AFFINE, SHAPE, oblique, save_nifti

from relad_bids.bids.outputs import PRODUCTS, product_path
from relad_bids.bids.pairs import find_pairs, join_pairs
from relad_bids.core.grid import Grid
from relad_bids.errors import DataError, InputError
from relad_bids.model.learning.splits import k_fold

MNI = "space-MNI152NLin2009cAsym_res-9"
GRID = Grid(shape=SHAPE, affine=np.array(AFFINE, dtype=float))
TRACERS = ("flortaucipir", "pib")


@pytest.fixture
def derivatives(tmp_path):
    return Searched(tmp_path / "out", GRID, resolution="9")


class Searched(Derivatives):
    """Derivatives that can be searched for pairs."""

    def find(self, tracers=TRACERS, grid=GRID, **more):
        return find_pairs(
            self.root, grid=grid, space=SPACE, resolution="9", tracers=tracers, **more
        )


def test_a_session_with_everything(derivatives):
    derivatives.mri("sub-01_ses-a")
    tau = derivatives.pet("sub-01_ses-a", "18FAV1451")
    pib = derivatives.pet("sub-01_ses-a", "11CPIB", more="rec-acdyn_run-1_")
    found = derivatives.find()
    (pair,) = found.pairs
    assert found.lacks == {}
    assert (pair.subject, pair.session, pair.label) == ("01", "a", "sub-01_ses-a")
    assert pair.pet == {"flortaucipir": tau, "pib": pib}
    anat = derivatives.root / "sub-01" / "ses-a" / "anat"
    assert pair.t1w == anat / f"sub-01_ses-a_{MNI}_desc-preproc_T1w.nii.gz"
    assert pair.flair == anat / f"sub-01_ses-a_{MNI}_desc-preproc_FLAIR.nii.gz"
    assert pair.mask == anat / f"sub-01_ses-a_{MNI}_desc-brain_mask.nii.gz"
    assert found.references == dict.fromkeys(TRACERS, "cerebellum-whole")


def test_the_names_are_those_the_app_writes(derivatives):
    """The pattern of outputs.py, with the label that tells measured from synthetic."""
    where = {"space": "MNI152NLin2009cAsym", "resolution": "9"}
    keys = {"t1w_mni": {}, "mask_mni": {}, "suvr_mni": {"trc": "11CPIB", "desc": "measured"}}
    for key, extra in keys.items():
        path = derivatives.root / product_path(key, "sub-01", extra=extra, **where)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_nifti(path, np.zeros(SHAPE, np.uint8), GRID.affine)
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(MEASURED))
    assert derivatives.find().pairs[0].pet == {"pib": path}
    assert PRODUCTS["suvr_mni"].entities["desc"] == "synth"


def test_incomplete_sessions_serve_for_what_they_have(derivatives):
    derivatives.mri("sub-02", flair=False)
    pet = derivatives.pet("sub-02", "11CPIB")
    found = derivatives.find()
    (pair,) = found.pairs
    assert (pair.session, pair.flair, pair.pet) == (None, None, {"pib": pet})
    assert found.lacks == {
        "sub-02": (
            f"FLAIR: found no sub-02/anat/sub-02_{MNI}_desc-preproc_FLAIR.nii.gz.",
            "flortaucipir: found no measured image in this space and resolution.",
        )
    }
    assert found.references == {"pib": "cerebellum-whole"}


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        ({"t1w": False}, rf"T1w: found no sub-01/anat/sub-01_{MNI}_desc-preproc_T1w.nii.gz."),
        ({"mask": False}, rf"brain mask: found no sub-01/anat/sub-01_{MNI}_desc-brain_mask.nii."),
    ],
)
def test_no_pair_without_t1w_or_mask(derivatives, without, reason):
    derivatives.mri("sub-01", **without)
    derivatives.mri("sub-02")
    for label in ("sub-01", "sub-02"):
        derivatives.pet(label, "11CPIB")
    found = derivatives.find(["pib"])
    assert [pair.label for pair in found.pairs] == ["sub-02"]
    assert list(found.lacks) == ["sub-01"]
    assert found.lacks["sub-01"][0].startswith(reason)


def test_normalised_mri_does_not_count(derivatives):
    """It was clipped by the contract of another network."""
    derivatives.mri("sub-01", t1w=False)
    derivatives.image("sub-01", "anat", f"{MNI}_desc-norm_T1w")
    derivatives.pet("sub-01", "11CPIB")
    with pytest.raises(InputError, match=r"sub-01: T1w: found no .*desc-preproc_T1w"):
        derivatives.find(["pib"])


def test_synthetic_pet_is_no_target(derivatives):
    """Neither by its name, nor by its sidecar where somebody changed the name."""
    derivatives.mri("sub-01")
    derivatives.pet("sub-01", "11CPIB", desc="synth", sidecar={**MEASURED, "Synthetic": True})
    derivatives.pet("sub-01", "18FAV1451", sidecar={**MEASURED, "Synthetic": True})
    derivatives.pet("sub-01", "11CPBR28", sidecar={**MEASURED, "Synthetic": False})
    found = derivatives.find(("flortaucipir", "pib", "pbr28"))
    assert list(found.pairs[0].pet) == ["pbr28"]
    tau, pib = found.lacks["sub-01"]
    assert "is named measured, but its sidecar says Synthetic: a network made it" in tau
    assert pib == "pib: found no measured image in this space and resolution."


@pytest.mark.parametrize(
    "other",
    [
        {"where": "space-MNI152NLin2009cAsym_res-1"},
        {"where": "space-MNI152NLin2009cAsym"},
        {"where": "space-T1w"},
        {"where": f"{MNI}_stat-std"},
        {"where": f"{MNI}_pvc-RBV"},
        {"where": "space-MNI152NLin6Asym_res-9"},
        {"desc": "preproc"},
        {"desc": "measured2"},
        {"where": f"label-x_{MNI}"},
        {"where": f"odd_{MNI}"},
        {"trc": "XYZ"},
    ],
)
def test_other_images_are_no_targets(derivatives, other):
    derivatives.mri("sub-01")
    derivatives.pet("sub-01", **{"trc": "11CPIB", **other})
    tau = derivatives.pet("sub-01", "18FAV1451")
    assert derivatives.find().pairs[0].pet == {"flortaucipir": tau}


def test_the_image_of_another_session_is_no_target(derivatives):
    derivatives.mri("sub-01_ses-a")
    stray = derivatives.pet("sub-01_ses-b", "11CPIB")
    folder = derivatives.root / "sub-01" / "ses-a" / "pet"
    folder.mkdir()
    for path in (stray, stray.with_name(stray.name.replace(".nii.gz", ".json"))):
        path.rename(folder / path.name)
    with pytest.raises(InputError, match=r"sub-01_ses-a: pib: found no measured image"):
        derivatives.find(["pib"])


def test_a_tracer_goes_by_any_spelling(derivatives):
    derivatives.mri("sub-01")
    path = derivatives.pet("sub-01", "FTP")
    assert derivatives.find().pairs[0].pet == {"flortaucipir": path}


@pytest.mark.parametrize("second", [("11CPIB", "run-2_"), ("PiB", "")])
def test_two_images_of_one_tracer_are_one_too_many(derivatives, second):
    derivatives.mri("sub-01")
    derivatives.pet("sub-01", "11CPIB", more="run-1_")
    trc, more = second
    derivatives.pet("sub-01", trc, more=more)
    derivatives.pet("sub-01", "18FAV1451")
    found = derivatives.find()
    assert list(found.pairs[0].pet) == ["flortaucipir"]
    (reason,) = found.lacks["sub-01"]
    assert reason.startswith("pib: found 2 measured images (sub-01_trc-11CPIB_run-1_")
    assert reason.endswith("needed is one; keep one.")


SHIFTED = GRID.affine + np.array([[0, 0, 0, 0.01]] + [[0, 0, 0, 0]] * 3)
CLOSE = GRID.affine + np.array([[0, 0, 0, 1e-5]] + [[0, 0, 0, 0]] * 3)
"""Ten times beyond, and a hundredth of, the micrometre that float32 headers are allowed."""


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ({"shape": (16, 20, 23)}, r"grid is \(16, 20, 24\) voxels but .* is \(16, 20, 23\)"),
        ({"affine": SHIFTED}, r"same shape but lie 0\.01 mm apart"),
        ({"affine": oblique()}, r"same shape but lie .* mm apart"),
    ],
)
def test_an_image_on_another_grid_is_named(derivatives, place, reason):
    """Networks of one space and voxel size may cut the brain differently, under one name."""
    derivatives.mri("sub-01")
    derivatives.pet("sub-01", "11CPIB", **place)
    with pytest.raises(InputError, match=rf"sub-01: pib: the network's {reason}|pib:.*{reason}"):
        derivatives.find(["pib"])


def test_rounding_of_a_header_is_no_other_grid(derivatives):
    derivatives.mri("sub-01")
    derivatives.pet("sub-01", "11CPIB", affine=CLOSE)
    assert derivatives.find(["pib"]).lacks == {}


def test_mri_on_another_grid_is_named(derivatives):
    derivatives.mri("sub-01")
    derivatives.image("sub-01", "anat", f"{MNI}_desc-brain_mask", affine=SHIFTED)
    derivatives.pet("sub-01", "11CPIB")
    with pytest.raises(InputError, match=r"sub-01: brain mask: .*desc-brain_mask.nii.gz have the"):
        derivatives.find(["pib"])


def test_a_file_that_is_none_is_named(derivatives):
    """A link into an annex that was not fetched, and a file cut short."""
    derivatives.mri("sub-01")
    flair = derivatives.root / f"sub-01/anat/sub-01_{MNI}_desc-preproc_FLAIR.nii.gz"
    flair.unlink()
    flair.symlink_to("../.git/annex/objects/gone")
    derivatives.pet("sub-01", "11CPIB")
    tau = derivatives.pet("sub-01", "18FAV1451")
    tau.write_bytes(tau.read_bytes()[:-20])
    found = derivatives.find()
    assert (found.pairs[0].flair, list(found.pairs[0].pet)) == (None, ["pib"])
    reasons = " ".join(found.lacks["sub-01"])
    assert "datalad get" in reasons
    assert "was cut short" in reasons


@pytest.mark.parametrize(
    ("sidecar", "reason"),
    [
        (None, r"_mimap\.json cannot be read \(.*No such file"),
        ({}, r"_mimap\.json names no ReferenceRegion, needed is the region whose mean is SUVr 1"),
        ({"ReferenceRegion": ""}, r"names no ReferenceRegion"),
        ([], r"names no ReferenceRegion"),
    ],
)
def test_a_target_without_its_facts_is_named(derivatives, sidecar, reason):
    derivatives.mri("sub-01")
    derivatives.pet("sub-01", "11CPIB", sidecar=sidecar)
    with pytest.raises(InputError, match=reason):
        derivatives.find(["pib"])


def test_a_sidecar_that_is_no_json_is_named(derivatives):
    derivatives.mri("sub-01")
    pet = derivatives.pet("sub-01", "11CPIB", sidecar=None)
    pet.with_name(pet.name.replace(".nii.gz", ".json")).write_text("{")
    with pytest.raises(InputError, match=r"mimap\.json cannot be read .*needed is a sidecar that"):
        derivatives.find(["pib"])


def test_one_tracer_has_one_reference_region(derivatives):
    """Two tracers may have two; two of one tracer are two scales of the target."""
    for label, region in (("sub-01", "pons"), ("sub-02", "pons"), ("sub-03", "cerebellum-gm")):
        derivatives.mri(label)
        derivatives.pet(label, "11CPIB", sidecar={"ReferenceRegion": region})
        derivatives.pet(label, "18FAV1451")
    with pytest.raises(
        DataError,
        match=r"PET of pib was divided by different reference regions: pons \(sub-01, sub-02\); "
        r"cerebellum-gm \(sub-03\)\. Needed is one scale .*--ref-region pib=NAME",
    ):
        derivatives.find()
    assert derivatives.find(["flortaucipir"]).references == {"flortaucipir": "cerebellum-whole"}


def test_a_session_left_out_has_no_say_in_the_reference(derivatives):
    for label, region in (("sub-01", "pons"), ("sub-02", "cerebellum-gm")):
        derivatives.mri(label, t1w=label == "sub-01")
        derivatives.pet(label, "11CPIB", sidecar={"ReferenceRegion": region})
    assert derivatives.find(["pib"]).references == {"pib": "pons"}


def test_who_is_left_out_is_not_looked_at(derivatives):
    """Not even for the reference region; ``sub-1`` is not ``sub-10``."""
    for label, region in (("sub-1_ses-a", "pons"), ("sub-1_ses-b", "pons"), ("sub-10", "wm")):
        derivatives.mri(label)
        derivatives.pet(label, "11CPIB", sidecar={"ReferenceRegion": region})
    found = derivatives.find(["pib"], leave_out=["sub-1"])
    assert [pair.label for pair in found.pairs] == ["sub-10"]
    assert (found.references, found.lacks) == ({"pib": "wm"}, {})


def test_folders_are_joined(derivatives, tmp_path):
    """In the order of the folders; what a session lacks in either is told."""
    other = Searched(tmp_path / "other", GRID, resolution="9")
    for place, label in ((derivatives, "sub-02"), (other, "sub-01"), (other, "sub-02")):
        place.mri(label, flair=False)
        place.pet(label, "11CPIB" if label == "sub-02" else "18FAV1451")
    found = [place.find() for place in (derivatives, other)]
    joined = join_pairs(found)
    assert joined.pairs == (*found[0].pairs, *found[1].pairs)
    assert [pair.label for pair in joined.pairs] == ["sub-02", "sub-01", "sub-02"]
    assert joined.tracers == TRACERS
    assert joined.references == dict.fromkeys(TRACERS, "cerebellum-whole")
    assert list(joined.lacks) == ["sub-02", "sub-01"]
    assert joined.lacks["sub-02"] == (*found[0].lacks["sub-02"], *found[1].lacks["sub-02"])
    assert join_pairs(found[:1]) == found[0]


def test_folders_share_one_scale(derivatives, tmp_path):
    other = Searched(tmp_path / "other", GRID, resolution="9")
    for place, label, region in ((derivatives, "sub-01", "pons"), (other, "sub-02", "wm")):
        place.mri(label)
        place.pet(label, "11CPIB", sidecar={"ReferenceRegion": region})
        place.pet(label, "18FAV1451")
    with pytest.raises(
        DataError, match=r"PET of pib was divided by .*: pons \(sub-01\); wm \(sub-02\)\. Needed"
    ):
        join_pairs([derivatives.find(), other.find()])


def test_sessions_are_folders(derivatives):
    """Participants without sessions, with two, with both; other folders and files are none."""
    for label in ("sub-10", "sub-2_ses-b", "sub-2_ses-a", "sub-03", "sub-03_ses-1"):
        derivatives.mri(label)
        derivatives.pet(label, "11CPIB")
    for folder in ("sub-2/figures", "sub-2/log", "sub-04/figures", "sub-x y/anat", "logs"):
        (derivatives.root / folder).mkdir(parents=True)
    for file in ("sub-2.html", "sub-05", "sub-2/ses-c"):
        (derivatives.root / file).touch()
    found = derivatives.find(["pib"])
    labels = [pair.label for pair in found.pairs]
    assert labels == ["sub-03", "sub-03_ses-1", "sub-10", "sub-2_ses-a", "sub-2_ses-b"]
    assert list(found.lacks) == ["sub-04"]
    assert len(found.lacks["sub-04"]) == 4


def test_the_table_is_what_splits_are_made_from(derivatives):
    for label in ("sub-01_ses-a", "sub-01_ses-b", "sub-02"):
        derivatives.mri(label, flair=label == "sub-02")
        derivatives.pet(label, "18FAV1451" if label.endswith("b") else "11CPIB")
    found = derivatives.find(("flortaucipir", "pib", "fdg"))
    table = found.table()
    assert table.pop("session_id").fillna("none").tolist() == ["ses-a", "ses-b", "none"]
    assert table.to_dict("list") == {
        "participant_id": ["sub-01", "sub-01", "sub-02"],
        "flair": [False, False, True],
        "flortaucipir": [False, True, False],
        "pib": [True, False, True],
        "fdg": [False, False, False],
    }
    splits = k_fold(table, n_folds=2, seed=0, stratify=found.tracers)
    assert {split.test for split in splits} == {("sub-01",), ("sub-02",)}


def test_nothing_to_learn_from(derivatives):
    with pytest.raises(
        InputError, match=r"out was searched for derivatives .* and has none\. Run"
    ):
        derivatives.find()
    derivatives.root.mkdir()
    with pytest.raises(InputError, match=r"folders sub-\*\) and has none"):
        derivatives.find()
    for number in range(12):
        derivatives.pet(f"sub-{number:02}", "11CPIB")
    with pytest.raises(
        InputError,
        match=r"no session has T1w, brain mask and measured PET of flortaucipir, pib in "
        r"space-MNI152NLin2009cAsym_res-9 on the network's grid",
    ) as caught:
        derivatives.find()
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 10
    assert lines[1].startswith("  sub-00: T1w: found no sub-00/anat/")


@pytest.mark.parametrize(
    ("told", "fwhm"), [((8.0, 8.0), 8.0), ((8, 6), None), ((8, None), None), ((None, None), None)]
)
def test_targets_of_one_resolution_have_it(derivatives, told, fwhm):
    for label, width in zip(("sub-01", "sub-02"), told, strict=True):
        derivatives.mri(label)
        known = {} if width is None else {"FullWidthHalfMaximum": width}
        derivatives.pet(label, "11CPIB", sidecar={**MEASURED, **known})
    assert derivatives.find(tracers=("pib",)).fwhm_mm() == fwhm


@pytest.mark.parametrize(
    ("told", "warned"), [((8.0, 8), None), ((8, 6), "1 of 8 mm, 1 of 6 mm"),
                         ((8, None), "1 of 8 mm, 1 of unknown width"), ((None, None), None)]
)  # fmt: skip
def test_a_mixture_of_resolutions_is_told(derivatives, caplog, told, warned):
    for label, width in zip(("sub-01", "sub-02"), told, strict=True):
        derivatives.mri(label)
        known = {} if width is None else {"FullWidthHalfMaximum": width}
        derivatives.pet(label, "11CPIB", sidecar={**MEASURED, **known})
    derivatives.find(tracers=("pib",))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (warned is not None)
    assert warned is None or (warned in said[0] and "pib" in said[0] and "--pet-fwhm" in said[0])


def test_tracers_may_differ_in_resolution(derivatives, caplog):
    derivatives.mri("sub-01")
    derivatives.pet("sub-01", "11CPIB", sidecar={**MEASURED, "FullWidthHalfMaximum": 6})
    derivatives.pet("sub-01", "18FAV1451", sidecar={**MEASURED, "FullWidthHalfMaximum": 8})
    derivatives.find()
    assert not caplog.records
