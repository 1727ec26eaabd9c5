"""Partial volume correction by shares of tissue instead of whole voxels: whether it is worth it.

GTM takes each voxel as of one region; voxels of several tissues are the most of what it leaves of
an error (``partial_volume.py``). Here the regions are shares: of each voxel its label has the
share of the label's tissue, the rest goes to the nearest region of its own tissue within 6 mm, or
to what is left of that tissue. Deep nuclei keep grey and white alike, since brightness does not
tell them apart there. Where the shares come from:

- ``whole``: none; each voxel of one region, as the program does it;
- ``probability``: the maps of the tissue step;
- ``brightness``: linear between the means of the classes, where a neighbour is of the other
  tissue; fluid and white matter are read off where all neighbours are;
- ``truth``: those that the phantom was painted by.

With a folder that ``label_sources.py`` has filled (its ``bids``, ``work`` and ``tables-packaged``)
the phantoms went through the whole chain, with the packaged labels and with their true ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from label_sources import PRESET, SEED, SETS
from numpy.typing import NDArray
from quantification import quantified_vois, reference_of, voi_table
from scipy import ndimage

from relad_bids.core.correction import (
    LEFT_CSF,
    LEFT_GM,
    LEFT_WM,
    PART,
    SHELL,
    Head,
    corrected_image,
    head_regions,
)
from relad_bids.core.partial_volume import gtm, region_model
from relad_bids.interfaces.base import load
from relad_bids.mri.tissue import class_means
from relad_bids.phantom.latent import draw_subject
from relad_bids.phantom.pet import REFERENCE_LABELS, subject_scanner
from relad_bids.tables import label_names

NEAR_MM = 6.0
FEWEST_PURE = 200
Maps = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]
KINDS = {"fluid": {"csf"}, "white": {"wm", "cerebellar-wm", "wmh"},
         "grey": {"cortex", "cerebellar-gm"}}  # fmt: skip
NUMBERS = {
    kind: [n for n, label in label_names().items() if label.tissue in tissues]
    for kind, tissues in KINDS.items()
}


def by_brightness(t1w: NDArray, head: Head) -> Maps:
    """Shares of fluid, grey and white matter from a T1w without bias field."""
    brain = head.brain
    most = np.argmax(np.stack([head.csf, head.gm, head.wm]), axis=0)
    dark, grey, bright = class_means(t1w[brain].astype(np.float32))
    cube = np.ones((3, 3, 3))
    for number, name in ((0, "dark"), (2, "bright")):
        pure = ndimage.binary_erosion((most == number) & brain, cube)
        if pure.sum() > FEWEST_PURE:
            middle = float(np.median(t1w[pure]))
            dark, bright = (middle, bright) if name == "dark" else (dark, middle)
    csf = np.clip((grey - t1w) / (grey - dark), 0, 1)
    wm = np.clip((t1w - grey) / (bright - grey), 0, 1)
    near = [ndimage.binary_dilation((most == one) & brain, cube) for one in range(3)]
    csf = np.where(near[0], csf, 0)
    wm = np.where(near[2], wm, 0)
    wm = np.where(~near[0] & ~near[1], 1, wm)
    csf = np.where(~near[0] & ~near[1], 0, np.where(~near[1] & ~near[2], 1, csf))
    wm = np.where(~near[1] & ~near[2], 0, wm)
    return csf * brain, np.clip(1 - csf - wm, 0, 1) * brain, wm * brain


def share_regions(head: Head, shares: Maps) -> dict[int, NDArray[np.float32]]:
    """Fraction of each voxel that each region has."""
    labels = np.where(head.labels > 0, head.labels + PART * head.reference, 0)
    of = {kind: np.isin(head.labels, numbers) for kind, numbers in NUMBERS.items()}
    deep = (labels > 0) & ~np.logical_or.reduce(list(of.values()))
    csf, gm, wm = (np.where(head.brain, share, 0) for share in shares)
    parts = [(np.where(deep, gm + wm, 0), labels)]
    for kind, share, left in (
        ("grey", np.where(deep, 0, gm), LEFT_GM), ("white", np.where(deep, 0, wm), LEFT_WM),
        ("fluid", csf, LEFT_CSF),
    ):  # fmt: skip
        away, at = ndimage.distance_transform_edt(
            ~of[kind], sampling=head.voxel_mm, return_indices=True
        )
        parts.append((share, np.where(away <= NEAR_MM, labels[tuple(at)], left)))
    maps: dict[int, NDArray[np.float32]] = {}
    for share, region in parts:
        for number in np.unique(region[share > 0]).tolist():
            mine = np.where(region == number, share, 0).astype(np.float32)
            maps[number] = maps[number] + mine if number in maps else mine
    maps[SHELL] = (head_regions(replace(head, labels=0 * head.labels)) == SHELL).astype(np.float32)
    return maps


def corrected(image: NDArray, head: Head, shares: Maps | None, fwhm_mm: float) -> NDArray:
    """Image in which each label has its corrected value."""
    if shares is None:
        return corrected_image(image, head, method="gtm", fwhm_mm=fwhm_mm)
    model = region_model(
        share_regions(head, shares), fwhm_mm=fwhm_mm, voxel_mm=head.voxel_mm,
        seen=np.isfinite(image),
    )  # fmt: skip
    values = gtm(image, model)["corrected"]
    labels = np.where(head.labels > 0, head.labels + PART * head.reference, 0)
    made = np.full(image.shape, np.nan, np.float32)
    for number in np.unique(labels[labels > 0]).tolist():
        made[labels == number] = values.get(number, np.nan)
    return made


def read(path: Path) -> NDArray:
    return np.asarray(load(str(path))[0])


def of_participant(folder: Path, name: str, index: int) -> Iterator[dict[str, object]]:
    """Errors of one phantom that went through the chain, in percent of what was painted."""
    out, truth = (
        folder / "tables-packaged" / name,
        folder / "bids" / "derivatives" / "truth" / name,
    )
    anat, work = out / "anat" / name, folder / "work"
    true = truth / "anat" / f"{name}_space-T1w"
    grid = load(str(anat) + "_desc-preproc_T1w.nii.gz")[1]
    brain = read(Path(f"{anat}_desc-brain_mask.nii.gz")) > 0
    (step,) = {
        path.parent for path in work.rglob("gm.nii.gz")
        if f"{name.replace('-', '_')}_wf" in path.parts and path.parent.name == "segment_tissue"
    }  # fmt: skip
    found: Maps = tuple(read(step / f"{kind}.nii.gz") for kind in ("csf", "gm", "wm"))  # type: ignore[assignment]
    painted: Maps = tuple(  # type: ignore[assignment]
        read(Path(f"{true}_label-{kind}_desc-truth_probseg.nii.gz"))
        for kind in ("CSF", "GM", "WM")
    )
    t1w = read(Path(f"{anat}_desc-preproc_T1w.nii.gz"))
    width = subject_scanner(draw_subject(index, seed=SEED, preset=PRESET)).fwhm_mm
    known = pd.read_csv(truth / f"{name}_desc-truth_suvr.tsv", sep="\t")
    sources: Mapping[str, Path] = {
        "packaged": next((out / "anat").glob("*space-T1w_atlas-*_dseg.nii.gz")),
        "own": Path(f"{true}_desc-truth_dseg.nii.gz"),
    }
    for labelled, path in sources.items():
        labels = np.rint(read(path)).astype(np.int32)
        for tracer, numbers in REFERENCE_LABELS.items():
            head = Head(labels, np.isin(labels, numbers), brain, *found, tuple(grid.voxel_mm))
            (image,) = [
                read(one) for one in (out / "pet").glob("*space-T1w*desc-measured_mimap.nii.gz")
                if tracer in one.with_suffix("").with_suffix(".json").read_text()
            ]  # fmt: skip
            ways = {"whole": None, "probability": found, "brightness": by_brightness(t1w, head),
                    "truth": painted}  # fmt: skip
            for way, shares in ways.items():
                table = quantified(corrected(image, head, shares, width), head)
                both = table.merge(known[known["tracer"] == tracer], on=["family", "voi"])
                for row in both[both["volume_mm3_y"] > 1000].itertuples():
                    error = 100 * (row.suvr_mean / row.suvr_true - 1)
                    yield {"labels": labelled, "shares": way, "tracer": tracer,
                           "vois": kind_of(row.family, row.voi), "error": error}  # fmt: skip


def quantified(image: NDArray, head: Head) -> pd.DataFrame:
    volume = float(np.prod(head.voxel_mm))
    region = reference_of(image, head.reference, voxel_volume_mm3=volume)
    vois = quantified_vois(np.unique(head.labels))
    table = voi_table(image, head.labels, vois, region, voxel_volume_mm3=volume)
    return table[(table["hemi"] == "B") | (table["family"] == "label")]


def kind_of(family: str, voi: str) -> str:
    if family in SETS:
        return "sets of labels"
    if family != "label":
        return "-"
    return "single cortical labels" if voi.startswith("ctx-") else "other single labels"


def main() -> None:
    folder = Path(sys.argv[1])
    rows: list[dict[str, object]] = []
    names = sorted(
        path.name for path in (folder / "tables-packaged").glob("sub-*") if path.is_dir()
    )
    for name in names:
        rows += of_participant(folder, name, int(name.removeprefix("sub-")) - 1)
    table = pd.DataFrame(rows).dropna()
    table = table[table["vois"] != "-"].assign(size=lambda t: t["error"].abs())
    groups = table.groupby(["vois", "labels", "shares"])
    print(f"{len(names)} phantoms through the whole chain; error of GTM values, percent:")
    print(groups.agg(
        n=("size", "size"), bias=("error", "median"), median=("size", "median"),
        p90=("size", lambda e: e.quantile(0.9)), largest=("size", "max"),
    ).round(1).to_string())  # fmt: skip


if __name__ == "__main__":
    main()
