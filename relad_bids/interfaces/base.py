"""What the steps share: typed reading and writing of NIfTI, and file names in errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np
from numpy.typing import NDArray

from relad_bids.bids.headers import missing_bytes, read_header, require_intact
from relad_bids.core.grid import Grid
from relad_bids.errors import ImageError, OutputError, ReladError
from relad_bids.files import writing


@contextmanager
def naming_files(**files: object) -> Iterator[None]:
    """Complete an error of the core, which knows no files, with the files it was about."""
    try:
        yield
    except ReladError as error:
        for role, file in files.items():
            error.add_note(f"{role}: {file}")
        raise


def load(path: str) -> tuple[NDArray[np.float32], Grid]:
    """Read an image as float32 (I, J, K) and its grid; trailing singleton axes are dropped."""
    image = nb.Nifti1Image.from_filename(path)
    grid = grid_of_file(path)
    return np.asarray(image.get_fdata(dtype=np.float32)).reshape(grid.shape), grid


def grid_of_file(path: str) -> Grid:
    """Read where the voxels of an image are, from its header alone."""
    image = nb.Nifti1Image.from_filename(path)
    i, j, k = image.shape[:3]
    return Grid(shape=(i, j, k), affine=image.affine)


def voxel_text(path: str) -> str:
    """Voxel sizes of an image in words, e.g. ``0.9 x 0.9 x 5.5 mm``."""
    sizes = np.linalg.norm(grid_of_file(path).affine[:3, :3], axis=0)
    return " x ".join(f"{size:.3g}" for size in sizes) + " mm"


def load_labels(path: str) -> tuple[NDArray[np.int32], Grid]:
    """Read an image of label numbers."""
    data, grid = load(path)
    return np.rint(data).astype(np.int32), grid


def load_on(grid: Grid, path: str, *, ours: str, theirs: str) -> NDArray[np.float32]:
    """Read an image that must lie on ``grid``."""
    data, found = load(path)
    grid.require_same(found, ours=ours, theirs=theirs)
    return data


def save(path: Path, data: NDArray, grid: Grid) -> str:
    """Write an image; both NIfTI codes say "aligned", so that every reader agrees.

    ``gzip`` would otherwise write the time of day into the header: nibabel sets it to 0.
    """
    image = nb.Nifti1Image(data, grid.affine)
    image.set_sform(grid.affine, code=2)
    image.set_qform(grid.affine, code=2)
    image.header.set_xyzt_units("mm", "sec")
    with writing(path):
        image.to_filename(path)
    return str(path)


def write_image(image: Any, path: str) -> None:
    """Write an image of ANTs, and read it back: ITK says nothing of a disk that is full.

    A file that was cut short would be taken for the step's result by every later run.
    """
    image.to_filename(path)
    try:
        require_intact(Path(path))
        if missing := missing_bytes(Path(path), read_header(Path(path))):
            raise ImageError(missing)
    except ImageError as error:
        raise OutputError(
            f"{path} was not written whole; the disk of the work folder is probably full "
            f"({error}). Make room, and run the same command again."
        ) from None  # the first error of a chain is the one that is told


def out_path(runtime: Any, name: str) -> Path:
    """A file in the node's own folder, never beside the input."""
    return Path(runtime.cwd) / name


def grid_from(spec: Mapping[str, Any]) -> Grid:
    """Rebuild a grid from plain lists, as node inputs carry it."""
    return Grid(shape=tuple(spec["shape"]), affine=np.array(spec["affine"], dtype=float))
