"""From an activity image to SUVr maps and the VOI table; the same for any PET."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from relad_bids.interfaces.correct import CorrectPartialVolume
from relad_bids.interfaces.quantify import MeasureSpread, QuantifyPET, WarpActivity

QUANTIFY_MEM_GB = 1.0
"""Activity, labels and one mask of a 1 mm head, and the values sorted by label."""

CORRECT_MEM_GB = 1.0
"""Some 120 regions of a 1 mm head, their matrix, and five images: 0.6 GB by GTM, RBV and IY,
0.4 GB by MG (``benchmarks/step_memory.py``)."""


def init_quantify_wf(
    *,
    ref_region: str,
    min_coverage: float,
    context: Mapping[str, object],
    flags: Sequence[str],
    with_spread: bool,
    intervals: Mapping[str, object],
    second_refs: Sequence[str] = (),
    correction: Mapping[str, object] = MappingProxyType({}),
    pvc: Mapping[str, object] = MappingProxyType({}),
    suit: bool = False,
    name: str,
) -> Workflow:
    """Turn one activity image in template space into SUVr and a table.

    ``with_spread`` adds how far the samples differ whose mean the activity image is;
    ``intervals``, where it is not empty, how far a real PET may be off; ``second_refs`` rows over
    further reference regions; ``correction``, where it is not empty, ``method`` and ``fwhm_mm`` of
    corrected rows, and ``pvc`` their columns.

    Inputs
    ------
    activity
        zero is true zero, template space
    t1w
        prepared T1w
    mni_to_t1w
        ITK transform
    dseg, inferior, numbers
        parcellation in T1w space
    samples
        activity images in template space; only with spread
    brain, csf, gm, wm
        brain mask and tissue probabilities in T1w space; only with a correction
    template_rows
        rows read out in template space; may be left out
    mri_flags
        what is unusual about the MRI

    Outputs
    -------
    suvr_t1w, suvr_mni
        SUVr maps
    table
        VOI table
    activity
        in T1w space, NaN outside the field of view
    ref_mask
        reference region as applied
    suvr_sd_mni
        standard deviation of the samples' SUVr in each voxel; only with spread
    pvc_facts
        how the partial volume was corrected, or why not; only with a correction
    """
    inputs = [
        "activity", "t1w", "mni_to_t1w", "dseg", "inferior", "numbers",
        "template_rows", "mri_flags",
    ]  # fmt: skip
    outputs = ["suvr_t1w", "suvr_mni", "table", "ref_mask", "activity"]
    if with_spread:
        inputs, outputs = [*inputs, "samples"], [*outputs, "suvr_sd_mni"]
    if correction:
        inputs, outputs = [*inputs, "brain", "csf", "gm", "wm"], [*outputs, "pvc_facts"]
    inputnode = Node(IdentityInterface(fields=inputs), name="inputnode")
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")
    warp_activity = Node(WarpActivity(), name="warp_activity", mem_gb=QUANTIFY_MEM_GB)
    quantify = Node(
        QuantifyPET(
            ref_region=ref_region,
            min_coverage=min_coverage,
            context=dict(context),
            flags=list(flags),
            intervals=dict(intervals),
            second_refs=list(second_refs),
            pvc=dict(pvc),
            suit=suit,
        ),
        name="quantify",
        mem_gb=QUANTIFY_MEM_GB,
    )
    workflow = Workflow(name=name)
    # fmt: off
    workflow.connect([
        (inputnode, warp_activity, [("activity", "in_file"),
                                    ("t1w", "t1w"),
                                    ("mni_to_t1w", "xfm")]),
        (warp_activity, quantify, [("out_file", "activity")]),
        (warp_activity, outputnode, [("out_file", "activity")]),
        (inputnode, quantify, [("activity", "activity_mni"),
                               ("dseg", "dseg"),
                               ("inferior", "inferior"),
                               ("numbers", "numbers"),
                               ("template_rows", "template_rows"),
                               ("mri_flags", "mri_flags")]),
        (quantify, outputnode, [("suvr_t1w", "suvr_t1w"),
                                ("suvr_mni", "suvr_mni"),
                                ("table", "table"),
                                ("ref_mask", "ref_mask")]),
    ])
    # fmt: on
    if with_spread:
        _add_spread(workflow, ref_region=ref_region, min_coverage=min_coverage)
    if correction:
        _add_correction(workflow, ref_region=ref_region, correction=correction)
    return workflow


def _add_correction(
    workflow: Workflow, *, ref_region: str, correction: Mapping[str, object]
) -> None:
    """Correct the image for partial volume; its means become further rows."""
    correct = Node(
        CorrectPartialVolume(ref_region=ref_region, brain_only=True, **correction),
        name="correct",
        mem_gb=CORRECT_MEM_GB,
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get("warp_activity"), correct, [("out_file", "activity")]),
        (get("inputnode"), correct, [("dseg", "dseg"),
                                     ("inferior", "inferior"),
                                     ("brain", "brain"),
                                     ("csf", "csf"),
                                     ("gm", "gm"),
                                     ("wm", "wm")]),
        (correct, get("quantify"), [("out_file", "corrected"), ("unstable", "unstable")]),
        (correct, get("outputnode"), [("facts", "pvc_facts")]),
    ])
    # fmt: on


def _add_spread(workflow: Workflow, *, ref_region: str, min_coverage: float) -> None:
    """Quantify each sample by itself; its spread goes into the table and a map."""
    measure_spread = Node(
        MeasureSpread(ref_region=ref_region, min_coverage=min_coverage),
        name="measure_spread",
        mem_gb=QUANTIFY_MEM_GB,
    )
    get = workflow.get_node
    # fmt: off
    workflow.connect([
        (get("inputnode"), measure_spread, [("samples", "samples"),
                                            ("t1w", "t1w"),
                                            ("mni_to_t1w", "mni_to_t1w"),
                                            ("dseg", "dseg"),
                                            ("inferior", "inferior"),
                                            ("numbers", "numbers")]),
        (measure_spread, get("quantify"), [("table", "spread")]),
        (measure_spread, get("outputnode"), [("suvr_sd_mni", "suvr_sd_mni")]),
    ])
    # fmt: on
