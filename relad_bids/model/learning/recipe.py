"""A training recipe: one TOML file from which a checkpoint can be made again."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from relad_bids.core.intensity import MRIContract
from relad_bids.errors import ConfigError, InputError
from relad_bids.model.learning.training import TrainConfig
from relad_bids.model.registry import KINDS


@dataclass(frozen=True, kw_only=True)
class PhantomData:
    """Train on phantoms made in template space, without files."""

    preset: str = "strong"
    n_start: int = 400
    """Phantoms to which the regression that the network starts from is fitted."""
    n_train: int = 400
    """Further phantoms, on which the network learns; all are made once and kept in memory."""
    n_validation: int = 16
    """Phantoms of another seed on which the skill in the card is measured."""
    residual_mm: float = 1.0
    """Misregistration left after normalisation to the template, standard deviation."""


@dataclass(frozen=True, kw_only=True)
class GridRecipe:
    space: str
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a training run depends on."""

    name: str
    version: str
    statement: str
    kind: str = "unet"
    seed: int = 0
    grid: GridRecipe
    architecture: Mapping[str, Any]
    suvr_max: Mapping[str, float]
    """Canonical tracer -> SUVr that becomes +1; the order gives the class numbers."""
    diffusion: Mapping[str, Any] | None = None
    """Noise schedule of a model that diffuses; the kind's own if not given."""
    sampler: Mapping[str, Any] | None = None
    """How such a model draws: name, steps, spacing."""
    objective: Mapping[str, Any] = field(default_factory=dict)
    """Weights of the losses, by the names of the kind's ``Objective``."""
    mri: MRIContract = field(default_factory=MRIContract)
    data: PhantomData = field(default_factory=PhantomData)
    train: TrainConfig = field(default_factory=TrainConfig)

    def problems(self) -> list[str]:
        found = [f"train: {p}" for p in self.train.problems()]
        found += [f"mri: {p}" for p in self.mri.problems()]
        if self.kind not in KINDS:
            found.append(f"kind {self.kind!r} is not one of {', '.join(KINDS)}")
        found += [
            f"suvr_max.{k} is {v}, must be above 0" for k, v in self.suvr_max.items() if v <= 0
        ]
        if not self.suvr_max:
            found.append("suvr_max names no tracer")
        if self.architecture.get("n_tracers") != len(self.suvr_max):
            found.append(
                f"architecture.n_tracers is {self.architecture.get('n_tracers')}, suvr_max names "
                f"{len(self.suvr_max)} tracers"
            )
        if min(self.data.n_start, self.data.n_train, self.data.n_validation) < 1:
            found.append("data.n_start, data.n_train and data.n_validation must be at least 1")
        return found


_TABLES = {"grid": GridRecipe, "mri": MRIContract, "data": PhantomData, "train": TrainConfig}


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; name **every** unknown key and every bad value, not the first.

    Raises
    ------
    InputError
        The file is not there.
    ConfigError
        It is not TOML, or says something that cannot be used.
    """
    if not path.is_file():
        raise InputError(f"the training recipe {path} was looked for and is not there.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
    unknown = _unknown(Recipe, content, "")
    for name, kind in _TABLES.items():
        unknown += _unknown(kind, content.get(name, {}), f"{name}.")
    if unknown:
        raise ConfigError(f"{path}: unknown keys: {', '.join(sorted(unknown))}.")
    try:
        nested = {name: kind(**_tuples(content.get(name, {}))) for name, kind in _TABLES.items()}
        recipe = Recipe(**{**content, **nested})
        found = recipe.problems()
    except TypeError as error:  # a key is missing, or a value has another type
        raise ConfigError(f"{path}: {error}.") from error
    if found:
        raise ConfigError(f"{path}:\n  " + "\n  ".join(found))
    return recipe


def _unknown(kind: type, table: Mapping[str, Any], prefix: str) -> list[str]:
    names = {f.name for f in fields(kind)}
    return [prefix + key for key in table if key not in names]


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has lists only; a frozen recipe holds tuples."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    return {key: frozen(value) for key, value in table.items()}
