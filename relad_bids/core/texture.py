r"""Whether an image has the texture of a real one: what an error cannot tell.

An estimate that is right on average is smooth: it lacks what cannot be known from MRI, and
beats any realistic image in squared error. Here are its power spectrum, its spread within VOIs
and neighbourhoods and its gradients, each as a ratio to those of the true image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.fft import fftfreq, fftn

from relad_bids.core.agreement import ROUNDING
from relad_bids.core.image_metrics import BRAIN
from relad_bids.errors import DataError, GridMismatchError

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

BANDS: Mapping[str, tuple[float, float]] = {
    "lobe": (0.0125, 0.025),
    "region": (0.025, 0.05),
    "gyrus": (0.05, 0.1),
    "resolution": (0.1, 0.2),
    "noise": (0.2, 0.4),
}
"""Octaves of spatial frequency, cycles/mm, named by what has half their period: 20 to 40 mm,
10 to 20 mm, 5 to 10 mm, 2.5 to 5 mm (the blur of a scanner), and below."""

DISTANCE_RANGE = (0.0125, 0.2)
"""Of the spectral distance, cycles/mm: no PET scanner resolves less than half of 5 mm."""

BIN_WIDTH = 0.00625
"""Of the radial average, cycles/mm; the bands are whole bins."""

EDGE = 1e-9
"""Share of a bin by which a frequency at its edge may miss it."""

TAPER_MM = 8.0
"""Depth under the brain's surface from which a voxel counts fully in a spectrum."""

LOCAL_SIGMA_MM = 4.0
"""Of the Gaussian neighbourhood of the local standard deviation; about two PET resolutions."""

MIN_VOXELS = 30
"""Fewest voxels of a VOI whose standard deviation is compared; below, tables flag it small."""

TEXTURE_METRICS: Mapping[str, str] = {
    **{
        f"power_{name}": "ln of the power of the estimate / that of the truth, at spatial "
        f"frequencies of {low:g} to {high:g} cycles/mm; 0: alike; below 0: too smooth"
        for name, (low, high) in BANDS.items()
    },
    "spectral_distance": "root mean square, over bins of spatial frequency from "
    f"{DISTANCE_RANGE[0]:g} to {DISTANCE_RANGE[1]:g} cycles/mm, of ln power of the estimate / "
    "that of the truth; 0: alike; voxels above 2.5 mm do not reach as far",
    "local_sd_ratio": "mean standard deviation in a Gaussian neighbourhood (sigma 4 mm), "
    "estimate / truth; ideal 1",
    "gradient_ratio": "mean gradient magnitude, estimate / truth; ideal 1",
    "voi_sd_ratio": "standard deviation of the voxels of the VOI, estimate / truth; ideal 1; "
    "for the brain, the median over its VOIs",
}
"""Metric -> its definition, for the dictionary beside a table."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Radially averaged power of one image."""

    frequency: NDArray[np.floating]
    """(F,) centres of the bins, cycles/mm."""
    power: Values
    """(F,) mean power; white noise has its variance at each. NaN where a bin is empty."""
    n: NDArray[np.intp]
    """(F,) frequencies in each bin."""


def texture_rows(
    estimate: NDArray[np.floating],
    truth: NDArray[np.floating],
    mask: Mask,
    labels: NDArray[np.integer] | None = None,
    *,
    voxel_mm: Sequence[float],
    mean: NDArray[np.floating] | None = None,
) -> pd.DataFrame:
    """Compare the texture of two images of one brain.

    Parameters
    ----------
    estimate, truth : (I, J, K) float
        SUVr. Voxels that are not finite in both are treated as outside the brain.
    mask : (I, J, K) bool
        Brain.
    labels : (I, J, K) int
        VOIs by number, 0 outside; only their part inside the brain counts.
    voxel_mm
        Size of a voxel along each axis, mm.
    mean : (I, J, K) float
        The tracer's training mean, taken from both images before their spectra: what is the
        same in everybody would else hide what is individual.

    Returns
    -------
    DataFrame
        ``voi metric value n_voxels``, the metrics of :data:`TEXTURE_METRICS` for ``brain``,
        then ``voi_sd_ratio`` for each label. NaN for a band that the voxels or the brain do not
        resolve, for a VOI below :data:`MIN_VOXELS`, and where the truth has no texture.

    Raises
    ------
    GridMismatchError
        An array has another shape than the truth.
    DataError
        The voxel size is not three lengths above 0.
    """
    given = {"estimate": estimate, "mask": mask, "labels": labels, "mean": mean}
    _require_shapes(truth.shape, {name: a for name, a in given.items() if a is not None})
    _require_voxel(voxel_mm)
    common = np.zeros(truth.shape) if mean is None else mean
    inside = mask & np.isfinite(estimate) & np.isfinite(truth) & np.isfinite(common)
    pair = [np.where(inside, image, 0).astype(np.float64) for image in (estimate, truth)]
    still = ROUNDING * np.abs(pair[1]).max(initial=0)
    spectra = [spectrum(image - common, inside, voxel_mm=voxel_mm) for image in pair]
    parts = [] if labels is None else _voi_rows(pair, np.where(mask, labels, 0), inside, still)
    values = {
        **_power_ratios(*spectra, still=still),
        "local_sd_ratio": _ratio([_local_sd(image, inside, voxel_mm) for image in pair], still),
        "gradient_ratio": _ratio([_gradient(image, inside, voxel_mm) for image in pair], still),
        "voi_sd_ratio": _median([row["value"] for row in parts]),
    }
    whole = [
        {"voi": BRAIN, "metric": metric, "value": value, "n_voxels": int(inside.sum())}
        for metric, value in values.items()
    ]
    return pd.DataFrame([*whole, *parts])


def spectrum(image: NDArray[np.floating], mask: Mask, *, voxel_mm: Sequence[float]) -> Spectrum:
    r"""Average the power of an image in the brain over all directions.

    .. math:: P(\mathbf f) = \Big| \sum_x w_x (y_x - \bar y_w)\, e^{-2 \pi i\, \mathbf f x}
              \Big|^2 \Big/ \sum_x w_x^2

    with weights w that rise from 0 outside the brain to 1 at :data:`TAPER_MM` below its surface
    (a squared sine): the step at the surface would outshine the fine texture. The weights smear
    a spectrum by about one over the brain's width, so that one that falls more steeply than
    that of a blur of 8 mm reads too high in its tail.

    Parameters
    ----------
    image : (I, J, K) float
        Finite inside the brain.
    mask : (I, J, K) bool
        Brain; the border of the array counts as its surface.
    voxel_mm
        Size of a voxel along each axis, mm.

    Returns
    -------
    Spectrum
        Of the whole bins below the lowest of the axes' Nyquist frequencies, where all directions
        are sampled; empty for an empty brain.
    """
    n_bins = int(0.5 / max(voxel_mm) / BIN_WIDTH + EDGE)
    centres = (np.arange(n_bins) + 0.5) * BIN_WIDTH
    if not mask.any():
        return Spectrum(centres, np.full(n_bins, np.nan), np.zeros(n_bins, dtype=int))
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    weight = _taper(mask[box], voxel_mm)
    inside = np.where(mask[box], image[box], 0)
    wave = fftn(weight * (inside - np.average(inside, weights=weight)))
    power = np.abs(wave) ** 2 / (weight**2).sum()
    bins = (_frequency(power.shape, voxel_mm) / BIN_WIDTH + EDGE).astype(int)
    wanted = bins < n_bins
    total, n = (np.bincount(bins[wanted], w, n_bins) for w in (power[wanted], None))
    power = np.divide(total, n, out=np.full(n_bins, np.nan), where=n > 0)
    return Spectrum(centres, power, n)


def _power_ratios(estimate: Spectrum, truth: Spectrum, *, still: float) -> dict[str, float]:
    """``power_<band>`` and ``spectral_distance``."""
    found = {}
    for name, band in BANDS.items():
        here = _within(truth, band)
        whole = here.sum() == round((band[1] - band[0]) / BIN_WIDTH)
        powers = [_mean_power(image, here) if whole else np.nan for image in (estimate, truth)]
        found[f"power_{name}"] = float(_log_ratio(powers, still**2))
    here = _within(truth, DISTANCE_RANGE) & (truth.n > 0)
    apart = _log_ratio([estimate.power[here], truth.power[here]], still**2)
    distance = float(np.sqrt(np.mean(apart**2))) if apart.size else np.nan
    return {**found, "spectral_distance": distance}


def _within(image: Spectrum, band: tuple[float, float]) -> Mask:
    return (image.frequency > band[0]) & (image.frequency < band[1])


def _mean_power(image: Spectrum, here: Mask) -> float:
    """Over all frequencies of these bins; NaN where there are none."""
    filled = here & (image.n > 0)
    return (
        float(np.average(image.power[filled], weights=image.n[filled])) if filled.any() else np.nan
    )


def _log_ratio(powers: Sequence[ArrayLike], still: float) -> Values:
    """Estimate to truth; minus infinity where the estimate has no power, NaN where the truth."""
    ours, real = (np.where(np.less_equal(power, still), 0, power) for power in powers)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(real == 0, np.nan, np.log(ours) - np.log(real))


def _taper(mask: Mask, voxel_mm: Sequence[float]) -> Values:
    """Weights of a spectrum in [0, 1]."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=voxel_mm)[1:-1, 1:-1, 1:-1]
    return np.sin(np.pi / 2 * np.minimum(depth / TAPER_MM, 1)) ** 2


def _frequency(shape: tuple[int, ...], voxel_mm: Sequence[float]) -> Values:
    """Length of the frequency vector at each place of a Fourier transform, cycles/mm."""
    axes = (fftfreq(n, size) for n, size in zip(shape, voxel_mm, strict=True))
    return np.sqrt(sum(axis**2 for axis in np.ix_(*axes)))


def _local_sd(image: Values, inside: Mask, voxel_mm: Sequence[float]) -> float:
    """Mean over the brain of the standard deviation around each voxel, inside the brain."""
    if not inside.any():
        return np.nan
    sigma = [LOCAL_SIGMA_MM / size for size in voxel_mm]

    def around(values: Values) -> Values:
        return ndimage.gaussian_filter(values, sigma, mode="constant")[inside]

    # Around the mean of the brain: squares of a large offset would cancel to rounding.
    centred = np.where(inside, image - image[inside].mean(), 0)
    share = around(inside.astype(np.float64))
    variance = around(centred**2) / share - (around(centred) / share) ** 2
    return float(np.sqrt(np.maximum(variance, 0)).mean())


def _gradient(image: Values, inside: Mask, voxel_mm: Sequence[float]) -> float:
    """Mean magnitude by central differences, where both neighbours lie inside along each axis."""
    core = ndimage.binary_erosion(inside)
    if not core.any():
        return np.nan
    return float(np.sqrt(sum(part[core] ** 2 for part in np.gradient(image, *voxel_mm))).mean())


def _voi_rows(
    pair: Sequence[Values], labels: NDArray[np.integer], inside: Mask, still: float
) -> list[dict[str, Any]]:
    """A row for each label of the brain, also where no voxel of it can be compared."""
    numbers = np.unique(labels[labels > 0])
    seen = np.where(inside, labels, 0)
    n_voxels = ndimage.sum_labels(inside, seen, numbers).astype(int)
    with np.errstate(invalid="ignore"):  # of numbers without a voxel
        spreads = [ndimage.standard_deviation(image, seen, numbers) for image in pair]
    return [
        {
            "voi": str(number),
            "metric": "voi_sd_ratio",
            "value": _ratio(spread, still) if n >= MIN_VOXELS else np.nan,
            "n_voxels": n,
        }
        for number, n, *spread in zip(numbers, n_voxels.tolist(), *spreads, strict=True)
    ]


def _ratio(pair: Sequence[float], still: float) -> float:
    """Estimate to truth; NaN where the truth varies by rounding alone."""
    estimate, truth = pair
    return float(estimate / truth) if truth > still else np.nan


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.median(known)) if known else np.nan


def _require_voxel(voxel_mm: Sequence[float]) -> None:
    if len(voxel_mm) != 3 or not all(0 < size < np.inf for size in voxel_mm):
        raise DataError(
            f"the voxel size is {tuple(voxel_mm)}; need three lengths above 0, in mm. Give the "
            "spacing of the grid."
        )


def _require_shapes(shape: tuple[int, ...], others: Mapping[str, NDArray]) -> None:
    for name, other in others.items():
        if other.shape != shape:
            raise GridMismatchError(
                f"{name} has the shape {other.shape}, the truth {shape}; both must lie on one "
                "grid. Resample one of them first."
            )
