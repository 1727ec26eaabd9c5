"""Which tracer a PET scan is of."""

from __future__ import annotations

import re

from relad_bids.errors import DataError, UsageError
from relad_bids.pet.fields import Fields
from relad_bids.tables import Tracer, find_tracer, tracers

_ELEMENTS = {"carbon": "C", "fluorine": "F", "fluor": "F"}


def tracer_of(fields: Fields, *, trc: str | None = None) -> Tracer:
    """Return the tracer of a scan: by its sidecar, else by its name.

    ``TracerName`` decides; the label of ``trc-`` is free text to BIDS and decides only where
    the sidecar names no ligand of the table. A target ("tau") is no ligand: what most users mean
    by it is good enough for a choice of theirs, and not for what was injected.

    Parameters
    ----------
    trc
        Label of the entity ``trc-``, None where the name has none.

    Raises
    ------
    DataError
        No known ligand is named, the two names are of different tracers, or
        ``TracerRadionuclide`` is not the tracer's.
    """
    name = fields.text("TracerName")
    by_name, by_entity = _meant(name), _meant(trc)
    _refuse_conflict(fields, name, by_name, trc, by_entity)
    for text, tracer in ((name, by_name), (trc, by_entity)):
        if text is not None and tracer is not None and _is_ligand(text, tracer):
            _require_radionuclide(fields, tracer)
            return tracer
    known = ", ".join(
        f"{tracer.name} ({tracer.trc})" for tracer in tracers().values() if tracer.declared
    )
    found = " and ".join(
        f"{what} {text!r}" for what, text in (("TracerName", name), ("trc-", trc)) if text
    )
    raise DataError(
        f"{fields.name}: the tracer was looked for in TracerName and in trc- of the file name; "
        f"found was {found or 'neither'}, needed is the name of a known ligand. Known are "
        f"{known}. Correct TracerName, or leave the scan out with --tracer-label."
    )


def radionuclide_of(text: str) -> str | None:
    """Return ``C11`` for ``11C``, ``[11C]``, ``C-11``, ``^11^Carbon``; None for other text."""
    found = re.fullmatch(r"\W*(?:(\d+)\W*([a-z]+)|([a-z]+)\W*(\d+))\W*", text.strip().lower())
    if not found:
        return None
    element, number = found[2] or found[3], found[1] or found[4]
    return _ELEMENTS.get(element, element.capitalize()) + number


def _meant(text: str | None) -> Tracer | None:
    try:
        return None if text is None else find_tracer(text)
    except UsageError:
        return None


def _is_ligand(text: str, tracer: Tracer) -> bool:
    """Whether the text names this tracer, not its target: a target means another one among others.

    One tracer alone of a target (FDG) is what the target's name says.
    """
    others = [
        other.name
        for other in tracers().values()
        if other.target == tracer.target and other is not tracer
    ]
    return tracer.declared and all(find_tracer(text, among=[name]) is tracer for name in others)


def _refuse_conflict(
    fields: Fields, name: str | None, by_name: Tracer | None, trc: str | None,
    by_entity: Tracer | None,
) -> None:  # fmt: skip
    """Refuse two ligands, or two targets where one of the names says no more than that."""
    if name is None or trc is None or by_name is None or by_entity is None:
        return
    are_ligands = _is_ligand(name, by_name) and _is_ligand(trc, by_entity)
    if by_name is by_entity or (not are_ligands and by_name.target == by_entity.target):
        return
    raise DataError(
        f"{fields.name}: TracerName {name!r} is {by_name.name}, and trc-{trc} of the file name is "
        f"{by_entity.name}; needed is one tracer. Correct the one that is wrong."
    )


def _require_radionuclide(fields: Fields, tracer: Tracer) -> None:
    text = fields.text("TracerRadionuclide")
    if text is not None and radionuclide_of(text) != tracer.radionuclide:
        raise DataError(
            f"{fields.name}: TracerRadionuclide is {text!r}, needed is {tracer.radionuclide}, "
            f"the nuclide of {tracer.name}. Correct TracerName or TracerRadionuclide."
        )
