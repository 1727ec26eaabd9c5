"""A lesion that the user drew: kept out of the warp's cost and of the scale of intensities."""

from __future__ import annotations

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from relad_bids.config import Config
from relad_bids.interfaces.mri import CheckImage, CorrectBias, RegisterFlair, ResampleToGrid
from relad_bids.interfaces.reuse import AdoptLesion
from relad_bids.model.card import Card
from relad_bids.records import Sidecars, grid_spec, resolution_label
from relad_bids.records_prepared import lesion_on_flair
from relad_bids.sessions import Unit
from relad_workflows.outputs import LESION_PRODUCTS, init_ds_node
from relad_workflows.prepare import IMAGE_MEM_GB


def add_lesion(workflow: Workflow, unit: Unit, card: Card, config: Config) -> None:
    """Bring the lesion to the T1w, to the registration, to the network's grid, and save it."""
    prepare = workflow.get_node("prepare_t1w_wf")
    adopt_lesion = Node(
        AdoptLesion(lesion=str(unit.lesion.path)) if unit.lesion else AdoptLesion(),
        name="adopt_lesion",
        mem_gb=IMAGE_MEM_GB,
    )
    lesion_to_grid = Node(
        ResampleToGrid(grid=grid_spec(card), interpolation="nearest"),
        name="lesion_to_grid",
        mem_gb=IMAGE_MEM_GB,
    )
    ds_lesion = init_ds_node(
        products=LESION_PRODUCTS,
        label=unit.label,
        output_dir=config.output_dir,
        space=card.space,
        resolution=resolution_label(card),
        sidecars=Sidecars(unit, card, config).lesion(),
        name="ds_lesion",
    )
    get = prepare.get_node
    # fmt: off
    prepare.connect([
        (get("correct_t1w"), adopt_lesion, [("out_file", "t1w")]),
        (get("extract_brain"), adopt_lesion, [("mask", "mask")]),
        (adopt_lesion, get("register_template"), [("out_file", "lesion")]),
    ])
    workflow.connect([
        (prepare, lesion_to_grid, [("adopt_lesion.out_file", "in_file")]),
        (workflow.get_node("list_transforms"), lesion_to_grid, [("out", "transforms")]),
        (prepare, workflow.get_node("collect_qc"), [("adopt_lesion.facts", "lesion")]),
        (prepare, ds_lesion, [("adopt_lesion.out_file", "lesion_mask")]),
    ])
    # fmt: on
    for name in ("t1w_to_network_wf", "flair_to_network_wf"):
        if (target := workflow.get_node(name)) is not None:
            workflow.connect(lesion_to_grid, "out_file", target, "normalise.exclude_file")
    if lesion_on_flair(unit):
        _from_flair(prepare, unit)


def _from_flair(prepare: Workflow, unit: Unit) -> None:
    """Find the FLAIR's place before the warp is made, which would else wait for itself.

    The same steps on the same files give the same transform once more in the FLAIR's own stage.
    """
    source = Node(IdentityInterface(fields=["flair"], flair=str(unit.flair)), name="lesion_flair")
    check = Node(CheckImage(), name="check_lesion_flair", mem_gb=IMAGE_MEM_GB)
    correct = Node(CorrectBias(), name="correct_lesion_flair", mem_gb=IMAGE_MEM_GB)
    register = Node(RegisterFlair(), name="register_lesion_flair", mem_gb=IMAGE_MEM_GB)
    get = prepare.get_node
    # fmt: off
    prepare.connect([
        (source, check, [("flair", "in_file")]),
        (check, correct, [("out_file", "in_file")]),
        (correct, register, [("out_file", "flair")]),
        (get("correct_t1w"), register, [("out_file", "t1w")]),
        (get("extract_brain"), register, [("mask", "mask")]),
        (register, get("adopt_lesion"), [("xfm", "xfm")]),
    ])
    # fmt: on
