"""What is written about one measured PET: columns, flags and sidecars known before the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relad_bids import __version__
from relad_bids.bids.outputs import bids_uri, product_path
from relad_bids.bids.sidecars import raw_uri, sidecar
from relad_bids.config import Config
from relad_bids.core.columns import MEASURED_STATEMENT, dictionary
from relad_bids.model.card import Card
from relad_bids.records import (
    atlas_of,
    inside,
    resolution_label,
    resolution_text,
    voi_columns,
)
from relad_bids.records_secondary import measured_pvc, table_facts
from relad_bids.sessions import Measured, Unit
from relad_bids.tables import tracers
from relad_bids.vois import PSEUDO_REFERENCE, reference_of_tracer

PRODUCTS = (
    "measured_mni", "measured_t1w", "measured_kinpar", "petref", "petref_to_t1w_xfm",
)  # fmt: skip
"""Named by the session of the PET, which may be another one than that of its MRI."""


def measured_context(pet: Measured, unit: Unit) -> dict[str, Any]:
    """Columns of a VOI table with one value for all its rows."""
    return {
        "participant_id": f"sub-{pet.subject}",
        "session_id": f"ses-{pet.session}" if pet.session else None,
        "run": pet.entities.get("run"),
        "tracer": pet.tracer,
        "trc_label": pet.entities["trc"],
        "source": "real",
        **voi_columns(unit),
        "unit": pet.reading.unit,
        "pvc": "none",
        "fwhm_mm": pet.sharpness.fwhm_mm,
        **pet.reading.columns,
        "software_version": __version__,
        "statement": MEASURED_STATEMENT,
    }


def measured_flags(pet: Measured) -> list[str]:
    """Flags that hold for the whole image."""
    pseudo = ["pseudo_reference"] if tracers()[pet.tracer].target in PSEUDO_REFERENCE else []
    return [*pet.reading.flags, *pet.sharpness.flags, *pseudo]


def measured_text(pet: Measured) -> str:
    """How a scan is averaged, and why there is no SUV, for the log."""
    told, reading = pet.reading.columns, pet.reading
    minutes = f"{told['window_start_min']:g}-{told['window_end_min']:g} min"
    parts = [f"{reading.n_frames} frames, {minutes} ({told['window_status']})", reading.note]
    parts.append(_resolution_text(pet))
    parts.append(f"no SUV: {reading.suv_reason}" if reading.suv_factor is None else "")
    return "; ".join(part for part in parts if part)


def _resolution_text(pet: Measured) -> str:
    sharp = pet.sharpness
    if sharp.native_mm is None:
        return ""
    native = " x ".join(f"{width:g}" for width in sharp.native_mm)
    done = f", smoothed to {sharp.target_mm:g} mm" if sharp.smooth else ""
    worse = ", less sharp than --pet-fwhm and left as it is" if sharp.flags else ""
    return f"resolution {native} mm by {sharp.source}{done}{worse}"


def measured_entities(pet: Measured, unit: Unit) -> dict[str, dict[str, str]]:
    """Product -> the entities that tell it from those of other scans and labels."""
    own = dict(pet.entities)
    return {**dict.fromkeys(PRODUCTS, own), "measured_kinpar": {**own, **atlas_of(unit)}}


def measured_path(key: str, pet: Measured, unit: Unit, card: Card) -> Path:
    """Where one derivative of a measured PET lies, relative to the output folder."""
    return product_path(
        key,
        pet.label,
        space=card.space,
        resolution=resolution_label(card),
        extra=measured_entities(pet, unit)[key],
    )


def measured_tables(pet: Measured, unit: Unit, card: Card) -> list[Path]:
    """All VOI tables of a measured PET."""
    where = {"space": card.space, "resolution": resolution_label(card)}
    more = [
        product_path(
            "measured_kinpar", pet.label, extra={**pet.entities, **atlas.entities}, **where
        )
        for atlas in unit.atlases
    ]
    return [measured_path("measured_kinpar", pet, unit, card), *more]


def measured_sidecars(
    pet: Measured, unit: Unit, card: Card, config: Config
) -> dict[str, dict[str, Any]]:
    """The JSON of every product of one measured PET."""
    raw = raw_uri(inside(config, pet.path))
    facts = _facts(pet, config)
    dseg = product_path(
        "dseg",
        unit.label,
        space=card.space,
        resolution=resolution_label(card),
        extra=atlas_of(unit),
    )
    sources = [raw, bids_uri(dseg)]

    def one(key: str, made_of: list[str], **more: Any) -> dict[str, Any]:
        return sidecar(
            key, sources=made_of, space=card.space, resolution=resolution_text(card), facts=more
        )

    beside = table_facts(pet.tracer, measured_pvc(pet, config), config)
    named = {key: facts[key] for key in ("TracerName", "TracerRadionuclide", "ReferenceRegion")}
    return {
        "measured_mni": one("measured_mni", sources, **facts),
        "measured_t1w": one("measured_t1w", sources, **facts, SpatialReference="orig"),
        "petref": one("petref", [raw], Units=pet.reading.unit, **_timing(pet)),
        "measured_kinpar": dictionary(
            statement=MEASURED_STATEMENT,
            Sources=sources,
            **named,
            **_timing(pet),
            **pet.sharpness.facts,
            **beside,
        ),
    }


def _facts(pet: Measured, config: Config) -> dict[str, Any]:
    known = tracers()[pet.tracer]
    return {
        "Description": MEASURED_STATEMENT,
        "Synthetic": False,
        "TracerName": known.name,
        "TracerRadionuclide": known.radionuclide,
        "Units": "unitless",
        "ModelName": "SUVR",
        "ReferenceRegion": reference_of_tracer(pet.tracer, config.reference),
        **_timing(pet),
        **pet.sharpness.facts,
        "SoftwareVersion": __version__,
    }


def _timing(pet: Measured) -> dict[str, Any]:
    told = pet.reading.columns
    return {
        "WindowStart": told["window_start_min"],
        "WindowEnd": told["window_end_min"],
        "WindowUnits": "min after injection",
        "WindowStatus": told["window_status"],
        "FramesAveraged": pet.reading.n_frames,
        "FrameWeights": list(pet.reading.weights),
    }
