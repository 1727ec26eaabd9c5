"""The brain mask on real heads and on phantoms with shells.

Prints Dice, volume, share of the truth that is missed, share that is extra, CPU seconds of the
bias field and of the mask, figures of the checks and flags: of one elderly head against its
published labels (> 0, holes filled), of templates' heads against their published masks, of
phantoms against the brain they were made from, and of the other scans without a truth.
``--pictures DIR`` draws the contour of each mask.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path

import ants
import numpy as np
from common import real_data
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.mri.bias import correct_bias
from relad_bids.mri.brain import BrainMask, brain_mask
from relad_bids.mri.resample import like, reference_image
from relad_bids.phantom.latent import draw_subject
from relad_bids.phantom.native import head_on, native_head
from relad_bids.phantom.scans import scan_t1w, t1w_grid

ELDERLY = "elder13"
PHANTOMS = ((0, 2.0), (1, 2.0), (2, 2.0), (3, 1.0))
"""Index and voxel size, mm."""
SEED = 11
TEMPLATES = (
    ("MNI152NLin6Asym, 2 mm", "MNI152NLin6Asym_2mm_T1w_head.nii.gz",
     "MNI152NLin6Asym_2mm_brain_mask.nii.gz"),
    ("MNI152NLin2009cAsym, 1 mm", "MNI152NLin2009cAsym_1mm_T1w_head_SSW.nii.gz",
     "MNI152NLin2009cAsym_1mm_brain_mask.nii.gz"),
    ("MNI305, 1 mm", "MNI305_1mm_T1w_head.nii.gz", None),
)  # fmt: skip
"""Averages of many heads, with the masks that are published with them."""
SLICES = (0.06, 0.2, 0.38, 0.55, 0.75, 0.94)
"""Of the extent of the mask along each axis."""


@dataclass(frozen=True)
class Case:
    name: str
    t1w: ants.ANTsImage
    truth: NDArray[np.bool_] | None


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def real_cases(data: Path) -> list[Case]:
    cases = []
    for file in sorted((data / "bids-mri").rglob("*_T1w.nii.gz")):
        name = file.name.removesuffix("_T1w.nii.gz").removeprefix("sub-")
        truth = None
        if name == ELDERLY:
            labels = ants.image_read(str(data / f"truth/sub-{name}_desc-DLMUSE_dseg.nii.gz"))
            truth = ndimage.binary_fill_holes(labels.numpy() > 0)
        cases.append(Case(name, ants.image_read(str(file)), truth))
    return cases


def template_cases(data: Path) -> list[Case]:
    """Whole heads of other templates, at which no setting was ever looked at."""
    cases = []
    for name, head, brain in TEMPLATES:
        truth = None
        if brain:
            truth = ants.image_read(str(data / "templates" / brain)).numpy() > 0.5
        cases.append(Case(name, ants.image_read(str(data / "templates" / head)), truth))
    return cases


def phantom_case(index: int, voxel_mm: float) -> Case:
    subject = draw_subject(index, seed=SEED, preset="strong")
    head = native_head(subject, voxel_mm=voxel_mm)
    scan = scan_t1w(subject, head, t1w_grid(subject, voxel_mm=voxel_mm))
    tissue, _ = head_on(head, scan.grid)
    t1w = like(reference_image(scan.grid), scan.data)
    return Case(f"phantom {index}, {voxel_mm:g} mm", t1w, tissue.mask)


def measure(case: Case, pictures: Path | None) -> None:
    start = cpu_seconds()
    corrected = correct_bias(case.t1w)
    middle = cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        found = brain_mask(corrected, out_dir=Path(folder))
    end = cpu_seconds()
    checks = found.checks
    print(
        f"| {case.name} | {against(found, case.truth)} | {checks.volume_ml:.0f} | "
        f"{middle - start:.1f} + {end - middle:.1f} | {checks.symmetry:.3f} | "
        f"{checks.overlap:.3f} | {checks.cut:.2f} | {found.kept:.2f} | {found.method} | "
        f"{', '.join(found.flags) or '-'} |",
        flush=True,
    )
    if pictures:
        draw(corrected, found, pictures / f"{case.name.replace(', ', '_').replace(' ', '')}.png")


def against(found: BrainMask, truth: NDArray[np.bool_] | None) -> str:
    if truth is None:
        return "n/a | n/a | n/a"
    mask = found.mask.numpy() > 0
    total = truth.sum()
    dice = 2 * (mask & truth).sum() / (mask.sum() + total)
    missed, extra = (truth & ~mask).sum() / total, (mask & ~truth).sum() / total
    return f"{dice:.3f} | {100 * missed:.1f} % | {100 * extra:.1f} %"


def draw(t1w: ants.ANTsImage, found: BrainMask, file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    image, mask = (ants.reorient_image2(x, "RAS") for x in (t1w, found.mask))
    values, inside = image.numpy(), mask.numpy() > 0
    figure, axes = plt.subplots(3, len(SLICES), figsize=(24, 12.5), facecolor="k")
    for row, axis in zip(axes, (2, 1, 0), strict=True):
        others = [k for k in range(3) if k != axis]
        filled = np.flatnonzero(inside.any(axis=tuple(others)))
        aspect = image.spacing[others[1]] / image.spacing[others[0]]
        for panel, share in zip(row, SLICES, strict=True):
            k = round(filled[0] + share * (filled[-1] - filled[0]))
            top = 1.1 * float(np.quantile(values[inside], 0.99))
            panel.imshow(
                values.take(k, axis=axis).T, origin="lower", cmap="gray", vmin=0, vmax=top,
                aspect=aspect,
            )  # fmt: skip
            panel.contour(inside.take(k, axis=axis).T, [0.5], colors="red", linewidths=0.8)
            panel.axis("off")
    figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
    figure.savefig(file, dpi=60, facecolor="k")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    pictures = parser.parse_args().pictures
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    data = real_data()
    print("| head | Dice | missed | extra | mL | CPU s, N4 + mask | symmetry | overlap |"
          " cut | kept | method | flags |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for case in (*real_cases(data), *template_cases(data)):
        measure(case, pictures)
    for index, voxel_mm in PHANTOMS:
        measure(phantom_case(index, voxel_mm), pictures)


if __name__ == "__main__":
    main()
