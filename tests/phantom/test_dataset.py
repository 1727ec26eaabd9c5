import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import map_coordinates

from relad_bids.errors import OutputError, UsageError
from relad_bids.phantom.dataset import write_dataset

VOXEL_MM = 5.0
REQUIRED = {
    "Manufacturer",
    "ManufacturersModelName",
    "Units",
    "TracerName",
    "TracerRadionuclide",
    "InjectedRadioactivity",
    "InjectedRadioactivityUnits",
    "InjectedMass",
    "InjectedMassUnits",
    "SpecificRadioactivity",
    "SpecificRadioactivityUnits",
    "ModeOfAdministration",
    "TimeZero",
    "ScanStart",
    "InjectionStart",
    "FrameTimesStart",
    "FrameDuration",
    "AcquisitionMode",
    "ImageDecayCorrected",
    "ImageDecayCorrectionTime",
    "ReconMethodName",
    "ReconMethodParameterLabels",
    "ReconMethodParameterUnits",
    "ReconMethodParameterValues",
    "ReconFilterType",
    "ReconFilterSize",
    "AttenuationCorrection",
}


def _write(out, **settings):
    settings = {"n": 2, "preset": "strong", "seed": 3, "voxel_mm": VOXEL_MM, **settings}
    write_dataset(out, **settings)
    return out


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("phantom"), pet_participants=1)


def _digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _load(path):
    image = nb.Nifti1Image.from_filename(path)
    return image.get_fdata(), image.affine


def _points(shape, affine):
    index = np.indices(shape).reshape(3, -1)
    return affine[:3, :3] @ index + affine[:3, 3:]


def _pull(data, affine, points):
    inverse = np.linalg.inv(affine)
    return map_coordinates(data, inverse[:3, :3] @ points + inverse[:3, 3:], order=1)


def test_same_arguments_same_bytes(dataset, tmp_path):
    assert _digests(_write(tmp_path / "again", pet_participants=1)) == _digests(dataset)


def test_subject_does_not_depend_on_their_number(dataset, tmp_path):
    alone = _digests(_write(tmp_path / "one", n=1))
    many = _digests(dataset)
    own = {name for name in alone if "sub-001" in name}
    assert len(own) > 20
    assert {name: alone[name] for name in own} == {name: many[name] for name in own}


def test_validator_finds_no_error(dataset):
    validator = shutil.which("bids-validator-deno") or Path(sys.executable).with_name(
        "bids-validator-deno"
    )
    if not Path(validator).exists():
        pytest.skip("bids-validator-deno is not installed")
    for folder in (dataset, dataset / "derivatives" / "truth"):
        done = subprocess.run(
            [str(validator), str(folder), "--format", "json"], capture_output=True, check=False
        )
        issues = json.loads(done.stdout)["issues"]["issues"]
        assert [i for i in issues if i["severity"] == "error"] == []


def test_pet_sidecars_are_complete_and_consistent(dataset):
    sidecars = sorted(dataset.glob("sub-*/pet/*_pet.json"))
    assert len(sidecars) == 3
    for path in sidecars:
        sidecar = json.loads(path.read_text())
        assert set(sidecar) >= REQUIRED
        frames = nb.Nifti1Image.from_filename(str(path).replace(".json", ".nii.gz")).shape[3]
        starts, durations = sidecar["FrameTimesStart"], sidecar["FrameDuration"]
        assert len(starts) == len(durations) == frames
        assert np.diff(starts).tolist() == durations[:-1]
        assert starts[0] == sidecar["ScanStart"]
        activity = sidecar["SpecificRadioactivity"] * sidecar["InjectedMass"]
        assert activity == pytest.approx(sidecar["InjectedRadioactivity"], rel=1e-4)


@pytest.mark.parametrize(
    ("label", "window_min"),
    [("18FAV1451", (80, 100)), ("11CPIB", (50, 70)), ("11CPBR28", (60, 90))],
)
def test_frames_fill_the_tracers_window(dataset, label, window_min):
    path = dataset / "sub-001" / "pet" / f"sub-001_trc-{label}_pet.json"
    sidecar = json.loads(path.read_text())
    first, last = sidecar["FrameTimesStart"][0], sidecar["FrameTimesStart"][-1]
    end = last + sidecar["FrameDuration"][-1] - sidecar["InjectionStart"]
    assert (first - sidecar["InjectionStart"], end) == (window_min[0] * 60, window_min[1] * 60)


def test_only_the_first_participants_have_pet_but_all_have_truth(dataset):
    assert not (dataset / "sub-002" / "pet").exists()
    for name in ("sub-001", "sub-002"):
        table = dataset / "derivatives" / "truth" / name / f"{name}_desc-truth_suvr.tsv"
        assert set(pd.read_csv(table, sep="\t")["tracer"]) == {"flortaucipir", "pib", "pbr28"}


def test_participants_tell_nothing_of_the_truth(dataset):
    table = pd.read_csv(dataset / "participants.tsv", sep="\t")
    assert list(table) == ["participant_id", "age", "sex", "weight", "apoe4", "rs6971", "mmse"]
    assert set(table) == set(json.loads((dataset / "participants.json").read_text()))


def test_data_say_they_are_simulated(dataset):
    for path in (dataset / "dataset_description.json", dataset / "README.md"):
        assert "No person was scanned" in path.read_text()


@pytest.mark.parametrize(
    ("label", "tracer", "reference"),
    [("18FAV1451", "flortaucipir", (8, 47)), ("11CPIB", "pib", (7, 8, 46, 47))],
)
def test_measured_pet_gives_the_blurred_truth(dataset, label, tracer, reference):
    """Whole door: file -> frames -> rigid transform -> labels -> ratio. 5 mm voxels: 4 %."""
    truth = dataset / "derivatives" / "truth" / "sub-001"
    labels, affine = _load(truth / "anat" / "sub-001_space-T1w_desc-truth_dseg.nii.gz")
    frames, pet_affine = _load(dataset / "sub-001" / "pet" / f"sub-001_trc-{label}_pet.nii.gz")
    to_t1w = np.loadtxt(truth / "anat" / f"sub-001_from-{label}_to-T1w_mode-points_xfm.txt")
    moved = np.linalg.inv(to_t1w)
    points = _points(labels.shape, affine)
    points = moved[:3, :3] @ points + moved[:3, 3:]
    pet = _pull(frames.mean(axis=-1), pet_affine, points).reshape(labels.shape)
    table = pd.read_csv(truth / "sub-001_desc-truth_suvr.tsv", sep="\t").set_index(
        ["tracer", "voi"]
    )
    for voi in ("metatemporal", "lobe-frontal", "thalamus", "cerebral-wm"):
        row = table.loc[(tracer, voi)]
        members = [int(i) for i in row["labels"].split(",")]
        suvr = pet[np.isin(labels, members)].mean() / pet[np.isin(labels, reference)].mean()
        assert suvr == pytest.approx(row["suvr_psf"], rel=0.04)


def test_displacement_fields_undo_each_other(dataset):
    """Template -> T1w -> template, inside the brain, from the files alone: under 0.5 mm."""
    anat = dataset / "derivatives" / "truth" / "sub-001" / "anat"
    mni = "MNI152NLin2009cAsym"
    to_native, a = _load(anat / f"sub-001_from-T1w_to-{mni}_mode-image_xfm.nii.gz")
    to_template, b = _load(anat / f"sub-001_from-{mni}_to-T1w_mode-image_xfm.nii.gz")
    generator = np.random.default_rng(0)
    points = generator.uniform([[-60], [-90], [-50]], [[60], [60], [70]], (3, 400))
    native = points + _vectors(to_native, a, points)
    back = native + _vectors(to_template, b, native)
    assert np.linalg.norm(back - points, axis=0).max() < 0.5


def _vectors(field, affine, points):
    return np.stack([_pull(field[..., 0, k], affine, points) for k in range(3)])


def test_mask_and_labels_agree(dataset):
    anat = dataset / "derivatives" / "truth" / "sub-002" / "anat"
    labels, _ = _load(anat / "sub-002_space-T1w_desc-truth_dseg.nii.gz")
    mask, _ = _load(anat / "sub-002_space-T1w_desc-brain_mask.nii.gz")
    np.testing.assert_array_equal(labels > 0, mask > 0)
    shares = [
        _load(anat / f"sub-002_space-T1w_label-{name}_desc-truth_probseg.nii.gz")[0]
        for name in ("GM", "WM", "CSF")
    ]
    np.testing.assert_allclose(sum(shares)[mask > 0], 1.0, atol=1e-4)


def test_t1w_is_oblique_and_flair_lies_elsewhere(dataset):
    _, t1w = _load(dataset / "sub-001" / "anat" / "sub-001_T1w.nii.gz")
    _, flair = _load(dataset / "sub-001" / "anat" / "sub-001_FLAIR.nii.gz")
    assert np.abs(t1w[:3, :3] - np.diag(np.diag(t1w[:3, :3]))).max() > 0.01
    assert np.linalg.det(flair[:3, :3]) < 0  # stored right to left
    matrix = (
        dataset / "derivatives/truth/sub-001/anat/sub-001_from-FLAIR_to-T1w_mode-points_xfm.txt"
    )
    assert not np.allclose(np.loadtxt(matrix), np.eye(4), atol=1e-3)


def test_progress_is_told(tmp_path):
    told = []
    _write(tmp_path, pet_participants=0, voxel_mm=6.0, progress=lambda *pair: told.append(pair))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "0 subjects was asked for; choose 1 to 999"),
        ({"n": 1000}, "1000 subjects was asked for"),
        ({"voxel_mm": 0.9}, "voxels of 0.9 mm were asked for; choose 1 to 6 mm"),
        ({"pet_participants": 3}, "PET for 3 of 2 phantom subjects"),
        ({"tracers": ["fdg"]}, "'fdg'; it knows"),
        ({"preset": "weak"}, "'weak' was asked for"),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        _write(tmp_path / "new", **settings)
    assert not (tmp_path / "new").exists()


def test_filled_folder_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="which is not empty; choose a new folder"):
        _write(tmp_path)
