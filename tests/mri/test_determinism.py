import hashlib
import os
import subprocess
import sys

import ants
import numpy as np

from relad_bids.data.template import template_file
from relad_bids.mri.determinism import SEED, pin_itk
from relad_bids.mri.linear import write_affine
from relad_bids.mri.registration import register_rigid, register_to_template
from relad_bids.mri.resample import like, resample

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


FOUR_THREADS = """
import sys
from pathlib import Path
import ants
from relad_bids.mri.registration import register_to_template
folder = Path(sys.argv[1])
brain, mask = (ants.image_read(str(folder / name)) for name in ("brain.nii", "mask.nii"))
(folder / "out").mkdir()
register_to_template(
    brain, mask, initial=folder / "initial.mat", out_dir=folder / "out", sloppy=True
)
"""


def test_a_warp_is_the_same_bytes_whatever_the_number_of_threads(tmp_path):
    """Both ways, as written; the subprocess asks ITK for four threads and OpenMP for two."""
    brain = ants.image_read(str(template_file("T1w")))
    mask = like(brain, brain.numpy() > 0)
    initial = write_affine(np.diag([1.05, 0.96, 1.02, 1.0]), tmp_path / "initial.mat")
    brain.to_filename(str(tmp_path / "brain.nii"))
    mask.to_filename(str(tmp_path / "mask.nii"))
    read = [ants.image_read(str(tmp_path / name)) for name in ("brain.nii", "mask.nii")]
    here = register_to_template(*read, initial=initial, out_dir=tmp_path, sloppy=True)
    subprocess.run(
        [sys.executable, "-c", FOUR_THREADS, str(tmp_path)],
        check=True,
        env=os.environ
        | {
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "4",
            "OMP_NUM_THREADS": "2",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    for path in (here.forward, here.inverse):
        assert digest((tmp_path / "out" / path.name).read_bytes()) == digest(path.read_bytes())


def digest(data):
    return hashlib.sha256(data).hexdigest()
