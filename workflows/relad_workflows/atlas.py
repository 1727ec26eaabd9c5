"""One more atlas of a session: its labels on the T1w, and a table of each PET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from relad_bids.config import Config
from relad_bids.core.columns import MEASURED_STATEMENT
from relad_bids.core.samples import has_spread
from relad_bids.data.template import ATLAS_SPACE
from relad_bids.interfaces.atlas import AlignAtlas, WarpAtlas
from relad_bids.interfaces.correct import CorrectPartialVolume
from relad_bids.interfaces.quantify_atlas import MeasureAtlasSpread, QuantifyAtlas
from relad_bids.model.card import Card
from relad_bids.records import (
    Sidecars,
    intervals,
    pet_context,
    resolution_label,
    statement,
)
from relad_bids.records_atlas import atlas_context, atlas_sidecar, table_sidecar
from relad_bids.records_measured import measured_context, measured_sidecars
from relad_bids.records_secondary import measured_pvc, pvc_columns, synthetic_pvc
from relad_bids.sessions import Atlas, Measured, Unit
from relad_bids.tables import tracers
from relad_bids.vois import reference_of_tracer
from relad_workflows.measured import suv_input
from relad_workflows.outputs import init_ds_node
from relad_workflows.prepare import IMAGE_MEM_GB, REGISTRATION_MEM_GB
from relad_workflows.quantify import CORRECT_MEM_GB, QUANTIFY_MEM_GB

PRODUCTS = ("dseg", "dseg_table", "morph")


def add_atlas(workflow: Workflow, unit: Unit, card: Card, config: Config, *, atlas: Atlas) -> None:
    """Add one atlas to a session's graph: its labels, saved, and a table of each PET."""
    name, get = atlas.node_name, workflow.get_node
    regions = list(atlas.regions)
    warp = Node(
        WarpAtlas(atlas=str(atlas.path), regions=regions), name=f"warp_{name}", mem_gb=IMAGE_MEM_GB
    )
    ds_labels = init_ds_node(
        products=PRODUCTS,
        label=unit.label,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars=atlas_sidecar(atlas, card, config),
        extra=dict.fromkeys(PRODUCTS, atlas.entities),
        name=f"ds_{name}",
    )
    wires = [("outputnode.t1w", "t1w"), ("outputnode.mni_to_t1w", "mni_to_t1w")]
    if config.atlas_cut == "gm":
        wires.append(("outputnode.gm", "gm"))
    # fmt: off
    workflow.connect([
        (get("prepare_t1w_wf"), warp, wires),
        (warp, ds_labels, [("dseg", "dseg"), ("names", "dseg_table"), ("morph", "morph")]),
    ])
    # fmt: on
    if atlas.space != card.space:
        align = alignment(workflow, card, config, atlas_space=atlas.space)
        workflow.connect(align, "xfm", warp, "atlas_to_mni")
    for tracer in unit.tracers:
        _add_synthetic(workflow, unit, card, config, atlas=atlas, tracer=tracer)
    for pet in unit.measured:
        _add_measured(workflow, unit, card, config, atlas=atlas, pet=pet)


def _add_synthetic(
    workflow: Workflow, unit: Unit, card: Card, config: Config, *, atlas: Atlas, tracer: str
) -> None:
    """Add the table of a synthetic PET, with what its own table has: spread, corrected rows."""
    get, pvc = workflow.get_node, synthetic_pvc(card, config)
    settings = _settings(atlas, config, tracer)
    quantify = _quantify(
        atlas,
        tracer,
        settings,
        context=pet_context(unit, tracer, card, config),
        intervals=intervals(tracer, card, config),
        pvc=pvc_columns(pvc, statement(card)),
    )
    ds = _ds_table(
        atlas, unit, card, config, f"ds_{atlas.node_name}_{tracer}", "kinpar",
        label=unit.label, entities={"trc": tracers()[tracer].trc},
        dictionary=Sidecars(unit, card, config).pet(tracer)["kinpar"],
    )  # fmt: skip
    activity = (get(f"quantify_{tracer}_wf"), "outputnode.activity")
    _wire(workflow, atlas, quantify, activity=activity)
    workflow.connect(get(f"quantify_{tracer}_wf"), "outputnode.table", quantify, "table")
    workflow.connect(quantify, "table", ds, "kinpar")
    if "method" in pvc:
        facts = _add_correction(workflow, atlas, quantify, activity, pvc, brain_only=True)
        workflow.connect(facts, "facts", ds, "kinpar_facts")
    if has_spread(config.n_samples):
        _add_spread(workflow, atlas, quantify, settings, tracer=tracer)


def _add_spread(
    workflow: Workflow, atlas: Atlas, quantify: Node, settings: Mapping[str, Any], *, tracer: str
) -> None:
    """Measure each sample in the regions of the atlas."""
    spread = Node(
        MeasureAtlasSpread(**settings),
        name=f"measure_spread_{atlas.node_name}_{tracer}",
        mem_gb=QUANTIFY_MEM_GB,
    )
    get = workflow.get_node
    _wire(workflow, atlas, spread)
    # fmt: off
    workflow.connect([
        (get(f"choose_{tracer}_samples"), spread, [("out", "samples")]),
        (get("prepare_t1w_wf"), spread, [("outputnode.t1w", "t1w"),
                                         ("outputnode.mni_to_t1w", "mni_to_t1w")]),
        (spread, quantify, [("table", "spread")]),
    ])
    # fmt: on


def _add_measured(
    workflow: Workflow, unit: Unit, card: Card, config: Config, *, atlas: Atlas, pet: Measured
) -> None:
    """Add the table of a measured PET, with corrected rows where its own table has such."""
    get, name, pvc = workflow.get_node, f"measured_{pet.node_name}", measured_pvc(pet, config)
    quantify = _quantify(
        atlas,
        name,
        _settings(atlas, config, pet.tracer),
        context=measured_context(pet, unit),
        pvc=pvc_columns(pvc, MEASURED_STATEMENT),
        **suv_input(pet),
    )
    ds = _ds_table(
        atlas, unit, card, config, f"ds_{atlas.node_name}_{name}", "measured_kinpar",
        label=pet.label, entities=pet.entities,
        dictionary=measured_sidecars(pet, unit, card, config)["measured_kinpar"],
    )  # fmt: skip
    activity = (get(f"to_t1w_{pet.node_name}"), "out_file")
    _wire(workflow, atlas, quantify, activity=activity)
    workflow.connect(get(f"quantify_measured_{pet.node_name}"), "table", quantify, "table")
    workflow.connect(quantify, "table", ds, "measured_kinpar")
    if "method" in pvc:
        facts = _add_correction(workflow, atlas, quantify, activity, pvc, brain_only=False)
        workflow.connect(facts, "facts", ds, "measured_kinpar_facts")


def _add_correction(
    workflow: Workflow,
    atlas: Atlas,
    quantify: Node,
    activity: tuple[Node, str],
    pvc: Mapping[str, Any],
    *,
    brain_only: bool,
) -> Node:
    """Correct the image in the regions of the atlas, and in the labels where it has none."""
    correct = Node(
        CorrectPartialVolume(ref_region=quantify.inputs.ref_region, brain_only=brain_only, **pvc),
        name=quantify.name.replace("quantify_", "correct_", 1),
        mem_gb=CORRECT_MEM_GB,
    )
    _wire(workflow, atlas, correct, activity=activity)
    # fmt: off
    workflow.connect([
        (workflow.get_node("prepare_t1w_wf"), correct, [("outputnode.mask", "brain"),
                                                        ("outputnode.csf", "csf"),
                                                        ("outputnode.gm", "gm"),
                                                        ("outputnode.wm", "wm")]),
        (correct, quantify, [("out_file", "corrected"), ("unstable", "unstable")]),
    ])
    # fmt: on
    return correct


def _wire(
    workflow: Workflow, atlas: Atlas, node: Node, *, activity: tuple[Node, str] | None = None
) -> None:
    """Connect what every step of an atlas needs: its labels, and those of the reference."""
    get = workflow.get_node
    if activity:
        workflow.connect(*activity, node, "activity")
    # fmt: off
    workflow.connect([
        (get(f"warp_{atlas.node_name}"), node, [("dseg", "atlas")]),
        (get("warp_parcellation"), node, [("dseg", "dseg"), ("inferior", "inferior")]),
    ])
    # fmt: on


def _settings(atlas: Atlas, config: Config, tracer: str) -> dict[str, Any]:
    return {
        "regions": list(atlas.regions),
        "ref_region": reference_of_tracer(tracer, config.reference),
        "min_coverage": config.min_coverage,
    }


def _quantify(
    atlas: Atlas,
    pet: str,
    settings: Mapping[str, Any],
    *,
    context: Mapping[str, Any],
    **more: Any,
) -> Node:
    step = QuantifyAtlas(context=atlas_context(atlas, context), **settings, **more)
    return Node(step, name=f"quantify_{atlas.node_name}_{pet}", mem_gb=QUANTIFY_MEM_GB)


def _ds_table(
    atlas: Atlas,
    unit: Unit,
    card: Card,
    config: Config,
    name: str,
    product: str,
    *,
    label: str,
    entities: Mapping[str, str],
    dictionary: Mapping[str, Any],
) -> Node:
    return init_ds_node(
        products=(product,),
        label=label,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars={product: table_sidecar(atlas, unit, card, dictionary)},
        extra={product: {**entities, **atlas.entities}},
        name=name,
    )


def alignment(workflow: Workflow, card: Card, config: Config, *, atlas_space: str) -> Node:
    """The step that leads a template space to that of the checkpoint; one for all atlases."""
    name = "align_atlas" if atlas_space == ATLAS_SPACE else f"align_{atlas_space}"
    if found := workflow.get_node(name):
        return found
    step = AlignAtlas(
        space=card.space,
        atlas_space=atlas_space,
        cache_dir=str(config.work_dir / "atlas"),
        sloppy=config.sloppy,
    )
    return Node(step, name=name, mem_gb=REGISTRATION_MEM_GB)
