"""What is written about a subject: the open columns and the hidden ones."""

from __future__ import annotations

import numpy as np

from relad_bids.phantom.latent import Subject
from relad_bids.phantom.pet import subject_scanner


def subject_name(subject: Subject) -> str:
    """Return ``sub-<label>``; the label does not depend on the number of subjects."""
    return f"sub-{subject.index + 1:03d}"


def body_weight_kg(subject: Subject) -> float:
    """Return the subject's weight, 42 to 140 kg, to 0.1 kg."""
    mean_kg = 82.0 if subject.sex == "M" else 69.0
    drawn = subject.generator("weight").normal(mean_kg, 11.0)
    return round(float(np.clip(drawn, 42, 140)), 1)


def genotype(subject: Subject) -> str:
    """Return the TSPO binding class (rs6971), ``HAB`` in 60 % or ``MAB``."""
    return "HAB" if subject.generator("genotype").random() < 0.6 else "MAB"


def participant(subject: Subject) -> dict[str, object]:
    """Return the subject's row of ``participants.tsv``; nothing of the truth."""
    rng = subject.generator("participant")
    score = 28.8 - 2.2 * subject.tau["braak5"] - 0.8 * subject.tau["braak3"]
    return {
        "participant_id": subject_name(subject),
        "age": round(subject.age, 1),
        "sex": subject.sex,
        "weight": body_weight_kg(subject),
        "apoe4": "yes" if subject.apoe4 else "no",
        "rs6971": genotype(subject),
        "mmse": int(np.clip(round(score + 1.2 * rng.standard_normal()), 5, 30)),
    }


def latents(subject: Subject) -> dict[str, object]:
    """Return the subject's hidden values, for the truth's ``participants.tsv``."""
    scanner = subject_scanner(subject)
    cortex = [lost for label, lost in subject.atrophy.items() if label > 1000]
    return {
        "participant_id": subject_name(subject),
        "amyloid": subject.amyloid,
        "amyloid_positive": int(subject.amyloid_positive),
        "tau_stage": subject.tau_stage,
        "tau_positive": int(subject.tau_positive),
        "tau_meta": subject.tau["braak4"],
        "atrophy": float(np.mean(cortex)),
        "ventricle_mm": subject.ventricle_mm,
        "wmh_ml": subject.wmh_ml,
        "icv_scale": subject.icv_scale,
        "fwhm_mm": scanner.fwhm_mm,
        "counts": scanner.counts,
    }
