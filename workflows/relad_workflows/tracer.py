"""One tracer of a session: from the network's answer to its files."""

from __future__ import annotations

from collections.abc import Mapping

from nipype.interfaces.utility import Select
from nipype.pipeline.engine import Node, Workflow

from relad_bids.config import Config
from relad_bids.core.samples import has_spread
from relad_bids.data.template import ATLAS_SPACE
from relad_bids.interfaces.quantify import WarpActivity
from relad_bids.model.card import Card
from relad_bids.records import (
    Sidecars,
    atlas_of,
    intervals,
    pet_context,
    pet_flags,
    resolution_label,
    statement,
)
from relad_bids.records_secondary import masks_of, pvc_columns, synthetic_pvc
from relad_bids.sessions import Unit
from relad_bids.tables import tracers
from relad_bids.vois import reference_of_tracer, second_references
from relad_workflows.masks import add_masks
from relad_workflows.outputs import PET_PRODUCTS, SPREAD_PRODUCTS, init_ds_node, reference_label
from relad_workflows.prepare import IMAGE_MEM_GB
from relad_workflows.quantify import init_quantify_wf


def add_tracer(
    workflow: Workflow, unit: Unit, card: Card, config: Config, *, tracer: str, position: int
) -> None:
    """Add one tracer to a session's graph: SUVr, table, sink, its place on the page.

    Parameters
    ----------
    position
        Of the tracer among those of the session.
    """
    reference = reference_of_tracer(tracer, config.reference)
    trc = {"trc": tracers()[tracer].trc}
    with_spread = has_spread(config.n_samples)
    pvc = synthetic_pvc(card, config)
    choose = Node(Select(index=[position]), name=f"choose_{tracer}", run_without_submitting=True)
    quantify_wf = init_quantify_wf(
        ref_region=reference,
        min_coverage=config.min_coverage,
        context=pet_context(unit, tracer, card, config),
        flags=pet_flags(unit, tracer, config),
        with_spread=with_spread,
        intervals=intervals(tracer, card, config),
        second_refs=second_references(tracer, config.reference),
        correction=pvc if "method" in pvc else {},
        pvc=pvc_columns(pvc, statement(card)),
        suit=unit.suit is not None,
        name=f"quantify_{tracer}_wf",
    )
    ds_pet = init_ds_node(
        products=(*PET_PRODUCTS, *(SPREAD_PRODUCTS if with_spread else ())),
        label=unit.label,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars=Sidecars(unit, card, config).pet(tracer),
        extra={
            **dict.fromkeys(("suvr_mni", "suvr_t1w", "suvr_sd_mni"), trc),
            "kinpar": {**trc, **atlas_of(unit)},
            "reference_mask": {"label": reference_label(reference)},
        },
        name=f"ds_{tracer}",
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get("synthesise"), choose, [("out_files", "inlist")]),
        (choose, quantify_wf, [("out", "inputnode.activity")]),
        (get("prepare_t1w_wf"), quantify_wf, [("outputnode.t1w", "inputnode.t1w"),
                                              ("outputnode.mni_to_t1w", "inputnode.mni_to_t1w")]),
        (get("warp_parcellation"), quantify_wf, [("dseg", "inputnode.dseg"),
                                                 ("inferior", "inputnode.inferior"),
                                                 ("numbers", "inputnode.numbers")]),
        (get("flag_mri"), quantify_wf, [("flags", "inputnode.mri_flags")]),
        (quantify_wf, ds_pet, [("outputnode.suvr_mni", "suvr_mni"),
                               ("outputnode.suvr_t1w", "suvr_t1w"),
                               ("outputnode.table", "kinpar"),
                               ("outputnode.ref_mask", "reference_mask")]),
        (quantify_wf, get("list_maps"), [("outputnode.suvr_t1w", f"in{position + 1}")]),
        (quantify_wf, get("list_tables"), [("outputnode.table", f"in{position + 1}")]),
        (quantify_wf, get("list_references"), [("outputnode.ref_mask", f"in{position + 1}")]),
    ])
    # fmt: on
    if "method" in pvc:
        _add_correction(workflow, tracer=tracer)
    if masks := masks_of(tracer, config):
        _add_masks(workflow, unit, card, config, tracer=tracer, masks=masks)
    if with_spread:
        own = slice(position * config.n_samples, (position + 1) * config.n_samples)
        _add_spread(workflow, tracer=tracer, own=own)


def _add_correction(workflow: Workflow, *, tracer: str) -> None:
    """Hand a tracer the tissue that its correction needs, and its sidecar what became of it."""
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get("prepare_t1w_wf"), get(f"quantify_{tracer}_wf"),
            [("outputnode.mask", "inputnode.brain"),
             ("outputnode.csf", "inputnode.csf"),
             ("outputnode.gm", "inputnode.gm"),
             ("outputnode.wm", "inputnode.wm")]),
        (get(f"quantify_{tracer}_wf"), get(f"ds_{tracer}"),
            [("outputnode.pvc_facts", "kinpar_facts")]),
    ])
    # fmt: on


def _add_masks(
    workflow: Workflow,
    unit: Unit,
    card: Card,
    config: Config,
    *,
    tracer: str,
    masks: Mapping[str, str],
) -> None:
    """Bring the network's answer onto the grid of its scale's masks."""
    to_masks = Node(
        WarpActivity(t1w=next(iter(masks.values()))),
        name=f"to_masks_{tracer}",
        mem_gb=IMAGE_MEM_GB,
    )
    workflow.connect(workflow.get_node(f"choose_{tracer}"), "out", to_masks, "in_file")
    if card.space != ATLAS_SPACE:
        workflow.connect(workflow.get_node("align_atlas"), "inverse", to_masks, "xfm")
    settings = {
        "min_coverage": config.min_coverage,
        "context": pet_context(unit, tracer, card, config),
        "flags": pet_flags(unit, tracer, config),
    }
    measure = add_masks(
        workflow,
        masks=masks,
        settings=settings,
        to_masks=to_masks,
        quantify=f"quantify_{tracer}_wf",
        name=tracer,
    )
    workflow.connect(workflow.get_node("flag_mri"), "flags", measure, "mri_flags")


def _add_spread(workflow: Workflow, *, tracer: str, own: slice) -> None:
    """Hand a tracer its own samples, and save how far they differ."""
    choose_samples = Node(
        Select(index=list(range(own.start, own.stop))),
        name=f"choose_{tracer}_samples",
        run_without_submitting=True,
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get("synthesise"), choose_samples, [("sample_files", "inlist")]),
        (choose_samples, get(f"quantify_{tracer}_wf"), [("out", "inputnode.samples")]),
        (get(f"quantify_{tracer}_wf"), get(f"ds_{tracer}"),
            [("outputnode.suvr_sd_mni", "suvr_sd_mni")]),
    ])
    # fmt: on
