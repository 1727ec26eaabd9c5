"""Which measured scans of a dataset are quantified, and what is said of the others."""

import json

import numpy as np
import pytest
from toys import oblique, save_nifti

from relad_bids.bids.inputs import find_scans
from relad_bids.bids.measured import Wanted, find_measured, read_sidecar, read_weights
from relad_bids.errors import DataError, NothingSelectedError

PIB = {
    "TracerName": "PIB",
    "TracerRadionuclide": "C11",
    "Units": "Bq/mL",
    "InjectionStart": 0,
    "ScanStart": 3000,
    "FrameTimesStart": [3000, 3600],
    "FrameDuration": [600, 600],
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 0,
}
FTP = {**PIB, "TracerName": "AV1451", "TracerRadionuclide": "F18"}
FTP |= {"ScanStart": 4800, "FrameTimesStart": [4800, 5400]}


@pytest.fixture
def dataset(write_skeleton):
    """PET images of two frames with their sidecars, by path; a T1w to make it a dataset."""

    def make(**sidecars):
        root = write_skeleton("sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz")
        for name, content in sidecars.items():
            path = root / "sub-01" / "ses-a" / "pet" / f"sub-01_ses-a_{name}pet.nii.gz"
            path.parent.mkdir(exist_ok=True)
            save_nifti(path, np.ones((10, 11, 12, 2), np.float32), oblique())
            if content is not None:
                (path.parent / path.name.replace(".nii.gz", ".json")).write_text(
                    json.dumps(content)
                )
        return root

    return make


def find(root, **wanted):
    return find_measured(root, find_scans(root).scans, Wanted(**wanted))


def test_scans_are_found_with_tracer_and_window(dataset):
    found, unread = find(dataset(**{"trc-X_": PIB, "rec-b_": FTP}))
    assert unread == ()
    by_tracer = {one.tracer: one for one in found}
    assert set(by_tracer) == {"pib", "flortaucipir"}
    assert by_tracer["pib"].entities == {"trc": "X"}
    assert by_tracer["flortaucipir"].entities == {"trc": "18FAV1451", "rec": "b"}
    assert by_tracer["pib"].reading.weights == pytest.approx((0.5, 0.5))
    assert {one.label for one in found} == {"sub-01_ses-a"}


def test_what_cannot_be_read_is_told_and_stops_nothing_else(dataset):
    found, unread = find(
        dataset(**{
            "rec-a_": PIB,
            "trc-A_": {**FTP, "TracerName": "unheard"},
            "trc-B_": None,
            "trc-C_": {**FTP, "FrameDuration": [600]},
        })
    )  # fmt: skip
    assert [one.tracer for one in found] == ["pib"]
    told = {one.path.name: one.reason for one in unread}
    assert "found was TracerName 'unheard'" in told["sub-01_ses-a_trc-A_pet.nii.gz"]
    assert "none was found. Needed is" in told["sub-01_ses-a_trc-B_pet.nii.gz"]
    assert "FrameDuration has 1 numbers" in told["sub-01_ses-a_trc-C_pet.nii.gz"]
    assert len(told) == 3


def test_a_scan_that_missed_its_window_is_told_with_its_times(dataset):
    """PiB from 30 to 40 minutes: nothing of 50 to 70."""
    early = {
        **PIB,
        "ScanStart": 1800,
        "FrameTimesStart": [1800, 2100],
        "FrameDuration": [300, 300],
    }
    found, unread = find(dataset(**{"": early, "rec-a_": FTP}))
    assert [one.tracer for one in found] == ["flortaucipir"]
    (one,) = unread
    assert "cover 0% of 50-70 min; there is no SUVr" in one.reason
    assert one.missed.tracer == "pib"
    assert one.missed.reading.flags[-1] == "window_mismatch"
    assert one.missed.reading.columns == {
        "window_start_min": 50, "window_end_min": 70, "window_coverage": 0.0,
        "window_status": "mismatch",
    }  # fmt: skip
    assert one.missed.reading.weights == ()


def test_two_scans_of_one_tracer_are_not_chosen_among(dataset):
    root = dataset(**{"run-1_": PIB, "run-2_": PIB, "": FTP})
    found, unread = find(root)
    assert [one.tracer for one in found] == ["flortaucipir"]
    assert len(unread) == 2
    assert "2 PET scans of pib" in unread[0].reason
    assert "--run-label" in unread[0].reason
    found, unread = find(root, run_labels=["2"])
    assert [one.path.name for one in found] == ["sub-01_ses-a_run-2_pet.nii.gz"]
    assert unread == ()


def test_labels_choose_and_say_when_nothing_is_left(dataset):
    root = dataset(**{"trc-X_": PIB, "rec-nacstat_": PIB, "rec-ac_": FTP})
    found, unread = find(root)
    assert len(found) == 2
    assert [one.path.name for one in unread] == ["sub-01_ses-a_rec-nacstat_pet.nii.gz"]
    assert "not corrected for attenuation" in unread[0].reason
    assert [one.tracer for one in find(root, tracer_labels=["tau"])[0]] == ["flortaucipir"]
    with pytest.raises(NothingSelectedError, match="--tracer-label mk6240 was looked for"):
        find(root, tracer_labels=["mk6240"])


def test_what_the_user_says_overrules(dataset):
    root = dataset(**{"": PIB, "trc-T_": {**FTP, "InjectionStart": None}})
    windows, starts = {"pib": (55, 65)}, {"flortaucipir": 80.0}
    found, _ = find(root, windows=windows, scan_starts=starts)
    by_tracer = {one.tracer: one.reading for one in found}
    assert by_tracer["pib"].columns["window_start_min"] == 55
    assert by_tracer["flortaucipir"].flags == ("scan_start_given",)
    assert by_tracer["flortaucipir"].columns["window_status"] == "ok"


def test_a_reference_region_that_cannot_be_drawn_leaves_the_scan_alone(dataset):
    found, unread = find(dataset(**{"": PIB}), references={"pib": "pons-of-nobody"})
    assert found == ()
    assert "the reference region 'pons-of-nobody'" in unread[0].reason


def test_sidecars_are_inherited_and_the_nearest_overrules(dataset):
    root = dataset(**{"trc-X_": {"FrameTimesStart": [3000, 3600]}})
    (root / "pet.json").write_text(json.dumps({**PIB, "FrameTimesStart": [0, 1], "Units": "SUV"}))
    (root / "sub-01" / "sub-01_pet.json").write_text(json.dumps({"Units": "kBq/mL"}))
    (root / "sub-01" / "sub-01_trc-Y_pet.json").write_text(json.dumps({"Units": "CNTS"}))
    path = root / "sub-01" / "ses-a" / "pet" / "sub-01_ses-a_trc-X_pet.nii.gz"
    found = read_sidecar(path, root)
    assert found.values["TracerName"] == "PIB"
    assert found.values["Units"] == "kBq/mL"
    assert found.values["FrameTimesStart"] == [3000, 3600]
    assert found.name.endswith("sub-01_ses-a_trc-X_pet.json")


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read as JSON"), ("[1]", "holds a list, needed is")]
)
def test_a_broken_sidecar_is_named(dataset, text, message):
    root = dataset(**{"": PIB})
    path = root / "sub-01" / "ses-a" / "pet" / "sub-01_ses-a_pet.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"sub-01_ses-a_pet\.json {message}"):
        read_sidecar(path.with_suffix(".nii.gz"), root)


def test_weights_of_the_participants_table(tmp_path):
    table = tmp_path / "participants.tsv"
    assert read_weights(table) == {}
    table.write_text("participant_id\tage\tweight\nsub-01\t70\t81.5\nsub-02\t71\tn/a\n02\t1\t2\n")
    assert read_weights(table) == {"01": 81.5, "02": 2.0}
    table.write_text("participant_id\tage\nsub-01\t70\n")
    assert read_weights(table) == {}


def test_the_weight_makes_an_suv(dataset):
    dose = {"InjectedRadioactivity": 370, "InjectedRadioactivityUnits": "MBq"}
    root = dataset(**{"": {**PIB, **dose}})
    assert find(root)[0][0].reading.suv_factor is None
    (root / "participants.tsv").write_text("participant_id\tweight\nsub-01\t74\n")
    # g/mL per Bq/mL: 74 kg over 370 MBq.
    assert find(root)[0][0].reading.suv_factor == pytest.approx(74e3 / 370e6)


def test_resolution_comes_with_the_scan(dataset):
    """Asked for a common resolution, a scan that does not know its own is left alone."""
    root = dataset(**{"rec-a_": {**PIB, "FullWidthHalfMaximum": [5, 5, 6]}, "rec-b_": FTP})
    found, unread = find(root, fwhm_mm=8.0)
    assert [(one.tracer, one.sharpness.target_mm) for one in found] == [("pib", 8.0)]
    assert "FullWidthHalfMaximum and in --pet-psf-tsv, and is in neither" in unread[0].reason
    by_table, none = find(root, fwhm_mm=8.0, psf={("01", "a", "18FAV1451"): (4.0, 4.0, 4.0)})
    assert none == ()
    assert {one.tracer: one.sharpness.source for one in by_table} == {
        "pib": "FullWidthHalfMaximum", "flortaucipir": "user's table",
    }  # fmt: skip
    assert all(one.sharpness.target_mm is None for one in find(root)[0])
