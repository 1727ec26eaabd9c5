"""What the JSON beside each derivative says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relad_bids import __version__
from relad_bids.core.columns import SYNTHETIC_STATEMENT
from relad_bids.model.card import Card

RAW = "bids:raw:"
"""Name of the input dataset in ``DatasetLinks``."""


def raw_uri(inside: str) -> str:
    """Name a file of the input dataset."""
    return f"{RAW}{inside}"


def sidecar(
    key: str, *, sources: list[str], space: str, resolution: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the sidecar of one product.

    Parameters
    ----------
    key
        One of :data:`relad_bids.bids.outputs.PRODUCTS`.
    sources
        BIDS URIs of what it was made from.
    space
        Template space, used where the name has ``space-`` of it.
    resolution
        Free text for ``Resolution``, used where the name has ``res-``.
    facts
        What this image alone can say (intensity scale, mask volume, network ...).
    """
    made: dict[str, Any] = {"Sources": sources, **_FIXED.get(key, {}), **facts}
    if key.endswith(("_mni", "_norm")):
        made |= {"Resolution": resolution, "SpatialReference": space}
    return made


def synthetic_facts(
    card: Card,
    *,
    tracer: str,
    radionuclide: str,
    reference: str,
    n_samples: int,
    steps: int,
    seed: int,
    device: str,
) -> dict[str, Any]:
    """What every file with synthetic uptake says of itself; nothing was injected, so no dose.

    Parameters
    ----------
    n_samples, steps
        Draws that were averaged, and calls of the network for each.
    seed
        Of this tracer of this session.
    """
    return {
        "Description": SYNTHETIC_STATEMENT,
        "Statement": card.statement,
        "Synthetic": True,
        "TracerName": tracer,
        "TracerRadionuclide": radionuclide,
        "Units": "unitless",
        "ModelName": "SUVR",
        "ReferenceRegion": reference,
        "SynthesisModel": {
            "Name": card.name,
            "Version": card.version,
            "Kind": card.kind,
            "WeightsSHA256": card.sha256,
            "Sampler": {**card.sampler, "steps": steps},
            "NumberOfSamples": n_samples,
            "Seed": seed,
            "Device": device,
            "TrainingData": dict(card.training),
            "Validation": dict(card.validation),
        },
        "SoftwareVersion": __version__,
    }


_FIXED: Mapping[str, dict[str, Any]] = {
    "t1w_preproc": {"SkullStripped": False, "Description": "T1w after N4 bias correction"},
    "brain_mask": {"SkullStripped": False, "Type": "Brain", "Description": "Brain, T1w grid"},
    "lesion_mask": {
        "SkullStripped": False,
        "Type": "Lesion",
        "Description": "Lesion as given, on the T1w grid: left out of the cost of the warp and "
        "of the percentiles of the intensity scale",
    },
    "flair_preproc": {
        "SkullStripped": False,
        "Description": "FLAIR after N4, rigidly on the T1w grid",
    },
    "t1w_mni": {"SkullStripped": False, "Description": "T1w after N4, one interpolation"},
    "flair_mni": {"SkullStripped": False, "Description": "FLAIR after N4, one interpolation"},
    "t1w_norm": {"SkullStripped": True, "Description": "T1w as the network saw it"},
    "flair_norm": {"SkullStripped": True, "Description": "FLAIR as the network saw it"},
    "mask_mni": {
        "SkullStripped": False,
        "Type": "Brain",
        "Description": "Brain on the grid of the network",
    },
    "dseg": {
        "SkullStripped": True,
        "Description": "FreeSurfer numbers, warped from the template, cut by the participant's "
        "tissue and, within 3 mm, extended to grey and white matter that had none; the labels "
        "every table of this session was made with",
    },
    "reference_mask": {
        "SkullStripped": True,
        "Type": "ROI",
        "Description": "Reference region as applied: its mean is SUVr 1",
    },
    "measured_mni": {"SkullStripped": False},
    "measured_t1w": {"SkullStripped": False},
    "petref": {
        "SkullStripped": False,
        "Description": "Mean of the frames in the tracer's window, corrected for decay",
    },
    "suvr_mni": {"SkullStripped": True},
    "suvr_t1w": {"SkullStripped": True},
    "suvr_sd_mni": {"SkullStripped": True},
}
