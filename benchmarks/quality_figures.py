"""Quality figures of real and simulated heads, and which damage raises which flag.

    python benchmarks/quality_figures.py [FOLDER]

FOLDER keeps what was prepared (45 CPU-s a head); all figures are taken anew.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ants
import numpy as np
from common import real_data
from prepared_heads import Case, damaged, lay_flair, phantoms, prepare, real_heads, unseen_heads

from relad_bids.core.quality_columns import FIGURES, quality_flags
from relad_bids.data.template import SPACE
from relad_bids.mri.linear import write_affine
from relad_bids.mri.quality import Figures, flair_figures, standard, t1w_figures, template_figures
from relad_bids.mri.resample import grid_of, like, resample

BROKEN = ("elder13", "elition")
"""Heads that are damaged: 2 mm with air and FLAIR, 1 mm without."""
FOREIGN = {"elder13": "p01-1", "p01-1": "elder13", "clinical": "p12-1", "phantom1": "phantom2"}
"""Whose FLAIR is taken for whom."""
BESIDE_MM = 20.0
OTHER_SPACE = "MNI152NLin6Asym"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    heads = [*real_heads(real_data()), *phantoms(folder)]
    by_name = {case.name: case for case in heads}
    standard()  # 1 CPU-s, once a process
    before = _cpu_s()
    whole = {case.name: figures(case, prepare(case, folder)) for case in heads}
    print(
        f"{(_cpu_s() - before) / len(heads):.1f} CPU-s a head (where all were prepared before)\n"
    )
    _print_figures(whole)
    print("\nHeads by which no range was set")
    _print_figures({c.name: figures(c, prepare(c, folder)) for c in unseen_heads(real_data())})
    print(f"\nOn {OTHER_SPACE}, by the ranges of {SPACE}")
    other = {case.name: _on_other(case, folder) for case in heads}
    _print_figures(other)
    print(
        "\n| head | damage | flags that the head alone does not raise | figures that moved most |"
    )
    print("|---|---|---|---|")
    for name in BROKEN:
        case, own = by_name[name], whole[name]
        for broken in damaged(case, folder):
            found = figures(broken, prepare(broken, folder, flair_too=False), flair_too=False)
            _print_damage(name, broken.damage, own, found)
        beside = misplaced(case, folder)
        _print_damage(name, f"warp {BESIDE_MM:g} mm beside", own, beside)
    for name, other in FOREIGN.items():
        for damage, found in flair_damages(by_name[name], by_name[other], folder):
            _print_damage(name, damage, whole[name], found)
    print("\n| cerebellum in view | by the line | by the warp |\n|---|---|---|")
    cut = [case for name in BROKEN for case in damaged(by_name[name], folder)]
    for case in (by_name["p01-1"], *(case for case in cut if "cerebellum" in case.damage)):
        _print_view(case, prepare(case, folder, flair_too=False))


def _print_view(case: Case, out: Path) -> None:
    forward = [out / "t1w_to_template_Composite.h5"]
    ways = [
        template_figures(**_images(out), forward=forward, affine_file=line)["cerebellum_in_fov"]
        for line in (out / "t1w_to_template_affine.mat", None)
    ]
    print(f"| {case.name} {case.damage} | {ways[0]:.3f} | {ways[1]:.3f} |", flush=True)


def figures(case: Case, out: Path, *, flair_too: bool = True) -> Figures:
    """All figures of a prepared head."""
    images = _images(out)
    forward = [out / "t1w_to_template_Composite.h5"]
    found = t1w_figures(ants.image_read(str(case.t1w)), **images)
    found |= template_figures(
        **images, forward=forward, affine_file=out / "t1w_to_template_affine.mat"
    )
    found["brain_volume_ml"] = float((out / "done").read_text().split("\n")[0])
    if case.flair is not None and flair_too:
        found |= _of_flair(case.flair, out, out)
    return found


def _on_other(case: Case, folder: Path) -> Figures:
    """What the place on the other template says."""
    out = prepare(case, folder, flair_too=False, space=OTHER_SPACE)
    return template_figures(
        **_images(out),
        forward=[out / "t1w_to_template_Composite.h5"],
        affine_file=out / "t1w_to_template_affine.mat",
        space=OTHER_SPACE,
    )


def misplaced(case: Case, folder: Path) -> Figures:
    """The head with its warp shifted backwards."""
    out = prepare(case, folder)
    shift = np.eye(4)
    shift[1, 3] = BESIDE_MM
    beside = write_affine(shift, folder / "beside.mat")
    forward = [out / "t1w_to_template_Composite.h5", beside]
    affine = out / "t1w_to_template_affine.mat"
    return template_figures(**_images(out), forward=forward, affine_file=affine)


def flair_damages(case: Case, other: Case, folder: Path) -> Iterator[tuple[str, Figures]]:
    """Somebody else's FLAIR, a mirrored one, one that lies beside, one that is cut."""
    out = prepare(case, folder)
    images = _images(out)
    assert case.flair is not None
    assert other.flair is not None
    own = ants.image_read(str(case.flair))
    mirror = folder / "mirrored_FLAIR.nii.gz"
    axis = int(np.argmax(np.abs(grid_of(own).affine[0, :3])))
    ants.image_write(like(own, np.flip(own.numpy(), axis)), str(mirror))
    cut = folder / "cut_FLAIR.nii.gz"
    height = own.shape[2]
    low, high = [0, 0, round(0.35 * height)], list(own.shape)
    ants.image_write(ants.crop_indices(own, low, high), str(cut))
    for name, path in (
        (f"FLAIR of {other.name}", other.flair),
        ("FLAIR: left and right swapped", mirror),
        ("FLAIR: lower third cut", cut),
    ):
        with tempfile.TemporaryDirectory() as made:
            laid = lay_flair(path, images["t1w"], images["mask"], Path(made))
            for key, image in laid.items():
                ants.image_write(image, f"{made}/{key}.nii.gz")
            yield name, _of_flair(path, out, Path(made))
    shift = np.eye(4)
    shift[1, 3] = BESIDE_MM
    with tempfile.TemporaryDirectory() as made:
        flair = ants.image_read(str(out / "flair.nii.gz"))
        beside = write_affine(shift, Path(made) / "moving_to_fixed_rigid.mat")
        ants.image_write(resample(flair, images["t1w"], [beside]), f"{made}/flair_t1w.nii.gz")
        ants.image_write(flair, f"{made}/flair.nii.gz")
        yield f"FLAIR {BESIDE_MM:g} mm beside", _of_flair(case.flair, out, Path(made))


def _of_flair(scanned: Path, t1w: Path, flair: Path) -> Figures:
    rest = _images(t1w)
    found = flair_figures(
        *(ants.image_read(str(flair / f"{name}.nii.gz")) for name in ("flair", "flair_t1w")),
        **rest,
        xfm=flair / "moving_to_fixed_rigid.mat",
        scanned=ants.image_read(str(scanned)),
    )
    cost = flair / "flair_cost"
    return {**found, "flair_cost": float(cost.read_text()) if cost.exists() else None}


def _images(out: Path) -> dict[str, ants.ANTsImage]:
    return {n: ants.image_read(str(out / f"{n}.nii.gz")) for n in ("t1w", "mask", "gm", "wm")}


def _print_figures(whole: dict[str, Figures]) -> None:
    print("| figure | usual range | " + " | ".join(whole) + " |")
    print("|---|---|" + "---|" * len(whole))
    for column, figure in FIGURES.items():
        cells = [_cell(column, found.get(column)) for found in whole.values()]
        if any(cell != "n/a" for cell in cells):
            print(f"| {column} | {figure.range_text()} | " + " | ".join(cells) + " |")
    flags = [", ".join(quality_flags(found)) or "none" for found in whole.values()]
    print("| flags | | " + " | ".join(flags) + " |")


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "n/a"
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"**{text}**" if FIGURES[column].state(value) == "unusual" else text


def _print_damage(name: str, damage: str, own: Figures, found: Figures) -> None:
    new = [flag for flag in quality_flags(found) if flag not in quality_flags(own)]
    both = {c: (own[c], v) for c, v in found.items() if v is not None and own.get(c) is not None}
    moved = {c: abs(v - o) / max(abs(o), 1e-3) for c, (o, v) in both.items()}
    most = sorted(moved, key=lambda c: -moved[c])[:3]
    told = "; ".join(f"{c} {both[c][0]:.3g} -> {_cell(c, both[c][1])}" for c in most)
    print(f"| {name} | {damage} | {', '.join(new) or 'NONE'} | {told} |", flush=True)


def _cpu_s() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


if __name__ == "__main__":
    main()
