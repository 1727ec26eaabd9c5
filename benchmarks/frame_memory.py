"""Does the memory of averaging and aligning PET frames grow with their number?"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nb
import numpy as np

SHAPE, VOXEL_MM = (128, 128, 89), 2.0
COUNTS = (10, 60)


def main() -> None:
    print(f"frames of {SHAPE}, {VOXEL_MM:g} mm, float32 in one .nii.gz; each number a process")
    print("step      frames  peak MB  seconds  (file in memory would be)")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "dyn.nii.gz"
            # In processes of their own: a child's peak starts at what its parent held.
            subprocess.run([sys.executable, __file__, "write", str(path), str(count)], check=True)
            for step in ("average", "align"):
                command = [sys.executable, __file__, step, str(path), str(count)]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                peak_mb, seconds = told.split()[-2:]
                whole_mb = 4 * count * np.prod(SHAPE) / 1e6
                print(f"{step:8s}  {count:6d}  {peak_mb:>7s}  {seconds:>7s}  ({whole_mb:.0f} MB)")


def write(path: Path, count: int) -> None:
    """A head of the same uptake in each frame, with noise; written frame by frame."""
    index = np.indices(SHAPE, dtype=np.float32)
    middle = np.array(SHAPE, dtype=np.float32)[:, None, None, None] / 2
    head = (((index - middle) / (34, 42, 34)[0]) ** 2).sum(0) < 1
    rng = np.random.default_rng(0)
    frames = np.empty((*SHAPE, count), dtype=np.float32)
    for number in range(count):
        frames[..., number] = 100 * head + rng.normal(0, 5, SHAPE)
    affine = np.diag([-VOXEL_MM, VOXEL_MM, VOXEL_MM, 1])
    nb.Nifti1Image(frames, affine).to_filename(path)


def measure(step: str, path: Path, count: int) -> None:
    """Run one step, and print its peak resident memory and its seconds."""
    from relad_bids.interfaces.pet import RealignPET, ResampleFrames
    from relad_bids.mri.linear import write_affine

    folder = path.parent / f"{step}{count}"
    folder.mkdir()
    weights = [1 / count] * count
    start = time.monotonic()
    if step == "average":
        still = str(write_affine(np.eye(4), folder / "still.mat"))
        node = ResampleFrames(
            in_file=str(path), weights=weights, xfms=[still] * count, transforms=[],
            grid={"shape": [91, 109, 91], "affine": np.diag([2.0, 2, 2, 1]).tolist()},
        )  # fmt: skip
    else:
        node = RealignPET(in_file=str(path), weights=weights)
    node.run(cwd=str(folder))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{peak_kb / 1024:.0f} {time.monotonic() - start:.0f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
    elif len(sys.argv) > 1:
        measure(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
