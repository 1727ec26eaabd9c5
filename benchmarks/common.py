"""What the benchmarks share: running the command, reading its work folder, printing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    code: int
    minutes: float
    peak_mb: float
    """Largest proportional memory (PSS) of all its processes together, sampled twice a second."""
    stderr: str


def real_data() -> Path:
    """The folder of real scans, or stop with what to do."""
    if not (folder := os.environ.get("RELAD_TEST_DATA")):
        sys.exit("RELAD_TEST_DATA is not set; it names the folder of real scans.")
    return Path(folder)


def relad_bids(*args: object) -> Run:
    """Run the command as a user would, and watch its clock and its memory."""
    command = [sys.executable, "-m", "relad_bids", *map(str, args)]
    start, peak = time.monotonic(), 0.0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, family_mb(process.pid))
            time.sleep(0.5)
        stderr = process.stderr.read() if process.stderr else ""
    return Run(process.returncode, (time.monotonic() - start) / 60, peak, stderr)


def family_mb(pid: int) -> float:
    """Proportional resident memory of a process and its descendants, in MB.

    Proportional (PSS): pages that workers share after a fork are counted once.
    """
    total = 0.0
    for task in [pid, *_descendants(pid)]:
        try:
            text = Path(f"/proc/{task}/smaps_rollup").read_text()
        except (OSError, ProcessLookupError):
            continue
        if match := re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE):
            total += int(match.group(1)) / 1024
    return total


def family_cpu_s(pid: int) -> float:
    """CPU seconds that a process and its living descendants have used, with those they buried."""
    ticks = 0
    for task in [pid, *_descendants(pid)]:
        try:
            fields = Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ProcessLookupError):
            continue
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime of proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def limited_group(megabytes: int) -> Path:
    """Make a control group below one's own with a limit on memory, and return its folder.

    Raises
    ------
    OSError
        This user may not, or no controller of memory is there.
    """
    mount = Path("/sys/fs/cgroup")
    files = {"memory": "memory.limit_in_bytes", "": "memory.max"}  # version 1; version 2
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller, limit in files.items():
            own = mount / controller / path.strip("/")
            if controller in controllers.split(",") and (own / limit).is_file():
                group = own / f"relad-{os.getpid()}"
                group.mkdir()
                try:
                    (group / limit).write_text(str(megabytes * 2**20))
                except OSError:
                    group.rmdir()
                    raise
                return group
    raise FileNotFoundError("this process is in no control group that counts memory")


def _descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    found = [int(child) for child in children]
    return found + [grandchild for child in found for grandchild in _descendants(child)]


def step_seconds(work: Path) -> dict[str, float]:
    """Wall seconds of each step of a run, from the reports in its work folder.

    Steps of one name (``quantify`` of each tracer) are added up.
    """
    found: dict[str, float] = {}
    for report in work.rglob("_report/report.rst"):
        if match := re.search(r"^\* duration : ([\d.eE+-]+)$", report.read_text(), re.MULTILINE):
            name = report.parent.parent.name
            found[name] = found.get(name, 0.0) + float(match.group(1))
    return dict(sorted(found.items(), key=lambda item: -item[1]))
