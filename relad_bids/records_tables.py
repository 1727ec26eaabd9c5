"""The JSON of a session's tables that say nothing of PET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relad_bids.core.columns import GENERATED_BY, described
from relad_bids.core.qc import QC_COLUMNS

MORPH_COLUMNS: Mapping[str, dict[str, object]] = {
    "index": {"Description": "Label number in the dseg image of the same name"},
    "name": {"Description": "Label"},
    "n_voxels": {"Description": "Voxels of the label, T1w grid"},
    "volume-mm3": {"LongName": "Volume", "Description": "Their volume", "Units": "mm^3"},
}


def table_dictionaries() -> dict[str, dict[str, Any]]:
    """Product -> the content of its JSON: every table has one (pet-quantification 6.4)."""
    return {
        "morph": {**described(MORPH_COLUMNS), **GENERATED_BY},
        "qc": {**described(QC_COLUMNS), **GENERATED_BY},
    }
