"""Running a graph: the engine's settings in one place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from nipype import config as nipype_config
from nipype.pipeline.engine import Workflow

from relad_bids.config import Config
from relad_workflows.pool import WatchedPool

LOGGER = logging.getLogger("relad_bids")

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
    pool = _pool(config, on_session)
    try:
        workflow.run(plugin=pool)
    except RuntimeError as error:
        # Nipype raises after everything that could run has run; the crash files say what failed.
        LOGGER.debug("nipype: %s", error)
        if not any(crash_dir.glob("crash-*.txt")):
            raise
    finally:
        pool.close()


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


def _pool(config: Config, on_session: Callable[[str], None]) -> WatchedPool:
    """One CPU has a worker, too: this process stays free to see it die and to be stopped."""
    arguments = {
        "n_procs": config.nprocs,
        "memory_gb": config.mem_mb / 1024,
        "raise_insufficient": False,
    }
    return WatchedPool(arguments, on_session=on_session)


def _quiet_steps() -> None:
    level = LOGGER.getEffectiveLevel()
    for name in ("nipype.workflow", "nipype.interface", "nipype.utils"):
        logging.getLogger(name).setLevel(level if level <= logging.DEBUG else logging.CRITICAL)
