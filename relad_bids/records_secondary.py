"""What stands beside the primary rows of a table: corrections, scales, second references."""

from __future__ import annotations

from typing import Any

from relad_bids.config import Config
from relad_bids.core.correction import NAMES
from relad_bids.masks import OF_TARGET, find_masks, why_no_scale
from relad_bids.model.card import Card
from relad_bids.pet.sharpness import FIELD
from relad_bids.sessions import Measured
from relad_bids.tables import tracers
from relad_bids.vois import second_references


def training_fwhm(card: Card) -> float | None:
    """Resolution of the images a network learned from, in mm; None where its card lacks it.

    The training writes it with its data where all images have one; a card may have it above.
    """
    told = card.training.get(FIELD) or card.training.get("data", {}).get(FIELD)
    return float(told) if isinstance(told, int | float) else None


def synthetic_pvc(card: Card, config: Config) -> dict[str, Any]:
    """How a synthetic image is corrected, as :func:`measured_pvc`; by its training's PSF alone."""
    missing = (
        f"a synthetic image has the resolution of its training, and the card of {card.name} "
        f"does not say {FIELD}: images of one resolution were not asked for, or are not known"
    )
    return _pvc(config, training_fwhm(card), missing)


def measured_pvc(pet: Measured, config: Config) -> dict[str, Any]:
    """How a measured image is corrected.

    Returns
    -------
    dict
        ``method`` and ``fwhm_mm``; with a ``reason`` alone where it was asked for and cannot be;
        empty where it was not asked for.
    """
    missing = (
        f"the resolution of the scan is not known: needed is {FIELD} in its sidecar, a row in "
        "--pet-psf-tsv, or --pvc-fwhm"
    )
    return _pvc(config, config.pvc_fwhm or pet.sharpness.fwhm_mm, missing)


def _pvc(config: Config, fwhm_mm: float | None, missing: str) -> dict[str, Any]:
    if config.pvc == "none":
        return {}
    return {"reason": missing} if fwhm_mm is None else {"method": config.pvc, "fwhm_mm": fwhm_mm}


def pvc_columns(pvc: dict[str, Any], statement: str) -> dict[str, Any]:
    """Columns of the corrected rows, given the statement of the others; empty without any."""
    if "method" not in pvc:
        return {}
    name, width = NAMES[pvc["method"]], pvc["fwhm_mm"]
    said = (
        f"Corrected for partial volume ({name}, PSF assumed {width:g} mm wide): secondary to the "
        "uncorrected value, never to be mixed with it."
    )
    plain = statement.replace(", not corrected for partial volume", "")
    return {"pvc": name, "pvc_fwhm_mm": width, "statement": f"{said} {plain}"}


def masks_of(tracer: str, config: Config) -> dict[str, str]:
    """Masks of the tracer's scale, name -> file; empty where none were given."""
    scale = OF_TARGET.get(tracers()[tracer].target)
    folders = {"centiloid": config.centiloid_dir, "centaur": config.centaur_dir}
    folder = folders[scale.family] if scale else None
    if scale is None or folder is None:
        return {}
    return {name: str(path) for name, path in find_masks(scale, folder).items()}


def table_facts(tracer: str, pvc: dict[str, Any], config: Config) -> dict[str, Any]:
    """What the JSON beside a table says of rows that are there or are not."""
    facts: dict[str, Any] = {}
    if seconds := second_references(tracer, config.reference):
        facts["SecondReferenceRegions"] = list(seconds)
    if "reason" in pvc:
        facts["PartialVolumeCorrection"] = {"Method": "none", "Reason": pvc["reason"]}
    scale = OF_TARGET.get(tracers()[tracer].target)
    masks = masks_of(tracer, config)
    if reason := why_no_scale(tracer, with_masks=bool(masks)):
        facts["NoScale"] = reason
    elif scale:
        facts["Scale"] = {
            "Name": scale.name,
            "Pipeline": scale.pipeline,
            "ReadOut": "PET resampled linearly onto the grid of the masks, rows of family "
            f"{scale.family}; rows of labels have none, since no equation was made for them",
            "Calibration": "none: this processing has not been run on the scale's own scans, so "
            "that values are uncalibrated",
        }
    return facts
