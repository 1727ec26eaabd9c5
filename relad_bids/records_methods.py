"""What a session's paragraph for a paper says, decided by what goes into the session."""

from __future__ import annotations

from importlib.metadata import version

from relad_bids import __version__
from relad_bids.config import Config
from relad_bids.masks import OF_TARGET
from relad_bids.model.card import Card
from relad_bids.records_secondary import masks_of, measured_pvc, synthetic_pvc
from relad_bids.reports.methods_pet import Corrected, MeasuredScan, Regions
from relad_bids.sessions import Measured, Unit
from relad_bids.tables import tracers
from relad_bids.vois import GEOMETRIC, reference_of_tracer


def methods(unit: Unit, card: Card, config: Config) -> str:
    """The paragraph for a paper."""
    from relad_bids.reports.methods import methods_text

    packages = {"ants": "antspyx", "torch": "torch", "nipype": "nipype"}
    return methods_text(
        software_version=__version__,
        versions={name: version(package) for name, package in packages.items()},
        space=card.space,
        checkpoint=card.label,
        statement=card.statement,
        references={t: reference_of_tracer(t, config.reference) for t in unit.tracers},
        measured=[_measured(pet, config) for pet in unit.measured],
        pet2anat=config.pet2anat,
        regions=_regions(unit, config),
        corrected=_corrected(unit, card, config),
        has_flair=unit.flair is not None,
        n_samples=config.n_samples,
        replaced={step: derived.source for step, derived in unit.reused.steps().items()},
        lesion=unit.lesion is not None,
    )


def _measured(pet: Measured, config: Config) -> MeasuredScan:
    told = pet.reading.columns
    return MeasuredScan(
        tracer=pet.tracer,
        reference=reference_of_tracer(pet.tracer, config.reference),
        window_min=(float(told["window_start_min"] or 0), float(told["window_end_min"] or 0)),
        assumed=told["window_status"] == "assumed",
        n_frames=pet.reading.n_frames,
        smoothed_mm=pet.sharpness.target_mm,
    )


def _regions(unit: Unit, config: Config) -> Regions:
    tracers_used = {*unit.tracers, *(pet.tracer for pet in unit.measured)}
    targets = {tracers()[name].target for name in tracers_used if masks_of(name, config)}
    scales = [scale.family for target, scale in OF_TARGET.items() if target in targets]
    geometric = {reference_of_tracer(name, config.reference) for name in tracers_used}
    return Regions(
        labels=unit.labels.source if unit.labels else "",
        atlases=tuple((atlas.label, len(atlas.regions)) for atlas in unit.atlases),
        cut=config.atlas_cut == "gm",
        suit=unit.suit is not None and GEOMETRIC in geometric,
        scales=tuple(scales),
    )


def _corrected(unit: Unit, card: Card, config: Config) -> Corrected:
    asked = {f"measured {pet.tracer}": measured_pvc(pet, config) for pet in unit.measured}
    if unit.tracers:
        asked["synthetic PET"] = synthetic_pvc(card, config)
    return Corrected(
        method=config.pvc,
        widths_mm={pet: told["fwhm_mm"] for pet, told in asked.items() if "method" in told},
        reasons={pet: told["reason"] for pet, told in asked.items() if "reason" in told},
    )
