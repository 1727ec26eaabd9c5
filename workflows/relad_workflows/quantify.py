"""From an activity image to SUVr maps and the VOI table; the same for any PET."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from relad_bids.interfaces.quantify import QuantifyPET, WarpActivity

QUANTIFY_MEM_GB = 1.0
"""Activity, labels and one mask of a 1 mm head, and the values sorted by label."""


def init_quantify_wf(
    *,
    ref_region: str,
    min_coverage: float,
    context: Mapping[str, object],
    flags: Sequence[str],
    name: str,
) -> Workflow:
    """Turn one activity image in template space into SUVr and a table.

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

    Outputs
    -------
    suvr_t1w, suvr_mni
        SUVr maps
    table
        VOI table
    ref_mask
        reference region as applied
    """
    inputnode = Node(
        IdentityInterface(fields=["activity", "t1w", "mni_to_t1w", "dseg", "inferior", "numbers"]),
        name="inputnode",
    )
    outputnode = Node(
        IdentityInterface(fields=["suvr_t1w", "suvr_mni", "table", "ref_mask"]), name="outputnode"
    )
    warp_activity = Node(WarpActivity(), name="warp_activity", mem_gb=QUANTIFY_MEM_GB)
    quantify = Node(
        QuantifyPET(
            ref_region=ref_region,
            min_coverage=min_coverage,
            context=dict(context),
            flags=list(flags),
        ),
        name="quantify",
        mem_gb=QUANTIFY_MEM_GB,
    )
    workflow = Workflow(name=name)
    # fmt: off
    workflow.connect([
        (inputnode, warp_activity, [("activity", "in_file"),
                                    ("t1w", "t1w"),
                                    ("mni_to_t1w", "mni_to_t1w")]),
        (warp_activity, quantify, [("out_file", "activity")]),
        (inputnode, quantify, [("activity", "activity_mni"),
                               ("dseg", "dseg"),
                               ("inferior", "inferior"),
                               ("numbers", "numbers")]),
        (quantify, outputnode, [("suvr_t1w", "suvr_t1w"),
                                ("suvr_mni", "suvr_mni"),
                                ("table", "table"),
                                ("ref_mask", "ref_mask")]),
    ])
    # fmt: on
    return workflow
