"""The whole app as one graph: a sub-graph per session, none of which knows the others."""

from __future__ import annotations

from collections.abc import Sequence

from nipype.pipeline.engine import Workflow

from relad_bids.config import Config
from relad_bids.model.card import Card
from relad_bids.sessions import Unit
from relad_workflows.session import init_session_wf


def init_relad_wf(units: Sequence[Unit], *, card: Card, config: Config) -> Workflow:
    """Build the graph of all sessions.

    Parameters
    ----------
    units
        From :func:`relad_bids.plan.plan_units`; each has all that its graph needs.
    card
        Of the checkpoint that synthesises.
    config
        The same for every session; ``device`` already decided.
    """
    workflow = Workflow(name="relad_wf", base_dir=str(config.work_dir))
    workflow.add_nodes([init_session_wf(unit, card=card, config=config) for unit in units])
    return workflow
