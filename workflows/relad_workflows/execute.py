"""Running a graph: the engine's settings in one place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from nipype import config as nipype_config
from nipype.pipeline.engine import Workflow

from relad_bids.config import Config
from relad_workflows.pool import WatchedPool

LOGGER = logging.getLogger("relad_bids")

POOL = "MultiProc"
"""Done by :class:`~relad_workflows.pool.WatchedPool`, which takes the same arguments."""

LOCAL_PLUGINS = (POOL, "LegacyMultiProc")
"""Plugins that share out the CPUs and the memory of this machine."""

POLL_S = 0.1
"""Nipype's default of 2 s costs two seconds per chained step."""


def execute(
    workflow: Workflow,
    *,
    config: Config,
    crash_dir: Path,
    on_session: Callable[[str], None] = lambda _: None,
) -> None:
    """Run all sessions; a failing one leaves a crash file and the others go on.

    Parameters
    ----------
    workflow
        From :func:`relad_workflows.base.init_relad_wf`.
    config
        CPUs, memory, whether to stop at the first crash.
    crash_dir
        Existing folder for this run's crash files.
    on_session
        Called with the name of a session's graph as soon as all of its steps are done.
    """
    settings = _settings(config, crash_dir)
    # A workflow and its nodes copy the settings when they are made, so both need telling.
    nipype_config.update_config({"execution": settings})
    workflow.config["execution"].update(settings)
    _quiet_steps()
    name, arguments = _plugin(config)
    try:
        if name == POOL:
            _run_pool(workflow, arguments, on_session)
        else:
            _run_plugin(workflow, name, arguments, on_session, crash_dir)
    except RuntimeError as error:
        # Nipype raises after everything that could run has run; the crash files say what failed.
        LOGGER.debug("nipype: %s", error)
        if not any(crash_dir.glob("crash-*.txt")):
            raise


def _settings(config: Config, crash_dir: Path) -> dict[str, str]:
    return {
        "crashdump_dir": str(crash_dir),
        "crashfile_format": "txt",
        "hash_method": "content",
        "poll_sleep_duration": str(POLL_S),
        "stop_on_first_crash": str(config.stop_on_first_crash).lower(),
        "remove_unnecessary_outputs": "false",
        "check_version": "false",
        # A page about the graph, which runs that share the folder would write over each other.
        "create_report": "false",
    }


def _plugin(config: Config) -> tuple[str, dict[str, object]]:
    """Name and arguments: limits of this machine hold unless the user's file has others."""
    name, arguments = config.plugin or (POOL, {})
    limits: dict[str, object] = {
        "n_procs": config.nprocs,
        "memory_gb": config.mem_mb / 1024,
        "raise_insufficient": False,
    }
    return name, {**(limits if name in LOCAL_PLUGINS else {}), **arguments}


def _run_pool(
    workflow: Workflow, arguments: Mapping[str, object], on_session: Callable[[str], None]
) -> None:
    """One CPU has a worker, too: this process stays free to see it die and to be stopped."""
    pool = WatchedPool(dict(arguments), on_session=on_session)
    try:
        workflow.run(plugin=pool)
    finally:
        pool.close()


def _run_plugin(
    workflow: Workflow,
    name: str,
    arguments: Mapping[str, object],
    on_session: Callable[[str], None],
    crash_dir: Path,
) -> None:
    """Nipype's other plugins do not tell when a session is done: those without a crash are."""
    sessions = [node.name for node in workflow._graph.nodes()]
    try:
        workflow.run(plugin=name, plugin_args=dict(arguments))
    finally:
        crashed = "".join(path.read_text() for path in crash_dir.glob("crash-*.txt"))
        for session in sessions:
            if f".{session}." not in crashed:
                on_session(session)


def _quiet_steps() -> None:
    level = LOGGER.getEffectiveLevel()
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(level if level <= logging.DEBUG else logging.CRITICAL)
