"""Is this file a NIfTI image at all, and is it whole? Answered from its first bytes.

What people find under the name of an image: saved web pages, the text of a git-annex or Git LFS
link, files cut short. Each has its own cure, so each has its own message.
"""

from __future__ import annotations

import gzip
import re
import zlib
from math import prod
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np

from relad_bids.errors import ImageError
from relad_bids.untrusted import require_regular

_NIFTI1_BYTES, _NIFTI2_BYTES = 348, 540
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_MAX_OFFSET = 1 << 26
"""64 MiB: extensions of a header hold a protocol or a scene, not more."""

_LOOKALIKES = (
    (
        rb"\s*<(!doctype html|html)",
        "a web page",
        "The download saved the page about the file; download the file itself again.",
    ),
    (
        rb"\s*<\?xml",
        "an XML text, often the error message of a server",
        "Download the file again.",
    ),
    (
        rb"[^\n]*annex/objects/",
        "the text of a git-annex link",
        "The image itself is not here; get it with: datalad get {path}",
    ),
    (
        rb"version https://git-lfs",
        "a Git LFS pointer",
        "The image itself is not here; get it with: git lfs pull",
    ),
    (rb".{128}DICM", "a DICOM file", "Convert it with dcm2niix."),
)
"""First bytes (regular expression) -> what it looks like, what to do."""


def read_header(path: Path) -> nb.Nifti1Header:
    """Return the header of a NIfTI-1 or NIfTI-2 file as it stands, unchecked and unmended.

    Raises
    ------
    ImageError
        The file is not there or is something else.
    """
    block = _first_bytes(path)
    for pattern, what, todo in _LOOKALIKES:
        if re.match(pattern, block, re.IGNORECASE | re.DOTALL):
            raise ImageError(
                f"{path}: looks like {what}, needed is a NIfTI image. {todo.format(path=path)}"
            )
    if len(block) < _NIFTI1_BYTES:
        raise ImageError(
            f"{path}: holds {len(block)} bytes, but a NIfTI header alone takes {_NIFTI1_BYTES}. "
            f"The copy or download was cut short; fetch the file again."
        )
    if block[344:348] == b"n+1\0":
        return nb.Nifti1Header(block[:_NIFTI1_BYTES], check=False)
    if block[4:8] == b"n+2\0" and len(block) == _NIFTI2_BYTES:
        return nb.Nifti2Header(block, check=False)
    raise ImageError(
        f"{path}: has no NIfTI header (starts with {block[:8]!r}). Needed is a single-file NIfTI "
        f"image (.nii or .nii.gz); convert it again, for example with dcm2niix."
    )


def _first_bytes(path: Path) -> bytes:
    """Return up to 540 bytes of the image, unpacked where the file is compressed."""
    if path.is_symlink() and not path.exists():
        raise ImageError(
            f"{path}: is a link to a file that is not here ({path.readlink()}). Needed is the "
            f"image itself; in a DataLad dataset get it with: datalad get {path}"
        )
    try:
        require_regular(path)
        with path.open("rb") as file:
            block = file.read(_NIFTI2_BYTES)
        packed = block.startswith(_GZIP_MAGIC)
        if packed:
            with gzip.open(path) as file:
                block = file.read(_NIFTI2_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(
            f"{path}: cannot be read ({error}). Needed is a readable NIfTI image; check that it "
            f"is there and whole, or fetch it again."
        ) from error
    if packed != (path.suffix == ".gz") and b"n+" in block[:348]:
        found, name = ("compressed", ".nii.gz") if packed else ("not compressed", ".nii")
        raise ImageError(
            f"{path}: the file is {found}, but its name says otherwise. Needed is a name that "
            f"fits the content; rename it to end in {name}"
        )
    return block


def missing_bytes(path: Path, header: Any) -> str | None:
    """Say how much of the image a file that was cut short still holds; ``None`` if it is whole.

    A gzip file ends with its unpacked size, so one look settles the usual case. Only where that
    number does not fit (cut short, or packed in several members) the file is unpacked.
    """
    needed = _needed(header)
    if needed is None:
        return (
            f"says that its voxels begin at byte {header['vox_offset']:g}, which lies inside "
            "the header or nowhere near it. Convert the image again."
        )
    if path.suffix != ".gz":
        held = path.stat().st_size
    elif _size_in_trailer(path) == needed % 2**32:
        return None
    else:
        held = _unpacked_size(path, stop=needed)
    if held >= needed:
        return None
    return (
        f"holds {held / 1e6:.3g} MB of {needed / 1e6:.3g} MB. The copy or download was cut "
        f"short; fetch the file again."
    )


def _needed(header: Any) -> int | None:
    """Bytes up to the last voxel, unpacked; None where they begin nowhere near the header."""
    offset = int(np.nan_to_num(header["vox_offset"])) or int(header.single_vox_offset)
    if not header.single_vox_offset <= offset <= _MAX_OFFSET:
        return None
    return int(offset + prod(header.get_data_shape()) * header.get_data_dtype().itemsize)


def require_intact(path: Path) -> None:
    """Unpack a compressed file to its end, where its checksum stands (about 0.2 s for a T1w).

    Readers of images stop after the last voxel and never see the checksum.

    Raises
    ------
    ImageError
        The content is not what was packed.
    """
    if path.suffix != ".gz":
        return
    left = 2 * (_needed(read_header(path)) or 0) + _MAX_OFFSET
    try:
        with gzip.open(path) as file:
            while chunk := file.read1(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise OSError("it unpacks to more than twice what its header says")
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(
            f"{path}: the file is damaged ({error}), needed is the whole image as it was "
            f"packed. Fetch the file again."
        ) from error


def _size_in_trailer(path: Path) -> int:
    """Return ISIZE of RFC 1952: the unpacked size modulo 2**32."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")


def _unpacked_size(path: Path, *, stop: int) -> int:
    """Count the bytes that can be unpacked, giving up after ``stop``."""
    size = 0
    try:
        with gzip.open(path) as file:
            while size < stop and (chunk := file.read1(_CHUNK)):
                size += len(chunk)
    except (OSError, EOFError, zlib.error):
        return size
    return size
