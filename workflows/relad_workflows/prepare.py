"""From raw MRI to what the network sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from relad_bids.interfaces.mri import (
    CheckImage,
    CorrectBias,
    ExtractBrain,
    RegisterFlair,
    RegisterTemplate,
    ResampleToGrid,
    SegmentTissue,
)
from relad_bids.interfaces.network import NormaliseMRI
from relad_bids.interfaces.quality import MeasureFlair, MeasureT1w
from relad_bids.interfaces.reuse import AdoptMask, AdoptT1w, AdoptWarp
from relad_bids.sessions import NOTHING_REUSED, Reused

IMAGE_MEM_GB = 1.0
"""Peak of a step that holds a 1 mm head two or three times in float32, with ants imported."""

REGISTRATION_MEM_GB = 2.0
"""Peak of antsRegistration with the template at 2 mm and the head at 1 mm."""


def init_prepare_t1w_wf(
    *,
    space: str,
    skull_strip: str,
    engine: str,
    sloppy: bool,
    reused: Reused = NOTHING_REUSED,
    name: str = "prepare_t1w_wf",
) -> Workflow:
    """Correct, strip, segment a T1w and register it to the template of a space.

    Steps that derivatives take the place of keep their names and fields.

    Inputs
    ------
    t1w
        T1w of the dataset

    Outputs
    -------
    t1w
        after N4, original grid
    mask
        brain
    brain_facts
        volume, method, flags and the figures behind them
    csf, gm, wm
        tissue probabilities
    t1w_to_mni, mni_to_t1w
        ITK composite transforms
    figures
        quality of the T1w and of its place on the template
    """
    inputnode = Node(IdentityInterface(fields=["t1w"]), name="inputnode")
    outputnode = Node(
        IdentityInterface(
            fields=[
                "t1w",
                "mask",
                "brain_facts",
                "csf",
                "gm",
                "wm",
                "t1w_to_mni",
                "mni_to_t1w",
                "figures",
            ]
        ),
        name="outputnode",
    )
    check_t1w = Node(CheckImage(), name="check_t1w", mem_gb=IMAGE_MEM_GB)
    correct_t1w = Node(correct_step(reused), name="correct_t1w", mem_gb=IMAGE_MEM_GB)
    extract_brain = Node(
        brain_step(reused, ExtractBrain(mode=skull_strip, engine=engine)),
        name="extract_brain",
        mem_gb=REGISTRATION_MEM_GB,
    )
    segment_tissue = Node(SegmentTissue(), name="segment_tissue", mem_gb=IMAGE_MEM_GB)
    register_template = Node(
        warp_step(reused, RegisterTemplate(space=space, sloppy=sloppy)),
        name="register_template",
        mem_gb=REGISTRATION_MEM_GB,
    )
    measure_t1w = Node(MeasureT1w(space=space), name="measure_t1w", mem_gb=IMAGE_MEM_GB)
    workflow = Workflow(name=name)
    # fmt: off
    workflow.connect([
        (inputnode, check_t1w, [("t1w", "in_file")]),
        (check_t1w, correct_t1w, [("out_file", "in_file")]),
        (correct_t1w, extract_brain, [("out_file", "in_file")]),
        (correct_t1w, segment_tissue, [("out_file", "t1w")]),
        (extract_brain, segment_tissue, [("mask", "mask")]),
        (correct_t1w, register_template, [("out_file", "t1w")]),
        (extract_brain, register_template, [("mask", "mask"),
                                            ("t1w_to_mni_affine", "initial")]),
        (correct_t1w, outputnode, [("out_file", "t1w")]),
        (extract_brain, outputnode, [("mask", "mask"),
                                     ("facts", "brain_facts")]),
        (segment_tissue, outputnode, [("csf", "csf"), ("gm", "gm"), ("wm", "wm")]),
        (register_template, outputnode, [("forward", "t1w_to_mni"),
                                         ("inverse", "mni_to_t1w")]),
        (inputnode, measure_t1w, [("t1w", "source")]),
        (check_t1w, measure_t1w, [("out_file", "scanned")]),
        (correct_t1w, measure_t1w, [("out_file", "t1w")]),
        (extract_brain, measure_t1w, [("mask", "mask"),
                                      ("t1w_to_mni_affine", "affine")]),
        (segment_tissue, measure_t1w, [("gm", "gm"), ("wm", "wm")]),
        (register_template, measure_t1w, [("forward", "forward")]),
        (measure_t1w, outputnode, [("figures", "figures")]),
    ])
    # fmt: on
    return workflow


def correct_step(reused: Reused) -> CorrectBias | AdoptT1w:
    """Divide out the bias field, or take a T1w of which that was done."""
    return AdoptT1w() if reused.t1w else CorrectBias()


def brain_step(reused: Reused, own: ExtractBrain) -> ExtractBrain | AdoptMask:
    """Find the brain, or take the mask of derivatives."""
    if reused.mask is None:
        return own
    return AdoptMask(mask_file=str(reused.mask.path), source=reused.mask.source)


def warp_step(reused: Reused, own: RegisterTemplate) -> RegisterTemplate | AdoptWarp:
    """Register to the template, or take the transforms of derivatives."""
    if reused.to_template is None or reused.from_template is None:
        return own
    return AdoptWarp(
        forward_file=str(reused.to_template.path),
        inverse_file=str(reused.from_template.path),
        space=own.inputs.space,
    )


def init_prepare_flair_wf(*, name: str = "prepare_flair_wf") -> Workflow:
    """Correct a FLAIR and register it to its T1w.

    Inputs
    ------
    flair
        FLAIR of the dataset
    t1w, mask, gm, wm
        prepared T1w, its brain and tissue

    Outputs
    -------
    flair
        after N4, original grid
    flair_t1w
        the same on the T1w grid
    flair_to_t1w
        rigid ITK transform
    flair_facts
        cost, initialisation
    figures
        quality of the FLAIR and of its place on the T1w
    """
    inputnode = Node(
        IdentityInterface(fields=["flair", "t1w", "mask", "gm", "wm"]), name="inputnode"
    )
    outputnode = Node(
        IdentityInterface(fields=["flair", "flair_t1w", "flair_to_t1w", "flair_facts", "figures"]),
        name="outputnode",
    )
    check_flair = Node(CheckImage(), name="check_flair", mem_gb=IMAGE_MEM_GB)
    correct_flair = Node(CorrectBias(), name="correct_flair", mem_gb=IMAGE_MEM_GB)
    register_flair = Node(RegisterFlair(), name="register_flair", mem_gb=IMAGE_MEM_GB)
    list_transforms = Node(Merge(1), name="list_transforms", run_without_submitting=True)
    flair_on_t1w = Node(ResampleToGrid(), name="flair_on_t1w", mem_gb=IMAGE_MEM_GB)
    measure_flair = Node(MeasureFlair(), name="measure_flair", mem_gb=IMAGE_MEM_GB)
    workflow = Workflow(name=name)
    # fmt: off
    workflow.connect([
        (inputnode, check_flair, [("flair", "in_file")]),
        (check_flair, correct_flair, [("out_file", "in_file")]),
        (correct_flair, register_flair, [("out_file", "flair")]),
        (inputnode, register_flair, [("t1w", "t1w"), ("mask", "mask")]),
        (register_flair, list_transforms, [("xfm", "in1")]),
        (correct_flair, flair_on_t1w, [("out_file", "in_file")]),
        (list_transforms, flair_on_t1w, [("out", "transforms")]),
        (inputnode, flair_on_t1w, [("t1w", "reference")]),
        (correct_flair, outputnode, [("out_file", "flair")]),
        (flair_on_t1w, outputnode, [("out_file", "flair_t1w")]),
        (register_flair, outputnode, [("xfm", "flair_to_t1w"),
                                      ("facts", "flair_facts")]),
        (inputnode, measure_flair, [("flair", "source"),
                                    ("t1w", "t1w"),
                                    ("mask", "mask"),
                                    ("gm", "gm"),
                                    ("wm", "wm")]),
        (check_flair, measure_flair, [("out_file", "scanned")]),
        (correct_flair, measure_flair, [("out_file", "flair")]),
        (flair_on_t1w, measure_flair, [("out_file", "flair_t1w")]),
        (register_flair, measure_flair, [("xfm", "xfm")]),
        (measure_flair, outputnode, [("figures", "figures")]),
    ])
    # fmt: on
    return workflow


def init_to_network_wf(
    *, grid: Mapping[str, Any], contract: Mapping[str, float], n_transforms: int, name: str
) -> Workflow:
    """Bring one sequence from its original voxels to the network's grid and intensities.

    Inputs
    ------
    image
        after N4, original grid
    mask_mni
        brain on the network's grid
    xfm1, xfm2 ...
        ITK transforms, the last one applied first

    Outputs
    -------
    preproc
        on the network's grid, original intensities
    norm
        in [-1, 1]
    scale
        intensities that became -1 and +1
    """
    xfms = [f"xfm{i + 1}" for i in range(n_transforms)]
    inputnode = Node(IdentityInterface(fields=["image", "mask_mni", *xfms]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["preproc", "norm", "scale"]), name="outputnode")
    list_transforms = Node(
        Merge(n_transforms), name="list_transforms", run_without_submitting=True
    )
    to_grid = Node(ResampleToGrid(grid=dict(grid)), name="to_grid", mem_gb=IMAGE_MEM_GB)
    normalise = Node(NormaliseMRI(contract=dict(contract)), name="normalise", mem_gb=IMAGE_MEM_GB)
    workflow = Workflow(name=name)
    # fmt: off
    workflow.connect([
        (inputnode, list_transforms, [(x, f"in{i + 1}") for i, x in enumerate(xfms)]),
        (inputnode, to_grid, [("image", "in_file")]),
        (list_transforms, to_grid, [("out", "transforms")]),
        (to_grid, normalise, [("out_file", "in_file")]),
        (inputnode, normalise, [("mask_mni", "mask_file")]),
        (to_grid, outputnode, [("out_file", "preproc")]),
        (normalise, outputnode, [("out_file", "norm"), ("scale", "scale")]),
    ])
    # fmt: on
    return workflow
