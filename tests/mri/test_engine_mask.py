"""Engines of the user's, played by small programs on PATH."""

import sys

import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.engines import engine_arguments, engine_command, engine_problem
from relad_bids.errors import DataError, InputError
from relad_bids.mri import brain
from relad_bids.mri.brain import brain_mask
from relad_bids.mri.engine_mask import engine_mask
from relad_bids.mri.resample import like, reference_image

WRITES = """
import sys, nibabel as nb, numpy as np
given = sys.argv[1:]
image = nb.load(given[given.index("-i") + 1])
if "-m" in given:
    target = given[given.index("-m") + 1]
else:
    target = given[given.index("-o") + 1].replace(".nii.gz", "_bet.nii.gz")
    assert "--save_bet_mask" in given and given[given.index("-device") + 1] == "cpu"
data = np.asarray(image.dataobj)
mask = (data > 40).astype(np.uint8)
nb.save(nb.Nifti1Image(mask[CROP], image.affine), target)
"""


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Put a program of this name on PATH, and nothing else."""

    def put(name, code):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        file = folder / name
        file.write_text(f"#!{sys.executable}\n{code}")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return str(file)

    return put


@pytest.fixture
def t1w():
    """A ball of 1.3 L of 80 in a shell of 20, on an oblique grid of unequal sides."""
    c, s = np.cos(0.2), np.sin(0.2)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[-c, 0, s], [0, 1, 0], [s, 0, c]]) * np.array([4.0, 4.0, 5.0])
    grid = Grid((48, 50, 38), affine)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    mm = (index - (np.array(grid.shape) - 1) / 2) @ affine[:3, :3].T
    r = np.linalg.norm(mm, axis=-1)
    return like(reference_image(grid), np.select([r < 68, r < 80], [80.0, 20.0]))


@pytest.mark.parametrize(
    ("engine", "command"),
    [
        ("hd-bet", "hd-bet"),
        ("synthstrip", "mri_synthstrip"),
        ("synthstrip", "nipreps-synthstrip"),
        ("synthstrip", "synthstrip"),
    ],
)
def test_an_engine_finds_the_brain(on_path, t1w, engine, command):
    file = on_path(command, WRITES.replace("CROP", "..."))
    assert engine_command(engine) == file
    assert engine_problem(engine) is None
    np.testing.assert_array_equal(engine_mask(t1w, engine), t1w.numpy() > 40)


def test_its_mask_passes_the_same_checks(on_path, t1w, tmp_path, monkeypatch):
    on_path("hd-bet", WRITES.replace("CROP", "..."))
    monkeypatch.setattr(brain, "fit_affine", lambda *_, out_file, **__: identity(out_file))
    cut = t1w.crop_indices((0, 0, 0), (48, 50, 24))
    found = brain_mask(cut, out_dir=tmp_path, mode="force", engine="hd-bet")
    assert found.method == "hd-bet"
    assert found.volume_ml == pytest.approx((cut.numpy() > 40).sum() * 0.08)
    assert "fov_cut" in found.flags


def identity(file):
    from relad_bids.mri.linear import write_affine

    return write_affine(np.eye(4), file)


def test_a_stripped_image_needs_no_engine(t1w, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(brain, "fit_affine", lambda *_, out_file, **__: identity(out_file))
    found = brain_mask(t1w, out_dir=tmp_path, mode="skip", engine="hd-bet")
    assert found.method == "already-stripped"


def test_a_missing_engine_is_named(monkeypatch, t1w):
    monkeypatch.setenv("PATH", "")
    for engine, wanted in (("hd-bet", "hd-bet"), ("synthstrip", "mri_synthstrip or nipreps-")):
        assert f"needs the command {wanted}" in engine_problem(engine)
    assert engine_problem("template") is None
    with pytest.raises(InputError, match="needs the command hd-bet, and PATH has none"):
        engine_mask(t1w, "hd-bet")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('no weights')", r"failed with exit code 1 .*no weights"),
        ("pass", "wrote no mask"),
        (WRITES.replace("CROP", "1:"), "must lie on the T1w's grid"),
    ],
)
def test_an_engine_that_fails_says_what_it_said(on_path, t1w, code, message):
    on_path("mri_synthstrip", code)
    with pytest.raises(DataError, match=message):
        engine_mask(t1w, "synthstrip")


def test_an_engine_that_hangs_is_stopped(on_path, t1w):
    on_path("hd-bet", "import time; time.sleep(60)")
    with pytest.raises(DataError, match=r"stopped after 0\.5 s"):
        engine_mask(t1w, "hd-bet", timeout_s=0.5)


def test_nipreps_gets_freesurfers_weights(tmp_path, monkeypatch):
    weights = tmp_path / "models" / "synthstrip.1.pt"
    weights.parent.mkdir()
    weights.touch()
    monkeypatch.setenv("FREESURFER_HOME", str(tmp_path))
    image, mask = tmp_path / "t1w.nii.gz", tmp_path / "x_bet.nii.gz"
    asked = engine_arguments("synthstrip", "/bin/nipreps-synthstrip", image, mask)
    assert asked[-2:] == ["--model", str(weights)]
    assert "--model" not in engine_arguments("synthstrip", "/bin/mri_synthstrip", image, mask)
