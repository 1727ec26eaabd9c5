"""Lesion masks that the user drew, in the dataset or among derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from relad_bids.bids.derived import anat_folders, entity, header_grid, lone_subjects, named, uri
from relad_bids.bids.images import require_readable
from relad_bids.bids.sidecars import RAW
from relad_bids.errors import GridMismatchError, ReladError
from relad_bids.sessions import Lesion, Unit

TAIL = r"label-lesion_(?:mask|roi)\.nii\.gz"
"""``mask`` is BIDS, ``roi`` the name that fMRIPrep has users give (``*_label-lesion_roi``)."""

SPACES = (None, "T1w", "orig", "FLAIR")


def find_lesions(
    units: Sequence[Unit], *, bids_dir: Path, derivatives: Mapping[str, Path]
) -> tuple[dict[str, Lesion], dict[str, str]]:
    """Look for ``*_label-lesion_mask.nii.gz`` in the ``anat`` folders of each session.

    The dataset goes before derivatives, and these in their order; a mask of the T1w before one
    of the FLAIR. A name with ``run`` counts only where that run is used.

    Returns
    -------
    Session label -> its mask, and session label -> why the one that is there cannot be used.
    """
    roots = {RAW.split(":")[1]: bids_dir, **derivatives}
    lone = lone_subjects(units)
    found: dict[str, Lesion] = {}
    refused: dict[str, str] = {}
    for unit in units:
        try:
            if lesion := _lesion(unit, roots, alone=unit.subject in lone):
                found[unit.label] = lesion
        except ReladError as error:
            refused[unit.label] = str(error)
    return found, refused


def _lesion(unit: Unit, roots: Mapping[str, Path], *, alone: bool) -> Lesion | None:
    for name, root in roots.items():
        for folder, head in anat_folders(root, unit, alone=alone):
            masks = [(path, _drawn_on(path)) for path in named(folder, head, TAIL, spaces=SPACES)]
            for on, image in (("T1w", unit.t1w), ("FLAIR", unit.flair)):
                own = [path for path, where in masks if where == on and image]
                if own and image and (own := [path for path in own if _of_run(path, image)]):
                    return _checked(own, on, image, unit, uri(name, root, own[0]))
    return None


def _drawn_on(path: Path) -> Literal["T1w", "FLAIR"]:
    """``space-`` says it, else a suffix in the middle of the name, else it is the T1w."""
    flair = entity(path, "space") == "FLAIR" or "_FLAIR_" in path.name
    return "FLAIR" if flair else "T1w"


def _of_run(path: Path, image: Path) -> bool:
    return entity(path, "run") in (None, entity(image, "run"))


def _checked(paths: Sequence[Path], on: str, image: Path, unit: Unit, uri_of_it: str) -> Lesion:
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise ReladError(
            f"has {len(paths)} lesion masks of its {on} ({names}), needed is one. Join them, or "
            "leave one."
        )
    (path,) = paths
    require_readable(path)
    grids = [image, *([unit.anatomy] if on == "T1w" and unit.anatomy != image else [])]
    for last, reference in enumerate(grids, start=1):
        try:
            header_grid(path).require_same(
                header_grid(reference), ours=path.name, theirs=reference.name
            )
            break
        except GridMismatchError as error:
            if last == len(grids):
                raise GridMismatchError(
                    f"{path}: the lesion mask does not lie on the image that it was drawn on: "
                    f"{error} Its name says {on}; draw it on that image, or take the file away."
                ) from error
    return Lesion(path, "FLAIR" if on == "FLAIR" else "T1w", uri_of_it)
