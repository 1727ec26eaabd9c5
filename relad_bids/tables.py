"""Facts that ship with the package, read once and typed: tracers, VOI sets, label names.

Where they come from stands in ``relad_bids/data/README.md``.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from relad_bids.errors import UsageError

_ISOTOPE = "(18f|f18|11c|c11)"
_GREY_TISSUES = frozenset({"cortex", "subcortical-gm", "subcortical-mixed"})

Window = tuple[float, float]


@dataclass(frozen=True)
class Tracer:
    """What is known of one PET tracer."""

    name: str
    trc: str
    """Label of the BIDS entity ``trc-``."""
    aliases: tuple[str, ...]
    also: tuple[str, ...]
    """Words that mean this tracer to most users, such as its target."""
    target: str
    """``tau``, ``amyloid``, ``tspo`` or ``metabolism``."""
    radionuclide: str | None
    """None where the ligand was never declared, and with it what follows of half-life and
    windows."""
    half_life_s: float | None
    window_min: Window | None
    """First and last minute of the static window, after injection."""
    accepted_windows_min: tuple[Window, ...]
    """Other windows in use; their SUVr is not the same number."""
    reference: str
    """Default reference region: a VOI of the family ``ref``."""
    reference_alternates: tuple[str, ...]
    primary_vois: tuple[str, ...]
    """Regions reported first, in the order they are stated."""
    source: str

    @property
    def declared(self) -> bool:
        """Whether it is a ligand, not a target alone."""
        return self.radionuclide is not None

    def require_declared(self, asked: str) -> None:
        """Refuse what belongs to a ligand where none was declared.

        Raises
        ------
        UsageError
            Says what was asked for, and what there is instead.
        """
        if not self.declared:
            raise UsageError(
                f"{asked} was asked for {self.name}; which {self.target.upper()} ligand its "
                "network learned was never declared, and reference regions, time windows and "
                f"cut-offs belong to a ligand. What there is: SUVr over {self.reference}, flagged "
                "ligand_undeclared. For more give a checkpoint that names its ligand, with "
                "--model-dir."
            )


@dataclass(frozen=True)
class VOISet:
    """One region, as a rule over FreeSurfer label numbers."""

    family: str
    """``tau``, ``amyloid``, ``tspo``, ``neurodegeneration``, ``ref`` or ``offtarget``."""
    voi: str
    kind: Literal["labels", "parts", "mask"]
    """``labels``: the union of ``labels``. ``parts``: the unweighted mean of the VOIs ``parts``.
    ``mask``: the label image alone does not give it; ``rule`` says what is needed, and
    ``labels`` holds the label numbers that the rule names."""
    labels: tuple[int, ...]
    parts: tuple[str, ...]
    rule: str
    """The members as the table states them."""
    aggregation: str
    source: str
    note: str


@dataclass(frozen=True)
class Label:
    """One FreeSurfer label. ``None`` where the table has no value."""

    index: int
    name: str
    hemi: str
    """``L``, ``R`` or ``M`` (midline, or both)."""
    tissue: str
    lobe: str | None
    braak: str | None
    amyloid_lobe: str | None
    in_dkt: bool
    """Whether the DKT parcellation has it too."""


@cache
def tracers() -> Mapping[str, Tracer]:
    """Return every known tracer by its canonical name."""
    table = tomllib.loads(_text("tracers.toml"))
    return MappingProxyType({name: _tracer(name, row) for name, row in table.items()})


def find_tracer(text: str, *, among: Sequence[str] = ()) -> Tracer:
    """Return the tracer meant by ``text``: a canonical name, a ``trc-`` label or an alias.

    Case, ``-``, ``_``, spaces and isotopes (``[18F]``, ``(C-11)``, ``18F`` in front, ``F18``
    behind) do not count. A target stands for the tracer most users mean: ``tau`` is
    flortaucipir, ``amyloid`` is PiB, ``tspo`` and ``pbr`` are PBR28, ``metabolism`` is FDG. Where
    one tracer alone of ``among`` (canonical names) has that target, the word means this one.

    Raises
    ------
    UsageError
        No tracer goes by that name.
    """
    if tracer := _spellings().get(_bare(text)):
        same = [name for name in among if tracers()[name].target == tracer.target]
        if len(same) == 1 and _bare(text) in map(_bare, tracer.also):
            return tracers()[same[0]]
        return tracer
    known = ", ".join(f"{tracer.name} ({tracer.trc})" for tracer in tracers().values())
    raise UsageError(
        f"the tracer {text!r} is not known. Known are {known}, and the words tau, amyloid, tspo "
        f"and metabolism. Give one of these."
    )


def voi_sets(families: Sequence[str] = ()) -> tuple[VOISet, ...]:
    """Return the VOI sets of these families, in the order of the table; none named: all.

    Raises
    ------
    UsageError
        A family is not in the table.
    """
    known = dict.fromkeys(voi.family for voi in _all_vois())
    if unknown := [family for family in families if family not in known]:
        raise UsageError(
            f"no VOI set family is called {', '.join(unknown)}. Known are {', '.join(known)}; "
            f"give one of these."
        )
    return tuple(voi for voi in _all_vois() if voi.family in (families or known))


@cache
def label_names() -> Mapping[int, Label]:
    """Return every FreeSurfer label the tables know, by its number."""
    labels = [_label(row) for row in _rows("labels_fs.tsv")]
    return MappingProxyType({label.index: label for label in labels})


def _text(name: str) -> str:
    return (files("relad_bids") / "data" / name).read_text(encoding="utf-8")


def _rows(name: str) -> Iterator[dict[str, str | None]]:
    """Yield the rows of a table, with ``n/a`` as ``None``."""
    for row in csv.DictReader(_text(name).splitlines(), delimiter="\t"):
        yield {key: None if value == "n/a" else value for key, value in row.items()}


def _tracer(name: str, row: Mapping[str, Any]) -> Tracer:
    return Tracer(
        name=name,
        trc=row["trc"],
        aliases=tuple(row["aliases"]),
        also=tuple(row["also"]),
        target=row["target"],
        radionuclide=row.get("radionuclide"),
        half_life_s=row.get("half_life_s"),
        window_min=_window(row["window"]) if "window" in row else None,
        accepted_windows_min=tuple(_window(window) for window in row.get("accepted", ())),
        reference=row["reference"],
        reference_alternates=tuple(row.get("alternates", ())),
        primary_vois=tuple(_expanded(row["primary"])),
        source=row["source"],
    )


def _window(minutes: Sequence[float]) -> Window:
    first, last = minutes
    return float(first), float(last)


def _expanded(patterns: Sequence[str]) -> Iterator[str]:
    names = dict.fromkeys(voi.voi for voi in _all_vois())
    for pattern in patterns:
        yield from (name for name in names if fnmatchcase(name, pattern))


@cache
def _spellings() -> Mapping[str, Tracer]:
    return MappingProxyType(
        {
            _bare(spelling): tracer
            for tracer in tracers().values()
            for spelling in (tracer.name, tracer.trc, *tracer.aliases, *tracer.also)
        }
    )


def _bare(text: str) -> str:
    """Return what is left of a tracer name without case, separators and isotope."""
    text = re.sub(r"\[.*?\]|\(.*?\)|[-_\s]", "", text.lower())
    return re.sub(f"^{_ISOTOPE}|{_ISOTOPE}$", "", text)


@cache
def _all_vois() -> tuple[VOISet, ...]:
    rows = [{key: value or "" for key, value in row.items()} for row in _rows("voi_sets.tsv")]
    by_label = {row["members"]: row["voi"] for row in rows if row["members"].isdecimal()}
    return tuple(_voi_set(row, by_label) for row in rows)


def _voi_set(row: Mapping[str, str], by_label: Mapping[str, str]) -> VOISet:
    """Sort a row into its kind; ``by_label`` names the VOIs that are one label."""
    rule, is_mean = row["members"], row["aggregation"] == "unweighted-mean-of-parts"
    kind: Literal["labels", "parts", "mask"] = "mask"
    labels: tuple[int, ...] = _labels_in(rule)
    parts: tuple[str, ...] = ()
    if is_mean:
        kind, labels = "parts", ()
        names = rule.removeprefix("mean of ").split(",")
        parts = tuple(by_label.get(name, name) for name in names)
    elif rule.startswith("all GM+WM"):
        kind, labels = "labels", _whole_brain(rule)
    elif re.fullmatch(r"\d+(,\d+)*", rule):
        kind = "labels"
    return VOISet(
        family=row["family"],
        voi=row["voi"],
        kind=kind,
        labels=labels,
        parts=parts,
        rule=rule,
        aggregation=row["aggregation"],
        source=row["source"],
        note=row["note"],
    )


def _labels_in(rule: str) -> tuple[int, ...]:
    """Return the label numbers a rule names: ``8, 47`` of ``mask:fs8,47 AND suit-inferior``."""
    groups = re.findall(r"(?:^|[:\s])(?:fs)?(\d+(?:,\d+)*)(?=\s|$)", rule)
    return tuple(int(number) for group in groups for number in group.split(","))


def _whole_brain(rule: str) -> tuple[int, ...]:
    named = {int(number) for number in re.findall(r"\d+", rule)}
    grey = {label.index for label in label_names().values() if label.tissue in _GREY_TISSUES}
    return tuple(sorted(named | grey))


def _label(row: Mapping[str, str | None]) -> Label:
    return Label(
        index=int(row["index"] or ""),
        name=row["name"] or "",
        hemi=row["hemi"] or "",
        tissue=row["tissue"] or "",
        lobe=row["lobe"],
        braak=row["braak"],
        amyloid_lobe=row["amyloid_lobe"],
        in_dkt=row["in_dkt"] == "yes",
    )
