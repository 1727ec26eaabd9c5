"""The ``relad-bids`` command: words in, exit code out."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from relad_bids.cli.caches import private_caches
from relad_bids.cli.parser import parse
from relad_bids.cli.stopping import stoppable
from relad_bids.cli.telling import Printable, tell
from relad_bids.errors import ReladError, Stopped

THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip
"""What OpenMP, MKL, OpenBLAS, numexpr and ITK take the number of their threads from."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one level; report on stderr, leave stdout to data."""
    args = parse(list(argv) if argv is not None else None)
    command = _participant if args.analysis_level == "participant" else _group
    return run_command("relad-bids", command, args)


def run_command(program: str, command: Callable[[Namespace], int], args: Namespace) -> int:
    """Run a command behind the door: logs set up, mendable errors in words, their exit code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Printable("%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(
        level=max(logging.INFO - 10 * getattr(args, "verbose", 0), logging.DEBUG),
        handlers=[handler],
    )
    try:
        return command(args)
    except Stopped as stop:
        tell(f"{program}: stopped by {stop}")
        return stop.exit_code
    except ReladError as error:
        logging.getLogger("relad_bids").debug("details:", exc_info=True)
        tell(f"{program}: {error}", *getattr(error, "__notes__", ()))
        return error.exit_code


def quiet_environment() -> None:
    """Set what the libraries read when they are imported.

    No telemetry; caches where this user may write; one thread for each library, whatever the
    shell says, because CPUs are shared out by steps (``--nprocs``, ``--omp-nthreads``).
    """
    os.environ["NO_ET"] = "1"  # Nipype's version call
    for name in THREADS:
        os.environ[name] = "1"
    private_caches()


def _participant(args: Namespace) -> int:
    quiet_environment()
    from relad_bids.cli.participant import run_participant

    with stoppable():
        return run_participant(args)


def _group(args: Namespace) -> int:
    quiet_environment()
    from relad_bids.cli.group import run_group

    return run_group(args)
