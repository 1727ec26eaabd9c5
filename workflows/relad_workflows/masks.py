"""Masks of a scale, read out in their own space; the same for synthetic and measured PET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nipype.pipeline.engine import Node, Workflow

from relad_bids.interfaces.masks import MeasureMasks
from relad_workflows.prepare import IMAGE_MEM_GB


def add_masks(
    workflow: Workflow,
    *,
    masks: Mapping[str, str],
    settings: Mapping[str, Any],
    to_masks: Node,
    quantify: str,
    name: str,
) -> Node:
    """Read an image out with the masks of its scale, and hand the rows to its table.

    Parameters
    ----------
    settings
        Inputs of ``MeasureMasks`` that are known before the run.
    to_masks
        Step that brings the image onto the grid of the masks.
    """
    measure = Node(
        MeasureMasks(masks=dict(masks), **settings), name=f"masks_{name}", mem_gb=IMAGE_MEM_GB
    )
    workflow.connect(to_masks, "out_file", measure, "activity")
    nested = "inputnode." if isinstance(workflow.get_node(quantify), Workflow) else ""
    workflow.connect(measure, "table", workflow.get_node(quantify), f"{nested}template_rows")
    return measure
