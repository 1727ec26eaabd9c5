"""The paragraph for a paper: what was done, with what, and whom to cite."""

from __future__ import annotations

from collections.abc import Mapping

from relad_bids.core.columns import SYNTHETIC_STATEMENT

_FLAIR = (
    "FLAIR images were corrected for intensity non-uniformity in the same way and aligned with "
    "the T1w image by a rigid transform; both transforms were applied in one interpolation."
)
_NO_FLAIR = (
    "No FLAIR image was available in this session; the PET was estimated from the T1w image alone."
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

    Returns
    -------
    str
        Paragraphs separated by an empty line.
    """
    return "\n\n".join(
        [
            _preparation(software_version, versions, space, has_flair=has_flair),
            _synthesis(versions, checkpoint, references, n_samples),
            _quantification(references),
            f"{SYNTHETIC_STATEMENT} {statement}".strip(),
        ]
    )


def _preparation(version: str, versions: Mapping[str, str], space: str, *, has_flair: bool) -> str:
    return (
        f"Images were processed with relad-bids {version}, a BIDS App (Gorgolewski et al., 2017, "
        f"PLOS Computational Biology) built on Nipype{_of(versions, 'nipype')} (Gorgolewski et "
        f"al., 2011, Frontiers in Neuroinformatics). The T1w image was corrected for intensity "
        f"non-uniformity with N4 (Tustison et al., 2010, IEEE Transactions on Medical Imaging), "
        f"its brain was extracted, and it was registered to the template {space} "
        f"({_TEMPLATES[space]}) with symmetric diffeomorphic normalisation (Avants et al., 2008, "
        f"Medical Image Analysis), all as implemented in ANTs{_of(versions, 'ants')}. "
        f"{_FLAIR if has_flair else _NO_FLAIR}"
    )


def _synthesis(
    versions: Mapping[str, str], checkpoint: str, references: Mapping[str, str], n_samples: int
) -> str:
    averaged = (
        "one answer of the network" if n_samples == 1
        else f"the mean of {n_samples} samples of the network"
    )  # fmt: skip
    return (
        f"Synthetic PET of {_listed(list(references))} was estimated from MRI with the checkpoint "
        f"{checkpoint}, following RelA-Diffusion (Yu et al., 2026, arXiv 2602.21345), in "
        f"PyTorch{_of(versions, 'torch')} (Paszke et al., 2019, NeurIPS) with MONAI (Cardoso et "
        f"al., 2022, arXiv 2211.02701). Each image is {averaged}."
    )


def _quantification(references: Mapping[str, str]) -> str:
    regions = _listed([f"{region} ({tracer})" for tracer, region in references.items()])
    return (
        "The network's intensities were turned back into uptake before any ratio was formed, and "
        "brought to the T1w image. Standardised uptake value ratios (SUVr) are regional means "
        f"divided by the mean of the reference region: {regions}. Regions follow FreeSurfer's "
        "label numbers (Desikan et al., 2006, NeuroImage), warped from the template and cut by "
        "the participant's own tissue. No partial volume correction was made."
    )


def _of(versions: Mapping[str, str], package: str) -> str:
    return f" {versions[package]}" if package in versions else ""


def _listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
