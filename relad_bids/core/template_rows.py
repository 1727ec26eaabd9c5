"""Masks of a template read out in its own space: regional means, and ratios of them.

The PET image is brought onto the grid of the masks, linearly, not the masks onto the PET: so a
voxel of the template counts once, as in the pipelines that the scales were made with, and a
mask keeps its edges. In the participant's space voxels would count by how large the participant
is there, and a mask would be interpolated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.core.regions import VOI
from relad_bids.core.rows import over_another, referred
from relad_bids.core.scales import Scaled
from relad_bids.core.suvr import reference_of, voi_table
from relad_bids.errors import EmptyRegionError

METHOD = "mask"
"""``ref_method`` of a reference region that is a mask of the template."""

Masks = Mapping[str, NDArray[np.bool_]]
"""Name -> (I, J, K)."""


def mask_rows(
    activity: NDArray[np.floating],
    targets: Masks,
    references: Masks,
    *,
    family: str,
    voxel_volume_mm3: float,
    min_coverage: float,
) -> Iterator[pd.DataFrame]:
    """Average an image over masks; one table for each reference region.

    Parameters
    ----------
    activity : (I, J, K) float
        On the grid of the masks; zero is true zero, NaN outside the field of view.
    targets, references
        Masks may overlap. The first reference region is the primary one; rows of the others
        are flagged, and there are none of one that lies outside the field of view.

    Yields
    ------
    DataFrame
        As of :func:`relad_bids.core.rows.referred`, a row a target.

    Raises
    ------
    EmptyRegionError
        The first reference region lies outside the field of view, or has no uptake.
    """
    (name, mask), *further = references.items()
    first = reference_of(activity, mask, voxel_volume_mm3=voxel_volume_mm3)
    # One mask at a time, since a voxel may be in several; a mask has no label numbers.
    rows = [
        voi_table(
            activity, mask.astype(np.uint8), [VOI(family, name, (1,))], first,
            voxel_volume_mm3=voxel_volume_mm3, min_coverage=min_coverage,
        )
        for name, mask in targets.items()
    ]  # fmt: skip
    table = pd.concat(rows, ignore_index=True).assign(labels=None, labels_missing=None)
    yield referred(table, first, name=name, method=METHOD)
    for other, region in further:
        with suppress(EmptyRegionError):
            reference = reference_of(activity, region, voxel_volume_mm3=voxel_volume_mm3)
            yield over_another(table, reference, name=other, method=METHOD)


def scaled(
    table: pd.DataFrame, scale: Callable[[float, str, str], Scaled], *, columns: tuple[str, str]
) -> pd.DataFrame:
    """Put the ratios of a table on a scale where it has an equation for them.

    Parameters
    ----------
    table
        From :func:`mask_rows`.
    scale
        (SUVr, VOI, reference region) -> value.
    columns
        ``centiloid, centiloid_pipeline`` or ``centaurz, centaurz_mask``; the second says by
        which equation, or with which mask.

    Returns
    -------
    DataFrame
        Both columns missing where there is no value.
    """
    value, by = columns
    keys = table[["suvr_mean", "voi", "ref_region"]].itertuples(index=False)
    made = [scale(*key) for key in keys]
    told = [
        voi if by.endswith("_mask") and one.pipeline else _pipeline(one)
        for one, voi in zip(made, table["voi"], strict=True)
    ]
    return table.assign(**{value: [one.value for one in made], by: told})


def _pipeline(made: Scaled) -> str | None:
    """Key of the equation, with what is to be known of the value behind it."""
    return made.pipeline if made.note == "ok" or made.pipeline is None else (
        f"{made.pipeline};{made.note}"
    )  # fmt: skip
