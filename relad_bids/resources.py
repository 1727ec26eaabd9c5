"""What this process may use: CPUs and memory, and who says so.

A scheduler or a container grants less than the host has, and a program that counts the host's
CPUs is killed or throttled. Every limit that can be seen is read, the smallest one holds, and
its source is named. MB are 2**20 bytes, as in Slurm.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from relad_bids.errors import UsageError

_MB = 2**20
_CPU_VARIABLES = (
    "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "PBS_NCPUS", "PBS_NUM_PPN", "NCPUS",
    "LSB_DJOB_NUMPROC",
)  # fmt: skip
"""On this node: Slurm, OpenPBS (``ncpus``), Torque (``ppn``), OpenPBS again, LSF. No PBS states
memory in a variable; it sets cgroups, or the limit is given with ``--mem``."""
_UNITS = {"K": 1 / 1024, "M": 1.0, "": 1.0, "G": 1024.0, "T": 1024.0**2}

_Limit = tuple[int, str]
"""A limit and the name of its source; the smallest limit is the first by comparison."""


@dataclass(frozen=True)
class Resources:
    """What this process may use."""

    cpus: int
    cpus_source: str
    memory_mb: int
    memory_source: str


def available(
    *, root: Path = Path("/"), environ: Mapping[str, str] = os.environ, affinity: int | None = None
) -> Resources:
    """Return the smallest of all limits on CPUs and on memory.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys/fs/cgroup`` lie.
    environ
        Where the variables of Slurm, PBS and LSF are looked up.
    affinity
        CPUs this process may run on; asked of the kernel by default.
    """
    affinity = affinity or len(os.sched_getaffinity(0))
    cpus, cpus_source = min(
        [(affinity, "CPU affinity"), *_cgroup_cpus(root), *_scheduler_cpus(environ)]
    )
    memory_mb, memory_source = min(
        [*_host_memory(root), *_cgroup_memory(root), *_slurm_memory(environ, cpus)]
    )
    return Resources(cpus, cpus_source, memory_mb, memory_source)


def parse_memory(text: str) -> int:
    """Read ``8000``, ``8000M``, ``8G`` or ``0.5T`` and return MB; a plain number is MB.

    Raises
    ------
    UsageError
        The text is no amount of memory, or less than 1 MB.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    megabytes = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if megabytes >= 1:
        return megabytes
    raise UsageError(
        f"{text!r} is not an amount of memory of at least 1 MB. Give a number of MB, such as "
        f"8000, or a number with the unit K, M, G or T, such as 8G."
    )


def _scheduler_cpus(environ: Mapping[str, str]) -> Iterator[_Limit]:
    for name in _CPU_VARIABLES:
        if cpus := _number(environ.get(name, "")):
            yield cpus, name


def _slurm_memory(environ: Mapping[str, str], cpus: int) -> Iterator[_Limit]:
    """Slurm states MB; 0 means all the memory of the node."""
    if per_node := _number(environ.get("SLURM_MEM_PER_NODE", "")):
        yield per_node, "SLURM_MEM_PER_NODE"
    if per_cpu := _number(environ.get("SLURM_MEM_PER_CPU", "")):
        granted = _number(environ.get("SLURM_CPUS_PER_TASK", "")) or cpus
        yield per_cpu * granted, f"SLURM_MEM_PER_CPU x {granted}"


def _host_memory(root: Path) -> Iterator[_Limit]:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield max(1, (int(found[1]) * 1024 if found else pages) // _MB), "host"


def _cgroup_cpus(root: Path) -> Iterator[_Limit]:
    """Read quota / period; a share of a CPU is rounded down, to 1 at least."""
    for folder in _cgroup_folders(root, ""):
        yield from _quota(_read(folder / "cpu.max").split(), "cgroup v2 cpu.max")
    for folder in _cgroup_folders(root, "cpu"):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [word for name in names for word in _read(folder / name).split()]
        yield from _quota(words, "cgroup v1 cpu.cfs_quota_us")


def _quota(words: list[str], source: str) -> Iterator[_Limit]:
    if len(words) == 2 and (quota := _number(words[0])) and (period := _number(words[1])):
        yield max(1, quota // period), source


def _cgroup_memory(root: Path) -> Iterator[_Limit]:
    v2 = ("", "memory.max", "cgroup v2 memory.max")
    # Above it nothing is killed, but slowed down until it seems to stand still.
    slow = ("", "memory.high", "cgroup v2 memory.high")
    v1 = ("memory", "memory.limit_in_bytes", "cgroup v1 memory.limit_in_bytes")
    for controller, name, source in (v2, slow, v1):
        for folder in _cgroup_folders(root, controller):
            if limit := _number(_read(folder / name)):
                yield max(1, limit // _MB), source


def _cgroup_folders(root: Path, controller: str) -> Iterable[Path]:
    """Return the folder of this process' cgroup and all above it: each of them may limit it.

    ``/proc/self/cgroup`` has one line ``id:controllers:path`` for each hierarchy; version 2 is
    the one without controllers. Inside a container the path may name folders of the host that
    are not mounted; the mount point itself then carries the limit and is always included.
    """
    mount = root / "sys/fs/cgroup" / controller
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = mount / path.strip("/")
            return [own, *(above for above in own.parents if above.is_relative_to(mount))]
    return [mount]


def _number(text: str) -> int | None:
    """Return a whole number above 0; ``max``, ``-1``, 0 and an empty text are no limit."""
    text = text.strip()
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # not every kernel, container and user has every file
        return ""
