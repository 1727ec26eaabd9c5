"""What every measurement should give: regional SUVR of the painted phantom."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.phantom.anatomy import N_LABELS, Tissue, label_table
from relad_bids.phantom.latent import Subject
from relad_bids.phantom.pet import REFERENCE_LABELS, blur, paint
from relad_bids.phantom.regions import WMH

REFERENCE_NAMES = {
    "flortaucipir": "cerebellum-inferior-gm",
    "pib": "cerebellum-whole",
    "pbr28": "cerebellum-gm",
}
"""Name of the default reference region; the phantom paints all of 8|47 alike, so the inferior
part has the uptake of the whole."""


def truth_table(
    tissue: Tissue,
    subject: Subject,
    tracer: str,
    *,
    fwhm_mm: float,
    around: NDArray[np.uint8] | None = None,
) -> pd.DataFrame:
    """Return the true regional SUVR of one tracer, one row a label and VOI.

    ``suvr_true``: mean uptake of the VOI's labels weighted by their true volume (partial
    voxels count by their share), over the same of the reference region.
    ``suvr_psf``: mean of the noise-free blurred image over the voxels in which the VOI's
    labels prevail, over the same of the reference region: what a perfect measurement
    without partial volume correction finds.

    Returns
    -------
    pandas.DataFrame
        tracer, family, voi, labels, ref_region, suvr_true, suvr_psf, volume_mm3 (true, from
        shares). Absent labels have volume 0 and missing SUVR.
    """
    volume = label_volumes(tissue)
    amount = volume * label_table(subject.uptake[tracer])
    seen_volume, seen_amount = _blurred_sums(tissue, subject, tracer, fwhm_mm, around)
    reference = list(REFERENCE_LABELS[tracer])

    def ratio(top: NDArray[np.float64], bottom: NDArray[np.float64], labels: list[int]) -> float:
        if bottom[labels].sum() <= 0:
            return float("nan")
        unit = top[reference].sum() / bottom[reference].sum()
        return float(top[labels].sum() / bottom[labels].sum() / unit)

    rows = []
    for voi in voi_definitions(np.flatnonzero(volume)).itertuples():
        parts = voi.parts
        every = sorted({label for part in parts for label in part})
        rows.append(
            {
                "tracer": tracer,
                "family": voi.family,
                "voi": voi.voi,
                "labels": ",".join(map(str, every)),
                "ref_region": REFERENCE_NAMES[tracer],
                "suvr_true": np.mean([ratio(amount, volume, part) for part in parts]),
                "suvr_psf": np.mean([ratio(seen_amount, seen_volume, part) for part in parts]),
                "volume_mm3": volume[every].sum(),
            }
        )
    return pd.DataFrame(rows)


def label_volumes(tissue: Tissue) -> NDArray[np.float64]:
    """Return the true volume of each label in mm3, indexed by label, from voxel shares."""
    inside = tissue.mask
    volume = np.zeros(N_LABELS)
    for share, label in (
        (tissue.gm, tissue.gm_label),
        (tissue.wm - tissue.wmh, tissue.wm_label),
        (tissue.csf, tissue.csf_label),
    ):
        weights = share[inside].astype(np.float64)
        volume += np.bincount(label[inside], weights, minlength=N_LABELS)
    volume[WMH] += tissue.wmh[inside].sum(dtype=np.float64)
    return np.asarray(volume * tissue.grid.voxel_volume_mm3)


def _blurred_sums(
    tissue: Tissue,
    subject: Subject,
    tracer: str,
    fwhm_mm: float,
    around: NDArray[np.uint8] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return voxel counts and sums of the blurred image of each prevailing label."""
    painted = paint(tissue, subject, tracer, around=around)
    blurred = blur(painted, tissue.grid, fwhm_mm=fwhm_mm)
    labels = tissue.labels().ravel()
    counts = np.bincount(labels, minlength=N_LABELS).astype(float)
    sums = np.bincount(labels, blurred.ravel().astype(np.float64), minlength=N_LABELS)
    return counts, np.asarray(sums, dtype=np.float64)


def voi_definitions(present: NDArray[np.integer]) -> pd.DataFrame:
    """Return family, voi and parts (lists of labels) of every VOI made of labels.

    Parameters
    ----------
    present : (R,) int
        Labels of the phantom; each becomes a VOI of its own, family ``label``.

    Returns
    -------
    pandas.DataFrame
        VOIs that need a mask or an erosion are left out. An ``unweighted-mean-of-parts``
        has several parts, every other VOI one.
    """
    names = _label_names()
    singles = [
        {"family": "label", "voi": names.get(int(label), str(label)), "parts": [[int(label)]]}
        for label in present
    ]
    return pd.DataFrame([*singles, *_voi_sets()])


def _label_names() -> dict[int, str]:
    with files("relad_bids.data").joinpath("labels_fs.tsv").open(encoding="utf-8") as stream:
        table = pd.read_csv(stream, sep="\t", na_values="n/a")
    return dict(zip(table["index"].astype(int), table["name"], strict=True))


def _voi_sets() -> list[dict[str, object]]:
    with files("relad_bids.data").joinpath("voi_sets.tsv").open(encoding="utf-8") as stream:
        table = pd.read_csv(stream, sep="\t", dtype=str)
    simple = {
        row.voi: [int(label) for label in row.members.split(",")]
        for row in table.itertuples()
        if row.members.replace(",", "").isdigit()
    }
    sets: list[dict[str, object]] = []
    for row in table.itertuples():
        if row.voi in simple:
            parts = [simple[row.voi]]
        elif set(row.members.split(",")) <= set(simple):
            parts = [simple[name] for name in row.members.split(",")]
        else:
            continue
        sets.append({"family": row.family, "voi": row.voi, "parts": parts})
    return sets
