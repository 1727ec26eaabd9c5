"""``relad-bids BIDS OUT participant``."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
import uuid
from argparse import Namespace
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from platform import platform, python_version

from relad_bids import __version__
from relad_bids.bids.atlases import find_atlases, find_suit
from relad_bids.bids.dataset import write_atlas_description, write_root_files
from relad_bids.bids.images import require_readable
from relad_bids.bids.inputs import Dataset, find_scans
from relad_bids.bids.labels import find_labels
from relad_bids.bids.lesions import find_lesions
from relad_bids.bids.measured import Wanted, find_measured
from relad_bids.bids.outputs import product_path
from relad_bids.bids.reuse import find_reused
from relad_bids.bids.runs import measure_run
from relad_bids.cli.fitting import fitting, memory_factors
from relad_bids.cli.missing import list_missing
from relad_bids.cli.outcome import Outcome, crash_files, not_reached, read_crashes
from relad_bids.cli.settings import config_of, for_checkpoint
from relad_bids.config import Config
from relad_bids.core.qc import qc_row
from relad_bids.files import require_writable, write_table, write_text
from relad_bids.model.card import Card
from relad_bids.model.checkpoint import verify_checkpoint
from relad_bids.model.predictor import resolve_device
from relad_bids.pet.sharpness import read_psf_table
from relad_bids.plan import (
    Left,
    Measured,
    Plan,
    Unit,
    Unread,
    plan_units,
    with_atlases,
    with_labels,
    with_prepared,
)
from relad_bids.records import (
    only_measured,
    resolution_label,
    sampling_text,
    statement,
    table_paths,
)
from relad_bids.records_measured import measured_tables, measured_text
from relad_bids.records_prepared import prepared_log
from relad_bids.records_secondary import measured_pvc, synthetic_pvc

LOGGER = logging.getLogger("relad_bids")


def run_participant(args: Namespace) -> int:
    """Plan, compute, and say what became of each session."""
    config = config_of(args)
    dataset = find_scans(
        config.bids_dir,
        participants=config.participants,
        sessions=config.sessions,
        filters=config.filters,
    )
    for folder in () if args.list_missing else (config.output_dir, config.work_dir):
        require_writable(folder)
    card = verify_checkpoint(config.model_dir)
    config = for_checkpoint(config, card)
    if config.synthesise and not args.list_missing:
        config = replace(config, device=resolve_device(config.device))
    measured, unread = _measured(dataset, config)
    plan = plan_units(
        dataset.scans,
        participants=dataset.participants,
        tracers=config.tracers,
        missing_flair=config.missing_flair,
        check=require_readable,
        measured=measured,
        unread=unread,
        require_pet=config.real_pet == "require",
        run_choice=config.run_choice,
        measure_run=measure_run,
    )
    plan = _labelled(_prepared(plan, card, config), card, config)
    if args.list_missing:
        return list_missing(plan, card, config, by=args.list_missing)
    plan = fitting(plan, card, config)
    _tell(plan, card, config)
    run_id = uuid.uuid4().hex[:12]
    write_root_files(config.output_dir)
    for label in sorted({a.entities["atlas"] for unit in plan.units for a in unit.atlases}):
        write_atlas_description(config.output_dir, label)
    crashes = _compute(plan, card, config, run_id=run_id, graph=args.write_graph)
    done = tuple(unit for unit in plan.units if unit.label not in crashes)
    outcome = Outcome(done, (*plan.left, *crashes.values()))
    for left in outcome.left:
        _record(left, card, config)
    for left in crashes.values():
        print(f"relad-bids: {left.label}: {left.reason}", file=sys.stderr)
    LOGGER.info("%s; derivatives in %s", outcome.last_line(), config.output_dir)
    if config.clean_workdir and not outcome.failed:
        _clean(plan, config)
    return outcome.exit_code()


def _measured(dataset: Dataset, config: Config) -> tuple[tuple[Measured, ...], tuple[Unread, ...]]:
    """Measured PET that can be quantified, and that cannot."""
    if config.real_pet == "ignore":
        return (), ()
    wanted = Wanted(
        tracer_labels=config.tracer_labels,
        rec_labels=config.rec_labels,
        run_labels=config.run_labels,
        windows=config.pet_windows,
        scan_starts=config.pet_scan_starts,
        references=config.reference,
        fwhm_mm=config.pet_fwhm,
        psf=read_psf_table(config.pet_psf_tsv) if config.pet_psf_tsv else {},
    )
    return find_measured(config.bids_dir, dataset.scans, wanted)


def _prepared(plan: Plan, card: Card, config: Config) -> Plan:
    """Take what derivatives hold of the preparation, and the lesions that were drawn."""
    derivatives = config.derivatives if config.reuse == "all" else {}
    reused, unfit = find_reused(plan.units, derivatives=derivatives, space=card.space)
    plan = with_prepared(plan, reused=reused, lesions={}, refused=unfit)
    lesions, astray = find_lesions(
        plan.units, bids_dir=config.bids_dir, derivatives=config.derivatives
    )
    return with_prepared(plan, reused=reused, lesions=lesions, refused=astray)


def _labelled(plan: Plan, card: Card, config: Config) -> Plan:
    """Add the user's atlases, and take the user's parcellations where there are any."""
    atlases = find_atlases(config.atlas_datasets, config.atlases, space=card.space)
    suit = find_suit(config.suit_atlas, atlases, space=card.space)
    plan = with_atlases(plan, atlases, suit)
    if not (config.fs_subjects_dir or config.derivatives):
        return plan
    found, lacking = find_labels(
        plan.units, fs_subjects_dir=config.fs_subjects_dir, derivatives=config.derivatives
    )
    for label, labels in found.items():
        LOGGER.info("%s: labels of %s: %s", label, labels.source, labels.path)
    for label, reason in lacking.items():
        LOGGER.warning("%s: %s", label, reason)
    return with_labels(plan, found)


def _tell(plan: Plan, card: Card, config: Config) -> None:
    if config.synthesise:
        LOGGER.info("relad-bids %s, checkpoint %s on %s", __version__, card.label, config.device)
        LOGGER.info("each PET: %s; space %s", sampling_text(card, config), card.space)
        LOGGER.info("%s", statement(card))
    else:
        LOGGER.info("relad-bids %s, measured PET alone; space %s", __version__, card.space)
    LOGGER.info(
        "%d sessions to do, %d left out; %d CPUs, %d MB",
        len(plan.units), len(plan.left), config.nprocs, config.mem_mb,
    )  # fmt: skip
    for unit in plan.units:
        for told in prepared_log(unit):
            LOGGER.info("%s: %s", unit.label, told)
        if unit.flair_missing and not unit.tracers:
            LOGGER.warning("%s: %s", unit.label, only_measured(unit))
    for pet in (pet for unit in plan.units for pet in unit.measured):
        LOGGER.info("%s: measured %s: %s", pet.label, pet.tracer, measured_text(pet))
        if reason := measured_pvc(pet, config).get("reason"):
            LOGGER.warning("%s: %s without --pvc: %s", pet.label, pet.tracer, reason)
    if plan.units and (reason := synthetic_pvc(card, config).get("reason")):
        LOGGER.warning("synthetic PET without --pvc: %s", reason)
    for unread in plan.unread:
        LOGGER.warning("%s: measured PET is left alone: %s", unread.label, unread.reason)
    for left in plan.left:
        print(f"relad-bids: {left.label}: {left.reason}", file=sys.stderr)


def _run_dir(config: Config) -> Path:
    """Intermediate files of one version and one set of settings that change them."""
    return config.work_dir / f"relad_bids-{__version__}"


def _clean(plan: Plan, config: Config) -> None:
    """Remove the folders of this run's sessions; other jobs may share the work folder."""
    for unit in plan.units:
        shutil.rmtree(_run_dir(config) / "relad_wf" / unit.graph_name, ignore_errors=True)


def _compute(
    plan: Plan, card: Card, config: Config, *, run_id: str, graph: bool
) -> dict[str, Left]:
    """Run the graph; return the sessions that failed."""
    if not plan.units:
        return {}
    from relad_workflows.base import init_relad_wf
    from relad_workflows.execute import execute
    from relad_workflows.memory import scale_memory

    logs = {unit.label: _log_dir(config, unit.subject, run_id) for unit in plan.units}
    for folder in logs.values():
        _write_run_record(folder, config)
    crash_dir = _run_dir(config) / "crashes" / run_id
    crash_dir.mkdir(parents=True)
    workflow = init_relad_wf(
        plan.units, card=card, config=replace(config, work_dir=_run_dir(config))
    )
    scale_memory(workflow, memory_factors(plan.units))
    if graph:
        workflow.write_graph(graph2use="colored", format="svg")
    started_ns = time.time_ns()
    execute(workflow, config=config, crash_dir=crash_dir)
    for label, paths in crash_files(crash_dir, plan.units).items():
        for path in paths:
            shutil.copy(path, logs[label])
    failed = read_crashes(crash_dir, plan.units)
    for unit in plan.units:
        if unit.label not in failed and not _written(unit, card, config, since_ns=started_ns):
            failed[unit.label] = not_reached(unit)
    return failed


def _written(unit: Unit, card: Card, config: Config, *, since_ns: int) -> bool:
    """Whether this run wrote all tables of a session: the sinks always write anew."""
    measured = [path for pet in unit.measured for path in measured_tables(pet, unit, card)]
    paths = [config.output_dir / path for path in (*table_paths(unit, card), *measured)]
    return all(path.is_file() and path.stat().st_mtime_ns >= since_ns for path in paths)


def _log_dir(config: Config, subject: str, run_id: str) -> Path:
    return config.output_dir / f"sub-{subject}" / "log" / run_id


def _write_run_record(folder: Path, config: Config) -> None:
    """Settings and versions, beside the outputs they made."""
    packages = ("antspyx", "torch", "monai", "nipype", "nibabel", "numpy", "scipy")
    environment = {
        "python": python_version(),
        "platform": platform(),
        "relad-bids": __version__,
        **{name: version(name) for name in packages},
    }
    write_text(folder / "relad_bids.json", config.to_json())
    write_text(folder / "environment.json", json.dumps(environment, indent=2) + "\n")


def _record(left: Left, card: Card, config: Config) -> None:
    """A row in the QC table of a session that has no other output."""
    path = product_path("qc", left.label, space=card.space, resolution=resolution_label(card))
    row = qc_row(
        {
            "participant_id": f"sub-{left.subject}",
            "session_id": f"ses-{left.session}" if left.session else None,
            "status": "failed" if left.exit_code else "skipped",
            "flags": left.flag,
            "reason": _portable(left.reason, config),
            "checkpoint_id": card.label if config.synthesise else None,
            "software_version": __version__,
        }
    )
    write_table(config.output_dir / path, row)


def _portable(reason: str, config: Config) -> str:
    """One line without this machine's folders: the table travels with the derivatives."""
    own = (config.bids_dir, config.output_dir, config.work_dir)
    for folder in (*own, *config.derivatives.values()):
        reason = reason.replace(f"{folder}/", "")
    return " ".join(reason.split())
