"""What each step of a session is said to take, once its images are known."""

from __future__ import annotations

from collections.abc import Mapping

from nipype.pipeline.engine import Workflow

FIXED = "synthesise"
"""The step whose memory is that of the network's grid, not of the images."""


def scale_memory(workflow: Workflow, factors: Mapping[str, float]) -> None:
    """Raise ``mem_gb`` of all steps of each session by its factor.

    Nipype plans with these figures and takes them when a node is made, before which no builder
    reads an image; hence its private field.
    """
    for name, factor in factors.items():
        session = workflow.get_node(name)
        for step in session.list_node_names():
            node = session.get_node(step)
            if node.name != FIXED:
                node._mem_gb *= factor
