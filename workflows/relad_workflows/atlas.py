"""One more atlas of a session: its labels on the T1w, and a table of each PET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from relad_bids.config import Config
from relad_bids.data.template import ATLAS_SPACE
from relad_bids.interfaces.atlas import AlignAtlas, WarpAtlas
from relad_bids.interfaces.quantify_atlas import QuantifyAtlas
from relad_bids.model.card import Card
from relad_bids.plan import Atlas, Measured, Unit
from relad_bids.records import Sidecars, pet_context, resolution_label
from relad_bids.records_atlas import atlas_context, atlas_sidecar, table_sidecar
from relad_bids.records_measured import measured_context, measured_sidecars
from relad_bids.tables import tracers
from relad_workflows.measured import suv_input
from relad_workflows.outputs import init_ds_node
from relad_workflows.prepare import IMAGE_MEM_GB, REGISTRATION_MEM_GB
from relad_workflows.quantify import QUANTIFY_MEM_GB

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
        quantify = _quantify(atlas, config, tracer, pet_context(unit, tracer, card, config))
        trc = {"trc": tracers()[tracer].trc}
        sidecar = Sidecars(unit, card, config).pet(tracer)["kinpar"]
        ds = _ds_table(atlas, unit, card, config, f"ds_{name}_{tracer}", "kinpar",
                       label=unit.label, entities=trc, dictionary=sidecar)  # fmt: skip
        # fmt: off
        workflow.connect([
            (get(f"quantify_{tracer}_wf"), quantify, [("outputnode.activity", "activity"),
                                                      ("outputnode.table", "table")]),
            (warp, quantify, [("dseg", "dseg")]),
            (quantify, ds, [("table", "kinpar")]),
        ])
        # fmt: on
    for pet in unit.measured:
        _add_measured(workflow, unit, card, config, atlas=atlas, pet=pet)


def _add_measured(
    workflow: Workflow, unit: Unit, card: Card, config: Config, *, atlas: Atlas, pet: Measured
) -> None:
    get, name = workflow.get_node, f"measured_{pet.node_name}"
    quantify = _quantify(atlas, config, name, measured_context(pet, unit), **suv_input(pet))
    sidecar = measured_sidecars(pet, unit, card, config)["measured_kinpar"]
    ds = _ds_table(atlas, unit, card, config, f"ds_{atlas.node_name}_{name}", "measured_kinpar",
                   label=pet.label, entities=pet.entities, dictionary=sidecar)  # fmt: skip
    # fmt: off
    workflow.connect([
        (get(f"to_t1w_{pet.node_name}"), quantify, [("out_file", "activity")]),
        (get(f"quantify_measured_{pet.node_name}"), quantify, [("table", "table")]),
        (get(f"warp_{atlas.node_name}"), quantify, [("dseg", "dseg")]),
        (quantify, ds, [("table", "measured_kinpar")]),
    ])
    # fmt: on


def _quantify(
    atlas: Atlas, config: Config, pet: str, context: Mapping[str, Any], **more: Any
) -> Node:
    step = QuantifyAtlas(
        regions=list(atlas.regions),
        min_coverage=config.min_coverage,
        context=atlas_context(atlas, context),
        **more,
    )
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
