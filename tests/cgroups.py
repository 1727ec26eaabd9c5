"""A memory limit as containers and schedulers set it: a control group below one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

MOUNT = Path("/sys/fs/cgroup")
FILES = {"memory": "memory.limit_in_bytes", "": "memory.max"}
"""Controller in ``/proc/self/cgroup`` (none in version 2) -> its limit."""


@contextmanager
def memory_limit(megabytes: int) -> Iterator[tuple[str, Path]]:
    """Make a group with a limit, and take it away when its processes have ended.

    Returns
    -------
    The program and arguments to put before a command, and the group's folder.
    """
    folder, limit = _own_group()
    group = folder / f"relad-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            (group / limit).write_text(str(megabytes * 2**20))
            with suppress(OSError):  # where swap is counted apart
                (group / "memory.swap.max").write_text("0")
        except OSError as error:
            pytest.skip(f"no memory limit can be set here: {error}")
        yield f'echo $$ > "{group}/cgroup.procs" && exec "$@"', group
    finally:
        group.rmdir()


def _own_group() -> tuple[Path, str]:
    text = Path("/proc/self/cgroup").read_text() if Path("/proc/self/cgroup").is_file() else ""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller, limit in FILES.items():
            folder = MOUNT / controller / path.strip("/")
            if controller in controllers.split(",") and (folder / limit).is_file():
                return folder, limit
    pytest.skip("this process is in no control group that counts memory")
