"""Which sessions were finished before: recognised by what went in, how, and what came out.

A finished session leaves one small file below ``log``. It is written last, once every output
stands under its final name, and removed before the session is done anew: a run that is killed
at any moment leaves a session either finished or to be done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from relad_bids import __version__
from relad_bids.bids.outputs import finished_path, session_files
from relad_bids.config import Config
from relad_bids.files import write_text
from relad_bids.sessions import Unit
from relad_bids.stamps import glance, stamp, unchanged
from relad_bids.untrusted import read_json

_WITHOUT_EFFECT = (
    "bids_dir", "output_dir", "work_dir", "model_dir", "participants", "sessions", "filters",
    "device", "plugin", "nprocs", "omp_nthreads", "mem_mb", "stop_on_first_crash", "clean_workdir",
)  # fmt: skip
"""Settings that change no number of a session. The checkpoint counts by its hash, the choice of
scans by the scans chosen; ``device`` moves last digits, and is told in every sidecar."""

Signature = tuple[int, int, int]
"""Of a file that stands: inode, times of content and inode in ns. Each writing gives another one,
whatever the clock says."""


@dataclass(frozen=True)
class Task:
    """One session as it is about to be done."""

    unit: Unit
    key: str
    """SHA-256 of the version, the checkpoint, the settings that count and the session."""
    inputs: Mapping[str, Path]
    """Every file that goes in, by a name that holds wherever the dataset lies."""
    seen: Mapping[str, tuple[int, int]]
    """Their sizes and times before anything was read."""
    before: Mapping[Path, Signature]
    """Files of the session that stood in the output folder."""


def task_of(unit: Unit, *, checkpoint: str, config: Config) -> Task:
    """Describe a session before it is done.

    Parameters
    ----------
    checkpoint
        SHA-256 of the weights; empty where none are used.
    """
    inputs: dict[str, Path] = {}
    settings = {k: v for k, v in asdict(config).items() if k not in _WITHOUT_EFFECT}
    told = {
        "version": __version__,
        "checkpoint": checkpoint,
        "settings": _plain(settings, config.bids_dir, inputs),
        "session": _plain(asdict(unit), config.bids_dir, inputs),
    }
    key = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    seen = {name: glance(path) for name, path in inputs.items() if path.is_file()}
    return Task(unit, key, inputs, seen, _signatures(unit, config))


def is_finished(task: Task, config: Config) -> bool:
    """Whether the session's outputs stand as the same inputs and settings made them."""
    try:
        told: Any = read_json(config.output_dir / finished_path(task.unit.label))
        inputs, outputs = dict(told["Inputs"]), dict(told["Outputs"])
        return (
            told["Key"] == task.key
            and inputs.keys() == task.inputs.keys()
            and all(unchanged(task.inputs[name], inputs[name]) for name in inputs)
            and all(unchanged(config.output_dir / name, outputs[name]) for name in outputs)
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False  # none, or not one of ours: it is done anew


def forget(unit: Unit, config: Config) -> None:
    """Remove the mark, before the session is done anew."""
    (config.output_dir / finished_path(unit.label)).unlink(missing_ok=True)


def written(task: Task, config: Config) -> list[Path]:
    """Files of the session that were written since the task was described, sorted."""
    after = _signatures(task.unit, config)
    return sorted(path for path in after if after[path] != task.before.get(path))


def mark(task: Task, config: Config) -> bool:
    """Write down that a session is finished; not where an input changed meanwhile."""
    for name, path in task.inputs.items():
        if not path.is_file() or glance(path) != task.seen.get(name):
            return False
    root = config.output_dir
    outputs = {p.relative_to(root).as_posix(): stamp(p) for p in written(task, config)}
    content = {
        "Description": "Written when a session is finished; without it the session is done anew.",
        "Software": f"relad-bids {__version__}",
        "Key": task.key,
        "Inputs": {name: stamp(path) for name, path in task.inputs.items()},
        "Outputs": outputs,
    }
    write_text(root / finished_path(task.unit.label), json.dumps(content, indent=1) + "\n")
    return True


def _signatures(unit: Unit, config: Config) -> dict[Path, Signature]:
    labels = {unit.label, *(pet.label for pet in unit.measured)}
    found = {}
    for path in session_files(config.output_dir, labels):
        stat = path.stat()
        found[path] = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
    return found


def _plain(value: Any, root: Path, inputs: dict[str, Path]) -> Any:
    """Replace each path by its name, and gather the files that the paths lead to."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one, root, inputs) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, root, inputs) for one in value]
    if not isinstance(value, Path):
        return value
    for path in _files(value):
        inputs[_name(path, root)] = path
    return _name(value, root)


def _files(path: Path) -> Iterator[Path]:
    """The file, or those that lie directly in a folder (masks of a scale)."""
    if path.is_dir():
        yield from (one for one in sorted(path.iterdir()) if one.is_file())
    else:
        yield path


def _name(path: Path, root: Path) -> str:
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return f"{path.parent.name}/{path.name}"
