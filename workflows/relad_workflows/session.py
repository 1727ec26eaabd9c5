"""One session: its MRI in, its derivatives and its page out."""

from __future__ import annotations

from dataclasses import asdict

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from relad_bids.config import Config
from relad_bids.data.template import ATLAS_SPACE
from relad_bids.interfaces.atlas import AdoptLabels, WarpParcellation
from relad_bids.interfaces.describe import CollectQC, DescribeParcellation, FlagMRI
from relad_bids.interfaces.mri import ResampleToGrid
from relad_bids.interfaces.network import SynthesisePET, network_mem_gb
from relad_bids.interfaces.report import WriteReport
from relad_bids.model.card import Card
from relad_bids.records import (
    Sidecars,
    atlas_of,
    grid_spec,
    known_qc,
    report_facts,
    resolution_label,
    session_flags,
    steps_of,
)
from relad_bids.records_tables import table_dictionaries
from relad_bids.sessions import Unit
from relad_workflows.atlas import add_atlas, alignment
from relad_workflows.lesion import add_lesion
from relad_workflows.measured import add_measured, add_missed
from relad_workflows.outputs import (
    ANAT_PRODUCTS,
    FLAIR_PRODUCTS,
    NETWORK_PRODUCTS,
    init_ds_node,
)
from relad_workflows.prepare import (
    IMAGE_MEM_GB,
    init_prepare_flair_wf,
    init_prepare_t1w_wf,
    init_to_network_wf,
)
from relad_workflows.tracer import add_tracer


def init_session_wf(unit: Unit, *, card: Card, config: Config) -> Workflow:
    """Build the graph of one session.

    The stages: T1w (and FLAIR) prepared, brought to the network's grid, synthesised, quantified
    per tracer, saved, shown; measured PET laid on the T1w and quantified alike. A session without
    FLAIR has no FLAIR stage, and the network's FLAIR input stays undefined. One that synthesises
    nothing has no network.
    """
    inputnode = Node(IdentityInterface(fields=["t1w"], t1w=str(unit.anatomy)), name="inputnode")
    prepare_t1w_wf = init_prepare_t1w_wf(
        space=card.space,
        skull_strip=config.skull_strip,
        engine=config.skull_strip_engine,
        sloppy=config.sloppy,
        reused=unit.reused,
    )
    list_transforms = Node(Merge(1), name="list_transforms", run_without_submitting=True)
    mask_to_grid = Node(
        ResampleToGrid(grid=grid_spec(card), interpolation="nearest"),
        name="mask_to_grid",
        mem_gb=IMAGE_MEM_GB,
    )
    warp_parcellation = Node(
        parcellation_step(unit), name="warp_parcellation", mem_gb=IMAGE_MEM_GB
    )
    flag_mri = Node(FlagMRI(), name="flag_mri", run_without_submitting=True)
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
        (prepare_t1w_wf, warp_parcellation, [("outputnode.t1w", "t1w"),
                                             ("outputnode.mni_to_t1w", "mni_to_t1w"),
                                             ("outputnode.mask", "mask"),
                                             ("outputnode.csf", "csf"),
                                             ("outputnode.gm", "gm"),
                                             ("outputnode.wm", "wm")]),
        (warp_parcellation, collect_qc, [("flags", "label_flags")]),
        (prepare_t1w_wf, flag_mri, [("outputnode.brain_facts", "brain"),
                                    ("outputnode.figures", "t1w_figures")]),
        (flag_mri, collect_qc, [("flags", "mri_flags")]),
        (prepare_t1w_wf, collect_qc, [("outputnode.brain_facts", "brain"),
                                      ("outputnode.figures", "t1w_figures")]),
    ])
    # fmt: on
    _save_anat(workflow, unit, card, config)
    _report(workflow, unit, card, config)
    if card.space != ATLAS_SPACE:
        align = alignment(workflow, card, config, atlas_space=ATLAS_SPACE)
        workflow.connect(align, "xfm", workflow.get_node("warp_parcellation"), "atlas_to_mni")
    (_synthesis if unit.tracers else _template_space)(workflow, unit, card, config)
    for position, tracer in enumerate(unit.tracers):
        add_tracer(workflow, unit, card, config, tracer=tracer, position=position)
    if unit.measured:
        _list_measured(workflow, len(unit.measured))
    for position, pet in enumerate(unit.measured, start=len(unit.tracers)):
        add_measured(
            workflow, unit, card, config, pet=pet, position=position, grid=grid_spec(card)
        )
    for pet in unit.missed:
        add_missed(workflow, unit, card, config, pet=pet)
    if unit.flair:
        _flair(workflow, unit, card, config)
    if unit.lesion:
        add_lesion(workflow, unit, card, config)
    if unit.suit and unit.suit.space != card.space:
        align = alignment(workflow, card, config, atlas_space=unit.suit.space)
        workflow.connect(align, "xfm", workflow.get_node("warp_parcellation"), "suit_to_mni")
    for atlas in unit.atlases:
        add_atlas(workflow, unit, card, config, atlas=atlas)
    return workflow


def _synthesis(workflow: Workflow, unit: Unit, card: Card, config: Config) -> None:
    """Add the network and what it sees of the T1w."""
    t1w_to_network_wf = init_to_network_wf(
        grid=grid_spec(card),
        contract=asdict(card.mri_contract),
        n_transforms=1,
        name="t1w_to_network_wf",
    )
    at_once = min(config.omp_nthreads, len(unit.tracers))
    synthesise = Node(
        SynthesisePET(
            model_dir=str(config.model_dir),
            weights=card.sha256,
            tracers=list(unit.tracers),
            seeds=[unit.seed(config.seed, tracer) for tracer in unit.tracers],
            n_samples=config.n_samples,
            steps=steps_of(card, config),
            device=config.device,
            num_threads=at_once,
        ),
        name="synthesise",
        mem_gb=network_mem_gb(card.shape, at_once=at_once),
        n_procs=at_once,
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get("prepare_t1w_wf"), t1w_to_network_wf,
            [("outputnode.t1w", "inputnode.image"),
             ("outputnode.t1w_to_mni", "inputnode.xfm1")]),
        (get("mask_to_grid"), t1w_to_network_wf, [("out_file", "inputnode.mask_mni")]),
        (t1w_to_network_wf, synthesise, [("outputnode.norm", "t1w")]),
        (get("mask_to_grid"), synthesise, [("out_file", "mask")]),
        (t1w_to_network_wf, get("write_report"), [("outputnode.preproc", "t1w_mni")]),
        (t1w_to_network_wf, get("ds_anat"), [("outputnode.preproc", "t1w_mni"),
                                             ("outputnode.norm", "t1w_norm"),
                                             ("outputnode.scale", "t1w_norm_facts")]),
    ])
    # fmt: on


def _list_measured(workflow: Workflow, n_pets: int) -> None:
    """Gather what is found of each measured PET for the QC row and the page."""
    for name, targets in (
        ("list_scores", ("collect_qc.pet_scores", "write_report.scores")),
        ("list_motions", ("collect_qc.pet_motions",)),
        ("list_traces", ("write_report.traces",)),
    ):
        gather = Node(Merge(n_pets), name=name, run_without_submitting=True)
        for node, field in (target.split(".") for target in targets):
            workflow.connect(gather, "out", workflow.get_node(node), field)


def _template_space(workflow: Workflow, unit: Unit, card: Card, config: Config) -> None:
    """Bring the T1w to the grid of the maps, where no network asks for it."""
    t1w_to_grid = Node(
        ResampleToGrid(grid=grid_spec(card)), name="t1w_to_grid", mem_gb=IMAGE_MEM_GB
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get("prepare_t1w_wf"), t1w_to_grid, [("outputnode.t1w", "in_file")]),
        (get("list_transforms"), t1w_to_grid, [("out", "transforms")]),
        (t1w_to_grid, get("ds_anat"), [("out_file", "t1w_mni")]),
        (t1w_to_grid, get("write_report"), [("out_file", "t1w_mni")]),
    ])
    # fmt: on


def parcellation_step(unit: Unit) -> WarpParcellation | AdoptLabels:
    """The packaged labels warped onto the T1w, or the user's own; both have the same fields."""
    suit = {"suit": str(unit.suit.path)} if unit.suit else {}
    if unit.labels is None:
        return WarpParcellation(**suit)
    return AdoptLabels(labels=str(unit.labels.path), **suit)


def _save_anat(workflow: Workflow, unit: Unit, card: Card, config: Config) -> None:
    describe = Node(DescribeParcellation(), name="describe_parcellation")
    products = (*ANAT_PRODUCTS, *(NETWORK_PRODUCTS if unit.tracers else ()))
    ds_anat = init_ds_node(
        products=(*products, "qc"),
        label=unit.label,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars={
            **Sidecars(unit, card, config).anat(products, source="t1w"),
            **table_dictionaries(),
        },
        extra=dict.fromkeys(("dseg", "dseg_table", "morph"), atlas_of(unit)),
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
        label=unit.label,
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
                                                   ("outputnode.mask", "inputnode.mask"),
                                                   ("outputnode.gm", "inputnode.gm"),
                                                   ("outputnode.wm", "inputnode.wm")]),
        (prepare_flair_wf, flair_to_network_wf, [("outputnode.flair", "inputnode.image"),
                                                 ("outputnode.flair_to_t1w", "inputnode.xfm2")]),
        (get("prepare_t1w_wf"), flair_to_network_wf,
            [("outputnode.t1w_to_mni", "inputnode.xfm1")]),
        (get("mask_to_grid"), flair_to_network_wf, [("out_file", "inputnode.mask_mni")]),
        (flair_to_network_wf, get("synthesise"), [("outputnode.norm", "flair")]),
        (prepare_flair_wf, get("flag_mri"), [("outputnode.flair_facts", "flair"),
                                             ("outputnode.figures", "flair_figures")]),
        (prepare_flair_wf, get("collect_qc"), [("outputnode.flair_facts", "flair"),
                                               ("outputnode.figures", "flair_figures")]),
        (prepare_flair_wf, get("write_report"), [("outputnode.flair", "flair"),
                                                 ("outputnode.flair_t1w", "flair_t1w")]),
        (prepare_flair_wf, ds_flair, [("outputnode.flair_t1w", "flair_preproc"),
                                      ("outputnode.flair_to_t1w", "flair_to_t1w_xfm")]),
        (flair_to_network_wf, ds_flair, [("outputnode.preproc", "flair_mni"),
                                         ("outputnode.norm", "flair_norm"),
                                         ("outputnode.scale", "flair_norm_facts")]),
    ])
    # fmt: on


def _report(workflow: Workflow, unit: Unit, card: Card, config: Config) -> None:
    n_pets = len(unit.tracers) + len(unit.measured)
    list_maps = Node(Merge(n_pets), name="list_maps", run_without_submitting=True)
    list_tables = Node(Merge(n_pets), name="list_tables", run_without_submitting=True)
    list_references = Node(Merge(n_pets), name="list_references", run_without_submitting=True)
    write_report = Node(
        WriteReport(
            out_html=str(config.output_dir / f"{unit.label}.html"),
            space=card.space,
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
        (get("warp_parcellation"), write_report, [("dseg", "dseg")]),
        (get("collect_qc"), write_report, [("flags", "flags"), ("table", "qc")]),
        (list_maps, write_report, [("out", "suvr_maps")]),
        (list_tables, write_report, [("out", "tables")]),
        (list_references, write_report, [("out", "ref_masks")]),
    ])
    # fmt: on
