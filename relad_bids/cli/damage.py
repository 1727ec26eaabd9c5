"""FLAIR that turn out to be damaged once they are read to the end.

Headers are looked at when sessions are planned; voxels take some tenths of a second each, which
a run spends on the sessions that it is about to do, and on no others.
"""

from __future__ import annotations

from relad_bids.bids.images import require_usable
from relad_bids.config import Config
from relad_bids.errors import ImageError
from relad_bids.finished import is_finished, task_of
from relad_bids.model.card import Card
from relad_bids.plan import with_flair_problems
from relad_bids.sessions import Plan, Unit


def without_damaged_flair(plan: Plan, card: Card, config: Config) -> Plan:
    """Read the FLAIR of each session that is not finished; do without those that are damaged."""
    problems = {
        unit.label: problem
        for unit in plan.units
        if unit.flair
        and not is_finished(task_of(unit, checkpoint=card.sha256, config=config), config)
        and (problem := _problem(unit))
    }
    return with_flair_problems(plan, problems, missing_flair=config.missing_flair)


def _problem(unit: Unit) -> str | None:
    assert unit.flair is not None
    try:
        require_usable(unit.flair)
    except ImageError as error:
        return str(error)
    return None
