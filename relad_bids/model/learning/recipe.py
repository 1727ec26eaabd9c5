"""A training recipe: one TOML file from which a checkpoint can be made again."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from relad_bids.core.intensity import MRIContract
from relad_bids.errors import ConfigError, InputError
from relad_bids.model.card import Card, TracerOutput
from relad_bids.model.learning.inherited import inherit
from relad_bids.model.learning.splits import PARTICIPANT
from relad_bids.model.learning.training import TrainConfig
from relad_bids.model.registry import KINDS


@dataclass(frozen=True, kw_only=True)
class PhantomData:
    """Train on phantoms made in template space, without files."""

    source: Literal["phantom"] = "phantom"
    preset: str = "strong"
    n_start: int = 400
    """Phantoms to which the regression that the network starts from is fitted."""
    n_train: int = 400
    """Further phantoms, on which the network learns."""
    n_validation: int = 16
    """Phantoms of another seed, on which early stopping looks and the skill is measured."""
    residual_mm: float = 1.0
    """Misregistration left after normalisation to the template, standard deviation."""

    def problems(self) -> list[str]:
        if min(self.n_start, self.n_train, self.n_validation) < 1:
            return ["n_start, n_train and n_validation must be at least 1"]
        return []


@dataclass(frozen=True, kw_only=True)
class PairData:
    """Train on measured PET in derivatives of ``relad-bids``.

    Participants are dealt to sides, never scans: to be tested (a fold, a share, a list, or
    nobody), to be looked at by early stopping, and to learn from. Who is tested has no say in
    anything. Whom to learn from is dealt once more, see :mod:`relad_bids.cohorts.sides`.
    """

    source: Literal["derivatives"] = "derivatives"
    root: tuple[Path, ...]
    """Output folders of ``relad-bids``; a participant label in two of them is one person."""
    resolution: str = ""
    """``res`` label in the names of the images; by default that of the grid."""
    participants_tsv: Path | None = None
    """List of the participants; by default that of each root or of its source dataset. It is
    looked for only if ``groups`` or ``stratify`` name columns of it."""
    groups: tuple[str, ...] = (PARTICIPANT,)
    """Columns that no line between learning and being asked may cut through."""
    stratify: tuple[str, ...] = ()
    """Columns of which each side gets its share, beside the tracers."""
    leave_out: tuple[str, ...] = ()
    """Participants who are not used."""
    n_folds: int = 0
    """Folds of cross-validation; ``relad train --fold`` or ``--folds`` says which is tested."""
    test_share: float = 0.0
    test_participants: tuple[str, ...] = ()
    validation_share: float = 0.15
    """Of those who are not tested; at least one participant."""
    start_share: float = 0.5
    """Of those who are learned from: to whom the regression is fitted."""
    other_people: bool = False
    """For fine-tuning: these are other people than those whom the checkpoint learned from, though
    some have the same labels."""
    seed: int = 0
    """Of the dealing; apart from the recipe's, so that runs of several seeds share one split."""

    def problems(self) -> list[str]:
        found = [
            f"{name} {getattr(self, name):g} is not between 0 and 1"
            for name in ("validation_share", "start_share")
            if not 0 < getattr(self, name) < 1
        ]
        if not 0 <= self.test_share < 1:
            found.append(f"test_share {self.test_share:g} is not in [0, 1)")
        if self.n_folds < 0 or self.n_folds == 1:
            found.append(f"n_folds {self.n_folds} is neither 0 nor at least 2")
        ways = ("n_folds", "test_share", "test_participants")
        if len(used := [name for name in ways if getattr(self, name)]) > 1:
            found.append(f"{' and '.join(used)} both say who is tested; keep one")
        if PARTICIPANT not in self.groups:
            found.append(f"groups must hold {PARTICIPANT}: a person is never cut through")
        if not self.root:
            found.append("root names no folder")
        return found


@dataclass(frozen=True, kw_only=True)
class WatchRecipe:
    """How early stopping looks at the validation participants."""

    every: int = 100
    """Steps between two looks; 0 for none: the last weights are kept."""
    patience: int = 10
    """Looks in a row without a smaller error, after which the run ends; 0 for never. The weights
    that had the smallest error are kept."""

    def problems(self) -> list[str]:
        return [
            f"{name} {getattr(self, name)} is below 0"
            for name in ("every", "patience")
            if getattr(self, name) < 0
        ]


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
    data: PhantomData | PairData = field(default_factory=PhantomData)
    train: TrainConfig = field(default_factory=TrainConfig)
    watch: WatchRecipe | None = None
    """Early stopping; by default on real pairs, of which there are never enough."""
    half_weights: bool = False
    """Whether the weights are rounded to half precision at the end, before they are measured: half
    the file."""
    class_numbers: tuple[int, ...] = ()
    """Of the tracers of ``suvr_max``; 0, 1, 2, ... except in fine-tuning for some of the
    checkpoint's tracers."""

    @property
    def tracers(self) -> tuple[TracerOutput, ...]:
        numbers = self.class_numbers or range(len(self.suvr_max))
        return tuple(
            TracerOutput(name=name, index=index, suvr_max=value)
            for index, (name, value) in zip(numbers, self.suvr_max.items(), strict=True)
        )

    @property
    def n_classes(self) -> int:
        """Tracers that the network tells apart, learned or not."""
        return int(self.architecture.get("n_tracers", max(t.index for t in self.tracers) + 1))

    @property
    def watches(self) -> bool:
        """Whether early stopping looks."""
        return self.watch is not None and self.watch.every > 0

    def problems(self) -> list[str]:
        found = [f"train: {p}" for p in self.train.problems()]
        found += [f"mri: {p}" for p in self.mri.problems()]
        found += [f"data: {p}" for p in self.data.problems()]
        found += [f"watch: {p}" for p in (self.watch.problems() if self.watch else ())]
        if self.kind not in KINDS:
            found.append(f"kind {self.kind!r} is not one of {', '.join(KINDS)}")
        found += [
            f"suvr_max.{k} is {v}, must be above 0" for k, v in self.suvr_max.items() if v <= 0
        ]
        if not self.suvr_max:
            found.append("suvr_max names no tracer")
        return found + list(self._misfits())

    def _misfits(self) -> Iterator[str]:
        """Say where the architecture has other tracers than ``suvr_max``."""
        if self.class_numbers:
            return  # of a checkpoint, whose card says which
        # A network of the official layout keeps rows of its embedding for nobody.
        spare = self.architecture.get("n_tracer_classes", 0)
        if spare < len(self.suvr_max) and self.architecture.get("n_tracers") != len(self.suvr_max):
            yield (
                f"architecture.n_tracers is {self.architecture.get('n_tracers')}, suvr_max names "
                f"{len(self.suvr_max)} tracers"
            )


_TABLES = {"grid": GridRecipe, "mri": MRIContract, "train": TrainConfig, "watch": WatchRecipe}
_NESTED = (*_TABLES, "data", "architecture", "suvr_max", "diffusion", "sampler", "objective")
_SOURCES = {"phantom": PhantomData, "derivatives": PairData}
_LISTS = ("root", "groups", "stratify", "leave_out", "test_participants")
"""Of which a single name is a list of one."""


def read_recipe(path: Path, base: Card | None = None) -> Recipe:
    """Read a recipe; name **every** unknown key and every bad value, not the first.

    Parameters
    ----------
    path
        Folders that it names are relative to its own.
    base
        Card of the checkpoint that is fine-tuned. Kind, architecture, grid, tracers and
        contracts are the card's; the recipe may name some of the tracers in ``suvr_max`` to
        learn these alone.

    Raises
    ------
    InputError
        The file is not there.
    ConfigError
        It is not TOML, says something that cannot be used, or contradicts the card.
    """
    content = _read(path)
    tables = _require_known_keys(content, path)
    if base is not None:
        content = inherit(content, base, path)
    try:
        if tables["data"] is PairData:
            content = {"watch": {}, **content, "data": _located(content["data"], path.parent)}
        nested = {
            name: kind(**_tuples(content.get(name, {})))
            for name, kind in tables.items()
            if name != "watch" or name in content
        }
        recipe = Recipe(**{**content, **nested})
        found = recipe.problems()
    except TypeError as error:  # a key is missing, or a value has another type
        raise ConfigError(f"{path}: {error}.") from error
    if found:
        raise ConfigError(f"{path}:\n  " + "\n  ".join(found))
    return recipe


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"the training recipe {path} was looked for and is not there.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
    if wrong := [name for name in _NESTED if not isinstance(content.get(name, {}), dict)]:
        raise ConfigError(f"{path}: {', '.join(wrong)} must be a table, such as [{wrong[0]}].")
    return content


def _require_known_keys(content: Mapping[str, Any], path: Path) -> dict[str, type]:
    """Return the class of each table; that of ``data`` depends on its source."""
    source = content.get("data", {}).get("source", "phantom")
    if source not in _SOURCES:
        raise ConfigError(f"{path}: data.source {source!r} is not one of {', '.join(_SOURCES)}.")
    tables = {**_TABLES, "data": _SOURCES[source]}
    unknown = _unknown(Recipe, content, "")
    for name, kind in tables.items():
        unknown += _unknown(kind, content.get(name, {}), f"{name}.")
    if unknown:
        raise ConfigError(f"{path}: unknown keys: {', '.join(sorted(unknown))}.")
    return tables


def _unknown(kind: type, table: Mapping[str, Any], prefix: str) -> list[str]:
    names = {f.name for f in fields(kind)} - {"class_numbers"}
    return [prefix + key for key in table if key not in names]


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has lists only; a frozen recipe holds tuples."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    return {key: frozen(value) for key, value in table.items()}


def _located(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Give folders their place, and participants their ``sub-``."""
    located: dict[str, Any] = {
        key: [value] if key in _LISTS and isinstance(value, str) else value
        for key, value in data.items()
    }
    if "root" in located:
        located["root"] = [folder / root for root in located["root"]]
    if "participants_tsv" in located:
        located["participants_tsv"] = folder / located["participants_tsv"]
    for key in {"leave_out", "test_participants"} & set(located):
        located[key] = [f"sub-{str(label).removeprefix('sub-')}" for label in located[key]]
    return located
