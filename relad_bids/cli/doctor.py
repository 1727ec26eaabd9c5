"""``relad doctor``: the facts that a question about a failed run is answered with."""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version

from relad_bids import __version__
from relad_bids.cli.settings import BUNDLED
from relad_bids.errors import ReladError
from relad_bids.resources import available

PACKAGES = ("antspyx", "torch", "monai", "nipype", "pybids", "nibabel", "numpy", "scipy", "pandas")
CACHES = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "TORCH_HOME", "TEMPLATEFLOW_HOME", "NUMBA_CACHE_DIR")


def run_doctor(args: Namespace) -> int:
    """Print one fact a line, a name, a tab and what was found; 1 where something is damaged."""
    damaged = False
    for name, fact in facts(args.folder or BUNDLED):
        print(f"{name}\t{fact}")
        damaged |= fact.startswith("DAMAGED")
    return int(damaged)


def facts(model_dir: Path) -> Iterator[tuple[str, str]]:
    """Yield name and value of each fact; nothing is asked of the network."""
    yield "relad-bids", __version__
    yield "python", f"{python_version()} on {platform()}"
    for name in PACKAGES:
        yield name, _version(name)
    machine = available()
    yield "CPUs", f"{machine.cpus} ({machine.cpus_source})"
    yield "memory", f"{machine.memory_mb} MB ({machine.memory_source})"
    yield from _devices()
    yield "checkpoint", _checkpoint(model_dir)
    yield "templates and tables", _assets()
    for name in ("TMPDIR", *CACHES):
        folder = tempfile.gettempdir() if name == "TMPDIR" else os.environ.get(name, "")
        if folder:
            yield name, f"{folder} ({_writable(Path(folder))})"
    yield "user", f"{os.getuid()}:{os.getgid()}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from relad_bids.model.predictor import device_text

    built = torch.version.cuda or "none"
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    yield "GPUs", f"{n_gpus} (CUDA of torch: {built})"
    for number in range(n_gpus):
        yield f"cuda:{number}", device_text(f"cuda:{number}")


def _checkpoint(folder: Path) -> str:
    from relad_bids.model.checkpoint import verify_checkpoint

    try:
        card = verify_checkpoint(folder)
    except ReladError as error:
        return f"DAMAGED: {error}"
    return f"{card.label}, SHA-256 {card.sha256}"


def _assets() -> str:
    from relad_bids.assets import own_files, packaged_images, require_assets

    assets = [*packaged_images(), *own_files()]
    try:
        require_assets(assets)
    except ReladError as error:
        return f"DAMAGED: {error}"
    return f"{len(assets)} as they were packaged"


def _writable(folder: Path) -> str:
    if not folder.is_dir():
        return "not there yet"
    return "writable" if os.access(folder, os.W_OK) else "read-only"
