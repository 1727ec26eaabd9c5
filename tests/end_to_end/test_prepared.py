"""Derivatives in place of own steps, several runs, and a lesion: the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from relad_bids.phantom.dataset import write_dataset

pytestmark = [pytest.mark.xdist_group("end_to_end_prepared"), pytest.mark.slow]

SPACE = "MNI152NLin2009cAsym"


def relad_bids(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relad_bids", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def participant(bids: Path, folder: Path, *args: object) -> Path:
    """Run on one CPU with a work folder of its own; return the output folder."""
    out = folder / "out"
    done = relad_bids(
        bids, out, "participant", "-w", folder / "work", "--nprocs", 1, "--sloppy",
        "--synth-tracers", "pib", *args,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "log.txt").write_text(done.stderr)
    return out


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "bids"
    write_dataset(
        out, n=1, preset="strong", seed=11, voxel_mm=3.0, pet_participants=1, tracers=("pib",)
    )
    return out


@pytest.fixture(scope="module")
def plain(dataset, tmp_path_factory):
    return participant(dataset, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def prep(plain, tmp_path_factory):
    """What the plain run prepared, under fMRIPrep's names and nothing else."""
    root = tmp_path_factory.mktemp("prep")
    anat = root / "sub-001" / "anat"
    anat.mkdir(parents=True)
    for name in (
        "desc-preproc_T1w.nii.gz",
        "desc-brain_mask.nii.gz",
        f"from-T1w_to-{SPACE}_mode-image_xfm.h5",
        f"from-{SPACE}_to-T1w_mode-image_xfm.h5",
    ):
        shutil.copy(plain / "sub-001" / "anat" / f"sub-001_{name}", anat)
    return root


@pytest.fixture(scope="module")
def reused(dataset, prep, tmp_path_factory):
    return participant(dataset, tmp_path_factory.mktemp("reused"), "-d", f"fmriprep={prep}")


@pytest.mark.parametrize(("source", "tolerance"), [("synth", 1e-4), ("measured", 2e-3)])
def test_tables_are_those_of_an_undisturbed_run(plain, reused, source, tolerance):
    """The labels have the same sizes; values are the same but for the rounding of a header.

    The T1w was written once more, and its affine is float32. Linear steps pass that on (measured
    6e-5 at most), the optimiser of the PET's rigid transform makes 6e-4 of it. A voxel as near to
    one label as to another may change sides, and another one back: 1.4e-3 of a ventricle.
    """
    tables = []
    for out in (plain, reused):
        (path,) = out.glob(f"sub-001/pet/*_desc-{source}_kinpar.tsv")
        tables.append(pd.read_csv(path, sep="\t", na_values=["n/a"]))
    first, second = tables
    for column in ("voi", "hemi", "labels", "n_voxels", "volume_mm3", "qc_flags", "voi_source"):
        assert first[column].equals(second[column]), column
    for column in ("suvr_mean", "mean", "ref_mean"):
        np.testing.assert_allclose(first[column], second[column], rtol=5e-3)
        near = np.isclose(first[column], second[column], rtol=tolerance, equal_nan=True)
        assert near.mean() > 0.98, column


def test_no_step_was_done_twice(reused):
    """The work folder holds no registration: its place was taken."""
    work = reused.parent / "work"
    (step,) = work.rglob("prepare_t1w_wf/register_template")
    assert {path.name for path in step.glob("*.h5")} == {"forward.h5", "inverse.h5"}
    log = (reused.parent / "log.txt").read_text()
    assert "warp of fmriprep" in log


def test_it_is_said_what_was_taken(reused):
    head = reused / "sub-001" / "anat" / "sub-001_"
    told = json.loads(Path(f"{head}desc-preproc_T1w.json").read_text())
    assert told["Sources"] == ["bids:fmriprep:sub-001/anat/sub-001_desc-preproc_T1w.nii.gz"]
    assert list(told["ReplacedSteps"]) == ["bias-correction"]
    row = pd.read_csv(reused / "sub-001" / "sub-001_desc-relad_qc.tsv", sep="\t").iloc[0]
    assert row["reused"] == "bias-correction:fmriprep;brain-mask:fmriprep;warp:fmriprep"
    assert row["mask_method"] == "derivatives:fmriprep"
    page = (reused / "sub-001.html").read_text()
    assert "Taken from derivatives" in page


def test_labels_alone_leave_the_steps_to_us(dataset, prep, tmp_path):
    bids = shutil.copytree(dataset, tmp_path / "bids")
    for mask in bids.rglob("*_T1w.nii.gz"):
        mask.unlink()  # nothing to do: only what is told at the start matters
    done = relad_bids(
        bids, tmp_path / "out", "participant", "-w", tmp_path / "work", "-d", f"fmriprep={prep}",
        "--reuse", "labels",
    )  # fmt: skip
    assert "warp of fmriprep" not in done.stderr
    assert "sub-001" in done.stderr


def test_derivatives_of_another_grid_leave_the_session_out(dataset, prep, tmp_path):
    root = shutil.copytree(prep, tmp_path / "prep")
    path = root / "sub-001" / "anat" / "sub-001_desc-brain_mask.nii.gz"
    image = nb.load(path)
    nb.Nifti1Image(np.asarray(image.dataobj)[:-1], image.affine).to_filename(path)
    done = relad_bids(
        dataset, tmp_path / "out", "participant", "-w", tmp_path / "work", "-d", f"fmriprep={root}"
    )
    assert done.returncode == 65
    assert "the brain mask does not lie on the T1w it is needed for" in done.stderr
    row = pd.read_csv(tmp_path / "out/sub-001/sub-001_desc-relad_qc.tsv", sep="\t").iloc[0]
    assert (row["status"], row["flags"]) == ("failed", "derivatives_unusable")
    assert str(tmp_path) not in row["reason"]


@pytest.fixture(scope="module")
def lesioned(dataset, tmp_path_factory):
    """Two T1w, the first of them noisy, and a lesion drawn on the FLAIR."""
    folder = tmp_path_factory.mktemp("lesioned")
    bids = shutil.copytree(dataset, folder / "bids")
    anat = bids / "sub-001" / "anat"
    t1w = nb.load(anat / "sub-001_T1w.nii.gz")
    data = t1w.get_fdata()
    noise = np.random.default_rng(4).normal(0, 0.1 * data.max(), data.shape)
    noisy = nb.Nifti1Image(np.abs(data + noise).astype(np.float32), t1w.affine)
    noisy.set_qform(t1w.affine, 1)
    noisy.to_filename(anat / "sub-001_run-1_T1w.nii.gz")
    for suffix in (".nii.gz", ".json"):
        (anat / f"sub-001_T1w{suffix}").rename(anat / f"sub-001_run-2_T1w{suffix}")
    flair = nb.load(anat / "sub-001_FLAIR.nii.gz")
    lesion = np.zeros(flair.shape, np.uint8)
    i, j, k = np.round(
        nb.affines.apply_affine(np.linalg.inv(flair.affine), [25.0, 0.0, 20.0])
    ).astype(int)
    lesion[i - 4 : i + 5, j - 4 : j + 5, k - 1 : k + 2] = 1
    drawn = nb.Nifti1Image(lesion, flair.affine)
    drawn.set_qform(flair.affine, 1)
    drawn.to_filename(anat / "sub-001_space-FLAIR_label-lesion_mask.nii.gz")
    mm3 = lesion.sum() * abs(np.linalg.det(flair.affine[:3, :3]))
    return participant(bids, folder, "--run-choice", "quality", "--real-pet", "ignore"), mm3


def test_the_better_run_is_used_and_told(lesioned):
    out, _ = lesioned
    row = pd.read_csv(out / "sub-001" / "sub-001_desc-relad_qc.tsv", sep="\t").iloc[0]
    assert row["t1w"] == "sub-001/anat/sub-001_run-2_T1w.nii.gz"
    assert row["t1w_left"] == "sub-001/anat/sub-001_run-1_T1w.nii.gz"
    used, left = (float(text.split()[2]) for text in row["t1w_run_quality"].split(";"))
    assert used < left
    assert row["run_choice"] == "quality"


def test_the_lesion_lies_on_the_t1w_and_is_told(lesioned):
    out, mm3 = lesioned
    row = pd.read_csv(out / "sub-001" / "sub-001_desc-relad_qc.tsv", sep="\t").iloc[0]
    # Nearest neighbour onto voxels of 3 mm, through a rigid transform.
    assert row["lesion_volume_ml"] == pytest.approx(mm3 / 1000, rel=0.1)
    mask = nb.load(out / "sub-001" / "anat" / "sub-001_label-lesion_mask.nii.gz")
    t1w = nb.load(out / "sub-001" / "anat" / "sub-001_desc-preproc_T1w.nii.gz")
    assert mask.shape == t1w.shape
    assert row["lesion_mask"].endswith("sub-001_space-FLAIR_label-lesion_mask.nii.gz")
    (norm,) = out.glob("sub-001/anat/*_desc-norm_FLAIR.json")
    assert json.loads(norm.read_text())["LesionMask"] == row["lesion_mask"]


def test_the_validator_takes_what_was_reused_and_the_lesion(reused, lesioned):
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    for out in (reused, lesioned[0]):
        done = subprocess.run(
            [validator, str(out), "--format", "json"], capture_output=True, text=True, check=False
        )
        assert json.loads(done.stdout)["issues"]["issues"] == []
        assert done.returncode == 0
