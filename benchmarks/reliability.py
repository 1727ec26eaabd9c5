"""What happens to a run on a bad day: killed, stopped, out of room, crowded, fed with rubbish.

One phantom head of 6 mm, one tracer, ``--sloppy``. The registrations of an undisturbed run are
laid into the work folder before each fault, so that what is disturbed is the rest: seconds, not
minutes. Every fault is followed by the same command again, which must end with the bytes of the
undisturbed tables.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from common import _descendants, family_cpu_s, family_mb, limited_group
from malformed import RECIPES, write_good
from many_participants import graph_of_many, run_many

from relad_bids.bids.images import require_readable, require_usable
from relad_bids.bids.inputs import find_scans
from relad_bids.bids.measured import Wanted, find_measured
from relad_bids.errors import ReladError
from relad_bids.phantom.dataset import write_dataset
from relad_bids.plan import plan_units

KEPT = ("prepare_t1w_wf", "prepare_flair_wf", "correct_flair", "register_flair", "align_atlas")
"""Steps of the undisturbed run that are laid into the work folder."""

GRACE_S = 30
"""What schedulers grant between SIGTERM and SIGKILL."""


@dataclass
class Bench:
    """Folders of one measurement, and what an undisturbed run made."""

    root: Path
    tables: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0
    start_s: float = 0.0
    """From the command to its first step."""
    cold_cpu_s: float = 0.0
    """CPU seconds of a run from its first step, with an empty work folder."""
    warm_cpu_s: float = 0.0
    """The same with the registrations laid in."""

    @property
    def bids(self) -> Path:
        return self.root / "bids"

    @property
    def work(self) -> Path:
        return self.root / "work"

    def command(self, out: Path, *more: object) -> list[str]:
        words = [self.bids, out, "participant", "-w", self.work, "--nprocs", 1, "--sloppy",
                 "--synth-tracers", "tau", "--real-pet", "ignore", *more]  # fmt: skip
        return [sys.executable, "-m", "relad_bids", *map(str, words)]

    def prepare(self, *, warm: bool = True) -> Path:
        """Empty the output folder and bring the work folder to where a fault begins."""
        out = self.root / "out"
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)
        if warm:
            shutil.copytree(self.root / "warm", self.work)
        return out


def read_tables(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.glob("sub-*/pet/*.tsv")}


def start(command: Sequence[str], **more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, **more
    )  # type: ignore[call-overload, no-any-return]


def until_computing(process: subprocess.Popen[str]) -> str:
    """Read the log up to the line that stands before the first step."""
    read = []
    for line in process.stderr or ():
        read.append(line)
        if "sessions to do" in line:
            break
    return "".join(read)


def ended(process: subprocess.Popen[str], told: str = "") -> tuple[int, str, float]:
    """Exit code, the lines that say why, and seconds from now to the end."""
    begin = time.monotonic()
    text = told + process.communicate(timeout=600)[1]
    lines = [line for line in text.splitlines() if line.startswith("relad-bids")]
    return process.returncode, " ".join(lines)[:230], time.monotonic() - begin


def again(bench: Bench, out: Path) -> str:
    """The same command once more: ``same tables``, or what is wrong."""
    code, told, _ = ended(start(bench.command(out)))
    if code or read_tables(out) != bench.tables:
        return f"NOT the same: code {code} {told}"
    parts = list(out.rglob("*.part"))
    return "same tables" + (f", {len(parts)} leftover parts" if parts else "")


def undisturbed(root: Path) -> Bench:
    bench = Bench(root)
    write_dataset(
        bench.bids, n=1, preset="strong", seed=11, voxel_mm=6.0, pet_participants=1,
        tracers=("pib",),
    )  # fmt: skip
    out = bench.prepare(warm=False)
    code, peak, bench.cold_cpu_s = _watched(bench.command(out))
    if code:
        sys.exit(f"the undisturbed run failed with code {code}")
    bench.tables = read_tables(out)
    files = [p for p in bench.work.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files) / 1e6
    print(
        f"| undisturbed | {peak:.0f} MB at most, {bench.cold_cpu_s:.0f} CPU s from its first "
        f"step; work folder {size:.1f} MB, {len(files)} files |"
    )
    for step in bench.work.glob("relad_bids-*/relad_wf/*/*"):
        if step.is_dir() and step.name not in KEPT:
            shutil.rmtree(step)
    bench.work.rename(root / "warm")
    out = bench.prepare()
    begin = time.monotonic()
    process = start(bench.command(out))
    told = until_computing(process)
    bench.start_s = time.monotonic() - begin
    ended(process, told)
    bench.seconds = time.monotonic() - begin
    same = "same tables" if read_tables(out) == bench.tables else "NOT the same tables"
    _, _, bench.warm_cpu_s = _watched(bench.command(bench.prepare()))
    print(
        f"| from laid-in registrations | {bench.seconds:.1f} s, {bench.warm_cpu_s:.0f} CPU s from "
        f"its first step, {same} |"
    )
    begin = time.monotonic()
    code, _, _ = ended(start(bench.command(out, "-v")))
    print(f"| finished before | code {code}, {time.monotonic() - begin:.1f} s with all imports |")
    return bench


def _watched(command: Sequence[str]) -> tuple[int, float, float]:
    """Exit code, largest memory in MB, CPU seconds from the first step to the end."""
    process = start(command)
    until_computing(process)
    begin, peak, used = family_cpu_s(process.pid), 0.0, 0.0
    while process.poll() is None:
        peak = max(peak, family_mb(process.pid))
        used = max(used, family_cpu_s(process.pid) - begin)
        time.sleep(0.2)
    process.communicate()
    return process.returncode, peak, used


def kills(bench: Bench, n: int) -> str:
    """kill -9 of everything at moments spread over a whole run, from an empty work folder."""
    return _killed(bench, n, warm=False)


def late_kills(bench: Bench, n: int) -> str:
    """The same over what follows the registrations, which are laid in."""
    return _killed(bench, n, warm=True)


def _killed(bench: Bench, n: int, *, warm: bool) -> str:
    """Moments are CPU seconds of the run, so that what else the machine does moves none of them.

    One falls into each n-th of the run; the order is shuffled, and each is told on stderr.
    """
    chance, found = random.Random(1), Counter[str]()
    span = bench.warm_cpu_s if warm else bench.cold_cpu_s
    for i in chance.sample(range(n), n):
        out = bench.prepare(warm=warm)
        process = start(bench.command(out))
        until_computing(process)
        moment = family_cpu_s(process.pid) + (i + chance.random()) / n * span
        while process.poll() is None and family_cpu_s(process.pid) < moment:
            time.sleep(0.02)
        before = "" if process.poll() is None else " (it had ended before the kill)"
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        time.sleep(0.2)
        found[again(bench, out) + before] += 1
        print(f"  {found.total()} kills: {dict(found)}", file=sys.stderr, flush=True)
    told = "; ".join(f"{count} of {n}: {what}" for what, count in found.items())
    return f"{told} (over {span:.0f} CPU s of a run)"


def writes(bench: Bench, n: int) -> str:
    """kill -9 while files are written as the sinks write them; what stands must be whole."""
    script = (
        "import sys; from pathlib import Path; from relad_bids.files import write_text\n"
        "print('go', flush=True)\n"
        "for i in range(10**6):\n"
        "    write_text(Path(sys.argv[1]) / f'{i % 7}.txt', f'{i % 10}' * 300_000)"
    )
    folder, chance, broken, parts = bench.root / "writes", random.Random(2), 0, 0
    folder.mkdir()
    for _ in range(n):
        process = subprocess.Popen(
            [sys.executable, "-c", script, folder], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.2))
        process.kill()
        process.communicate()
        for path in folder.glob("[0-9].txt"):
            text = path.read_text()
            broken += len(text) != 300_000 or len(set(text)) != 1
        parts += len(list(folder.glob(".*.part")))
        for part in folder.glob(".*.part"):
            part.unlink()
    return f"{n} kills: {broken} broken files under a final name, {parts} half-written ones beside"


def crowd(bench: Bench, n: int) -> str:
    """Processes at once on one output folder, one work folder and one participant.

    One has the folder with what was laid into it, the others do everything in their own.
    """
    out = bench.prepare()
    crowd = [start(bench.command(out)) for _ in range(n)]
    codes = [ended(process)[0] for process in crowd]
    same = "same tables" if read_tables(out) == bench.tables else "NOT the same tables"
    parts = len(list(out.rglob("*.part")))
    return f"codes {sorted(set(codes))}, {same}, {parts} leftover parts"


def disturbed(bench: Bench, fault: Callable[[subprocess.Popen[str]], None], wait: float) -> str:
    """Start, wait a share of the run, do something to it, see how it ends, run it again."""
    out = bench.prepare()
    process = start(bench.command(out))
    told = until_computing(process)
    time.sleep(wait * (bench.seconds - bench.start_s))
    fault(process)
    code, why, seconds = ended(process, told)
    left = len(_descendants(process.pid))
    return f"code {code} after {seconds:.1f} s, {left} processes left: {why} / {again(bench, out)}"


def terminated(bench: Bench, _: int) -> str:
    return disturbed(bench, lambda process: os.killpg(process.pid, signal.SIGTERM), 0.4)


def worker(bench: Bench, _: int) -> str:
    def kill(process: subprocess.Popen[str]) -> None:
        for child in _descendants(process.pid):
            os.kill(child, signal.SIGKILL)

    return disturbed(bench, kill, 0.4)


def memory(bench: Bench, _: int) -> str:
    """An address space of 1.2 GB for each process, as ``ulimit -v`` sets it."""
    out = bench.prepare()
    limit = 1200 * 2**20
    process = start(
        bench.command(out), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit,) * 2)
    )
    code, why, _ = ended(process)
    return f"code {code}: {why} / {again(bench, out)}"


def cgroup(bench: Bench, _: int) -> str:
    """A control group of 650 MB around a run that is told of more: the kernel kills in it."""
    out = bench.prepare()
    try:
        group = limited_group(650)
    except OSError as error:
        return f"not measured: {error}"
    try:
        enter = ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh"]
        process = start([*enter, *bench.command(out, "--mem", "8G")])
        code, why, seconds = ended(process)
    finally:
        group.rmdir()
    return f"code {code} after {seconds:.0f} s: {why} / {again(bench, out)}"


def full(bench: Bench, _: int) -> str:
    """No file may grow beyond 100 kB: the larger outputs cannot be written."""
    out = bench.prepare()
    limit = 100_000
    process = start(
        bench.command(out),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit,) * 2),
    )
    code, why, _ = ended(process)
    whole = all(path.stat().st_size < limit for path in out.rglob("*.nii.gz"))
    return f"code {code}, {'all whole' if whole else 'NOT whole'}: {why} / {again(bench, out)}"


def disk(bench: Bench, _: int) -> str:
    """An output folder of 200 kB: a file system in memory, where this user may mount one."""
    return _mounted(bench, "size=200k", None)


def read_only(bench: Bench, _: int) -> str:
    """The output folder's file system turns read-only half-way."""
    return _mounted(bench, "size=100m", "remount,ro")


def _mounted(bench: Bench, options: str, later: str | None) -> str:
    out = bench.prepare()
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return "not measured: this user may not mount a file system"
    try:
        process = start(bench.command(out))
        told = until_computing(process)
        time.sleep(0.3 * (bench.seconds - bench.start_s))
        if later:
            subprocess.run(["mount", "-o", later, str(out)], check=True)
        code, why, _ = ended(process, told)
        subprocess.run(["mount", "-o", "remount,rw,size=100m", str(out)], check=True)
        return f"code {code}: {why} / {again(bench, out)}"
    finally:
        subprocess.run(["umount", "-l", str(out)], check=True)


def vanish(bench: Bench, _: int) -> str:
    """The T1w is taken away as the first step begins."""
    out = bench.prepare(warm=False)
    t1w = next(bench.bids.glob("sub-*/anat/*_T1w.nii.gz"))
    process = start(bench.command(out))
    told = until_computing(process)
    t1w.rename(bench.root / "away")
    code, why, _ = ended(process, told)
    (bench.root / "away").rename(t1w)
    shutil.rmtree(bench.work)
    shutil.copytree(bench.root / "warm", bench.work)
    return f"code {code}: {why} / {again(bench, out)}"


def clock(bench: Bench, _: int) -> str:
    """Inputs and all that is in the work folder from the year 2050, then from 1990."""
    out, codes = bench.prepare(), []
    for when in (2.5e9, 6.3e8):
        for folder in (bench.bids, bench.work, out):
            for path in folder.rglob("*") if folder.is_dir() else ():
                if not path.is_symlink():
                    os.utime(path, (when, when))
        code, why, _ = ended(start(bench.command(out)))
        codes.append(code)
    return f"codes {codes}: {why} / {again(bench, out)}"


def malformed(bench: Bench, n: int) -> str:
    """Datasets with one broken file, read as a run reads them before and while it computes."""
    chance, good, case = random.Random(3), bench.root / "good", bench.root / "case"
    write_good(good)
    if _told(good):
        sys.exit(f"the good dataset is not taken: {_told(good)}")
    found, slowest = Counter[str](), 0.0
    for i in range(n):
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(good, case)
        name, recipe = RECIPES[i % len(RECIPES)]
        recipe(case / name, chance)
        begin = time.monotonic()
        try:
            found["clear errors" if _told(case) else f"NOT NOTICED {recipe.__name__}"] += 1
        except Exception as error:  # noqa: BLE001 - this is what is counted
            found[f"{recipe.__name__} {Path(name).name}: {type(error).__name__}"] += 1
        slowest = max(slowest, time.monotonic() - begin)
    told = "; ".join(f"{count} {what}" for what, count in found.items())
    return f"{n} inputs: {told}; slowest {slowest:.1f} s"


def _told(root: Path) -> list[str]:
    """What a run would say of a dataset: why nothing is done, or why something is left."""
    try:
        dataset = find_scans(root)
        measured, unread = find_measured(root, dataset.scans, Wanted())
    except ReladError as error:
        return [str(error)]
    plan = plan_units(
        dataset.scans, participants=dataset.participants, tracers=("pib",), missing_flair="skip",
        check=require_readable, measured=measured, unread=unread,
    )  # fmt: skip
    told = [left.reason for left in (*plan.left, *plan.partly, *plan.unread)]
    for unit in plan.units:
        paths = [unit.t1w, unit.flair, *(pet.path for pet in unit.measured)]
        for path in filter(None, paths):
            try:
                require_usable(path, series=True)
            except ReladError as error:
                told.append(str(error))
    return told


def many(bench: Bench, n: int) -> str:
    """Participants that all finish, in one run; what is kept of each."""
    out = bench.prepare()
    ended(start(bench.command(out)))
    return run_many(bench.bids, out, bench.root, n)


def graph(bench: Bench, n: int) -> str:
    """What is kept of each session before anything is done, and what planning costs."""
    folder = bench.root / f"graph{n}"
    folder.mkdir()
    return graph_of_many(folder, n)


PARTS: dict[str, tuple[Callable[[Bench, int], str], int]] = {
    "malformed": (malformed, 500),
    "writes": (writes, 50),
    "terminated": (terminated, 1),
    "worker": (worker, 1),
    "memory": (memory, 1),
    "cgroup": (cgroup, 1),
    "full": (full, 1),
    "disk": (disk, 1),
    "read-only": (read_only, 1),
    "vanish": (vanish, 1),
    "clock": (clock, 1),
    "crowd": (crowd, 8),
    "late-kills": (late_kills, 50),
    "kills": (kills, 50),
    "graph": (graph, 200),
    "many": (many, 200),
}
"""Fault -> how it is measured, and how often."""

WITHOUT_RUN = {"malformed", "writes", "graph"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("-n", type=int, help="how often, in place of each part's own number")
    args = parser.parse_args()
    chosen = args.parts or list(PARTS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        print("| fault | what became of it |\n|---|---|", flush=True)
        bench = Bench(root) if set(chosen) <= WITHOUT_RUN else undisturbed(root)
        for name in chosen:
            measure, often = PARTS[name]
            print(f"| {name} | {measure(bench, args.n or often)} |", flush=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{(used.ru_utime + used.ru_stime) / 60:.1f} CPU minutes")


if __name__ == "__main__":
    main()
