"""``--nipype-plugin-file``: which of Nipype's plugins runs the steps, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from relad_bids.errors import ConfigError, InputError

PLUGINS = (
    "Linear", "MultiProc", "LegacyMultiProc", "SLURM", "SLURMGraph", "PBS", "PBSGraph", "SGE",
    "SGEGraph", "LSF", "OAR", "Condor", "CondorDAGMan",
)  # fmt: skip
"""Nipype's plugins for running; it has no more than these, and none for Dask."""

NEEDED = 'needed is for example {"plugin": "SLURM", "plugin_args": {"sbatch_args": "--mem=4G"}}'


def read_plugin(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Read ``plugin`` and ``plugin_args`` from a JSON or YAML file; nothing in it is run.

    Raises
    ------
    InputError
        The file is not there.
    ConfigError
        It is neither JSON nor YAML, says more than these two, or names no plugin of Nipype's.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--nipype-plugin-file {path} cannot be read ({error}); {NEEDED}"
        ) from error
    try:
        told = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is neither JSON nor YAML: {error}; {NEEDED}") from error
    if not isinstance(told, dict) or not set(told) <= {"plugin", "plugin_args"}:
        raise ConfigError(f"{path} says {_shown(told)}; {NEEDED}")
    name, arguments = told.get("plugin"), told.get("plugin_args") or {}
    if name not in PLUGINS:
        raise ConfigError(
            f"{path} asks for the plugin {name!r}; Nipype has {', '.join(PLUGINS)}. {NEEDED}"
        )
    if not isinstance(arguments, dict):
        raise ConfigError(f"{path}: plugin_args is {_shown(arguments)}; {NEEDED}")
    return name, arguments


def _shown(told: object) -> str:
    return repr(list(told) if isinstance(told, dict) else told)[:200]
