"""Synthetic and measured SUVr of one session, region by region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relad_bids.core.columns import COLUMNS
from relad_bids.group.scans import Scans
from relad_bids.group.seen import SEEN_COLUMN, Checkpoints
from relad_bids.group.written import Table

KEYS = ["participant_id", "session_id", "tracer", "family", "voi", "hemi"]
SESSION = ["participant_id", "session_id", "run", "tracer"]

PAIRED_COLUMNS: Mapping[str, dict[str, Any]] = {
    **{name: dict(COLUMNS[name]) for name in (*SESSION, "family", "voi", "hemi", "ref_region")},
    "real_suvr": {"Description": "SUVr of measured PET, mean", "Units": "unitless"},
    "synthetic_suvr": {
        "Description": "SUVr of synthetic PET, mean; estimated from MRI, not a measurement",
        "Units": "unitless",
    },
    "difference": {"Description": "synthetic_suvr - real_suvr", "Units": "unitless"},
    "checkpoint_id": dict(COLUMNS["checkpoint_id"]),
    "seen_in_training": dict(SEEN_COLUMN),
    "real_flags": dict(COLUMNS["qc_flags"]),
    "synthetic_flags": dict(COLUMNS["qc_flags"]),
}


def paired_table(scans: Scans, checkpoints: Checkpoints) -> Table:
    """Pair primary rows by participant, session, tracer, region and reference region.

    Every run of measured PET is paired with the one synthetic image of its session.
    """
    rows = scans.primary
    values = [*KEYS, "ref_region", "suvr_mean", "qc_flags"]
    real = rows.loc[rows["source"] == "real", [*values, "run"]]
    synthetic = rows.loc[rows["source"] == "synthetic", [*values, "checkpoint_id"]]
    both = real.rename(columns={"suvr_mean": "real_suvr", "qc_flags": "real_flags"}).merge(
        synthetic.rename(columns={"suvr_mean": "synthetic_suvr", "qc_flags": "synthetic_flags"}),
        on=[*KEYS, "ref_region"],
    )
    both["difference"] = both["synthetic_suvr"] - both["real_suvr"]
    both["seen_in_training"] = checkpoints.seen(both)
    return Table("paired", both[list(PAIRED_COLUMNS)], PAIRED_COLUMNS)
