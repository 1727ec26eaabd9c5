"""One measured PET of a session: from its frames to its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nipype.interfaces.utility import Merge
from nipype.pipeline.engine import Node, Workflow

from relad_bids.config import Config
from relad_bids.core.columns import MEASURED_STATEMENT
from relad_bids.data.template import ATLAS_SPACE
from relad_bids.interfaces.correct import CorrectPartialVolume
from relad_bids.interfaces.missed import TellMissed
from relad_bids.interfaces.pet import RealignPET, RegisterPET, ResampleFrames, ScorePET
from relad_bids.interfaces.quantify import QuantifyPET
from relad_bids.model.card import Card
from relad_bids.records import Sidecars, resolution_label
from relad_bids.records_measured import (
    PRODUCTS,
    measured_context,
    measured_entities,
    measured_flags,
    measured_sidecars,
)
from relad_bids.records_secondary import masks_of, measured_pvc, pvc_columns
from relad_bids.sessions import Measured, Unit
from relad_bids.vois import reference_of_tracer, second_references
from relad_workflows.masks import add_masks
from relad_workflows.outputs import init_ds_node, reference_label
from relad_workflows.prepare import IMAGE_MEM_GB
from relad_workflows.quantify import CORRECT_MEM_GB, QUANTIFY_MEM_GB


def add_measured(
    workflow: Workflow,
    unit: Unit,
    card: Card,
    config: Config,
    *,
    pet: Measured,
    position: int,
    grid: dict[str, Any],
) -> None:
    """Add one measured PET to a session's graph: mean, on the T1w, SUVr, table, sink, page.

    Parameters
    ----------
    position
        Of the PET among all of the session's page, the synthetic ones included.
    grid
        Of the checkpoint, for the map in template space.
    """
    name = pet.node_name
    place = position - len(unit.tracers) + 1
    reference = reference_of_tracer(pet.tracer, config.reference)
    frames = {"in_file": str(pet.path), "weights": list(pet.reading.weights)}
    smoothed = {**frames, **({"smooth": pet.sharpness.smooth} if pet.sharpness.smooth else {})}
    pvc = measured_pvc(pet, config)
    realign = Node(RealignPET(**frames), name=f"realign_{name}", mem_gb=IMAGE_MEM_GB)
    register = Node(
        RegisterPET(method=config.pet2anat), name=f"register_{name}", mem_gb=IMAGE_MEM_GB
    )
    list_to_t1w = Node(Merge(1), name=f"list_to_t1w_{name}", run_without_submitting=True)
    list_to_grid = Node(Merge(2), name=f"list_to_grid_{name}", run_without_submitting=True)
    to_t1w = Node(ResampleFrames(**smoothed), name=f"to_t1w_{name}", mem_gb=IMAGE_MEM_GB)
    to_grid = Node(
        ResampleFrames(**smoothed, grid=grid), name=f"to_grid_{name}", mem_gb=IMAGE_MEM_GB
    )
    score = Node(ScorePET(), name=f"score_{name}", mem_gb=IMAGE_MEM_GB)
    quantify = Node(
        QuantifyPET(
            ref_region=reference,
            min_coverage=config.min_coverage,
            context=measured_context(pet, unit),
            suit=unit.suit is not None,
            flags=measured_flags(pet),
            second_refs=list(second_references(pet.tracer, config.reference)),
            pvc=pvc_columns(pvc, MEASURED_STATEMENT),
            **suv_input(pet),
        ),
        name=f"quantify_measured_{name}",
        mem_gb=QUANTIFY_MEM_GB,
    )
    ds_pet = init_ds_node(
        products=PRODUCTS,
        label=pet.label,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars=measured_sidecars(pet, unit, card, config),
        extra=measured_entities(pet, unit),
        name=f"ds_measured_{name}",
    )
    ds_reference = init_ds_node(
        products=("reference_mask",),
        label=unit.label,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars=Sidecars(unit, card, config).reference_mask(),
        extra={"reference_mask": {"label": reference_label(reference)}},
        name=f"ds_reference_{name}",
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (realign, register, [("out_file", "pet")]),
        (get("prepare_t1w_wf"), register, [("outputnode.t1w", "t1w"),
                                           ("outputnode.mask", "mask")]),
        (register, list_to_t1w, [("xfm", "in1")]),
        (realign, to_t1w, [("xfms", "xfms")]),
        (list_to_t1w, to_t1w, [("out", "transforms")]),
        (get("prepare_t1w_wf"), to_t1w, [("outputnode.t1w", "reference")]),
        (get("prepare_t1w_wf"), list_to_grid, [("outputnode.t1w_to_mni", "in1")]),
        (register, list_to_grid, [("xfm", "in2")]),
        (realign, to_grid, [("xfms", "xfms")]),
        (list_to_grid, to_grid, [("out", "transforms")]),
        (to_t1w, quantify, [("out_file", "activity")]),
        (to_grid, quantify, [("out_file", "activity_mni")]),
        (get("warp_parcellation"), quantify, [("dseg", "dseg"),
                                              ("inferior", "inferior"),
                                              ("numbers", "numbers")]),
        (realign, quantify, [("facts", "motion")]),
        (to_t1w, score, [("out_file", "pet")]),
        (get("prepare_t1w_wf"), score, [("outputnode.t1w", "t1w"), ("outputnode.mask", "mask")]),
        (score, quantify, [("flags", "found_flags")]),
        (get("flag_mri"), quantify, [("t1w_flags", "mri_flags")]),
        (score, ds_pet, [("facts", "measured_t1w_facts")]),
        (score, get("list_scores"), [("facts", f"in{place}")]),
        (realign, get("list_motions"), [("facts", f"in{place}")]),
        (realign, get("list_traces"), [("trace", f"in{place}")]),
        (realign, ds_pet, [("out_file", "petref"), ("facts", "petref_facts")]),
        (register, ds_pet, [("xfm", "petref_to_t1w_xfm")]),
        (quantify, ds_pet, [("suvr_mni", "measured_mni"),
                            ("suvr_t1w", "measured_t1w"),
                            ("table", "measured_kinpar")]),
        (quantify, ds_reference, [("ref_mask", "reference_mask")]),
        (quantify, get("list_maps"), [("suvr_t1w", f"in{position + 1}")]),
        (quantify, get("list_tables"), [("table", f"in{position + 1}")]),
        (quantify, get("list_references"), [("ref_mask", f"in{position + 1}")]),
    ])
    # fmt: on
    if "method" in pvc:
        _add_correction(workflow, name=name, pvc=pvc, reference=reference)
    if masks := masks_of(pet.tracer, config):
        _add_masks(workflow, unit, card, config, pet=pet, masks=masks, frames=smoothed)


def add_missed(
    workflow: Workflow, unit: Unit, card: Card, config: Config, *, pet: Measured
) -> None:
    """Add the table of a measured PET that missed its window: regions without values, and why."""
    tell = Node(
        TellMissed(
            ref_region=reference_of_tracer(pet.tracer, config.reference),
            context=measured_context(pet, unit),
            flags=measured_flags(pet),
        ),
        name=f"tell_missed_{pet.node_name}",
        mem_gb=QUANTIFY_MEM_GB,
    )
    ds_table = init_ds_node(
        products=("measured_kinpar",),
        label=pet.label,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars={
            "measured_kinpar": measured_sidecars(pet, unit, card, config)["measured_kinpar"]
        },
        extra={"measured_kinpar": measured_entities(pet, unit)["measured_kinpar"]},
        name=f"ds_missed_{pet.node_name}",
    )
    # fmt: off
    workflow.connect([
        (workflow.get_node("warp_parcellation"), tell, [("dseg", "dseg"),
                                                        ("numbers", "numbers")]),
        (tell, ds_table, [("table", "measured_kinpar")]),
    ])
    # fmt: on


def _add_correction(
    workflow: Workflow, *, name: str, pvc: Mapping[str, Any], reference: str
) -> None:
    """Correct the image for partial volume; its means become further rows of the table."""
    correct = Node(
        CorrectPartialVolume(ref_region=reference, brain_only=False, **pvc),
        name=f"correct_measured_{name}",
        mem_gb=CORRECT_MEM_GB,
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get(f"to_t1w_{name}"), correct, [("out_file", "activity")]),
        (get("warp_parcellation"), correct, [("dseg", "dseg"), ("inferior", "inferior")]),
        (get("prepare_t1w_wf"), correct, [("outputnode.mask", "brain"),
                                          ("outputnode.csf", "csf"),
                                          ("outputnode.gm", "gm"),
                                          ("outputnode.wm", "wm")]),
        (correct, get(f"quantify_measured_{name}"), [("out_file", "corrected"),
                                                     ("unstable", "unstable")]),
        (correct, get(f"ds_measured_{name}"), [("facts", "measured_kinpar_facts")]),
    ])
    # fmt: on


def _add_masks(
    workflow: Workflow,
    unit: Unit,
    card: Card,
    config: Config,
    *,
    pet: Measured,
    masks: Mapping[str, str],
    frames: Mapping[str, Any],
) -> None:
    """Average the frames on the grid of the scale's masks: one interpolation, as everywhere."""
    name = pet.node_name
    aligned = card.space != ATLAS_SPACE
    list_xfms = Node(
        Merge(3 if aligned else 2),
        name=f"list_to_masks_measured_{name}",
        run_without_submitting=True,
    )
    to_masks = Node(
        ResampleFrames(**frames, reference=next(iter(masks.values()))),
        name=f"to_masks_measured_{name}",
        mem_gb=IMAGE_MEM_GB,
    )
    get, first = workflow.get_node, 2 if aligned else 1
    if aligned:
        workflow.connect(get("align_atlas"), "inverse", list_xfms, "in1")
    # fmt: off
    workflow.connect([
        (get("prepare_t1w_wf"), list_xfms, [("outputnode.t1w_to_mni", f"in{first}")]),
        (get(f"register_{name}"), list_xfms, [("xfm", f"in{first + 1}")]),
        (list_xfms, to_masks, [("out", "transforms")]),
        (get(f"realign_{name}"), to_masks, [("xfms", "xfms")]),
    ])
    # fmt: on
    settings = {
        "min_coverage": config.min_coverage,
        "context": measured_context(pet, unit),
        "flags": measured_flags(pet),
        **suv_input(pet),
    }
    measure = add_masks(
        workflow,
        masks=masks,
        settings=settings,
        to_masks=to_masks,
        quantify=f"quantify_measured_{name}",
        name=f"measured_{name}",
    )
    workflow.connect(get(f"realign_{name}"), "facts", measure, "motion")
    workflow.connect(get(f"score_{name}"), "flags", measure, "found_flags")
    workflow.connect(get("flag_mri"), "t1w_flags", measure, "mri_flags")


def suv_input(pet: Measured) -> dict[str, float]:
    """The factor of SUV as an input that is left out where it is not known."""
    factor = pet.reading.suv_factor
    return {} if factor is None else {"suv_factor": factor}
