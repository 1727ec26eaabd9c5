"""One clear message each, the right exit code, nothing computed, nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
import pytest
import torch

from relad_bids.cli.run import main
from relad_bids.cli.settings import BUNDLED
from relad_bids.core.memory import memory_factor
from relad_workflows.prepare import IMAGE_MEM_GB


@pytest.fixture
def bids(tmp_path):
    """One participant with T1w and FLAIR whose headers are fine."""
    root = tmp_path / "bids"
    write(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    write(root / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz")
    described = {"Name": "made here", "BIDSVersion": "1.10.0"}
    (root / "dataset_description.json").write_text(json.dumps(described))
    return root


def write(path: Path, data: np.ndarray | None = None) -> nb.Nifti1Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        data = np.random.default_rng(3).uniform(1, 100, (20, 24, 22))
    image = nb.Nifti1Image(data.astype("float32"), np.diag([8.0, 8, 8, 1]))
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    image.to_filename(path)
    return image


@pytest.fixture
def run(bids, tmp_path, capsys):
    def _run(*args: object, dataset: Path = bids) -> tuple[int, str]:
        words = [dataset, tmp_path / "out", "participant", "-w", tmp_path / "work", *args]
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        assert not list((tmp_path / "out").rglob("*.nii.gz"))
        assert not [p for p in (tmp_path / "out").rglob("*") if p.name.startswith(".sub")]
        return code, err

    return _run


def t1w(bids: Path) -> Path:
    return bids / "sub-01" / "anat" / "sub-01_T1w.nii.gz"


def test_not_a_bids_dataset(run, tmp_path):
    (tmp_path / "plain").mkdir()
    code, err = run(dataset=tmp_path / "plain")
    assert code == 16
    assert "dataset_description.json" in err


def test_a_label_that_matches_nothing(run):
    code, err = run("--participant-label", "1")
    assert code == 18
    assert "Asked for: 1. Found: 01" in err


def test_two_t1w_without_a_rule(run, bids):
    write(bids / "sub-01" / "anat" / "sub-01_acq-mprage_T1w.nii.gz")
    code, err = run()
    assert code == 66
    assert "has 2 T1w images (sub-01_T1w.nii.gz, sub-01_acq-mprage_T1w.nii.gz)" in err
    assert "--bids-filter-file" in err


def test_no_t1w(run, bids):
    t1w(bids).unlink()
    code, err = run()
    assert code == 66
    assert "sub-01: has no T1w image" in err


def test_only_a_session_without_flair(run, bids):
    (bids / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz").unlink()
    code, err = run()
    assert code == 66
    assert "--missing-flair t1w-only" in err
    assert run("--missing-flair", "error")[0] == 66


BAD_FILES = {
    "empty": (lambda path: path.write_bytes(b""), "holds 0 bytes"),
    "html": (lambda path: path.write_text("<!DOCTYPE html><html>"), "looks like a web page"),
    "annex": (
        lambda path: path.write_text("../../.git/annex/objects/x/MD5E-s12--a.nii.gz"),
        "git-annex",
    ),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 40), "has no NIfTI header"),
    "4-D": (lambda path: write(path, np.ones((20, 24, 22, 3))), "has 3 volumes"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_no_image_of_a_head(run, bids, kind):
    spoil, words = BAD_FILES[kind]
    spoil(t1w(bids))
    code, err = run()
    assert code == 65
    assert words in err
    assert "sub-01_T1w.nii.gz" in err


def test_the_table_of_a_failed_session_names_no_folder_of_this_machine(run, bids, tmp_path):
    """It travels with the derivatives; the line on stderr keeps the whole path."""
    t1w(bids).write_bytes(b"")
    _, err = run()
    (table,) = (tmp_path / "out").rglob("*_desc-relad_qc.tsv")
    reason = pd.read_csv(table, sep="\t").loc[0, "reason"]
    assert "sub-01/anat/sub-01_T1w.nii.gz" in reason
    assert str(tmp_path) not in reason
    assert str(t1w(bids)) in err


def test_qform_and_sform_that_disagree(run, bids):
    image = nb.load(t1w(bids))
    flipped = np.diag([-8.0, 8, 8, 1])
    image = nb.Nifti1Image(image.get_fdata().astype("float32"), image.affine)
    image.set_sform(image.affine, 1)
    image.set_qform(flipped, 1)
    image.to_filename(t1w(bids))
    code, err = run()
    assert code == 65
    assert "qform and an sform" in err


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(0.0, "every voxel is 0"), (np.nan, "NaN or infinite"), (np.inf, "NaN or infinite")],
)
def test_voxels_that_no_scanner_makes(run, bids, spoil, words):
    data = np.zeros((20, 24, 22)) if spoil == 0 else np.ones((20, 24, 22))
    data[2, 3, 4] = spoil
    write(t1w(bids), data)
    code, err = run()
    assert code == 65
    assert words in err


def test_an_output_folder_that_cannot_be_written(bids, tmp_path, capsys):
    (tmp_path / "out").write_text("a file is in the way")
    assert main([str(bids), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w")]) == 73
    assert "cannot be written" in capsys.readouterr().err


def test_checkpoint_missing(run, tmp_path):
    code, err = run("--model-dir", tmp_path / "nowhere")
    assert code == 66
    assert "model.json and model.safetensors are not there" in err


def test_checkpoint_with_a_wrong_checksum(run, tmp_path):
    broken = shutil.copytree(BUNDLED, tmp_path / "broken")
    with (broken / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    code, err = run("--model-dir", broken)
    assert code == 65
    assert "SHA-256" in err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there(run, tmp_path, device):
    """Before anything is computed, never by doing it on the CPU."""
    code, err = run("--device", device, "--missing-flair", "t1w-only")
    assert code == 64
    assert f"--device {device} was asked for and torch sees no GPU" in err
    assert not list((tmp_path / "work").rglob("*_wf"))


def test_a_device_that_is_none(run):
    code, err = run("--device", "gpu")
    assert code == 64
    assert "gpu" in err


def test_a_tracer_nobody_knows(run):
    code, err = run("--synth-tracers", "cimbi36")
    assert code == 64
    assert "cimbi36" in err


def test_a_tracer_this_checkpoint_does_not_know(run):
    code, err = run("--synth-tracers", "fdg")
    assert code == 64
    assert "it synthesises flortaucipir" in err


def test_samples_of_a_network_with_one_answer(run, checkpoint):
    code, err = run("--model-dir", checkpoint, "--n-samples", "8")
    assert code == 64
    assert "tiny is of the kind unet, which has one answer" in err


def test_a_reference_region_that_cannot_be_drawn(run):
    code, err = run("--ref-region", "pib=pons")
    assert code == 64
    assert "cerebellum-gm" in err


def test_an_unknown_level_and_an_unknown_flag(bids, tmp_path):
    with pytest.raises(SystemExit, match="17"):
        main([str(bids), str(tmp_path), "dataset"])
    with pytest.raises(SystemExit, match="64"):
        main([str(bids), str(tmp_path), "participant", "--no-such-flag"])


def test_file_names_that_command_a_terminal(run, bids, tmp_path):
    """They are told as escapes, in the error and in the table that stays."""
    session = bids / "sub-01" / "ses-\x1b[2J" / "anat" / "sub-01_ses-\x1b[2J_T1w.nii.gz"
    session.parent.mkdir(parents=True)
    for path in (bids / "sub-01" / "anat" / "sub-01_acq-\x1b[2J_T1w.nii.gz", session):
        path.write_bytes(b"x")
    code, err = run()
    assert code == 66
    assert r"sub-01_acq-\x1b[2J_T1w.nii.gz" in err
    assert "\x1b" not in err
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if b"\x1b" in path.read_bytes()]


def test_a_sidecar_that_commands_a_terminal(run, bids):
    pet = bids / "sub-01" / "pet" / "sub-01_trc-11CPIB_pet.nii.gz"
    write(pet)
    told = {"TracerName": "FDG\x1b[2J", "TracerRadionuclide": "\x07F18", "Units": "\x1b]0;x"}
    pet.with_name("sub-01_trc-11CPIB_pet.json").write_text(json.dumps(told))
    t1w(bids).write_bytes(b"x")
    code, err = run()
    assert code == 65
    assert not set(err) & {"\x1b", "\x07"}


def test_too_little_memory_for_the_images_is_said_before_anything_is_computed(run):
    code, err = run("--mem", "500M")
    assert code == 75
    assert "sub-01: needs about" in err
    assert "given are 0.5 GB. Nothing of it was started" in err
    assert "--mem 2G" in err


def test_steps_of_a_large_image_are_planned_with_more_memory(run, bids, monkeypatch):
    """The engine is handed the session's own figures: 240^3 voxels take 1.6 times a head."""
    handed = []
    monkeypatch.setattr("relad_workflows.execute.execute", lambda graph, **_: handed.append(graph))
    write(t1w(bids), np.ones((240, 240, 240), dtype=np.uint8))
    run("--real-pet", "ignore")
    step = handed[0].get_node("sub_01_wf.prepare_t1w_wf.correct_t1w")
    assert step.mem_gb == pytest.approx(IMAGE_MEM_GB * memory_factor(240**3))
    assert step.mem_gb > 1.5 * IMAGE_MEM_GB
