"""The quality-control row of a session: what was used, what was found, what to look at."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from relad_bids.core import brain_checks as brain
from relad_bids.core.quality_columns import quality_columns, quality_warnings

QC_COLUMNS: Mapping[str, dict[str, object]] = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session"},
    "status": {
        "Description": "What became of the session",
        "Levels": {
            "ok": "tables were written",
            "skipped": "left out as asked (for example without FLAIR)",
            "failed": "could not be processed; `reason` says why",
        },
    },
    "flags": {
        "Description": "`ok`, or semicolon-separated flags; beside these, those of `qc_flags` in "
        "the VOI tables",
        "Levels": {
            "flair_missing": "the FLAIR that a synthesis would have seen is not there",
            "flair_unusable": "there is a FLAIR, and it is damaged; not used",
            **brain.FLAGS,
            **quality_warnings(),
        },
    },
    "reason": {
        "Description": "Why the session was left out or failed, or what of it was not done"
    },
    "t1w": {"Description": "T1w image used, relative to the dataset"},
    "flair": {"Description": "FLAIR image used, relative to the dataset"},
    "run_choice": {
        "Description": "How one of several runs of the T1w or FLAIR was chosen; n/a: nothing to "
        "choose among",
        "Levels": {
            "first": "lowest run number",
            "quality": "thinnest slices, among equals the lowest entropy focus criterion",
        },
    },
    "t1w_left": {"Description": "T1w runs not used, relative to the dataset; semicolons"},
    "flair_left": {"Description": "FLAIR runs not used, relative to the dataset; semicolons"},
    "t1w_run_quality": {
        "Description": "Largest voxel edge and entropy focus criterion (0 to 1; lower is better; "
        "Atkinson et al. 1997) of the T1w used, then of those in `t1w_left`; semicolons"
    },
    "flair_run_quality": {"Description": "The same of the FLAIR"},
    "reused": {
        "Description": "Steps that derivatives took the place of (bias-correction, brain-mask, "
        "warp) and their dataset, as step:dataset; semicolons"
    },
    "lesion_mask": {
        "Description": "Lesion left out of the warp's cost and of the intensity scale, BIDS URI"
    },
    "lesion_volume_ml": {"Description": "Its volume inside the brain", "Units": "mL"},
    "pet": {"Description": "Measured PET quantified, relative to the dataset; semicolons"},
    "pet_left": {
        "Description": "Measured PET that cannot be quantified, relative to the dataset; "
        "semicolons. The log says why"
    },
    "pet_nmi": {
        "Description": "Normalised mutual information of each measured PET and the T1w, 1 to 2; "
        "semicolons, in the order of `pet`"
    },
    "pet_nmi_margin": {
        "Description": "How much less it is at best if the PET is moved by 6 mm or 6 degrees; "
        "below 0 the PET would lie better there"
    },
    "pet_dice": {
        "Description": "Dice of the brain seen in the PET and the brain mask; uptake of the scalp "
        "lowers it"
    },
    "pet_shift_mm": {"Description": "Distance of the middles of both", "Units": "mm"},
    "pet_motion_mm": {"Description": "Largest shift of a frame", "Units": "mm"},
    "pet_motion_deg": {"Description": "Largest rotation of a frame", "Units": "degree"},
    "brain_volume_ml": {
        "Description": f"Volume of the brain mask; {brain.USUAL_ML[0]:.0f} to "
        f"{brain.USUAL_ML[1]:.0f} is usual", "Units": "mL",
    },
    "mask_method": {
        "Description": "How the brain was found",
        "Levels": {
            "already-stripped": "the T1w came without scalp; its tissue was kept",
            "template-head": "the template's outline, then the image itself",
            "template-head-unrefined": "the template's outline alone",
            "hd-bet": "HD-BET, installed by the user",
            "synthstrip": "SynthStrip, installed by the user",
        },
    },
    "mask_symmetry": {
        "Description": "Dice of the mask and its mirror image about the template's mid-plane; "
        f"{brain.LEAST_SYMMETRY:g} and more is usual"
    },
    "mask_overlap": {
        "Description": "Dice of the mask and the template's brain after an affine; "
        f"{brain.LEAST_OVERLAP:g} and more is usual"
    },
    "mask_cut": {
        "Description": "Area of the brain with no room for a skull before the image ends (without "
        "skull: in the outermost slice), as a share of its largest slice; up to "
        f"{brain.MOST_CUT:g} ({brain.MOST_CUT_STRIPPED:g}) is usual"
    },
    "mask_kept": {
        "Description": "Dice of the mask that follows the image and the template's outline it "
        f"began as; below {brain.LEAST_KEPT:g} the outline is used (`template-head-unrefined`). "
        "n/a for the masks of others"
    },
    "flair_cost": {"Description": "Cost of the FLAIR to T1w registration; lower is better"},
    "flair_init": {"Description": "First guess that led to the lowest cost"},
    **quality_columns(),
    "checkpoint_id": {"Description": "Network used"},
    "device": {"Description": "Where the network ran"},
    "software_version": {"Description": "relad-bids version"},
}  # fmt: skip


def qc_row(facts: Mapping[str, object]) -> pd.DataFrame:
    """One row with the columns of :data:`QC_COLUMNS`; what is not given becomes missing."""
    unknown = set(facts) - set(QC_COLUMNS)
    if unknown:
        raise KeyError(f"facts without a QC column: {sorted(unknown)}")
    return pd.DataFrame([{name: facts.get(name) for name in QC_COLUMNS}], columns=list(QC_COLUMNS))
