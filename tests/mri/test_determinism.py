import hashlib
import os
import subprocess
import sys

from relad_bids.mri.determinism import SEED, pin_itk
from relad_bids.mri.registration import register_rigid
from relad_bids.mri.resample import resample

TWO_THREADS = """
import sys
from pathlib import Path
import ants
from relad_bids.mri.registration import register_rigid
folder = Path(sys.argv[1])
fixed, moving = (ants.image_read(str(folder / name)) for name in ("fixed.nii", "moving.nii"))
(folder / "out").mkdir()
register_rigid(moving, fixed, out_dir=folder / "out")
"""


def test_threads_are_forced_and_the_seed_is_not(monkeypatch):
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "8")
    monkeypatch.delenv("ANTS_RANDOM_SEED", raising=False)
    assert pin_itk() == SEED
    assert os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] == "1"
    monkeypatch.setenv("ANTS_RANDOM_SEED", "42")
    assert pin_itk() == 42


def test_same_bytes_again_and_with_two_threads_asked_for(pair, tmp_path):
    moving, fixed = pair
    fixed.to_filename(str(tmp_path / "fixed.nii"))
    moving.to_filename(str(tmp_path / "moving.nii"))
    here = register_rigid(moving, fixed, out_dir=tmp_path).transform_file
    subprocess.run(
        [sys.executable, "-c", TWO_THREADS, str(tmp_path)],
        check=True,
        env=os.environ
        | {
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "2",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    there = tmp_path / "out" / here.name
    assert digest(there.read_bytes()) == digest(here.read_bytes())
    images = [resample(moving, fixed, [path]).numpy().tobytes() for path in (here, there)]
    assert digest(images[0]) == digest(images[1])


def digest(data):
    return hashlib.sha256(data).hexdigest()
