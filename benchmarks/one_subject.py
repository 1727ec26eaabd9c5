"""One elderly head (2 mm, with FLAIR) from raw images to tables, on two CPUs.

Prints wall minutes, peak memory, the share of each step and the Dice of the brain mask with
the published labels (> 0, holes filled).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nb
import numpy as np
from common import real_data, relad_bids, step_seconds
from scipy import ndimage

PARTICIPANT = "elder13"


def dice(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))


def main() -> None:
    data = real_data()
    with tempfile.TemporaryDirectory() as folder:
        out, work = Path(folder) / "out", Path(folder) / "work"
        done = relad_bids(
            data / "bids-mri", out, "participant", "--participant-label", PARTICIPANT,
            "-w", work, "--nprocs", 2,
        )  # fmt: skip
        print(f"exit {done.code}; {done.minutes:.2f} min wall, {done.peak_mb:.0f} MB peak (PSS)")
        seconds = step_seconds(work)
        total = sum(seconds.values())
        for name, value in seconds.items():
            if value > 0.005 * total:
                print(f"  {name:24s} {value:7.1f} s  {100 * value / total:5.1f} %")
        mask = nb.load(out / f"sub-{PARTICIPANT}/anat/sub-{PARTICIPANT}_desc-brain_mask.nii.gz")
        truth = nb.load(data / f"truth/sub-{PARTICIPANT}_desc-DLMUSE_dseg.nii.gz")
        brain = ndimage.binary_fill_holes(np.asarray(truth.dataobj) > 0)
        print(f"Dice of the brain mask: {dice(np.asarray(mask.dataobj) > 0, brain):.3f}")


if __name__ == "__main__":
    main()
