"""Files that are whole or absent, and the same bytes for the same content."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.core.grid import Grid

_INT16_TOP = 32000
_DATA_OFFSET = 352
_RAS_MM = 1
"""NIfTI code for scanner coordinates."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside ``path``, then rename: a crash leaves no half file under the final name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_tsv(path: Path, table: pd.DataFrame) -> None:
    """Write tab-separated, missing as ``n/a``, eight significant digits."""
    text = table.to_csv(
        sep="\t", index=False, na_rep="n/a", float_format="%.8g", lineterminator="\n"
    )
    write_text(path, text)


def write_image(path: Path, data: NDArray, grid: Grid, *, frame_s: float = 0.0) -> None:
    """Write a ``.nii.gz``; floating values become int16 with a slope, as scanners store them.

    Labels and masks keep their integer type; (I, J, K, 1, 3) float data is a displacement
    field in RAS mm and keeps float32.

    Parameters
    ----------
    frame_s
        Duration of a frame, for 4-D data.
    """
    stored, slope = _storable(data)
    header = nb.Nifti1Header()
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_xyzt_units("mm", "sec")
    header.set_qform(grid.affine, code=_RAS_MM)
    header.set_sform(grid.affine, code=_RAS_MM)
    header.set_slope_inter(slope, 0.0)
    if data.ndim == 4:
        header["pixdim"][4] = frame_s
    if data.ndim == 5:
        header.set_intent("vector")
    header["magic"] = b"n+1"
    header["vox_offset"] = _DATA_OFFSET
    # nibabel's own writer would choose the slope anew; the 4 bytes say: no extensions.
    content = bytes(header.binaryblock) + bytes(4) + stored.tobytes(order="F")
    # mtime 0 and no file name inside: the same content gives the same bytes.
    write_bytes(path, gzip.compress(content, compresslevel=4, mtime=0))


def _storable(data: NDArray) -> tuple[NDArray, float]:
    """Return the array to store and the factor that brings its values back."""
    if data.dtype == bool:
        return data.astype(np.uint8), 1.0
    if data.ndim == 5:
        return data.astype(np.float32), 1.0
    if not np.issubdtype(data.dtype, np.floating):
        return data, 1.0
    slope = float(np.float32(float(np.abs(data).max()) / _INT16_TOP)) or 1.0
    return np.rint(data / slope).astype(np.int16), slope
