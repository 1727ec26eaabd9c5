"""Peak memory of the steps that hold an image of the dataset, by its number of voxels.

    python benchmarks/step_memory.py BIDS        (a phantom dataset with sub-001, any voxel size)

The T1w of the first participant is stretched to grids of several sizes; each step runs in a
process of its own, whose ru_maxrss is printed. The line through it: relad_bids/core/memory.py.
Partial volume correction (``gtm rbv mg iy``) is given labels and tissue of the phantom's truth.
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
from nipype.interfaces.base import SimpleInterface
from scipy.ndimage import zoom

SIDES = (96, 160, 256, 320)
STEPS = ("CheckImage", "CorrectBias", "SegmentTissue", "ExtractBrain", "RegisterTemplate")
CORRECTIONS = ("gtm", "rbv", "mg", "iy")
FWHM_MM = 6.0
TRUTH = {
    "dseg": "desc-truth_dseg", "brain": "desc-brain_mask", "csf": "label-CSF_desc-truth_probseg",
    "gm": "label-GM_desc-truth_probseg", "wm": "label-WM_desc-truth_probseg",
}  # fmt: skip
CEREBELLUM, CEREBELLAR_GM = (7, 8, 46, 47), (8, 47)
"""FreeSurfer's numbers."""


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


def grown_truth(source: Path, side: int, out: Path) -> None:
    """Labels, tissue and an activity on the same cube, and the lower half of the cerebellum."""
    name = source.name.split("_")[0]
    anat = source.parents[2] / "derivatives" / "truth" / name / "anat"
    made = {}
    for key, rest in TRUTH.items():
        image = nb.load(anat / f"{name}_space-T1w_{rest}.nii.gz")
        data, factors = image.get_fdata(dtype=np.float32), side / np.array(image.shape)
        made[key] = zoom(data, factors, order=0 if key in ("dseg", "brain") else 1)
        affine = image.affine @ np.diag([*(1 / factors), 1])
    cerebellum = np.isin(np.rint(made["dseg"]), CEREBELLUM)
    cortex = np.isin(np.rint(made["dseg"]), CEREBELLAR_GM)  # labels are cut by tissue in a run
    made["gm"][cortex], made["wm"][cortex], made["csf"][cortex] = 1, 0, 0
    height = np.indices(cerebellum.shape, sparse=True)[2]
    made["inferior"] = cerebellum & (height < np.median(np.nonzero(cerebellum)[2]))
    made["activity"] = 1 + made["gm"] + 0.3 * made["wm"]
    for key, voxels in made.items():
        image = nb.Nifti1Image(voxels.astype(np.float32), affine)
        image.set_qform(affine, 1)
        image.to_filename(out / f"{key}.nii.gz")


def correction(method: str, folder: Path) -> SimpleInterface:
    from relad_bids.interfaces.correct import CorrectPartialVolume

    files = {key: str(folder / f"{key}.nii.gz") for key in (*TRUTH, "inferior", "activity")}
    return CorrectPartialVolume(
        **files, ref_region="cerebellum-gm", method=method, fwhm_mm=FWHM_MM, brain_only=True
    )


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
    }.get(step, {})
    interface = correction(step, folder) if not inputs else getattr(mri, step)(**inputs)
    out = Node(interface, name="step", base_dir=str(folder / step)).run().outputs
    if step in CORRECTIONS and "Reason" in (told := out.facts["PartialVolumeCorrection"]):
        sys.exit(told["Reason"])
    print(f"PEAK {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bids", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--steps", nargs="+", default=(*STEPS, *CORRECTIONS))
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
            grown_truth(source, side, folder)
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
