"""``--list-missing``: which sessions of this very call have no complete results yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from relad_bids.bids.outputs import product_path
from relad_bids.cli.damage import without_damaged_flair
from relad_bids.cli.telling import tell
from relad_bids.config import Config
from relad_bids.files import read_table
from relad_bids.finished import is_finished, task_of
from relad_bids.model.card import Card
from relad_bids.records import resolution_label, table_paths
from relad_bids.records_measured import measured_tables
from relad_bids.sessions import Left, Plan, Unit


def list_missing(plan: Plan, card: Card, config: Config, *, by: str) -> int:
    """Print participants (or sessions) that lack results on stdout, and why on stderr.

    A line is ``sub-01``, or ``sub-01`` and ``ses-a`` parted by a tab where sessions are asked
    for and there are any: what an array of jobs counts and reads. Nothing is written.
    """
    lines: dict[str, None] = {}
    for one, reason in missing(plan, card, config):
        tell(f"relad-bids: {one.label}: {reason}")
        session = by == "session" and one.session
        lines[f"sub-{one.subject}" + (f"\tses-{one.session}" if session else "")] = None
    for line in lines:
        print(line)
    asked = len(plan.units) + len(plan.left)
    tell(f"relad-bids: {asked} sessions asked for, {len(lines)} {by}s to do")
    return 0


def missing(plan: Plan, card: Card, config: Config) -> Iterator[tuple[Unit | Left, str]]:
    """Yield each session without complete results, and the reason.

    A session that was left out is done once its row in the QC table says so: asking again
    would leave it out again. FLAIR are read to their end where a job has looked at a session
    before, and it may be their damage that stopped it.
    """
    plan = _judged(plan, card, config)
    for unit in plan.units:
        if reason := _lacking(unit, card, config):
            yield unit, reason
    for left in plan.left:
        if _qc(left.label, card, config)[0] != ("failed" if left.exit_code else "skipped"):
            yield left, f"no job has looked at it yet; it will be left out: {left.reason}"


def _judged(plan: Plan, card: Card, config: Config) -> Plan:
    """The plan as a job would have it, in the same order, where there is a row of one."""
    seen = tuple(unit for unit in plan.units if _qc(unit.label, card, config)[0] is not None)
    judged = without_damaged_flair(replace(plan, units=seen), card, config)
    after = {unit.label: unit for unit in judged.units}
    gone = {unit.label for unit in seen} - after.keys()
    units = (after.get(unit.label, unit) for unit in plan.units if unit.label not in gone)
    return replace(judged, units=tuple(units))


def _lacking(unit: Unit, card: Card, config: Config) -> str | None:
    status, told = _qc(unit.label, card, config)
    if status is None:
        return "no results yet"
    if status != "ok":
        return f"{status}: {told}"
    measured = [path for pet in unit.measured for path in measured_tables(pet, unit, card)]
    needed = [*table_paths(unit, card), *measured, Path(f"{unit.label}.html")]
    for path in needed:
        if not (config.output_dir / path).is_file():
            return f"stopped on its way: {path} is not there"
    checkpoint = card.sha256 if unit.tracers else ""
    if not is_finished(task_of(unit, checkpoint=checkpoint, config=config), config):
        return "was done with other inputs, settings, weights or another version"
    return None


def _qc(label: str, card: Card, config: Config) -> tuple[str | None, str]:
    """Status and reason in the QC row of a session; None where there is no row."""
    path = config.output_dir / product_path(
        "qc", label, space=card.space, resolution=resolution_label(card)
    )
    if not path.is_file():
        return None, ""
    row = read_table(path).iloc[0]
    return str(row["status"]), str(row["reason"])
