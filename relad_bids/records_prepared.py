"""What is written of a preparation that did not go the usual way: runs, derivatives, lesions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from relad_bids.runs import Choice
from relad_bids.sessions import Unit

WARPED = ("t1w_mni", "flair_mni", "t1w_norm", "flair_norm", "mask_mni", "dseg")
"""Products that went through the transforms to the template or back."""
STRIPPED = ("brain_mask", "mask_mni", "t1w_norm", "flair_norm", "dseg")
CORRECTED = ("t1w_preproc", "t1w_mni", "t1w_norm")
SCALED = ("t1w_norm", "flair_norm")

_TAKEN = {
    "t1w_preproc": ("bias-correction", "T1w as given by {}; no N4 of this program"),
    "brain_mask": ("brain-mask", "Brain as given by {}, T1w grid"),
}


def lesion_on_flair(unit: Unit) -> bool:
    return unit.lesion is not None and unit.lesion.on == "FLAIR"


def prepared_qc(unit: Unit, inside: Callable[[Path], str]) -> dict[str, str | None]:
    """Columns of the QC row; None where there is nothing to say."""
    choices = {"t1w": unit.t1w_choice, "flair": unit.flair_choice}
    rules = {choice.rule for choice in choices.values() if choice}
    columns: dict[str, str | None] = {"run_choice": next(iter(rules), None)}
    for name, choice in choices.items():
        left = ";".join(inside(path) for path in choice.left) if choice else ""
        columns[f"{name}_left"] = left or None
        figures = choice.figures_text if choice else ""
        columns[f"{name}_run_quality"] = figures.replace("; ", ";") or None
    taken = [f"{step}:{derived.source}" for step, derived in unit.reused.steps().items()]
    columns["reused"] = ";".join(taken) or None
    columns["lesion_mask"] = unit.lesion.uri if unit.lesion else None
    return columns


def prepared_facts(key: str, told: Mapping[str, Any], unit: Unit) -> dict[str, Any]:
    """What the sidecar of one product says beside the usual; empty for a usual session."""
    steps = unit.reused.steps()
    if key == "dseg" and unit.labels:  # the user's own labels went through nothing
        steps = {}
    concerned = {"bias-correction": CORRECTED, "brain-mask": STRIPPED, "warp": WARPED}
    replaced = {step: one.uri for step, one in steps.items() if key in concerned[step]}
    facts: dict[str, Any] = {}
    if replaced:
        sources = list(told["Sources"])
        if "bias-correction" in replaced and key in CORRECTED:
            sources = []  # the raw T1w is a source of the derivatives, not of ours
        facts["Sources"] = [*sources, *replaced.values()]
        facts["ReplacedSteps"] = replaced
    if key in _TAKEN and _TAKEN[key][0] in replaced:
        step, text = _TAKEN[key]
        facts["Description"] = text.format(steps[step].source)
    if unit.lesion and key in SCALED:
        facts["LesionMask"] = unit.lesion.uri
    return facts


def run_text(name: str, choice: Choice | None) -> str:
    """An image on the page, and how it was chosen."""
    return f"{name} ({choice.text})" if choice else name


def prepared_text(unit: Unit) -> dict[str, str]:
    """Lines of the page."""
    lines = {}
    if steps := unit.reused.steps():
        lines["Taken from derivatives"] = ", ".join(
            f"{step} ({derived.source})" for step, derived in steps.items()
        )
    if unit.lesion:
        lines["Lesion mask"] = unit.lesion.uri.partition(":")[2]
    return lines


def prepared_log(unit: Unit) -> list[str]:
    """Lines of the log."""
    choices = {"T1w": (unit.t1w, unit.t1w_choice), "FLAIR": (unit.flair, unit.flair_choice)}
    lines = [
        f"{kind} {path.name}: {choice.text}; not used: {', '.join(p.name for p in choice.left)}"
        for kind, (path, choice) in choices.items()
        if path and choice
    ]
    for step, derived in unit.reused.steps().items():
        lines.append(f"{step} of {derived.source}: {derived.path}")
    if unit.lesion:
        lines.append(f"lesion mask, drawn on the {unit.lesion.on}: {unit.lesion.path}")
    return lines
