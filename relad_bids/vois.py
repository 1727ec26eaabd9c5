"""From the packaged tables to the regions that are quantified, and to reference regions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.regions import VOI, Hemisphere, by_hemisphere
from relad_bids.errors import UsageError
from relad_bids.tables import label_names, tracers, voi_sets

GEOMETRIC = "cerebellum-inferior-gm"
"""The one reference region that labels alone do not give."""

PSEUDO_REFERENCE = frozenset({"tspo"})
"""Targets that no region is free of (pet-quantification 0.5, 1.6): the ratio is a pattern."""

COMPARED: Mapping[str, tuple[str, ...]] = {
    "tau": ("tau", "tspo", "offtarget"),
    "amyloid": ("amyloid", "tspo"),
    "tspo": ("tspo",),
    "metabolism": ("tspo",),
}
"""Target -> the families of VOIs that synthetic and measured PET are compared in; ``tspo`` holds
the lobes and nuclei of any tracer."""


def quantified_vois(numbers: Iterable[int]) -> tuple[VOI, ...]:
    """Every VOI of a table, in the order of its rows: sets, their halves, then single labels.

    Sets that need a mask of their own (WMH, SUIT, GAAIN, eroded white matter) are not among
    them, nor are sets made of such.

    Parameters
    ----------
    numbers
        Labels of the parcellation before it was cut: each named one gets a row, even where
        the participant has no voxel of it left.
    """
    hemi_of = {number: label.hemi for number, label in label_names().items()}
    rows: list[VOI] = []
    for chosen in voi_sets():
        drawn = {row.name: row.labels for row in rows if row.hemi == "B"}
        if chosen.kind == "mask" or not set(chosen.parts) <= drawn.keys():
            continue
        # Size and coverage of a mean of parts are those of all its voxels together.
        labels = chosen.labels or tuple(sorted({n for part in chosen.parts for n in drawn[part]}))
        whole = VOI(chosen.family, chosen.voi, labels, parts=chosen.parts)
        rows.extend(by_hemisphere(whole, hemi_of))
    rows += [
        VOI("label", label.name, (number,), _side(label.hemi))
        for number, label in label_names().items()
        if number in set(numbers)
    ]
    return tuple(rows)


def _side(hemi: str) -> Hemisphere:
    return "L" if hemi == "L" else "R" if hemi == "R" else "B"


@cache
def reference_regions() -> Mapping[str, tuple[int, ...]]:
    """Reference regions that can be drawn from labels: name -> label numbers."""
    found = {v.voi: v.labels for v in voi_sets(("ref",)) if v.kind == "labels"}
    return {**found, GEOMETRIC: (8, 47)}


def reference_of_tracer(tracer: str, chosen: Mapping[str, str]) -> str:
    """Return the reference region of a tracer: the user's, else the tracer's default.

    Raises
    ------
    UsageError
        The region is not one that labels give, or another than the default was chosen for a
        tracer whose ligand nobody declared.
    """
    known = tracers()[tracer]
    name = chosen.get(tracer, known.reference)
    if name != known.reference:
        known.require_declared(f"the reference region {name}")
    if name not in reference_regions():
        raise UsageError(
            f"the reference region {name!r} was asked for {tracer}; those that can be drawn are "
            f"{', '.join(sorted(reference_regions()))}. Choose one with --ref-region "
            f"{tracer}=NAME."
        )
    return name


def reference_mask(
    name: str, labels: NDArray[np.integer], inferior: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Draw a reference region in the space of ``labels``.

    Parameters
    ----------
    name
        One of :func:`reference_regions`.
    labels : (I, J, K) int
        Parcellation, cut by tissue.
    inferior : (I, J, K) bool
        Geometric inferior cerebellum on the same grid.
    """
    region = np.isin(labels, reference_regions()[name])
    return region & inferior if name == GEOMETRIC else region


def reference_method(name: str) -> str:
    """How the region was drawn, for the column ``ref_method``."""
    return "geometric" if name == GEOMETRIC else "labels"
