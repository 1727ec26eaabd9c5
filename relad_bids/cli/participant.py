"""``relad-bids BIDS OUT participant``."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
from relad_bids.bids.outputs import product_path, sidecar_path
from relad_bids.bids.reuse import find_reused
from relad_bids.bids.runs import measure_run
from relad_bids.cli.damage import without_damaged_flair
from relad_bids.cli.fitting import fitting, memory_factors
from relad_bids.cli.missing import list_missing
from relad_bids.cli.outcome import (
    UNFORESEEN,
    Outcome,
    crash_files,
    ended,
    not_reached,
    read_crashes,
)
from relad_bids.cli.settings import config_of, for_checkpoint
from relad_bids.cli.telling import tell
from relad_bids.config import Config
from relad_bids.core.qc import qc_row
from relad_bids.errors import InputError, OutputError, Stopped
from relad_bids.files import json_text, require_writable, sweep, write_table, write_text
from relad_bids.finished import Task, forget, is_finished, mark, task_of, written
from relad_bids.model.card import Card
from relad_bids.model.checkpoint import verify_checkpoint
from relad_bids.model.predictor import device_text, resolve_device
from relad_bids.owners import claimed, is_gone, own_token, token_in
from relad_bids.pet.sharpness import read_psf_table
from relad_bids.plan import plan_units, with_atlases, with_labels, with_prepared
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
from relad_bids.records_tables import table_dictionaries
from relad_bids.resources import available
from relad_bids.sessions import Left, Measured, Plan, Unit, Unread
from relad_bids.untrusted import printable

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
    plan = _planned(dataset, card, config)
    if args.list_missing:
        return list_missing(plan, card, config, by=args.list_missing)
    plan = without_damaged_flair(plan, card, config)
    finished, tasks = _tasks(plan, card, config)
    plan = replace(plan, units=tuple(task.unit for task in tasks.values()))
    plan = fitting(plan, card, config)
    tasks = {unit.label: tasks[unit.label] for unit in plan.units}
    _tell(plan, card, config)
    run_id = uuid.uuid4().hex[:12]
    write_root_files(config.output_dir)
    for label in sorted({a.entities["atlas"] for unit in plan.units for a in unit.atlases}):
        write_atlas_description(config.output_dir, label)
    crashes = _compute(tasks, card, config, run_id=run_id, graph=args.write_graph)
    done = tuple(unit for unit in plan.units if unit.label not in crashes)
    crashed = tuple(crashes.values())
    outcome = Outcome((*finished, *done), (*plan.left, *crashed), plan.partly)
    for left in crashes.values():
        tell(f"relad-bids: {left.label}: {left.reason}")
    for left in outcome.left:
        try:
            _record(left, card, config)
        except OutputError as error:
            tell(f"relad-bids: {left.label}: {error}")
    LOGGER.info("%s; derivatives in %s", outcome.last_line(), config.output_dir)
    return outcome.exit_code()


def _planned(dataset: Dataset, card: Card, config: Config) -> Plan:
    """Sessions that can be done, with all that goes into each, and those left out."""
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
    return _labelled(_prepared(plan, card, config), card, config)


def _tasks(plan: Plan, card: Card, config: Config) -> tuple[tuple[Unit, ...], dict[str, Task]]:
    """Sessions that were finished before, and what is to be done of the others, by label."""
    finished, tasks = [], {}
    for unit in plan.units:
        task = task_of(unit, checkpoint=card.sha256 if unit.tracers else "", config=config)
        if is_finished(task, config):
            LOGGER.info("%s: finished before, nothing of it has changed; skipped", unit.label)
            finished.append(unit)
        else:
            tasks[unit.label] = task
    return tuple(finished), tasks


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
        LOGGER.info(
            "relad-bids %s, checkpoint %s on %s",
            __version__,
            card.label,
            device_text(config.device),
        )
        LOGGER.info("each PET: %s; space %s", sampling_text(card, config), card.space)
        LOGGER.info("%s", statement(card))
    else:
        LOGGER.info("relad-bids %s, measured PET alone; space %s", __version__, card.space)
    granted = available()
    LOGGER.info(
        "%d sessions to do, %d left out; %d CPUs of %d (%s), %d MB of %d (%s)",
        len(plan.units), len(plan.left), config.nprocs, granted.cpus, granted.cpus_source,
        config.mem_mb, granted.memory_mb, granted.memory_source,
    )  # fmt: skip
    for unit in plan.units:
        for told in prepared_log(unit):
            LOGGER.info("%s: %s", unit.label, told)
        if unit.flair_missing and not unit.tracers:
            LOGGER.warning("%s: %s", unit.label, only_measured(unit, config))
        if unit.flair_problem and unit.tracers:
            LOGGER.warning(
                "%s: synthesised without its FLAIR, which cannot be used: %s",
                unit.label, unit.flair_problem,
            )  # fmt: skip
    for pet in (pet for unit in plan.units for pet in unit.measured):
        LOGGER.info("%s: measured %s: %s", pet.label, pet.tracer, measured_text(pet))
        if reason := measured_pvc(pet, config).get("reason"):
            LOGGER.warning("%s: %s without --pvc: %s", pet.label, pet.tracer, reason)
    synthetic = any(unit.tracers for unit in plan.units)
    if synthetic and (reason := synthetic_pvc(card, config).get("reason")):
        LOGGER.warning("synthetic PET without --pvc: %s", reason)
    for unread in plan.unread:
        LOGGER.warning("%s: measured PET is left alone: %s", unread.label, unread.reason)
    for left in (*plan.left, *plan.partly):
        tell(f"relad-bids: {left.label}: {left.reason}")


def _run_dir(config: Config) -> Path:
    """Intermediate files of one version and one set of settings that change them."""
    return config.work_dir / f"relad_bids-{__version__}"


def _compute(
    tasks: Mapping[str, Task], card: Card, config: Config, *, run_id: str, graph: bool
) -> dict[str, Left]:
    """Do the sessions; return those that failed.

    Sessions keep their steps in the work folder from one run to the next, unless another process
    is at work on one of them there: then this run has a folder of its own.
    """
    if not tasks:
        return {}
    shared = _run_dir(config)
    names = [task.unit.graph_name for task in tasks.values()]
    for folder in shared.glob("alone-*"):
        if (token := token_in(folder.name)) and is_gone(token):
            shutil.rmtree(folder, ignore_errors=True)
    with claimed(shared / "claims", names) as free:
        work = shared if free else shared / f"alone-{own_token()}"
        if not free:
            LOGGER.info("another process is at work on these sessions; working in %s", work)
        gone = _gone(tasks)
        gone |= _closed({k: task for k, task in tasks.items() if k not in gone}, config, run_id)
        tasks = {label: task for label, task in tasks.items() if label not in gone}
        failed = _run_graph(tasks, card, config, work=work, run_id=run_id, graph=graph)
        failed |= gone
        if not free:
            shutil.rmtree(work, ignore_errors=True)
        elif config.clean_workdir and not failed:
            _clean(names, work, run_id)
        return failed


def _gone(tasks: Mapping[str, Task]) -> dict[str, Left]:
    """Sessions of which a file has gone since they were planned."""
    found = {}
    for label, task in tasks.items():
        if missing := [name for name, path in task.inputs.items() if not path.exists()]:
            unit = task.unit
            reason = f"{', '.join(missing)} was there and is gone. Put it back, and run again."
            found[label] = Left(
                label, unit.subject, unit.session, "input_gone", reason, InputError.exit_code
            )
    return found


def _closed(tasks: Mapping[str, Task], config: Config, run_id: str) -> dict[str, Left]:
    """Write down the settings of each session; those whose folders cannot be written.

    Told before anything is computed, and without harm to the others.
    """
    found = {}
    for label, task in tasks.items():
        unit = task.unit
        try:
            _write_run_record(_log_dir(config, unit.subject, run_id), config)
            sweep([config.output_dir / f"sub-{unit.subject}"])
            forget(unit, config)
        except (OutputError, OSError) as error:
            found[label] = Left(
                label, unit.subject, unit.session, "failed", str(error), OutputError.exit_code
            )
    return found


def _clean(names: Sequence[str], work: Path, run_id: str) -> None:
    """Remove the folders of this run's sessions; other jobs may share the work folder."""
    for name in names:
        shutil.rmtree(work / "relad_wf" / name, ignore_errors=True)
    shutil.rmtree(work / "crashes" / run_id, ignore_errors=True)


def _run_graph(
    tasks: Mapping[str, Task],
    card: Card,
    config: Config,
    *,
    work: Path,
    run_id: str,
    graph: bool,
) -> dict[str, Left]:
    from relad_workflows.base import init_relad_wf
    from relad_workflows.execute import execute
    from relad_workflows.memory import scale_memory

    units = [task.unit for task in tasks.values()]
    if not units:
        return {}
    logs = {unit.label: _log_dir(config, unit.subject, run_id) for unit in units}
    crash_dir = work / "crashes" / run_id
    crash_dir.mkdir(parents=True)
    workflow = init_relad_wf(units, card=card, config=replace(config, work_dir=work))
    scale_memory(workflow, memory_factors(units))
    if graph:
        workflow.write_graph(graph2use="colored", format="svg")
    done: set[str] = set()
    by_name = {task.unit.graph_name: task for task in tasks.values()}

    def on_session(name: str) -> None:
        if _finish(by_name[name], card, config):
            done.add(by_name[name].unit.label)

    end: BaseException | None = None
    try:
        execute(workflow, config=config, crash_dir=crash_dir, on_session=on_session)
    except (Stopped, OSError) as error:
        end = error
    failed = read_crashes(crash_dir, units)
    for label, paths in crash_files(crash_dir, units).items():
        for path in paths:
            with suppress(OSError):  # the reason is told on stderr as well
                shutil.copy(path, logs[label])
    for label, left in failed.items():
        if left.exit_code == UNFORESEEN:
            # A result that was cut short would be taken for whole by every later run.
            LOGGER.info("%s: its steps are not kept, as nobody foresaw this error", label)
            shutil.rmtree(work / "relad_wf" / tasks[label].unit.graph_name, ignore_errors=True)
    with suppress(OSError):
        crash_dir.rmdir()  # where nothing crashed
    for unit in units:
        if unit.label not in failed and unit.label not in done:
            failed[unit.label] = ended(unit, end) if end else not_reached(unit)
    return failed


def _finish(task: Task, card: Card, config: Config) -> bool:
    """Whether this run wrote all tables of a session: the sinks always write anew.

    It is marked as finished at once, while others are still under way.
    """
    unit = task.unit
    measured = [path for pet in unit.measured for path in measured_tables(pet, unit, card)]
    tables = {config.output_dir / path for path in (*table_paths(unit, card), *measured)}
    if not tables <= set(written(task, config)):
        return False
    try:
        if not mark(task, config):
            LOGGER.warning("%s: an input changed meanwhile; the next run does it anew", unit.label)
    except (OSError, OutputError) as error:
        LOGGER.warning("%s: is done, but the next run will do it again: %s", unit.label, error)
    LOGGER.info("%s: done", unit.label)
    return True


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
    dictionary = json_text(table_dictionaries()["qc"])
    write_text(sidecar_path(config.output_dir / path), dictionary)


def _portable(reason: str, config: Config) -> str:
    """One line without this machine's folders: the table travels with the derivatives."""
    own = (config.bids_dir, config.output_dir, config.work_dir)
    for folder in (*own, *config.derivatives.values()):
        reason = reason.replace(f"{folder}/", "")
    return printable(" ".join(reason.split()))
