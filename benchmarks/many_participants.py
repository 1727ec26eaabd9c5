"""Many participants in one run that all finish: what the run keeps of each.

Each is the same phantom head under another name, by links, with the preparation of one run as
derivatives of all (``--derivatives``), so that a participant takes seconds: its tissue, its
labels, its synthetic PET, its table and its page are computed, its registrations are not.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from common import _descendants, family_cpu_s, family_mb
from nipype.pipeline.engine.utils import generate_expanded_graph, topological_sort
from nipype.pipeline.plugins.base import _graph_to_lil_matrix

from relad_bids.cli.settings import BUNDLED
from relad_bids.config import Config
from relad_bids.model.checkpoint import verify_checkpoint
from relad_bids.sessions import Unit
from relad_bids.turns import Waiting
from relad_workflows.base import init_relad_wf

REUSED = re.compile(
    r"_desc-preproc_T1w\.|_desc-brain_mask\.|_from-T1w_to-MNI|_to-T1w_mode-image_xfm\.h5"
)
"""Products of one participant that stand in for the preparation of all."""


@dataclass
class Watch:
    """What was seen of a run, by the number of participants that were done."""

    done: int = 0
    parent_mb: dict[int, float] = field(default_factory=dict)
    worker_mb: dict[int, float] = field(default_factory=dict)
    """Of the largest worker. Resident sizes: what is shared counts in each."""
    family_mb: dict[int, float] = field(default_factory=dict)
    """Proportional size of all processes together."""
    cpu_s: float = 0.0
    seconds: float = 0.0

    def see(self, pid: int) -> None:
        parent, workers = _resident_mb(pid), [_resident_mb(one) for one in _descendants(pid)]
        for seen, now in (
            (self.parent_mb, parent),
            (self.worker_mb, max(workers, default=0.0)),
            (self.family_mb, family_mb(pid)),
        ):
            seen[self.done] = max(seen.get(self.done, 0.0), now)
        self.cpu_s = max(self.cpu_s, family_cpu_s(pid))

    def course(self, seen: dict[int, float]) -> str:
        """Median of the largest values before each of the first tenth of the participants was
        done and of the last, and the line through all. Not the largest of all: it rises with the
        number of looks."""
        tenth = max(2, self.done // 10)
        done = np.array(sorted(d for d in seen if 0 < d < self.done))  # at 0 are the imports
        mb = np.array([seen[d] for d in done])
        first, last = np.median(mb[:tenth]), np.median(mb[-tenth:])
        line = np.polyfit(done, mb, 1)[0]
        return f"{first:.0f} MB, then {last:.0f} MB ({line:+.2f} MB a participant)"

    def now(self) -> str:
        seen = (self.parent_mb, self.worker_mb, self.family_mb)
        return ", ".join(f"{one[self.done - 1]:.0f}" for one in seen if self.done - 1 in one)


def write_many(bids: Path, derivatives: Path, root: Path, n: int) -> tuple[Path, Path]:
    """Link one prepared head under ``n`` names: a dataset, and derivatives of each of them."""
    many, prepared = root / f"many{n}", root / f"prepared{n}"
    for source, target in ((bids, many), (derivatives, prepared)):
        target.mkdir()
        shutil.copy(source / "dataset_description.json", target)
    t1ws = list(bids.glob("sub-001/anat/*_T1w.*"))
    anat = derivatives.glob("sub-001/anat/*")
    reused = [p for p in anat if REUSED.search(p.name) and "space-MNI" not in p.name]
    for i in range(n):
        for paths, target in ((t1ws, many), (reused, prepared)):
            anat = target / f"sub-{i:03d}" / "anat"
            anat.mkdir(parents=True)
            for path in paths:
                (anat / path.name.replace("sub-001", f"sub-{i:03d}")).symlink_to(path)
    return many, prepared


def run_many(bids: Path, derivatives: Path, root: Path, n: int) -> str:
    """Run ``n`` participants; memory in the first tenth and in the last, files for each."""
    many, prepared = write_many(bids, derivatives, root, n)
    out, work = root / f"manyout{n}", root / f"manywork{n}"
    words = [many, out, "participant", "-w", work, "--nprocs", 2, "--mem", "6G", "--sloppy",
             "--missing-flair", "t1w-only", "--synth-tracers", "tau",
             "-d", f"prepared={prepared}"]  # fmt: skip
    watch, begin = Watch(), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "relad_bids", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    told: list[str] = []
    reader = threading.Thread(target=_read, args=(process, watch, told))
    reader.start()
    while process.poll() is None:
        watch.see(process.pid)
        time.sleep(0.5)
    reader.join()
    watch.seconds = time.monotonic() - begin
    done = max(1, watch.done)  # fewer than ``n`` where it was stopped
    tables = len(list(out.glob("sub-*/pet/*_kinpar.tsv")))
    files = [path for path in work.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files) / 1e6
    last = next((line for line in reversed(told) if " done, " in line), "").strip()
    return (
        f"code {process.returncode}, {tables} of {n} tables ({last[:60]}), "
        f"{watch.seconds / 60:.1f} min, {watch.cpu_s / done:.1f} CPU s each; "
        f"parent {watch.course(watch.parent_mb)}; largest worker "
        f"{watch.course(watch.worker_mb)}; all together "
        f"{watch.course(watch.family_mb)}; work folder {len(files) / done:.0f} files, "
        f"{size / done:.1f} MB each"
    )


def graph_of_many(root: Path, n: int) -> str:
    """What the process that plans keeps of ``n`` sessions, and what a turn of it costs.

    Its graph is made and nothing of it is run. Beside it what Nipype's own engine would take at
    each turn: its matrix of dependencies added up twice, and one collection of garbage.
    """
    units, config = [], Config(
        bids_dir=root, output_dir=root / "out", work_dir=root / "work", model_dir=BUNDLED,
        tracers=("flortaucipir",), device="cpu",
    )  # fmt: skip
    for i in range(n):
        images = [root / f"sub-{i:03d}_{kind}.nii.gz" for kind in ("T1w", "FLAIR")]
        for path in images:
            path.touch()
        units.append(Unit(f"{i:03d}", None, *images, ("flortaucipir",)))
    before = _resident_mb(os.getpid())
    workflow = init_relad_wf(units, card=verify_checkpoint(BUNDLED), config=config)
    flat = workflow._create_flat_graph()
    workflow._configure_exec_nodes(flat)
    graph = generate_expanded_graph(flat)
    steps, _ = topological_sort(graph)
    matrix = _graph_to_lil_matrix(graph, nodelist=steps)
    waiting = Waiting(graph, steps)
    took = _seconds(lambda: [np.nonzero(matrix.sum(0) == 0) for _ in range(2)])
    collected = _seconds(gc.collect)
    gc.freeze()
    ours = _seconds(lambda: [np.nonzero(waiting.sum(0) == 0) for _ in range(2)])
    ours += _seconds(gc.collect)
    gc.unfreeze()
    kept = (_resident_mb(os.getpid()) - before) / n
    return (
        f"{n} sessions, {len(steps)} steps: {kept:.2f} MB each; a turn takes {ours * 1e3:.1f} ms "
        f"of CPU (Nipype's own: {(took + collected) * 1e3:.0f} ms), there are up to 10 a second"
    )


def _seconds(call: Callable[[], object]) -> float:
    """CPU seconds, the least of five."""
    times = []
    for _ in range(5):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times)


def _read(process: subprocess.Popen[str], watch: Watch, told: list[str]) -> None:
    for line in process.stderr or ():
        told.append(line)
        if re.search(r"sub-\d+: done\s*$", line):
            watch.done += 1
            if watch.done % 10 == 0:
                told_mb = f"parent, largest worker, all: {watch.now()} MB"
                print(f"  {watch.done} done; {told_mb}", file=sys.stderr, flush=True)


def _resident_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (OSError, ProcessLookupError):
        return 0.0
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
