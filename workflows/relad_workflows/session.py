"""One session: its MRI in, its derivatives and its page out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nipype.interfaces.utility import IdentityInterface, Merge, Select
from nipype.pipeline.engine import Node, Workflow

from relad_bids.config import Config
from relad_bids.interfaces.describe import CollectQC, DescribeParcellation
from relad_bids.interfaces.mri import ResampleToGrid
from relad_bids.interfaces.network import SynthesisePET
from relad_bids.interfaces.quantify import WarpParcellation
from relad_bids.interfaces.report import WriteReport
from relad_bids.model.card import Card
from relad_bids.plan import Unit
from relad_bids.records import (
    Sidecars,
    known_qc,
    pet_context,
    pet_flags,
    report_facts,
    resolution_label,
    session_flags,
)
from relad_bids.tables import tracers
from relad_bids.vois import reference_of_tracer
from relad_workflows.outputs import (
    ANAT_PRODUCTS,
    FLAIR_PRODUCTS,
    PET_PRODUCTS,
    init_ds_node,
)
from relad_workflows.prepare import (
    IMAGE_MEM_GB,
    init_prepare_flair_wf,
    init_prepare_t1w_wf,
    init_to_network_wf,
)
from relad_workflows.quantify import init_quantify_wf

NETWORK_MEM_GB = 1.5
"""Weights, torch and the activations of one pass on a 2 mm grid."""


def init_session_wf(unit: Unit, *, card: Card, config: Config) -> Workflow:
    """Build the graph of one session.

    The stages: T1w (and FLAIR) prepared, brought to the network's grid, synthesised, quantified
    per tracer, saved, shown. A session without FLAIR has no FLAIR stage, and the network's
    FLAIR input stays undefined.
    """
    inputnode = Node(IdentityInterface(fields=["t1w"], t1w=str(unit.t1w)), name="inputnode")
    prepare_t1w_wf = init_prepare_t1w_wf(skull_strip=config.skull_strip, sloppy=config.sloppy)
    list_transforms = Node(Merge(1), name="list_transforms", run_without_submitting=True)
    mask_to_grid = Node(
        ResampleToGrid(grid=grid_spec(card), interpolation="nearest"),
        name="mask_to_grid",
        mem_gb=IMAGE_MEM_GB,
    )
    t1w_to_network_wf = init_to_network_wf(
        grid=grid_spec(card),
        contract=asdict(card.mri_contract),
        n_transforms=1,
        name="t1w_to_network_wf",
    )
    synthesise = Node(
        SynthesisePET(
            model_dir=str(config.model_dir),
            tracers=list(unit.tracers),
            device=config.device,
            num_threads=config.omp_nthreads,
        ),
        name="synthesise",
        mem_gb=NETWORK_MEM_GB,
        n_procs=config.omp_nthreads,
    )
    warp_parcellation = Node(WarpParcellation(), name="warp_parcellation", mem_gb=IMAGE_MEM_GB)
    collect_qc = Node(
        CollectQC(known=known_qc(unit, card, config), flags=session_flags(unit)),
        name="collect_qc",
        run_without_submitting=True,
    )
    workflow = Workflow(name=unit.graph_name)
    # fmt: off
    workflow.connect([
        (inputnode, prepare_t1w_wf, [("t1w", "inputnode.t1w")]),
        (prepare_t1w_wf, list_transforms, [("outputnode.t1w_to_mni", "in1")]),
        (prepare_t1w_wf, mask_to_grid, [("outputnode.mask", "in_file")]),
        (list_transforms, mask_to_grid, [("out", "transforms")]),
        (prepare_t1w_wf, t1w_to_network_wf, [("outputnode.t1w", "inputnode.image"),
                                             ("outputnode.t1w_to_mni", "inputnode.xfm1")]),
        (mask_to_grid, t1w_to_network_wf, [("out_file", "inputnode.mask_mni")]),
        (t1w_to_network_wf, synthesise, [("outputnode.norm", "t1w")]),
        (mask_to_grid, synthesise, [("out_file", "mask")]),
        (prepare_t1w_wf, warp_parcellation, [("outputnode.t1w", "t1w"),
                                             ("outputnode.mni_to_t1w", "mni_to_t1w"),
                                             ("outputnode.csf", "csf"),
                                             ("outputnode.gm", "gm"),
                                             ("outputnode.wm", "wm")]),
        (prepare_t1w_wf, collect_qc, [("outputnode.brain_facts", "brain")]),
    ])
    # fmt: on
    _save_anat(workflow, unit, card, config)
    _report(workflow, unit, card, config)
    for position, tracer in enumerate(unit.tracers):
        _quantify(workflow, unit, card, config, tracer=tracer, position=position)
    if unit.flair:
        _flair(workflow, unit, card, config)
    return workflow


def grid_spec(card: Card) -> dict[str, Any]:
    """The network's grid as plain lists, which Nipype can hash."""
    return {"shape": list(card.shape), "affine": [list(row) for row in card.affine]}


def _save_anat(workflow: Workflow, unit: Unit, card: Card, config: Config) -> None:
    describe = Node(DescribeParcellation(), name="describe_parcellation")
    ds_anat = init_ds_node(
        products=(*ANAT_PRODUCTS, "qc"),
        unit=unit,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars=Sidecars(unit, card, config).anat(ANAT_PRODUCTS, source="t1w"),
        name="ds_anat",
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get("warp_parcellation"), describe, [("dseg", "dseg"), ("numbers", "numbers")]),
        (get("prepare_t1w_wf"), ds_anat, [("outputnode.t1w", "t1w_preproc"),
                                          ("outputnode.mask", "brain_mask"),
                                          ("outputnode.brain_facts", "brain_mask_facts"),
                                          ("outputnode.t1w_to_mni", "t1w_to_mni_xfm"),
                                          ("outputnode.mni_to_t1w", "mni_to_t1w_xfm")]),
        (get("t1w_to_network_wf"), ds_anat, [("outputnode.preproc", "t1w_mni"),
                                             ("outputnode.norm", "t1w_norm"),
                                             ("outputnode.scale", "t1w_norm_facts")]),
        (get("mask_to_grid"), ds_anat, [("out_file", "mask_mni")]),
        (get("warp_parcellation"), ds_anat, [("dseg", "dseg")]),
        (describe, ds_anat, [("names", "dseg_table"), ("morph", "morph")]),
        (get("collect_qc"), ds_anat, [("table", "qc")]),
    ])
    # fmt: on


def _flair(workflow: Workflow, unit: Unit, card: Card, config: Config) -> None:
    """Add the FLAIR: prepared, on the network's grid through both transforms, saved, shown."""
    flair_input = Node(
        IdentityInterface(fields=["flair"], flair=str(unit.flair)), name="flair_input"
    )
    prepare_flair_wf = init_prepare_flair_wf()
    flair_to_network_wf = init_to_network_wf(
        grid=grid_spec(card),
        contract=asdict(card.mri_contract),
        n_transforms=2,
        name="flair_to_network_wf",
    )
    ds_flair = init_ds_node(
        products=FLAIR_PRODUCTS,
        unit=unit,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars=Sidecars(unit, card, config).anat(FLAIR_PRODUCTS, source="flair"),
        name="ds_flair",
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (flair_input, prepare_flair_wf, [("flair", "inputnode.flair")]),
        (get("prepare_t1w_wf"), prepare_flair_wf, [("outputnode.t1w", "inputnode.t1w"),
                                                   ("outputnode.mask", "inputnode.mask")]),
        (prepare_flair_wf, flair_to_network_wf, [("outputnode.flair", "inputnode.image"),
                                                 ("outputnode.flair_to_t1w", "inputnode.xfm2")]),
        (get("prepare_t1w_wf"), flair_to_network_wf,
            [("outputnode.t1w_to_mni", "inputnode.xfm1")]),
        (get("mask_to_grid"), flair_to_network_wf, [("out_file", "inputnode.mask_mni")]),
        (flair_to_network_wf, get("synthesise"), [("outputnode.norm", "flair")]),
        (prepare_flair_wf, get("collect_qc"), [("outputnode.flair_facts", "flair")]),
        (prepare_flair_wf, get("write_report"), [("outputnode.flair", "flair"),
                                                 ("outputnode.flair_t1w", "flair_t1w")]),
        (prepare_flair_wf, ds_flair, [("outputnode.flair_t1w", "flair_preproc"),
                                      ("outputnode.flair_to_t1w", "flair_to_t1w_xfm")]),
        (flair_to_network_wf, ds_flair, [("outputnode.preproc", "flair_mni"),
                                         ("outputnode.norm", "flair_norm"),
                                         ("outputnode.scale", "flair_norm_facts")]),
    ])
    # fmt: on


def _quantify(
    workflow: Workflow, unit: Unit, card: Card, config: Config, *, tracer: str, position: int
) -> None:
    """Add one tracer: SUVr, table, sink, its place on the page."""
    reference = reference_of_tracer(tracer, config.reference)
    trc = {"trc": tracers()[tracer].trc}
    choose = Node(Select(index=[position]), name=f"choose_{tracer}", run_without_submitting=True)
    quantify_wf = init_quantify_wf(
        ref_region=reference,
        min_coverage=config.min_coverage,
        context=pet_context(unit, tracer, card, config),
        flags=pet_flags(unit, tracer),
        name=f"quantify_{tracer}_wf",
    )
    ds_pet = init_ds_node(
        products=PET_PRODUCTS,
        unit=unit,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars=Sidecars(unit, card, config).pet(tracer),
        extra={
            **dict.fromkeys(("suvr_mni", "suvr_t1w", "kinpar"), trc),
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
        (quantify_wf, ds_pet, [("outputnode.suvr_mni", "suvr_mni"),
                               ("outputnode.suvr_t1w", "suvr_t1w"),
                               ("outputnode.table", "kinpar"),
                               ("outputnode.ref_mask", "reference_mask")]),
        (quantify_wf, get("list_maps"), [("outputnode.suvr_t1w", f"in{position + 1}")]),
        (quantify_wf, get("list_tables"), [("outputnode.table", f"in{position + 1}")]),
        (quantify_wf, get("list_references"), [("outputnode.ref_mask", f"in{position + 1}")]),
    ])
    # fmt: on


def reference_label(name: str) -> str:
    """A region's name as a BIDS label: letters and digits only."""
    head, *rest = name.split("-")
    return head + "".join(part.capitalize() for part in rest)


def _report(workflow: Workflow, unit: Unit, card: Card, config: Config) -> None:
    n_tracers = len(unit.tracers)
    list_maps = Node(Merge(n_tracers), name="list_maps", run_without_submitting=True)
    list_tables = Node(Merge(n_tracers), name="list_tables", run_without_submitting=True)
    list_references = Node(Merge(n_tracers), name="list_references", run_without_submitting=True)
    write_report = Node(
        WriteReport(
            out_html=str(config.output_dir / f"{unit.label}.html"),
            facts=report_facts(unit, card, config),
        ),
        name="write_report",
        mem_gb=IMAGE_MEM_GB,
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get("prepare_t1w_wf"), write_report, [("outputnode.t1w", "t1w"),
                                               ("outputnode.mask", "mask"),
                                               ("outputnode.brain_facts", "brain_facts")]),
        (get("t1w_to_network_wf"), write_report, [("outputnode.preproc", "t1w_mni")]),
        (get("warp_parcellation"), write_report, [("dseg", "dseg")]),
        (get("collect_qc"), write_report, [("flags", "flags")]),
        (list_maps, write_report, [("out", "suvr_maps")]),
        (list_tables, write_report, [("out", "tables")]),
        (list_references, write_report, [("out", "ref_masks")]),
    ])
    # fmt: on
