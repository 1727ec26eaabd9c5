"""Masks of the scales Centiloid and CenTauR: files of the user's, as their makers name them.

Neither set may be redistributed (no licence was seen), so a folder is given. The masks lie in
the template that SPM warps to, whose nearest packaged space is
:data:`relad_bids.data.template.ATLAS_SPACE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relad_bids.core.scales import Equation, Scaled, to_scale
from relad_bids.equations import centaurz_equations, centiloid_equations
from relad_bids.errors import InputError
from relad_bids.tables import tracers


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A scale and the masks that its equations were made with."""

    name: str
    flag: str
    """That names the folder."""
    family: str
    """Column ``family`` of its rows."""
    atlas: str
    """Column ``atlas``."""
    pipeline: str
    targets: Mapping[str, str]
    """VOI -> end of the file's name before ``.nii``; ``?`` stands for the voxel size in mm."""
    references: Mapping[str, str]
    """Reference region -> the same; the first is that of the equations."""
    columns: tuple[str, str]
    """Of a table: the value, and by which equation or with which mask it was had."""


CENTILOID = Scale(
    name="Centiloid",
    flag="--centiloid-voi-dir",
    family="centiloid",
    atlas="GAAIN-Centiloid",
    pipeline="gaain-standard",
    targets={"centiloid-ctx": "voi_ctx_?mm"},
    references={
        "cerebellum-whole(GAAIN)": "voi_WhlCbl_?mm",
        "cerebellum-gm(GAAIN)": "voi_CerebGry_?mm",
        "cerebellum-brainstem(GAAIN)": "voi_WhlCblBrnStm_?mm",
        "pons(GAAIN)": "voi_Pons_?mm",
    },
    columns=("centiloid", "centiloid_pipeline"),
)
CENTAUR = Scale(
    name="CenTauR z",
    flag="--centaur-voi-dir",
    family="centaur",
    atlas="CenTauR",
    pipeline="centaur-z",
    targets={
        "centaur-universal": "CenTauR",
        "centaur-mesialtemporal": "Mesial_CenTauR",
        "centaur-metatemporal": "Meta_CenTauR",
        "centaur-temporoparietal": "TP_CenTauR",
        "centaur-frontal": "Frontal_CenTauR",
    },
    references={"cerebellum-gm(CenTauR)": "voi_CerebGry_tau_?mm"},
    columns=("centaurz", "centaurz_mask"),
)
OF_TARGET: Mapping[str, Scale] = {"amyloid": CENTILOID, "tau": CENTAUR}
"""What a tracer measures -> its scale."""


def equations_of(scale: Scale) -> tuple[Equation, ...]:
    """Return the published equations of a scale."""
    return centiloid_equations() if scale is CENTILOID else centaurz_equations()


def find_masks(scale: Scale, folder: Path) -> dict[str, Path]:
    """Find the file of every mask of a scale: target VOIs, then reference regions.

    What stands before the maker's name does not count (``centiloid_voi_ctx_2mm.nii.gz``),
    unless it makes another mask of it; the shortest name goes first. Where there are several
    voxel sizes, that of 2 mm is taken: the equations were made with it.

    Raises
    ------
    InputError
        Names the masks that are not there.
    """
    images = (path for path in folder.glob("*.nii*") if path.is_file())
    files = sorted(images, key=lambda path: (len(path.name), path.name))
    wanted = {**scale.targets, **scale.references}
    found = {name: _file(files, stem, tuple(wanted.values())) for name, stem in wanted.items()}
    if missing := [f"{wanted[name]}.nii" for name, path in found.items() if path is None]:
        raise InputError(
            f"{scale.flag} {folder} was searched for the masks of {scale.name}, and lacks "
            f"{', '.join(missing)} (? is the voxel size); it holds "
            f"{', '.join(path.name for path in files[:8]) or 'no image'}. Download them from "
            "gaain.org and unpack them into one folder."
        )
    return {name: path for name, path in found.items() if path is not None}


def _file(files: list[Path], stem: str, others: tuple[str, ...]) -> Path | None:
    longer = [other for other in others if other != stem and other.endswith(stem)]
    for size in ("2", "1") if "?" in stem else ("",):
        for path in files:
            name = path.name.removesuffix(".gz").removesuffix(".nii")
            is_other = any(name.endswith(other.replace("?", size)) for other in longer)
            if name.endswith(stem.replace("?", size)) and not is_other:
                return path
    return None


def scale_value(suvr: float, voi: str, reference: str, *, scale: Scale, tracer: str) -> Scaled:
    """Put the SUVr of two masks on their scale, or say why not.

    The pipeline is the maker's in masks and order of steps; its registration is another one,
    and nobody has run the scale's own scans through it: the value is uncalibrated.
    """
    return to_scale(
        suvr, equations_of(scale), tracer=tracer, pipeline=scale.pipeline, voi=voi,
        reference=reference,
    )  # fmt: skip


def why_no_scale(tracer: str, *, with_masks: bool) -> str:
    """Why rows of a tracer have no value on a scale; empty where those of the masks have one."""
    scale = OF_TARGET.get(tracers()[tracer].target)
    if scale is None:
        return f"neither Centiloid nor CenTauR is a scale of {tracers()[tracer].target} tracers"
    if not with_masks:
        return (
            f"{scale.name} holds for its own masks alone, never for labels of a parcellation; "
            f"give the folder of its masks with {scale.flag}"
        )
    first = next(iter(scale.targets))
    reference = next(iter(scale.references))
    made = scale_value(1.0, first, reference, scale=scale, tracer=tracer)
    return "" if made.pipeline else made.note
