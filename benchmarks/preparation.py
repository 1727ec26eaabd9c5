"""The MRI preparation on real heads and phantoms: places, overlaps, oddly stored scans, costs.

``--part`` chooses what is measured, all by default:

flair
    FLAIR -> T1w of three scans: displacement against the published affines over the brain.
template
    T1w -> template: Dice of grey and white matter with the template's priors, of structures and
    lobes with published labels of an elderly head.
phantom
    The packaged labels on phantoms against those they were made of.
variants
    One scan, shifted, turned, stored, cut and resampled: VOI volumes against the original's.
cost
    CPU seconds and memory of each step at 1 and 2 mm, beside one bare call of antspyx.

``--keep DIR`` keeps what was prepared: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from common import real_data
from prepared_scans import Kitchen, Prepared, dice, in_child, voi_volumes

# isort: split
import ants
import nibabel as nb
import numpy as np
from scan_variants import write_variants

from relad_bids.data.template import SPACE, template_file
from relad_bids.interfaces.base import load_labels
from relad_bids.mri.linear import apply_affine, read_affine
from relad_bids.mri.resample import grid_of, like, reference_image, resample
from relad_bids.mri.tissue import segment_tissue
from relad_bids.phantom.latent import draw_subject
from relad_bids.phantom.native import head_on, native_head
from relad_bids.phantom.scans import scan_t1w, t1w_grid
from relad_bids.phantom.truth import voi_definitions

PHANTOM_SEED = 23
FLAIRS = ("p01_ses-1", "p12_ses-1", "p12_ses-2")
ODD = "neck"
"""Whose variants are tried: 1.6 mm, RAS, with much neck."""
LEAST_ML = 1.0
"""Smaller VOIs are left out of the volumes: ten voxels more are a percent there."""


def scan(data: Path, label: str, suffix: str = "T1w") -> Path:
    subject, *session = label.split("_")
    folder = Path(data, "bids-mri", f"sub-{subject}", *session, "anat")
    return folder / f"sub-{label}_{suffix}.nii.gz"


def heads(data: Path) -> Iterator[str]:
    for path in sorted((data / "bids-mri").rglob("*_T1w.nii.gz")):
        yield path.name.removeprefix("sub-").removesuffix("_T1w.nii.gz")


def part_flair(data: Path, kitchen: Kitchen) -> None:
    print("| FLAIR -> T1w | mean, mm | 95 %, mm | largest, mm | start |")
    print("|---|---|---|---|---|")
    for label in FLAIRS:
        t1w = kitchen.t1w(label, scan(data, label))
        flair = kitchen.flair(label, scan(data, label, "FLAIR"), t1w)
        mask = ants.image_read(t1w.files["mask"])
        points = apply_affine(grid_of(mask).affine, np.argwhere(mask.numpy() > 0)[::20])
        # The published files resample T1w onto FLAIR; ours go the other way.
        published = read_affine(data / "truth" / f"sub-{label}_from-T1w_to-FLAIR_affine.txt")
        there = apply_affine(np.linalg.inv(published), points)
        found = apply_affine(read_affine(Path(flair.files["xfm"])), points)
        apart = np.linalg.norm(found - there, axis=1)
        print(
            f"| {label} | {apart.mean():.2f} | {np.quantile(apart, 0.95):.2f} | {apart.max():.2f} "
            f"| {flair.files['start']} |",
            flush=True,
        )


def prior(name: str, grid: ants.ANTsImage) -> np.ndarray:
    """The template's probability of ``GM`` or ``WM`` on a grid."""
    image = ants.image_read(str(template_file(name)))
    return resample(image, grid, []).numpy() / 255


def part_template(data: Path, kitchen: Kitchen) -> None:
    template = ants.image_read(str(template_file("T1w", space=SPACE)))
    brain = template.numpy() > 0
    own = segment_tissue(template, like(template, brain))
    print("| T1w -> template | Dice GM | Dice WM | affine alone: GM | WM |")
    print("|---|---|---|---|---|")
    ceiling = [
        dice(tissue.numpy()[brain] > 0.5, prior(name, template)[brain] > 0.5)
        for tissue, name in ((own.gm, "GM"), (own.wm, "WM"))
    ]
    print(f"| the template itself | {ceiling[0]:.3f} | {ceiling[1]:.3f} | | |", flush=True)
    for label in heads(data):
        made = kitchen.t1w(label, scan(data, label))
        seen = resample(_ones(made.files["t1w"]), template, [Path(made.files["forward"])])
        where = brain & (seen.numpy() > 0.5)
        found = []
        for way in ("forward", "affine"):
            for name in ("gm", "wm"):
                tissue = ants.image_read(made.files[name])
                ours = resample(tissue, template, [Path(made.files[way])]).numpy() > 0.5
                found.append(dice(ours[where], prior(name.upper(), template)[where] > 0.5))
        cells = " | ".join(f"{value:.3f}" for value in found)
        print(f"| {label} | {cells} |", flush=True)
    _against_published(data, kitchen)


def _ones(path: str) -> ants.ANTsImage:
    image = ants.image_read(path)
    return like(image, np.ones(image.shape))


STRUCTURES = {
    "cerebellum": ((7, 8, 46, 47), (38, 39, 40, 41, 71, 72, 73)),
    "brain stem": ((16,), (35,)),
    "thalamus": ((10, 49), (59, 60)),
    "caudate": ((11, 50), (36, 37)),
    "putamen": ((12, 51), (57, 58)),
    "pallidum": ((13, 52), (55, 56)),
    "hippocampus": ((17, 53), (47, 48)),
    "amygdala": ((18, 54), (31, 32)),
    "lateral ventricles": ((4, 43), (51, 52)),
}
"""FreeSurfer numbers, and those of MUSE (Doshi et al. 2016), whose cortex is numbered as by
Neuromorphometrics."""

LOBES = {
    "frontal": ((3, 12, 14, 17, 18, 19, 20, 24, 27, 28, 32),
                (104, 118, 120, 124, 136, 140, 142, 146, 150, 152, 162, 164, 178, 182, 186, 190,
                 192, 204)),
    "temporal": ((1, 6, 7, 9, 15, 16, 30, 33, 34),
                 (116, 122, 132, 154, 170, 180, 184, 200, 202, 206)),
    "parietal": ((8, 22, 25, 29, 31), (106, 148, 168, 174, 176, 194, 198)),
    "occipital": ((5, 11, 13, 21), (108, 114, 128, 134, 144, 156, 160, 196)),
    "cingulate": ((2, 10, 23, 26), (100, 138, 166)),
    "insula": ((35,), (102, 172)),
}  # fmt: skip
"""Of each hemisphere: aparc without its 1000 or 2000, MUSE's right (left: one more). Left out is
the central operculum (112), which aparc shares out between pre- and postcentral gyrus."""


def lobes(labels: np.ndarray, side: int) -> np.ndarray:
    """Return the lobe (1 to 6) of each cortical voxel; ``side`` 0: aparc, 1: MUSE."""
    table = np.zeros(4000, dtype=int)
    for number, members in enumerate(LOBES.values(), start=1):
        for member in members[side]:
            table[[1000 + member, 2000 + member] if side == 0 else [member, member + 1]] = number
    return table[labels]


def _against_published(data: Path, kitchen: Kitchen) -> None:
    made = kitchen.t1w("elder13", scan(data, "elder13"))
    cut, grid = load_labels(made.files["dseg"])
    truth, theirs = load_labels(str(data / "truth" / "sub-elder13_desc-DLMUSE_dseg.nii.gz"))
    grid.require_same(theirs, ours="labels", theirs="published labels")
    columns = [_met(labels, truth) for labels in (_uncut(made, kitchen.alignment()), cut)]
    print("\n| elder13 against published labels, Dice | warped | and cut by tissue |")
    print("|---|---|---|")
    for name in columns[0]:
        print(f"| {name} | {columns[0][name]:.3f} | {columns[1][name]:.3f} |", flush=True)


def _uncut(made: Prepared, alignment: str) -> np.ndarray:
    """The packaged labels as the registration alone brings them."""
    labels = ants.image_read(str(template_file("aparcaseg")))
    t1w = ants.image_read(made.files["t1w"])
    ways = [Path(made.files["inverse"]), Path(alignment)]
    return resample(labels, t1w, ways, interpolation="genericLabel").numpy().astype(int)


def _met(ours: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    known = ~np.isin(truth, (112, 113))
    found = {
        name: dice(np.isin(ours, members), np.isin(truth, published))
        for name, (members, published) in STRUCTURES.items()
    }
    ours, truth = lobes(ours, 0), lobes(truth, 1)
    for number, name in enumerate(LOBES, start=1):
        found[f"{name} cortex"] = dice((ours == number) & known, truth == number)
    both = (ours > 0) & (truth > 0)
    found["cortex, all"] = dice((ours > 0) & known, truth > 0)
    found["same lobe where both are cortex, share"] = float((ours == truth)[both].mean())
    return found


def phantom_t1w(index: int, voxel_mm: float, folder: Path) -> tuple[Path, np.ndarray]:
    """Write a phantom's T1w and return it with its true labels on the same grid."""
    subject = draw_subject(index, seed=PHANTOM_SEED, preset="strong")
    head = native_head(subject, voxel_mm=voxel_mm)
    made = scan_t1w(subject, head, t1w_grid(subject, voxel_mm=voxel_mm))
    tissue, _ = head_on(head, made.grid)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"phantom{index}_{voxel_mm:g}mm_T1w.nii.gz"
    if not path.exists():
        ants.image_write(like(reference_image(made.grid), made.data), str(path))
    return path, tissue.labels()


def table_vois() -> dict[str, list[int]]:
    """VOIs of the tables made of labels, both sides: name -> label numbers."""
    labels, _ = load_labels(str(template_file("aparcaseg")))
    found = {}
    for voi in voi_definitions(np.unique(labels[labels > 0])).itertuples():
        if voi.family != "label":
            found.setdefault(voi.voi, sorted({n for part in voi.parts for n in part}))
    return found


def part_phantom(kitchen: Kitchen, *, cases=((0, 1.5), (1, 1.5), (2, 1.0))) -> None:
    print("| phantom | VOIs of the tables: mean Dice | worst | single labels: mean |")
    print("|---|---|---|---|")
    for index, voxel_mm in cases:
        t1w, truth = phantom_t1w(index, voxel_mm, kitchen.folder / "phantoms")
        made = kitchen.t1w(f"phantom{index}_{voxel_mm:g}mm", t1w)
        ours, _ = load_labels(made.files["dseg"])
        vois = {
            name: dice(np.isin(ours, members), np.isin(truth, members))
            for name, members in table_vois().items()
        }
        single = [dice(ours == n, truth == n) for n in np.unique(truth) if n and (ours == n).any()]
        worst = min(vois, key=lambda name: vois[name])
        print(
            f"| {index}, {voxel_mm:g} mm | {np.mean(list(vois.values())):.3f} | {worst} "
            f"{vois[worst]:.3f} | {np.mean(single):.3f} |",
            flush=True,
        )


def part_variants(data: Path, kitchen: Kitchen, *, sloppy: bool) -> None:
    """VOI volumes of one scan however it is stored."""
    head = f"{ODD}{'-sloppy' if sloppy else ''}"
    vois = table_vois()
    original = kitchen.t1w(head, scan(data, ODD), sloppy=sloppy)
    usual = voi_volumes(original.files["dseg"], vois)
    large = [name for name, ml in usual.items() if ml >= LEAST_ML]
    print(f"{len(large)} VOIs of at least {LEAST_ML:g} mL of {ODD}{', sloppy' if sloppy else ''}")
    print("| variant | mask | median change | worst VOI | change |")
    print("|---|---|---|---|---|")
    for variant, path in write_variants(scan(data, ODD), kitchen.folder / "variants"):
        made = kitchen.t1w(f"{head}-{variant.key}", path, sloppy=sloppy)
        found = voi_volumes(made.files["dseg"], vois)
        change = {name: found[name] / usual[name] - 1 for name in large}
        worst = max(large, key=lambda name: abs(change[name]))
        median = np.median(np.abs(list(change.values())))
        mask = _millilitres(made) / _millilitres(original) - 1
        print(
            f"| {variant.name} | {100 * mask:+.2f} % | {100 * median:.2f} % | {worst} "
            f"| {100 * change[worst]:+.1f} % |",
            flush=True,
        )


def _millilitres(made: Prepared) -> float:
    mask = nb.Nifti1Image.from_filename(made.files["mask"])
    return float(mask.get_fdata().sum() * abs(np.linalg.det(mask.affine[:3, :3])))


def part_cost(data: Path, kitchen: Kitchen) -> None:
    """Each step anew, whatever was kept, beside the ready-made recipe of antspyx."""
    for label, voxel_mm in (("elder13", 2), ("elition", 1)):
        with tempfile.TemporaryDirectory() as folder:
            fresh = Kitchen(Path(folder))
            _keep_alignment(kitchen, fresh)
            start = time.monotonic()
            made = fresh.t1w(label, scan(data, label))
            wall = time.monotonic() - start
            bare = in_child(partial(_bare_registration, made.files["t1w"], made.files["mask"]))
        print(f"\n| {label}, {voxel_mm} mm | CPU s | of the bare registration | peak, MB |")
        print("|---|---|---|---|")
        for name, cost in made.costs.items():
            ratio = cost.cpu_s / bare.cpu_s
            print(f"| {name} | {cost.cpu_s:.1f} | {ratio:.2f} | {cost.peak_mb:.0f} |")
        print(f"| all | {made.cpu_s:.1f} | {made.cpu_s / bare.cpu_s:.2f} | |")
        print(
            f"| bare ants.registration, SyN, brain | {bare.cpu_s:.1f} | 1 | {bare.peak_mb:.0f} |"
        )
        load = os.getloadavg()[0]
        print(f"{wall:.0f} s by the clock, one step at a time, load {load:.1f}", flush=True)


def _keep_alignment(kitchen: Kitchen, fresh: Kitchen) -> None:
    """The alignment of both templates is made once for all sessions: not counted."""
    kitchen.alignment()
    for path in kitchen.folder.glob("from-*_xfm.h5"):
        (fresh.folder / path.name).hardlink_to(path)
    fresh.alignment()


def _bare_registration(t1w: str, mask: str) -> None:
    """The recipe most people use, on the same stripped brain and the template at 2 mm."""
    template = ants.image_read(str(template_file("T1w", space=SPACE)))
    template = ants.resample_image(template, (2.0, 2.0, 2.0))
    brain = ants.image_read(t1w) * ants.image_read(mask)
    with tempfile.TemporaryDirectory() as folder:
        ants.registration(template, brain, "SyN", outprefix=f"{folder}/bare_")


PARTS = ("flair", "template", "phantom", "variants", "cost")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder of what was prepared")
    parser.add_argument("--sloppy", action="store_true", help="coarse warps for --part variants")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kitchen = Kitchen((args.keep or Path(folder)).absolute())
        kitchen.folder.mkdir(parents=True, exist_ok=True)
        for part in args.part:
            print(f"\n## {part}\n", flush=True)
            if part == "phantom":
                part_phantom(kitchen)
            elif part == "variants":
                part_variants(real_data(), kitchen, sloppy=args.sloppy)
            else:
                {"flair": part_flair, "template": part_template, "cost": part_cost}[part](
                    real_data(), kitchen
                )


if __name__ == "__main__":
    main()
