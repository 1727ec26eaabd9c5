"""The columns of a VOI table and what they mean: values and meaning are written together.

Order and names are those of pet-quantification 6.2. Two more at the end: ``flags`` of the
closed vocabulary become ``qc_flags``, and ``statement`` carries the checkpoint's sentence, so
that a table that travels without its JSON still says what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from relad_bids import __version__
from relad_bids.core import brain_checks
from relad_bids.core.quality_columns import quality_warnings

RATIO, MM3 = "unitless", "mm^3"

COLUMNS: Mapping[str, dict[str, object]] = {
    "participant_id": {"Description": "Participant, with sub- prefix"},
    "session_id": {"Description": "Session, with ses- prefix"},
    "run": {"Description": "Run of the PET scan"},
    "tracer": {"Description": "Canonical tracer name"},
    "trc_label": {"Description": "Tracer as in the file name (trc-)"},
    "source": {
        "Description": "Where the image comes from",
        "Levels": {
            "synthetic": "estimated from MRI by a network; not a measurement",
            "real": "measured by a PET scanner",
        },
    },
    "checkpoint_id": {"Description": "Network that made the image: name-version+hash of weights"},
    "n_samples": {"Description": "Answers of the network averaged into the image"},
    "seed": {"Description": "Seed of this synthesis"},
    "atlas": {"Description": "Parcellation the labels come from"},
    "voi_source": {
        "Description": "How the labels reached the participant",
        "Levels": {
            "atlas-warped": "template labels through the participant's own registration, cut by "
            "the participant's tissue",
            "freesurfer": "FreeSurfer's labels of this T1w, as given",
            "fastsurfer": "FastSurfer's labels of this T1w, as given",
            "other": "any other word names the derivatives whose labels of this T1w were given",
            "mni": "masks of the template, read out there",
        },
    },
    "voi_space": {"Description": "Space and grid in which voxels were counted"},
    "family": {"Description": "Group of VOIs (tau staging, amyloid, tspo, single labels ...)"},
    "voi": {"Description": "Volume of interest"},
    "hemi": {
        "Description": "Side",
        "Levels": {"L": "left", "R": "right", "B": "both, or midline"},
    },
    "labels": {"Description": "Label numbers pooled, FreeSurfer's where `atlas` is a parcellation "
               "of FreeSurfer; n/a for a mask"},
    "labels_missing": {"Description": "Label numbers of the VOI that have no voxel here"},
    "n_voxels": {"Description": "Voxels of the VOI"},
    "volume_mm3": {"Description": "Volume of the VOI", "Units": MM3},
    "fov_fraction": {
        "Description": "Share of the VOI inside the field of view; where pvc is MG, of its grey "
        "matter", "Units": RATIO,
    },
    "mean": {"Description": "Mean of the image before division, in `unit`"},
    "median": {"Description": "Median of the image before division, in `unit`"},
    "sd": {"Description": "Voxel standard deviation before division, in `unit`"},
    "p05": {"Description": "5th percentile before division, in `unit`"},
    "p95": {"Description": "95th percentile before division, in `unit`"},
    "unit": {"Description": "Unit of mean, median, sd, p05, p95"},
    "suv_mean": {"Description": "Mean SUV; needs dose and weight", "Units": "g/mL"},
    "ref_region": {
        "Description": "Reference region: the denominator of every ratio. A VOI that was divided "
        "by another region than the tracer's has a row more, flagged second_reference"
    },
    "ref_method": {"Description": "How the reference region was drawn"},
    "ref_mean": {"Description": "Mean of the reference region, in `unit`"},
    "ref_volume_mm3": {"Description": "Volume of the reference region", "Units": MM3},
    "ref_cov": {
        "Description": "Coefficient of variation in the reference region", "Units": RATIO,
    },
    "suvr_mean": {"Description": "mean / ref_mean; already divided", "Units": RATIO},
    "suvr_median": {"Description": "median / ref_mean", "Units": RATIO},
    "suvr_sd": {"Description": "Voxel standard deviation / ref_mean", "Units": RATIO},
    "suvr_sd_samples": {
        "Description": "Standard deviation of suvr_mean over the network's samples; n/a for a "
        "network with one answer", "Units": RATIO,
    },
    "suvr_pi90_low": {"Description": "Lower bound of the calibrated 90 % interval"},
    "suvr_pi90_high": {"Description": "Upper bound of the calibrated 90 % interval"},
    "pvc": {
        "Description": "Partial volume correction. Corrected rows are secondary: choose one level "
        "of this column before values are averaged or compared",
        "Levels": {
            "none": "not corrected; the primary value",
            "GTM": "geometric transfer matrix (Rousset 1998)",
            "RBV": "region-based voxelwise correction (Thomas 2011)",
            "MG": "Mueller-Gaertner 1992; grey matter alone",
            "IY": "iterative Yang (Erlandsson 2012)",
        },
    },
    "pvc_fwhm_mm": {
        "Description": "Full width at half maximum of the PSF assumed by the correction",
        "Units": "mm",
    },
    "fwhm_mm": {
        "Description": "Resolution of the image that was quantified (FWHM; root mean square of "
        "its axes), after smoothing; n/a where it is not known",
        "Units": "mm",
    },
    "window_start_min": {"Description": "Start of the time window used", "Units": "min"},
    "window_end_min": {"Description": "End of the time window used", "Units": "min"},
    "window_coverage": {"Description": "Share of the tracer's window that was scanned"},
    "window_status": {"Description": "ok, partial, assumed, mismatch; measured PET only"},
    "centiloid": {"Description": "Only where tracer, VOI, reference and pipeline match"},
    "centiloid_pipeline": {
        "Description": "Key of the equation used; with `uncalibrated-pipeline` behind a semicolon "
        "until this processing has reproduced the published values of the scale's own scans"
    },
    "centaurz": {"Description": "CenTauR z; only where its masks were used"},
    "centaurz_mask": {"Description": "CenTauR mask used"},
    "qc_flags": {
        "Description": "`ok`, or semicolon-separated flags",
        "Levels": {
            "ref_fov": "reference region partly outside the field of view",
            "ref_small": "reference region below 10 mL",
            "voi_fov": "VOI partly outside the field of view",
            "voi_small": "VOI below 0.5 mL or 30 voxels",
            "labels_missing": "a label of the VOI has no voxel",
            "negative_voxels": "more than 1 % of the VOI's voxels are below 0, which no activity "
            "is",
            "labels_suspect": "the given labels and the white matter of the T1w overlap little",
            "window_mismatch": "frames cover less than a quarter of the tracer's window: no value",
            "window_partial": "frames cover a part of the tracer's window",
            "window_assumed": "the scan does not say when it was made; taken as the window",
            "scanrelative_fixed": "frame times counted from the start of the scan were shifted",
            "injection_unstated": "the sidecar gives no injection time; taken as TimeZero",
            "scan_start_given": "the user said when the scan started",
            "coreg_suspect": "the PET seems to lie elsewhere than the T1w; look at its picture",
            "motion_high": "frames were moved by more than 3 mm or 3 degrees",
            "units_unknown": "the unit of the image is not known; ratios do not need it",
            "nodecay": "the scanner's image was not corrected for decay",
            "decay_unknown": "not known whether decay was corrected; taken as corrected",
            "pseudo_reference": "the tracer has no region free of its target",
            "ligand_undeclared": "the network's training named a target and no ligand: windows, "
            "cut-offs and off-target regions of a ligand do not apply",
            "offtarget_risk": "region with known off-target binding of this tracer",
            "flair_missing": "synthesised without FLAIR",
            "flair_unusable": "there is a FLAIR, and it is damaged; not used",
            "second_reference": "divided by another region than the tracer's reference region; "
            "stands beside the primary row of the VOI",
            "pvc_unstable": "corrected for partial volume, and not to be trusted: at or below 0, "
            "or more than a tenth of the VOI or of the reference region lies in regions smaller "
            "than the point spread, or in which errors of the image grow more than fivefold",
            "lowres": "the image is less sharp than --pet-fwhm asks for; not smoothed",
            "single_sample": "one answer of the network; no spread is known",
            **brain_checks.FLAGS,
            **quality_warnings(),
        },
    },
    "ood_score": {"Description": "How unusual the MRI is for the network"},
    "ood_flag": {"Description": "Whether ood_score is beyond the network's limit"},
    "software_version": {"Description": "relad-bids version"},
    "statement": {"Description": "What must be known before the numbers are used"},
}  # fmt: skip

MEASURED_STATEMENT = (
    "Measured PET: regional means divided by the mean of the reference region, not corrected for "
    "partial volume; not for individual diagnosis."
)

SYNTHETIC_STATEMENT = (
    "Synthetic PET: estimated from MRI, not a measurement of the tracer in this person; not for "
    "individual diagnosis."
)

OFF_TARGET = {
    "flortaucipir": {"hippocampus", "striatum", "putamen", "caudate", "pallidum", "thalamus"},
    "mk6240": {"striatum"},
}
"""VOIs with known off-target binding (pet-quantification, sections 2 and 7.2)."""


def complete(
    table: pd.DataFrame, context: Mapping[str, object], *, flags: list[str]
) -> pd.DataFrame:
    """Give a VOI table its context columns, its flags and the order of :data:`COLUMNS`.

    Parameters
    ----------
    table
        From :func:`relad_bids.core.suvr.voi_table`, with its list column ``flags``.
    context
        Column -> one value for all rows; columns that nobody fills become n/a.
    flags
        Flags of the whole image, added to those of each row.
    """
    tracer = str(context.get("tracer", ""))
    off_target = OFF_TARGET.get(tracer, set())
    joined = [
        ";".join([*flags, *own, *(["offtarget_risk"] if _stem(voi) in off_target else [])]) or "ok"
        for own, voi in zip(table["flags"], table["voi"], strict=True)
    ]
    full = table.drop(columns="flags").assign(**context, qc_flags=joined)
    missing = {name: np.nan for name in COLUMNS if name not in full}
    return full.assign(**missing)[list(COLUMNS)]


def shared_flags(qc_flags: Iterable[str]) -> list[str]:
    """Flags that all rows of a table have: those of its image.

    >>> shared_flags(["motion_high;voi_small", "motion_high"])
    ['motion_high']
    """
    rows = [text.split(";") for text in qc_flags]
    return [flag for flag in rows[0] if flag != "ok" and all(flag in row for row in rows)]


def joined(blocks: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put completed tables below one another, with the columns of :data:`COLUMNS`."""
    if len(blocks) == 1:
        return blocks[0]
    # As objects: a column that is empty in one block would else change its type there.
    every = pd.concat([block.astype(object) for block in blocks], ignore_index=True)
    return every.infer_objects()


def _stem(voi: str) -> str:
    """``Left-Hippocampus`` and ``hippocampus`` are one structure."""
    return voi.rpartition("-")[2].lower()


def dictionary(*, statement: str, **facts: object) -> dict[str, object]:
    """The JSON beside a table: every column, and the statement a reader must see."""
    columns = described(COLUMNS)
    return {**columns, **GENERATED_BY, "SyntheticDataStatement": statement, **facts}


GENERATED_BY: Mapping[str, object] = {
    "GeneratedBy": [{"Name": "relad-bids", "Version": __version__}]
}
"""Of every dictionary."""


def described(columns: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Give the entries of a dictionary what all have (pet-quantification 6.4): a name in words,
    that the values are derived, and where a term is defined elsewhere, its address."""
    return {
        name: {
            "LongName": _long_name(name),
            **entry,
            "Derivative": True,
            **({"TermURL": TERMS[name]} if name in TERMS else {}),
        }
        for name, entry in columns.items()
    }


_GLOSSARY = "https://bids-specification.readthedocs.io/en/stable/glossary.html#objects"
TERMS: Mapping[str, str] = {
    "participant_id": f"{_GLOSSARY}.columns.participant_id",
    "session_id": f"{_GLOSSARY}.columns.session_id",
    "run": f"{_GLOSSARY}.entities.run",
    "trc_label": f"{_GLOSSARY}.entities.tracer",
    "voi_space": f"{_GLOSSARY}.entities.space",
    "unit": f"{_GLOSSARY}.metadata.Units",
    "centiloid": "https://doi.org/10.1016/j.jalz.2014.07.003",
    "centaurz": "https://doi.org/10.1002/dad2.12454",
    "CENTILOIDS": "https://doi.org/10.1016/j.jalz.2014.07.003",
    "CENTAURZ": "https://doi.org/10.1002/dad2.12454",
}
"""Column -> where it is defined: the glossary of BIDS, the papers of the scales."""


_WORDS = {
    "cov": "coefficient of variation", "fov": "field of view",
    "fwhm": "full width at half maximum", "hemi": "hemisphere", "id": "identifier", "min": "",
    "mm": "", "mm3": "", "n": "number of",
    "ood": "out of distribution", "p05": "5th percentile", "p95": "95th percentile",
    "pi90": "90 % interval", "pvc": "partial volume correction", "qc": "quality control",
    "ref": "reference region", "sd": "standard deviation", "suv": "standardised uptake value",
    "suvr": "standardised uptake value ratio", "trc": "tracer", "voi": "volume of interest",
}  # fmt: skip


def _long_name(column: str) -> str:
    """A column's name without abbreviations and unit.

    >>> _long_name("ref_volume_mm3")
    'Reference region volume'
    """
    words = [_WORDS.get(word, word) for word in column.split("_")]
    text = " ".join(word for word in words if word) or column
    return text[0].upper() + text[1:]
