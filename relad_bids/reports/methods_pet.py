"""What a methods section says of PET: measured scans, regions, corrections, scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_LABEL_MAKERS = {
    "freesurfer": "FreeSurfer (Fischl et al., 2002, Neuron)",
    "fastsurfer": "FastSurfer (Henschel et al., 2020, NeuroImage)",
}

_CORRECTIONS = {
    "gtm": "the geometric transfer matrix (GTM; Rousset et al., 1998, Journal of Nuclear "
    "Medicine)",
    "rbv": "region-based voxelwise correction (RBV; Thomas et al., 2011, European Journal of "
    "Nuclear Medicine and Molecular Imaging)",
    "mg": "the method of Mueller-Gaertner et al. (1992, Journal of Cerebral Blood Flow and "
    "Metabolism)",
    "iy": "the iterative Yang method (Erlandsson et al., 2012, Physics in Medicine and Biology)",
}

SCALES = {
    "centiloid": "Centiloid (Klunk et al., 2015, Alzheimer's & Dementia)",
    "centaur": "CenTauR z (Villemagne et al., 2023, Alzheimer's & Dementia: DADM)",
}

_LAID = {
    "auto": "The mean was laid on the T1w image by the better of two rigid registrations that "
    "started from the headers' positions and from the centres of mass (Mattes mutual information)",
    "identity": "The mean was taken to lie on the T1w image as the headers say",
}


@dataclass(frozen=True, kw_only=True)
class MeasuredScan:
    """One measured PET as a methods section tells of it."""

    tracer: str
    reference: str
    """Reference region."""
    window_min: tuple[float, float]
    """Minutes after injection that were averaged."""
    assumed: bool = False
    """Whether the scan does not say so itself."""
    n_frames: int = 1
    smoothed_mm: float | None = None
    """FWHM it was smoothed to; None where it was not."""


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """Partial volume correction of some images, or why there is none."""

    method: str = "none"
    widths_mm: Mapping[str, float] = field(default_factory=dict)
    """PET as it is called in the text -> PSF that was assumed, mm."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """PET -> why it was not corrected though that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Where regions come from."""

    labels: str = ""
    """What made the participant's own labels; empty for the packaged ones."""
    atlases: tuple[tuple[str, int], ...] = ()
    """Added atlases: name and how many regions."""
    cut: bool = True
    """Whether added atlases were cut by the participant's grey matter."""
    suit: bool = False
    """Whether the inferior cerebellum was drawn by the lobules of SUIT."""
    scales: tuple[str, ...] = ()
    """``centiloid``, ``centaur``: scales that were read out in masks the user gave."""


PACKAGED, UNCORRECTED = Regions(), Corrected()
"""Packaged labels and nothing added; no correction asked for."""


def measured_text(scans: Sequence[MeasuredScan], *, pet2anat: str) -> str:
    """How measured PET became one image on the T1w.

    Parameters
    ----------
    pet2anat
        ``auto`` or ``identity``.
    """
    windows = listed([f"{_minutes(scan)} ({scan.tracer})" for scan in scans])
    parts = [
        f"Measured PET was averaged over {windows} minutes after injection, frames weighted by "
        "the seconds that fall into it."
    ]
    if assumed := [scan.tracer for scan in scans if scan.assumed]:
        parts.append(
            f"The scan of {listed(assumed)} does not say when it was made; it was taken to be of "
            "that window."
        )
    applied = "it was applied"
    if moved := [scan for scan in scans if scan.n_frames > 1]:
        which = "" if len(moved) == len(scans) else f" of {listed([s.tracer for s in moved])}"
        parts.append(
            f"To correct for motion, frames{which} were laid on their mean, twice, by rigid "
            "transforms (Mattes et al., 2003, IEEE Transactions on Medical Imaging)."
        )
        applied = "all transforms were applied"
    parts.append(f"{_LAID[pet2anat]}, and {applied} in one linear interpolation.")
    if smooth := [scan for scan in scans if scan.smoothed_mm]:
        widths = listed([f"{scan.smoothed_mm:g} mm ({scan.tracer})" for scan in smooth])
        parts.append(
            f"Images were smoothed from their native resolution to a common one, FWHM {widths} "
            "(Joshi et al., 2009, NeuroImage)."
        )
    return " ".join(parts)


def _minutes(scan: MeasuredScan) -> str:
    first, last = scan.window_min
    return f"{first:g} to {last:g}"


def regions_text(regions: Regions) -> str:
    """Labels, what was added to them, and scales."""
    drawn = (
        "warped from the template, cut by the participant's own tissue and extended to it by "
        "at most 3 mm"
    )
    if regions.labels:
        maker = _LABEL_MAKERS.get(regions.labels, f"the derivatives {regions.labels}")
        drawn = f"of the participant's own T1w image as given by {maker}"
    parts = [
        f"Regions follow FreeSurfer's label numbers (Desikan et al., 2006, NeuroImage), {drawn}."
    ]
    if regions.suit:
        parts.append(
            "The inferior cerebellum was drawn by the lobules of SUIT (Diedrichsen et al., 2009, "
            "NeuroImage)."
        )
    if regions.atlases:
        named = listed([f"{name} ({n} regions)" for name, n in regions.atlases])
        cut = " and cut by the participant's grey matter" if regions.cut else ""
        parts.append(f"The same was done in {named}, warped from their template{cut}.")
    if regions.scales:
        names = listed([SCALES[name] for name in regions.scales])
        parts.append(
            f"Values of {names} were read out in that scale's own masks in template space; this "
            "processing has not been run on the scale's own scans."
        )
    return " ".join(parts)


def correction_text(corrected: Corrected) -> str:
    """Partial volume correction: how, of which images, or that there was none."""
    parts = []
    if corrected.widths_mm:
        widths = listed([f"{width:g} mm ({pet})" for pet, width in corrected.widths_mm.items()])
        parts.append(
            "Values without and with a correction for partial volume are given; the first ones "
            f"are primary. Corrected was by {_CORRECTIONS[corrected.method]}, with a point "
            f"spread function whose FWHM was taken as {widths}."
        )
        if any(pet.startswith("synthetic") for pet in corrected.widths_mm):
            parts.append("That of a synthetic image is the one of its network's training.")
    for pet, reason in corrected.reasons.items():
        parts.append(f"No correction was made of {pet}: {reason}.")
    return " ".join(parts) or "No partial volume correction was made."


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
