"""Standardised uptake value ratios, on arrays alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.core.regions import VOI
from relad_bids.errors import EmptyRegionError

MIN_REFERENCE_VOXELS = 50
"""Fewest finite reference voxels that are still averaged."""

SMALL_REFERENCE_MM3 = 10_000.0
SMALL_VOI_MM3 = 500.0
SMALL_VOI_VOXELS = 30
"""Bounds of the flags ``ref_small`` and ``voi_small`` (pet-quantification, sections 1.5, 6.2)."""

NEGATIVE_SHARE = 0.01
"""Largest share of a VOI's voxels below 0 without the flag ``negative_voxels``: activity is never
negative; a filtered image of little counts is, and so is one whose zero was moved."""


@dataclass(frozen=True)
class Reference:
    """The denominator: always printed beside the ratio."""

    mean: float
    """Mean activity, in the unit of the image."""
    volume_mm3: float
    cov: float
    """Coefficient of variation over its voxels."""
    fov_fraction: float
    """Share of the region that lies inside the field of view."""

    def columns(self, name: str) -> dict[str, object]:
        """The denominator as columns of a VOI table."""
        return {
            "ref_region": name,
            "ref_mean": self.mean,
            "ref_volume_mm3": self.volume_mm3,
            "ref_cov": self.cov,
        }

    def flags(self) -> list[str]:
        found = []
        if self.fov_fraction < 0.95:
            found.append("ref_fov")
        if self.volume_mm3 < SMALL_REFERENCE_MM3:
            found.append("ref_small")
        return found


def reference_of(
    activity: NDArray[np.floating],
    region: NDArray[np.bool_],
    *,
    voxel_volume_mm3: float,
    min_voxels: int = MIN_REFERENCE_VOXELS,
) -> Reference:
    """Average an activity image over its reference region.

    Parameters
    ----------
    activity : (I, J, K) float
        Any linear unit **whose zero is true zero**; NaN outside the field of view.
    region : (I, J, K) bool
        Reference region on the same grid.

    Raises
    ------
    EmptyRegionError
        Fewer than ``min_voxels`` finite voxels, or a mean that is not positive.
    """
    values = activity[region]
    inside = values[np.isfinite(values)].astype(np.float64)
    if inside.size < min_voxels:
        raise EmptyRegionError(
            f"the reference region has {inside.size} finite voxels, needs {min_voxels}: is the "
            "cerebellum inside the field of view, and the registration right?"
        )
    mean = float(inside.mean())
    if mean <= 0:
        raise EmptyRegionError(
            f"the mean activity of the reference region is {mean:.4g}, must be above 0."
        )
    return Reference(
        mean,
        inside.size * voxel_volume_mm3,
        float(inside.std() / mean),
        inside.size / values.size,
    )


def reference_of_parts(
    activity: NDArray[np.floating],
    parts: Sequence[NDArray[np.bool_]],
    *,
    voxel_volume_mm3: float,
) -> Reference:
    """Average an activity image over a region whose parts count alike, whatever their size.

    Parameters
    ----------
    activity
        As in :func:`reference_of`.
    parts
        Masks on the same grid; one alone is :func:`reference_of`.
    """
    means = [
        reference_of(activity, part, voxel_volume_mm3=voxel_volume_mm3).mean for part in parts
    ]
    pooled = reference_of(activity, np.logical_or.reduce(parts), voxel_volume_mm3=voxel_volume_mm3)
    mean = float(np.mean(means))
    return replace(pooled, mean=mean, cov=pooled.cov * pooled.mean / mean)


def to_suvr(activity: NDArray[np.floating], reference: Reference) -> NDArray[np.float32]:
    r"""Divide an activity image by the mean of its reference region.

    .. math:: \mathrm{SUVr}(v) = a(v) \,/\, \overline{a}_{\mathrm{ref}}

    Dose and body weight cancel; an offset does not.
    """
    return np.asarray(activity / reference.mean, dtype=np.float32)


def voi_table(
    activity: NDArray[np.floating],
    labels: NDArray[np.integer],
    vois: Sequence[VOI],
    reference: Reference,
    *,
    voxel_volume_mm3: float,
    min_coverage: float = 0.5,
) -> pd.DataFrame:
    """One row per VOI: raw statistics of the image and the ratios to the reference.

    A VOI without a finite voxel, or with less than ``min_coverage`` of itself inside the field
    of view, gets NaN values: a missing value must never read as a low one.

    Parameters
    ----------
    activity : (I, J, K) float
        Zero is true zero; NaN outside the field of view.
    labels : (I, J, K) int
        Parcellation on the same grid, 0 outside every region.
    vois
        In the order of the rows wanted; one with ``parts`` after its parts.

    Returns
    -------
    DataFrame
        ``family voi hemi labels labels_missing n_voxels volume_mm3 fov_fraction mean median sd
        p05 p95 suvr_mean suvr_median suvr_sd flags`` (``flags`` is a list of the closed
        vocabulary of pet-quantification 6.2).
    """
    values = _values_by_label(activity, labels)
    rows: list[dict[str, object]] = []
    means: dict[tuple[str, str], float] = {}
    for voi in vois:
        row = _pooled(voi, values, voxel_volume_mm3, min_coverage)
        if voi.parts:
            row |= _mean_of_parts(voi, means)
        means[voi.name, voi.hemi] = float(row["mean"])  # type: ignore[arg-type]
        rows.append(row)
    table = pd.DataFrame(rows)
    for name in ("mean", "median", "sd"):
        table[f"suvr_{name}"] = table[name] / reference.mean
    return table


def _values_by_label(
    activity: NDArray[np.floating], labels: NDArray[np.integer]
) -> Mapping[int, NDArray[np.floating]]:
    """Sort the voxels by label once; a VOI is then a few slices."""
    inside = labels > 0
    numbers, values = labels[inside], activity[inside]
    if numbers.size and numbers.max() <= np.iinfo(np.uint16).max:
        numbers = numbers.astype(np.uint16)  # numpy sorts these by digits, in linear time
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    pieces = np.split(values[order], starts[1:])
    return dict(zip(found.tolist(), pieces, strict=True))


def _pooled(
    voi: VOI,
    values: Mapping[int, NDArray[np.floating]],
    voxel_volume_mm3: float,
    min_coverage: float,
) -> dict[str, object]:
    pieces = [values[n] for n in voi.labels if n in values]
    every = np.concatenate(pieces) if pieces else np.empty(0)
    inside = every[np.isfinite(every)]
    coverage = inside.size / every.size if every.size else np.nan
    missing = [n for n in voi.labels if n not in values]
    covered = inside.size > 0 and coverage >= min_coverage
    return {
        "family": voi.family,
        "voi": voi.name,
        "hemi": voi.hemi,
        "labels": _join(voi.labels),
        "labels_missing": _join(missing),
        "n_voxels": every.size,
        "volume_mm3": every.size * voxel_volume_mm3,
        "fov_fraction": coverage,
        **(_statistics(inside) if covered else dict.fromkeys(_STATISTICS, np.nan)),
        "flags": _flags(inside, every.size, every.size * voxel_volume_mm3, coverage, missing),
    }


_STATISTICS = ("mean", "median", "sd", "p05", "p95")


def _statistics(values: NDArray[np.floating]) -> dict[str, float]:
    p05, median, p95 = _quantiles(values, (0.05, 0.5, 0.95))
    mean = values.mean(dtype=np.float64)
    numbers = (mean, median, values.std(dtype=np.float64), p05, p95)
    return dict(zip(_STATISTICS, map(float, numbers), strict=True))


def _quantiles(values: NDArray[np.floating], shares: Sequence[float]) -> NDArray[np.float64]:
    """Quantiles as numpy's ``linear`` ones, in double precision from the image's own type.

    This is the longest part of a table: numpy sorts 32-bit numbers, vectorised, in a fifth of
    the time that it needs to part them, in double precision, at six places.
    """
    at = np.asarray(shares) * (values.size - 1)
    below = np.floor(at).astype(np.intp)
    above = np.minimum(below + 1, values.size - 1)
    ordered = np.sort(values)
    low, high = ordered[below].astype(np.float64), ordered[above].astype(np.float64)
    return np.asarray(low + (at - below) * (high - low))


def _mean_of_parts(voi: VOI, means: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Replace the pooled mean by the unweighted one; spread of parts is not spread of voxels."""
    mean = float(np.mean([means[part, voi.hemi] for part in voi.parts]))
    return {**dict.fromkeys(_STATISTICS, np.nan), "mean": mean}


def _flags(
    values: NDArray[np.floating],
    n_voxels: int,
    volume_mm3: float,
    coverage: float,
    missing: Sequence[int],
) -> list[str]:
    found = []
    if n_voxels and coverage < 0.95:
        found.append("voi_fov")
    if n_voxels < SMALL_VOI_VOXELS or volume_mm3 < SMALL_VOI_MM3:
        found.append("voi_small")
    if missing:
        found.append("labels_missing")
    if np.count_nonzero(values < 0) > NEGATIVE_SHARE * values.size:
        found.append("negative_voxels")
    return found


def _join(labels: Iterable[int]) -> str | None:
    """None, not empty text: a BIDS table has ``n/a`` and no empty cells."""
    return ",".join(map(str, labels)) or None
