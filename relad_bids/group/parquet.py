"""Tables with types beside the TSV: the same rows, the same digits, missing values as null."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from relad_bids.core.columns import COLUMNS
from relad_bids.errors import UsageError
from relad_bids.files import rounded, whole

WORDS = (
    "participant_id", "session_id", "run", "tracer", "trc_label", "source", "checkpoint_id",
    "atlas", "voi_source", "voi_space", "family", "voi", "hemi", "labels", "labels_missing",
    "unit", "ref_region", "ref_method", "pvc", "window_status", "centiloid_pipeline",
    "centaurz_mask", "qc_flags", "software_version", "statement",
)  # fmt: skip
"""Columns of the long tables that hold text, even where it is made of digits, or missing."""
FLAGS = ("ood_flag",)
"""Those that are neither words nor numbers."""


def require_parquet() -> None:
    """Refuse ``--parquet`` before anything is computed where it cannot be written.

    Raises
    ------
    UsageError
        pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise UsageError(
            "--parquet needs the package pyarrow, which is not installed here. Install it "
            "(pip install 'relad-bids[parquet]'), or leave --parquet out; the same tables are "
            "written as TSV."
        )


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write the rows of a TSV beside it, with types: numbers rounded as there, words as text."""
    text = {name: object for name, kind in frame.dtypes.items() if kind == "category"}
    with whole(path.with_suffix(".parquet")) as part:
        rounded(frame.astype(text)).to_parquet(part, index=False)


def read_long(path: Path) -> pd.DataFrame:
    """Read a long table whole: words as text, everything else of the dictionary as numbers."""
    header = pd.read_csv(path, sep="\t", nrows=0).columns
    known = [name for name in header if name in COLUMNS and name not in FLAGS]
    kinds = {name: "str" if name in WORDS else "float64" for name in known}
    return pd.read_csv(
        path, sep="\t", na_values=["n/a"], keep_default_na=False, dtype=kinds, low_memory=False
    )
