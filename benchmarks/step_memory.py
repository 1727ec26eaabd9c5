"""Peak memory of the steps that hold an image of the dataset, by its number of voxels.

    python benchmarks/step_memory.py BIDS        (a phantom dataset with sub-001, any voxel size)

The T1w of the first participant is stretched to grids of several sizes; each step runs in a
process of its own, whose ru_maxrss is printed. The line through it: relad_bids/core/memory.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nb
import numpy as np
from scipy.ndimage import zoom

SIDES = (96, 160, 256, 320)
STEPS = ("CheckImage", "CorrectBias", "SegmentTissue", "ExtractBrain", "RegisterTemplate")


def grown(source: Path, side: int, out: Path) -> Path:
    """The T1w on a cube of ``side`` voxels, float32, and where it is above its mean."""
    image = nb.load(source)
    data = image.get_fdata(dtype=np.float32)
    factors = side / np.array(data.shape)
    affine = image.affine @ np.diag([*(1 / factors), 1])
    large = zoom(data, factors, order=1)
    for name, voxels in (("t1w", large), ("mask", (large > large.mean()).astype(np.float32))):
        made = nb.Nifti1Image(voxels, affine)
        made.set_qform(affine, 1)
        made.to_filename(out / f"{name}.nii.gz")
    return out


def one(step: str, folder: Path) -> None:
    """Run one step in this process and print its peak in GB."""
    import resource

    os.environ["OMP_NUM_THREADS"] = "1"
    os.chdir(folder)
    from nipype.pipeline.engine import Node

    from relad_bids.data.template import SPACE
    from relad_bids.interfaces import mri

    image, mask = str(folder / "t1w.nii.gz"), str(folder / "mask.nii.gz")
    inputs = {
        "CheckImage": {"in_file": image},
        "CorrectBias": {"in_file": image},
        "SegmentTissue": {"t1w": image, "mask": mask},
        "ExtractBrain": {"in_file": image},
        "RegisterTemplate": {"t1w": image, "mask": mask, "space": SPACE, "sloppy": True},
    }[step]
    Node(getattr(mri, step)(**inputs), name="step", base_dir=str(folder / step)).run()
    print(f"PEAK {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--steps", nargs="+", default=STEPS)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.one[0], Path(args.one[1]))
        return
    source = next(args.bids.glob("sub-*/anat/*_T1w.nii.gz"))
    print("| step | " + " | ".join(f"{side}^3 voxels" for side in args.sides) + " |")
    rows: dict[str, list[str]] = {step: [] for step in args.steps}
    for side in args.sides:
        with tempfile.TemporaryDirectory() as name:
            folder = grown(source, side, Path(name))
            for step in args.steps:
                command = [sys.executable, __file__, str(args.bids), "--one", step, str(folder)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                peaks = [x.split()[1] for x in done.stdout.splitlines() if x.startswith("PEAK")]
                rows[step].append(peaks[0] if peaks else f"failed: {done.stderr[-300:]}")
                print(side, step, rows[step][-1], file=sys.stderr, flush=True)
    for step, peaks in rows.items():
        print(f"| {step} | " + " | ".join(peaks) + " |")


if __name__ == "__main__":
    main()
