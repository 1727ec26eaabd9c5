"""Can this image be used? Asked of every scan before anything is computed.

``require_readable`` looks at the header only (well under 5 ms) and is run on every scan;
``require_usable`` reads the voxels too. An error names the file, what was found, what is needed
and what to do, and lists everything that is wrong with a header at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from relad_bids.bids.headers import missing_bytes, read_header, require_intact
from relad_bids.core.grid import Grid
from relad_bids.errors import ImageError

MIN_VOXELS = 10
"""Fewest voxels along an axis that still show a head (thick clinical slices: about 20)."""

MAX_VOXELS = 2**30
"""Most voxels of a volume: a head at 0.25 mm. A header that says more is damaged or a trap, and
4 GB and more would be asked of the memory before anybody noticed."""

MAX_VOLUMES = 10_000
"""Most frames; an hour of PET in frames of half a second has 7,200."""

VOXEL_MM = (0.1, 15.0)
"""Voxel sizes that a scanner for people makes; outside it the unit is usually wrong."""

SAME_ORIENTATION_MM = 1.0
"""How far two descriptions of the orientation may put a corner apart: a voxel of a fine T1w.
Honest files differ by 1e-4 mm (float32 quaternions), a left-right flip by centimetres."""

FLAT = 0.01
"""Least volume of a voxel over the product of its edges: 1 for right angles, 0 for a plane."""

_UNREADABLE = (
    OSError, EOFError, ValueError, zlib.error, nb.filebasedimages.ImageFileError, HeaderDataError,
)  # fmt: skip
"""What nibabel raises where a file does not hold what its header says."""

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class ImageFacts:
    """What the header says of an image that can be used."""

    shape: tuple[int, int, int]
    zooms: tuple[float, float, float]
    """Voxel sizes along i, j, k in mm, from the affine."""
    axcodes: str
    """Directions that i, j, k grow towards, such as ``RAS`` or ``LIA``."""
    n_volumes: int
    """Volumes along the fourth and further axes; 1 for a 3-D image."""


def require_readable(path: Path, *, series: bool = False) -> ImageFacts:
    """Check the header of a NIfTI image and return what it says.

    Parameters
    ----------
    path
        A ``.nii`` or ``.nii.gz`` file. Trailing axes of length 1 do not count.
    series
        Accept more than one volume (dynamic PET).

    Raises
    ------
    ImageError
        The file is not there, is no NIfTI image or is cut short, or its header says something
        that cannot be used: not 3-D, too few voxels, voxel sizes no scanner makes, an affine
        that is missing, degenerate or contradicted by a second one.
    """
    header = read_header(path)
    problems = [*_shape_problems(header, series=series), *_type_problems(header)]
    if not problems:
        problems = list(_place_problems(header))
    if not problems and (missing := missing_bytes(path, header)):
        problems = [missing]
    if problems:
        raise ImageError("\n  ".join([f"{path}: the image cannot be used:", *problems]))
    affine = header.get_best_affine()
    i, j, k, *volumes = header.get_data_shape()
    x, y, z = map(float, _edges(affine))
    return ImageFacts((i, j, k), (x, y, z), "".join(nb.aff2axcodes(affine)), prod(volumes))


def require_usable(path: Path, *, series: bool = False) -> None:
    """Check header and voxels: ``require_readable``, then every voxel is read.

    Raises
    ------
    ImageError
        As ``require_readable``; or the file is damaged, or the voxels are not all finite, are
        all the same, or none is above 0.
    """
    require_readable(path, series=series)
    require_intact(path)
    n_voxels, n_bad, low, high = 0, 0, np.inf, -np.inf
    for volume in _volumes(path):
        finite = volume[np.isfinite(volume)]
        n_voxels, n_bad = n_voxels + volume.size, n_bad + volume.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if problem := _voxel_problem(n_voxels, n_bad, low, high):
        raise ImageError(f"{path}: {problem}")


def _volumes(path: Path) -> Iterator[NDArray[Any]]:
    """Yield one volume after the other: a dynamic PET need not fit into memory at once."""
    try:
        image: Any = nb.load(path, keep_file_open=True)
        if len(image.shape) == 3:
            yield np.asanyarray(image.dataobj)
            return
        for index in np.ndindex(image.shape[3:]):
            yield np.asanyarray(image.dataobj[(..., *index)])
    except _UNREADABLE as error:
        raise ImageError(
            f"{path}: the voxels cannot be read to the end ({error}). Needed is the whole "
            f"image; fetch the file again."
        ) from error


def _voxel_problem(n_voxels: int, n_bad: int, low: float, high: float) -> str | None:
    if n_bad:
        return (
            f"{n_bad} of {n_voxels} voxels ({n_bad / n_voxels:.2%}) are NaN or infinite, needed "
            f"are numbers everywhere. If they lie outside the head, set them to 0 "
            f"(fslmaths IN -nan OUT); otherwise convert the image again."
        )
    if low == high:
        return (
            f"every voxel is {low:g}, needed is an image of a head. The conversion or the "
            f"download lost it; convert or fetch it again."
        )
    if high <= 0:
        return (
            f"no voxel is above 0 (they range from {low:g} to {high:g}), needed is an image "
            f"whose tissue is positive. Its scale slope is probably wrong; convert it again."
        )
    return None


def _shape_problems(header: Any, *, series: bool) -> Iterator[str]:
    shape = header.get_data_shape()
    size = " x ".join(map(str, shape))
    if len(shape) < 3:
        yield f"is {len(shape)}-D ({size}), needed is a 3-D image; convert the whole volume."
        return
    if (n_volumes := prod(shape[3:])) != 1 and not series:
        yield (
            f"has {n_volumes} volumes ({size}), needed is one 3-D image. Average them or keep "
            f"one, or leave the file out with --bids-filter-file."
        )
    if prod(shape[:3]) > MAX_VOXELS or prod(shape[3:]) > MAX_VOLUMES:
        yield (
            f"says that it has {size} voxels, needed are at most {MAX_VOXELS:.2g} in a volume and "
            f"{MAX_VOLUMES:,} volumes. Its header is damaged; convert the image again."
        )
    if min(shape[:3]) < MIN_VOXELS:
        yield (
            f"is {size} voxels, needed are at least {MIN_VOXELS} along each axis. This looks "
            f"like a slice or a scout scan; leave it out with --bids-filter-file."
        )


def _type_problems(header: Any) -> Iterator[str]:
    try:
        kind = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        yield f"has a data type nobody knows ({error}); convert the image again."
        return
    if kind.kind not in "iuf":
        yield f"holds {kind} voxels, needed is one real number per voxel; convert it again."


def _place_problems(header: Any) -> list[str]:
    """Check voxel sizes and orientation; the later checks need the earlier ones to hold."""
    sizes = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    if not np.all(np.isfinite(sizes) & (sizes > 0)):
        return [
            f"has voxel sizes {_mm(sizes)}, needed are three numbers above 0. Convert the image "
            f"again from its source."
        ]
    affines, broken = _affines(header)
    if broken or not affines:
        return broken or [
            "says nothing about its orientation (qform_code and sform_code are 0), so left and "
            "right are unknown. Convert it again from its source, which knows."
        ]
    for name, affine in affines.items():
        broken += _affine_problems(name, affine)
    return broken or list(_disagreements(affines, sizes, header.get_data_shape()[:3]))


def _affines(header: Any) -> tuple[dict[str, Affine], list[str]]:
    """Return the affines that are switched on (code > 0), the one that counts first."""
    affines, broken = {}, []
    for name in ("sform", "qform"):
        if int(header[f"{name}_code"]) <= 0:
            continue
        try:
            affines[name] = np.asarray(getattr(header, f"get_{name}")(), dtype=np.float64)
        except (HeaderDataError, ValueError) as error:
            broken.append(f"has a {name} that is no orientation ({error}); convert it again.")
    return affines, broken


def _affine_problems(name: str, affine: Affine) -> list[str]:
    if not np.all(np.isfinite(affine)):
        return [f"has NaN or infinity in its {name}, needed are numbers; convert it again."]
    edges = _edges(affine)
    volume = abs(float(np.linalg.det(affine[:3, :3])))
    if volume <= FLAT * float(np.prod(edges)):
        return [
            f"has a {name} that cannot be inverted: its axes lie in one plane, needed are three "
            f"directions. Convert the image again."
        ]
    if edges.min() < VOXEL_MM[0] or edges.max() > VOXEL_MM[1]:
        return [
            f"has voxels of {_mm(edges)} ({name}), needed are {VOXEL_MM[0]:g} to "
            f"{VOXEL_MM[1]:g} mm. Its unit is probably not the millimetre; convert it again."
        ]
    return []


def _disagreements(
    affines: dict[str, Affine], sizes: NDArray[np.float64], shape: tuple[int, int, int]
) -> Iterator[str]:
    """Compare qform and sform; where there is one only, compare it with the voxel sizes."""
    corners = [Grid(shape, affine).corners_mm() for affine in affines.values()]
    apart = float(np.linalg.norm(corners[0] - corners[-1], axis=1).max())
    if apart > SAME_ORIENTATION_MM:
        yield (
            f"has a qform and an sform that put a corner {apart:.3g} mm apart (limit "
            f"{SAME_ORIENTATION_MM:g} mm), so programs disagree about its place, perhaps about "
            f"left and right. Find out which is true in a viewer, then make both equal: "
            f"fslorient -copysform2qform FILE keeps the sform, -copyqform2sform the qform."
        )
    name, affine = next(iter(affines.items()))
    stretch = float((np.abs(_edges(affine) - sizes) * shape).max())
    if len(affines) == 1 and stretch > SAME_ORIENTATION_MM:
        yield (
            f"has voxel sizes {_mm(sizes)} (pixdim), but {_mm(_edges(affine))} by its {name}: "
            f"{stretch:.3g} mm over the image (limit {SAME_ORIENTATION_MM:g} mm). Convert again."
        )


def _edges(affine: Affine) -> NDArray[np.float64]:
    """Return the voxel sizes along i, j, k, shape (3,), in mm."""
    return np.asarray(np.linalg.norm(affine[:3, :3], axis=0))


def _mm(sizes: NDArray[np.float64]) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes) + " mm"
