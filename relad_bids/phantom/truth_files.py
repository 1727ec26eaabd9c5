"""The truth of one subject on disk: labels, shares, transforms and tables in T1w space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.core.grid import Grid
from relad_bids.phantom.anatomy import Tissue
from relad_bids.phantom.fields import index_points, node_grid
from relad_bids.phantom.files import write_image, write_json, write_text, write_tsv
from relad_bids.phantom.latent import Subject
from relad_bids.phantom.native import NativeHead, box_grid, head_on
from relad_bids.phantom.pet import subject_scanner
from relad_bids.phantom.scans import Scan
from relad_bids.phantom.sidecars import SIMULATED, TRUTH_TABLE
from relad_bids.phantom.truth import truth_table

_MNI = "MNI152NLin2009cAsym"
_FIELD_MM = 4.0
"""The fields are made of 8 mm waves; 4 mm nodes hold them to a few hundredths of a mm."""
_TEMPLATE_BOX_MM = ((-96.0, -132.0, -78.0), (96.0, 96.0, 114.0))


def write_truth(
    folder: Path,
    name: str,
    subject: Subject,
    head: NativeHead,
    *,
    t1w: Scan,
    others: Mapping[str, Scan],
    tracers: Sequence[str],
) -> None:
    """Write everything known about one subject under ``folder / name``.

    Parameters
    ----------
    name
        ``sub-<label>``.
    others
        BIDS suffix or ``trc`` label -> the scan whose rigid transform to the T1w is written.
    tracers
        Tracers of the table.
    """
    tissue, around = head_on(head, t1w.grid)
    anat = folder / name / "anat"
    _write_anatomy(anat / f"{name}_space-T1w", tissue, reference=f"{name}/anat/{name}_T1w.nii.gz")
    _write_transforms(anat / name, head, t1w.grid, others)
    fwhm_mm = subject_scanner(subject).fwhm_mm
    tables = [
        truth_table(tissue, subject, tracer, fwhm_mm=fwhm_mm, around=around) for tracer in tracers
    ]
    if tables:
        stem = folder / name / f"{name}_desc-truth_suvr"
        write_tsv(stem.with_suffix(".tsv"), pd.concat(tables))
        write_json(stem.with_suffix(".json"), TRUTH_TABLE)


def _write_anatomy(stem: Path, tissue: Tissue, *, reference: str) -> None:
    sidecar = {"SpatialReference": f"bids::{reference}", "Description": SIMULATED}
    for name, data in {
        "desc-truth_dseg": tissue.labels(),
        "desc-brain_mask": tissue.mask,
        "label-GM_desc-truth_probseg": tissue.gm,
        "label-WM_desc-truth_probseg": tissue.wm,
        "label-CSF_desc-truth_probseg": tissue.csf,
        "label-WMH_desc-truth_probseg": tissue.wmh,
    }.items():
        write_image(_named(stem, f"_{name}.nii.gz"), data, tissue.grid)
        extra = {"Type": "Brain"} if name.endswith("mask") else {}
        write_json(_named(stem, f"_{name}.json"), {**sidecar, **extra})


def _write_transforms(
    stem: Path, head: NativeHead, t1w_grid: Grid, others: Mapping[str, Scan]
) -> None:
    """Write the two displacement fields, the affine part and the rigid ones.

    A field named ``from-A_to-B_mode-image`` lies on B's grid and holds, for each point of B,
    the vector (RAS mm) to its place in A. A matrix named ``mode-points`` moves points of A
    to B.
    """
    nodes = node_grid(t1w_grid, spacing_mm=_FIELD_MM)
    to_template = _displacement(head.to_template, nodes)
    write_image(_named(stem, f"_from-{_MNI}_to-T1w_mode-image_xfm.nii.gz"), to_template, nodes)
    template = box_grid(_TEMPLATE_BOX_MM, _FIELD_MM)
    to_native = _displacement(head.to_native, template)
    write_image(_named(stem, f"_from-T1w_to-{_MNI}_mode-image_xfm.nii.gz"), to_native, template)
    affine = np.asarray(np.linalg.inv(head.affine), dtype=np.float64)
    _write_matrix(_named(stem, f"_from-T1w_to-{_MNI}_mode-points_desc-affine_xfm.txt"), affine)
    for name, scan in others.items():
        _write_matrix(_named(stem, f"_from-{name}_to-T1w_mode-points_xfm.txt"), scan.to_t1w)


def _displacement(
    move: Callable[[NDArray[np.floating]], NDArray[np.float64]], grid: Grid
) -> NDArray[np.float32]:
    points = index_points(grid, grid.affine)
    shift = np.moveaxis(move(points) - points, 0, -1)
    return np.asarray(shift[:, :, :, None, :], dtype=np.float32)


def _write_matrix(path: Path, matrix: NDArray[np.float64]) -> None:
    rows = [" ".join(f"{value:.9g}" for value in row) for row in matrix]
    write_text(path, "\n".join(rows) + "\n")


def _named(stem: Path, rest: str) -> Path:
    return stem.with_name(stem.name + rest)
