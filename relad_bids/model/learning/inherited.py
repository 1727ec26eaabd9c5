"""What a recipe for fine-tuning takes from the card of its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from relad_bids.errors import ConfigError
from relad_bids.model.card import Card

OF_CHECKPOINT = ("kind", "grid", "architecture", "suvr_max", "mri", "diffusion")
"""What the recipe may leave out, and may not say otherwise; of ``suvr_max`` it may say some."""


def inherit(content: Mapping[str, Any], card: Card, path: Path) -> dict[str, Any]:
    """Fill a recipe (content of the file ``path``) from the card; refuse what contradicts it.

    Raises
    ------
    ConfigError
        Names every contradiction; or the card's PET contract cannot be fine-tuned.
    """
    if card.pet_contract != "suvr-fixed":
        raise ConfigError(
            f"the checkpoint {card.label} has the PET contract {card.pet_contract}, in which SUVr "
            "has no fixed scale; it cannot be fine-tuned. Give one of the contract suvr-fixed, "
            "or train anew."
        )
    whole = asdict(card)
    told = {
        "kind": card.kind,
        "grid": {name: whole[name] for name in ("space", "shape", "affine")},
        "architecture": whole["architecture"],
        "suvr_max": {tracer.name: tracer.suvr_max for tracer in card.tracers},
        "mri": whole["mri_contract"],
        "diffusion": whole["diffusion"],
    }
    wrong = [
        line
        for key in OF_CHECKPOINT
        if key in content
        for line in _contradictions(_plain(content[key]), _plain(told[key]), key)
    ]
    if wrong:
        raise ConfigError(
            f"{path} contradicts the checkpoint {card.label} that is to be fine-tuned:\n  "
            + "\n  ".join(wrong)
            + "\n  Leave out what the checkpoint says already, or give another one."
        )
    chosen = content.get("suvr_max", told["suvr_max"])
    learned = [tracer for tracer in card.tracers if tracer.name in chosen]
    own_sampler = dict(card.sampler) if card.diffusion else None
    return {
        "sampler": own_sampler,
        **content,
        **told,
        "suvr_max": {tracer.name: tracer.suvr_max for tracer in learned},
        "class_numbers": tuple(tracer.index for tracer in learned),
    }


def _plain(value: Any) -> Any:
    """Tuples as lists, as in both files."""
    return json.loads(json.dumps(value))


def _contradictions(ours: Any, theirs: Any, name: str) -> Iterator[str]:
    """Name every value of a recipe that is not the checkpoint's; what is left out agrees."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from _contradictions(value, theirs.get(key), f"{name}.{key}")
    elif ours != theirs:
        yield f"{name} is {ours}, the checkpoint has {theirs}"
