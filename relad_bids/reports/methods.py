"""The paragraph for a paper: what was done, with what, and whom to cite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from relad_bids.core.columns import SYNTHETIC_STATEMENT
from relad_bids.reports.methods_pet import (
    PACKAGED,
    UNCORRECTED,
    Corrected,
    MeasuredScan,
    Regions,
    correction_text,
    listed,
    measured_text,
    regions_text,
)

_FLAIR = (
    "FLAIR images were corrected for intensity non-uniformity in the same way and aligned with "
    "the T1w image by a rigid transform; both transforms were applied in one interpolation."
)
_NO_FLAIR = (
    "No usable FLAIR image was available in this session; the PET was estimated from the T1w "
    "image alone."
)


_TEMPLATES = {
    "MNI152NLin2009cAsym": "Fonov et al., 2009, NeuroImage",
    "MNI152NLin6Asym": "Evans et al., 2012, NeuroImage",
}


def methods_text(
    *,
    software_version: str,
    versions: Mapping[str, str],
    space: str,
    checkpoint: str,
    statement: str,
    references: Mapping[str, str],
    has_flair: bool,
    n_samples: int = 1,
    measured: Sequence[MeasuredScan] = (),
    pet2anat: str = "auto",
    regions: Regions = PACKAGED,
    corrected: Corrected = UNCORRECTED,
    replaced: Mapping[str, str] = MappingProxyType({}),
    lesion: bool = False,
) -> str:
    """Describe the processing of one session for a methods section.

    Parameters
    ----------
    software_version
        Of relad-bids.
    versions
        Package -> version; ``ants``, ``torch`` and ``nipype`` are named where they are given.
    space
        Template space, one of :data:`relad_bids.data.template.SPACES`.
    checkpoint, statement
        Label of the network's weights, and the sentence of their card.
    references
        Tracer -> reference region, for every tracer that was synthesised.
    has_flair
        Whether a FLAIR image was used.
    n_samples
        Answers of the network averaged into each image.
    measured
        Every measured PET.
    pet2anat
        How it was laid on the T1w: ``auto`` or ``identity``.
    regions, corrected
        Where regions come from, and what was done about partial volume.
    replaced
        Step (``bias-correction``, ``brain-mask``, ``warp``) -> derivatives that took its place.
    lesion
        Whether a lesion mask was heeded.

    Returns
    -------
    str
        Paragraphs separated by an empty line.
    """
    flair = (_FLAIR if has_flair else _NO_FLAIR) if references else ""
    parts = [_preparation(software_version, versions, space), _changes(replaced, lesion), flair]
    paragraphs = [" ".join(part for part in parts if part)]
    if references:
        paragraphs.append(_synthesis(versions, checkpoint, references, n_samples))
    if measured:
        paragraphs.append(measured_text(measured, pet2anat=pet2anat))
    every = {**{scan.tracer: scan.reference for scan in measured}, **references}
    ratio = _ratio(every, synthetic=bool(references))
    paragraphs.append(f"{ratio} {regions_text(regions)} {correction_text(corrected)}")
    if references:
        paragraphs.append(f"{SYNTHETIC_STATEMENT} {statement}".strip())
    return "\n\n".join(paragraphs)


def _preparation(version: str, versions: Mapping[str, str], space: str) -> str:
    return (
        f"Images were processed with relad-bids {version}, a BIDS App (Gorgolewski et al., 2017, "
        f"PLOS Computational Biology) built on Nipype{_of(versions, 'nipype')} (Gorgolewski et "
        f"al., 2011, Frontiers in Neuroinformatics). The T1w image was corrected for intensity "
        f"non-uniformity with N4 (Tustison et al., 2010, IEEE Transactions on Medical Imaging), "
        f"its brain was extracted, and it was registered to the template {space} "
        f"({_TEMPLATES[space]}) with symmetric diffeomorphic normalisation (Avants et al., 2008, "
        f"Medical Image Analysis), all as implemented in ANTs{_of(versions, 'ants')}."
    )


_STEPS = {
    "bias-correction": "the corrected T1w",
    "brain-mask": "the brain mask",
    "warp": "the transforms to the template and back",
}


def _changes(replaced: Mapping[str, str], lesion: bool) -> str:
    """What was done otherwise in this session."""
    parts = []
    if replaced:
        taken = listed([_STEPS[step] for step in replaced])
        sources = listed(sorted(set(replaced.values())))
        parts.append(
            f"Not so in this session: {taken} came from the derivatives {sources}, in place of "
            "own steps."
        )
    if lesion:
        parts.append(
            "Voxels of the lesion mask that was given were left out of the cost of the "
            "registration (Brett et al., 2001, NeuroImage) and of the intensity percentiles."
        )
    return " ".join(parts)


def _synthesis(
    versions: Mapping[str, str], checkpoint: str, references: Mapping[str, str], n_samples: int
) -> str:
    averaged = (
        "one answer of the network" if n_samples == 1
        else f"the mean of {n_samples} samples of the network"
    )  # fmt: skip
    return (
        f"Synthetic PET of {listed(list(references))} was estimated from MRI with the checkpoint "
        f"{checkpoint}, following RelA-Diffusion (Yu et al., 2026, arXiv 2602.21345), in "
        f"PyTorch{_of(versions, 'torch')} (Paszke et al., 2019, NeurIPS) with MONAI (Cardoso et "
        f"al., 2022, arXiv 2211.02701). Each image is {averaged}."
    )


def _ratio(references: Mapping[str, str], *, synthetic: bool) -> str:
    named = listed([f"{region} ({tracer})" for tracer, region in references.items()])
    undone = (
        "The network's intensities were turned back into uptake before any ratio was formed, and "
        "brought to the T1w image. "
    )
    return (
        f"{undone if synthetic else ''}Standardised uptake value ratios (SUVr) are regional means "
        f"divided by the mean of the reference region: {named}."
    )


def _of(versions: Mapping[str, str], package: str) -> str:
    return f" {versions[package]}" if package in versions else ""
