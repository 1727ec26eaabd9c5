"""From the packaged tables to the regions that are quantified, and to reference regions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.regions import VOI, Hemisphere, by_hemisphere, eroded_white
from relad_bids.core.suit import REF_METHOD
from relad_bids.errors import UsageError
from relad_bids.tables import label_names, tracers, voi_sets

GEOMETRIC = "cerebellum-inferior-gm"
"""Drawn by a plane, or by the lobules of SUIT where the user has them."""

ERODED = "wm-eroded"
COMPOSITE = "composite"
COMPOSITE_PARTS = (ERODED, "brainstem", "cerebellum-whole")
"""White matter, brain stem and cerebellum count alike (ADNI's COMPOSITE_REF)."""

_RULED = {GEOMETRIC: (8, 47), ERODED: (2, 41, 77)}
"""Regions that a rule cuts from these labels."""

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


def atlas_vois(regions: Iterable[tuple[int, str]]) -> tuple[VOI, ...]:
    """One VOI for each region of an atlas; its side is read from its name.

    >>> [voi.hemi for voi in atlas_vois([(1, "7Networks_LH_Vis_1"), (2, "Vermis_VI")])]
    ['L', 'B']
    """
    return tuple(VOI("atlas", name, (number,), _side_of(name)) for number, name in regions)


_SIDES = re.compile(r"(?:^|[^A-Za-z])(?:(L|LH|Left|ctx-lh)|R|RH|Right|ctx-rh)(?![A-Za-z])", re.I)


def _side_of(name: str) -> Hemisphere:
    match = _SIDES.search(name)
    return "B" if match is None else "L" if match.group(1) else "R"


def _side(hemi: str) -> Hemisphere:
    return "L" if hemi == "L" else "R" if hemi == "R" else "B"


@cache
def reference_regions() -> Mapping[str, tuple[int, ...]]:
    """Reference regions that can be drawn from labels: name -> label numbers."""
    found = {v.voi: v.labels for v in voi_sets(("ref",)) if v.kind == "labels"}
    parts = {**_RULED, **found, "brainstem": (16,)}
    composite = tuple(number for part in COMPOSITE_PARTS for number in parts[part])
    return {**found, **_RULED, COMPOSITE: composite}


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


PSEUDO_REFERENCES = ("cerebellum-gm", "global-brain")
"""What a tracer without a region free of its target is divided by, both always given: neither is
right, and they err apart (pet-quantification, sections 0.5 and 1.5)."""


def second_references(tracer: str, chosen: Mapping[str, str]) -> tuple[str, ...]:
    """Return the reference regions that a tracer has rows of beside the primary ones.

    They hold for a target whose ligand nobody declared, too: a mean of the brain supposes none.
    """
    if tracers()[tracer].target not in PSEUDO_REFERENCE:
        return ()
    first = reference_of_tracer(tracer, chosen)
    return tuple(name for name in PSEUDO_REFERENCES if name != first)


def reference_mask(
    name: str,
    labels: NDArray[np.integer],
    inferior: NDArray[np.bool_],
    *,
    voxel_mm: Sequence[float],
) -> NDArray[np.bool_]:
    """Draw a reference region in the space of ``labels``.

    Parameters
    ----------
    name
        One of :func:`reference_regions`.
    labels : (I, J, K) int
        Parcellation, cut by tissue.
    inferior : (I, J, K) bool
        Inferior cerebellum on the same grid.
    voxel_mm
        Size of a voxel along each axis.
    """
    return np.logical_or.reduce(reference_parts(name, labels, inferior, voxel_mm=voxel_mm))


def reference_parts(
    name: str,
    labels: NDArray[np.integer],
    inferior: NDArray[np.bool_],
    *,
    voxel_mm: Sequence[float],
) -> list[NDArray[np.bool_]]:
    """Masks whose means are averaged into the denominator: one, but for the composite."""
    if name == COMPOSITE:
        return [
            part
            for one in COMPOSITE_PARTS
            for part in reference_parts(one, labels, inferior, voxel_mm=voxel_mm)
        ]
    region = np.isin(labels, (16,) if name == "brainstem" else reference_regions()[name])
    if name == ERODED:
        return [eroded_white(region, voxel_mm=voxel_mm)]
    return [region & inferior if name == GEOMETRIC else region]


def ruled_regions(
    labels: NDArray[np.integer], inferior: NDArray[np.bool_], *, voxel_mm: Sequence[float]
) -> tuple[NDArray[np.int32], tuple[VOI, ...]]:
    """Regions that a rule cuts from labels, as VOIs: inferior cerebellum and eroded white matter.

    Returns
    -------
    An image (I, J, K) of numbers that stand for the regions, for no two of them overlap, and
    their VOIs with these numbers; :func:`ruled_labels` gives the labels they were cut from.
    """
    drawn = np.zeros(labels.shape, dtype=np.int32)
    for number, name in enumerate(_RULED, start=1):
        drawn[reference_mask(name, labels, inferior, voxel_mm=voxel_mm)] = number
    return drawn, tuple(VOI("ref", name, (n,)) for n, name in enumerate(_RULED, start=1))


def ruled_labels(name: str) -> str:
    """Labels that a region was cut from, as the column ``labels`` has them."""
    return ",".join(map(str, _RULED[name]))


def reference_method(name: str, *, suit: bool = False) -> str:
    """How the region was drawn, for the column ``ref_method``."""
    if name == GEOMETRIC:
        return REF_METHOD if suit else "geometric"
    return {ERODED: "eroded", COMPOSITE: "mean-of-parts"}.get(name, "labels")
