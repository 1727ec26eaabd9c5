"""What is written about the atlases that the user adds: columns and sidecars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relad_bids.bids.outputs import bids_uri, product_path
from relad_bids.bids.sidecars import sidecar
from relad_bids.config import Config
from relad_bids.model.card import Card
from relad_bids.records import resolution_label, resolution_text
from relad_bids.records_tables import table_dictionaries
from relad_bids.sessions import Atlas, Unit

CUT = {"gm": " and cut by the participant's grey matter", "none": ""}


def atlas_context(atlas: Atlas, context: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a table of another atlas, from those of the same PET's own table."""
    return {**context, "atlas": atlas.label.removeprefix("atlas-"), "voi_source": "atlas-warped"}


def atlas_sidecar(atlas: Atlas, card: Card, config: Config) -> dict[str, dict[str, Any]]:
    """JSON of the labels as applied, and of the table of their volumes."""
    made = f"Labels of {atlas.label}, warped from {atlas.space}{CUT[config.atlas_cut]}"
    facts = {"Description": made, "SpatialReference": "orig", "SkullStripped": True}
    text = resolution_text(card)
    one = sidecar("dseg", sources=[atlas.uri], space=card.space, resolution=text, facts=facts)
    return {"dseg": one, "morph": table_dictionaries()["morph"]}


def table_sidecar(
    atlas: Atlas, unit: Unit, card: Card, dictionary: Mapping[str, Any]
) -> dict[str, Any]:
    """JSON of a table of another atlas, from that of the same PET's own table."""
    dseg = product_path(
        "dseg", unit.label, space=card.space, resolution=resolution_label(card),
        extra=atlas.entities,
    )  # fmt: skip
    labels = {**dictionary["labels"], "Description": "Label number of the atlas"}
    return {**dictionary, "labels": labels, "Sources": [*dictionary["Sources"], bids_uri(dseg)]}
