"""Prepared T1w among derivatives: of fMRIPrep, sMRIPrep, PETPrep, or of this program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from relad_bids.bids.derived import (
    anat_folders,
    entity,
    header_grid,
    lone_subjects,
    named,
    overlapping,
    uri,
)
from relad_bids.bids.images import require_readable
from relad_bids.errors import DataError, GridMismatchError, ImageError, ReladError
from relad_bids.sessions import Derived, Reused, Unit

OWN_SPACE = (None, "T1w", "orig")
"""``space-`` of what lies on the T1w itself."""

_HDF5 = b"\x89HDF\r\n\x1a\n"


def find_reused(
    units: Sequence[Unit], *, derivatives: Mapping[str, Path], space: str
) -> tuple[dict[str, Reused], dict[str, str]]:
    """Look for what takes the place of bias correction, brain extraction and warp.

    ``*_desc-preproc_T1w``, ``*_desc-brain_mask`` and ``*_from-T1w_to-<space>_mode-image_xfm.h5``
    with its way back. All come from the first dataset that has any of them: what was made
    together fits together. What lies outside sessions serves participants with one session.

    Parameters
    ----------
    space
        The checkpoint's; transforms to any other are of no use here.

    Returns
    -------
    Session label -> what is there, and session label -> why what is there cannot be used.
    """
    lone = lone_subjects(units)
    found: dict[str, Reused] = {}
    refused: dict[str, str] = {}
    for unit in units:
        try:
            if reused := _reused(unit, derivatives, space, alone=unit.subject in lone):
                found[unit.label] = reused
        except ReladError as error:
            refused[unit.label] = str(error)
    return found, refused


def _reused(
    unit: Unit, derivatives: Mapping[str, Path], space: str, *, alone: bool
) -> Reused | None:
    for name, root in derivatives.items():
        for folder, head in anat_folders(root, unit, alone=alone):
            images = {
                key: _only(unit, named(folder, head, rf"{tail}\.nii\.gz", spaces=OWN_SPACE))
                for key, tail in (("t1w", "desc-preproc_T1w"), ("mask", "desc-brain_mask"))
            }
            ways = {
                key: _only(unit, named(folder, head, rf"{tail}_mode-image_xfm\.h5", spaces=[None]))
                for key, tail in (
                    ("to_template", f"from-T1w_to-{space}"),
                    ("from_template", f"from-{space}_to-T1w"),
                )
            }
            if not all(ways.values()):
                ways = {}
            files = {key: path for key, path in {**images, **ways}.items() if path}
            if files:
                _check(unit, files)
                return Reused(
                    **{key: Derived(p, name, uri(name, root, p)) for key, p in files.items()}
                )
    return None


def _only(unit: Unit, paths: Sequence[Path]) -> Path | None:
    """The one file of a kind; of several that of the run in use."""
    if len(paths) > 1:
        paths = [p for p in paths if entity(p, "run") == entity(unit.t1w, "run")] or paths
    if len(paths) > 1:
        raise DataError(
            f"has {len(paths)} files of one kind among derivatives "
            f"({', '.join(path.name for path in paths)}), and which of them belongs to "
            f"{unit.t1w.name} is not known. Leave one, or use --reuse labels."
        )
    return paths[0] if paths else None


def _check(unit: Unit, files: Mapping[str, Path]) -> None:
    """Refuse files that are not whole, or do not lie on the T1w."""
    for key, path in files.items():
        if key in ("t1w", "mask"):
            require_readable(path)
        else:
            _require_hdf5(path)
    t1w = files.get("t1w", unit.t1w)
    if "mask" in files:
        _require_grid(files["mask"], t1w)
    if "t1w" in files and not overlapping(header_grid(t1w), header_grid(unit.t1w)):
        raise GridMismatchError(
            f"{t1w}: looked for the prepared {unit.t1w.name}, and this image lies elsewhere in "
            "the scanner: the middle of one is outside of the other. Needed are derivatives of "
            "this very T1w; give those, or use --reuse labels."
        )


def _require_grid(mask: Path, t1w: Path) -> None:
    try:
        header_grid(mask).require_same(header_grid(t1w), ours=mask.name, theirs=t1w.name)
    except GridMismatchError as error:
        raise GridMismatchError(
            f"{mask}: the brain mask does not lie on the T1w it is needed for: {error} Give "
            "derivatives that hold both, made together, or use --reuse labels."
        ) from error


def _require_hdf5(path: Path) -> None:
    """ITK's reader ends the whole process over a file that is cut short."""
    try:
        with path.open("rb") as file:
            start = file.read(48)
        held = path.stat().st_size
    except OSError as error:
        raise ImageError(f"{path}: the transform cannot be read: {error.strerror}.") from error
    if not start.startswith(_HDF5):
        raise ImageError(
            f"{path}: starts with {start[:8]!r}, needed is an ITK transform in HDF5. If it is a "
            "link of git-annex or DataLad, fetch the file; else use --reuse labels."
        )
    if held < (needed := _hdf5_bytes(start)):
        raise ImageError(
            f"{path}: holds {held} bytes of {needed}. The copy or download was cut short; fetch "
            "the file again, or use --reuse labels."
        )


def _hdf5_bytes(start: bytes) -> int:
    """End-of-file address of a superblock (HDF5 File Format Specification 3.0, II.A).

    Versions 0 and 1, and 2 and 3, keep it in different places; addresses of 8 bytes.
    """
    padded = start.ljust(48, b"\0")
    at = {0: 40, 1: 44}.get(padded[8], 28)
    return int.from_bytes(padded[at : at + 8], "little")
