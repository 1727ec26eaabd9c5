"""How unusual an MRI is beside those a network was trained on.

A network answers every input, and as readily one that it cannot know. Features of the input
are compared with those of the training set, whose statistics travel with the checkpoint: means,
covariance and ranges, and no image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2
from sklearn.covariance import LedoitWolf

from relad_bids.errors import DataError, GridMismatchError

Values = NDArray[np.float64]

FLAG_LEVEL = 0.975
"""An input is flagged when it lies farther from the training set than this share of the
training participants lie from the others: 1 in 40 of the same kind is flagged, too."""

LEVELS = (0.5, 0.9, 0.95, FLAG_LEVEL, 0.99)
"""Levels of the stored quantiles."""

FAR_SD = 3.0
"""A feature so many training standard deviations from the mean is named in words."""

MIN_PARTICIPANTS = 10
"""Fewest from whom statistics are made."""

HISTOGRAM_LEVELS = np.arange(1, 100) / 100
"""Cumulative shares at which a histogram is kept, as intensities."""

SHOWN_LEVELS = (10, 25, 50, 75, 90)
"""Percentiles that are features."""

GREY_LABELS = (3, 42, *range(1000, 1036), *range(2000, 2036))
WHITE_LABELS = (2, 41)
"""FreeSurfer numbers of cortex and of cerebral white matter."""


def fit_ood(
    features: pd.DataFrame, *, histograms: Mapping[str, Sequence[float]] | None = None
) -> dict[str, Any]:
    """Summarise the features of a training set for :func:`ood_score`.

    The covariance is that of Ledoit & Wolf 2004, J Multivar Anal 88:365, of the standardised
    features: it can be inverted also where there are more features than participants.

    Parameters
    ----------
    features
        One row per training participant, a number per column, such as those of
        :func:`input_features`. Columns without a number are left out, then rows with a hole.
    histograms
        From :func:`mean_histograms`, to be kept with the rest.

    Returns
    -------
    dict
        What JSON can hold: ``n``; ``names`` of the D features that vary, with their ``mean``
        (D,) and ``covariance`` (D, D); ``shrinkage`` of the covariance in [0, 1]; ``quantiles``
        by level (:data:`LEVELS`) of the Mahalanobis distance of each participant from all the
        others; ``ranges`` [lowest, highest] of every feature; ``histograms``.

    Raises
    ------
    DataError
        Fewer than :data:`MIN_PARTICIPANTS` rows without a hole, or no feature that varies.
    """
    complete = features.dropna(axis="columns", how="all").dropna().astype(np.float64)
    lowest, highest = complete.min(), complete.max()
    varying = complete.loc[:, highest > lowest]
    if len(complete) < MIN_PARTICIPANTS or varying.empty:
        raise DataError(
            f"{len(complete)} of {len(features)} training participants have all features, and "
            f"{varying.shape[1]} features vary; need {MIN_PARTICIPANTS} participants and a "
            "feature. Leave out features that are often missing, or add participants."
        )
    values = varying.to_numpy()
    mean, sd = values.mean(axis=0), values.std(axis=0)
    z = (values - mean) / sd
    fit = LedoitWolf().fit(z)
    distances = np.sort([_left_out(z, i) for i in range(len(z))])
    return {
        "n": len(z),
        "names": [str(name) for name in varying],
        "mean": mean.tolist(),
        "covariance": (fit.covariance_ * np.outer(sd, sd)).tolist(),
        "shrinkage": float(fit.shrinkage_),
        "quantiles": {f"{level:g}": _quantile(distances, level) for level in LEVELS},
        "ranges": {str(name): [float(lowest[name]), float(highest[name])] for name in complete},
        "histograms": {name: list(map(float, h)) for name, h in (histograms or {}).items()},
    }


def ood_score(
    features: Mapping[str, float], stats: Mapping[str, Any]
) -> tuple[float, bool, list[str]]:
    r"""Say how far an input lies from the training set, whether too far, and why.

    The score is the Mahalanobis distance

    .. math:: D = \sqrt{(x - m)^\mathsf T C^{-1} (x - m)}

    in the features that are known. Where some are missing it is stretched by the quantiles of
    the two chi-squared distributions, so that one limit serves all.

    Parameters
    ----------
    features
        Name -> value; NaN, or no entry, where it is not known. Names that the statistics lack
        are passed over.
    stats
        From :func:`fit_ood`.

    Returns
    -------
    score : float
        0 or more; NaN where no feature is known.
    flag : bool
        The score is above the stored quantile of the level :data:`FLAG_LEVEL`, or a feature
        differs that never varied in training, or no feature is known.
    reasons : list of str
        In words: the above, single features that lie far, and what is missing. May hold
        something to know although the flag is not set.
    """
    known = {n: float(v) for n, v in features.items() if v is not None and math.isfinite(v)}
    limit = float(stats["quantiles"][f"{FLAG_LEVEL:g}"])
    score = _distance(known, stats)
    far = score > limit
    broken = [
        f"{name} is {known[name]:.4g}, and {lowest:.4g} in all training participants"
        for name, (lowest, highest) in stats["ranges"].items()
        if lowest == highest and name in known and not math.isclose(known[name], lowest)
    ]
    reasons = [
        *([f"{score:.1f} from the training set, limit {limit:.1f}"] if far else []),
        *broken,
        *_far_features(known, stats),
    ]
    if missing := [name for name in stats["ranges"] if name not in known]:
        reasons.append(f"not known: {', '.join(missing)}")
    return score, bool(far or broken or math.isnan(score)), reasons


def input_features(
    mri: Mapping[str, NDArray[np.floating] | None],
    mask: NDArray[np.bool_],
    voxel_mm: Sequence[float],
    labels: NDArray[np.integer] | None = None,
    *,
    histograms: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, float]:
    """Measure what can be compared between inputs of any scanner.

    Intensities count from the brain's 1st (0) to its 99th percentile (1): their gain and offset
    mean nothing. The images must have come as far in preparation as those of the training set.

    Parameters
    ----------
    mri
        BIDS suffix -> (I, J, K) float, in any unit; None for a sequence that is missing.
    mask : (I, J, K) bool
        Brain.
    voxel_mm
        Size of a voxel along each axis, mm.
    labels : (I, J, K) int
        FreeSurfer numbers, for the contrast of cortex and white matter.
    histograms
        From :func:`mean_histograms` of the training set.

    Returns
    -------
    dict
        ``brain_volume_ml``; for each sequence, by its name in lower case, ``<name>_p10`` to
        ``_p90``, its percentiles, ``<name>_gm_wm``, mean of cortex - mean of white matter
        (with labels), and ``<name>_histogram_distance``, the Wasserstein distance from the
        training histogram (with histograms); with T1w and FLAIR ``flair_t1w_spread``, ratio of
        their distances from 25th to 75th percentile, and ``flair_t1w_contrast``, ratio of
        their ``gm_wm`` (with labels). NaN for what needs a sequence that is missing, or has
        one intensity only.

    Raises
    ------
    DataError
        The mask is empty.
    GridMismatchError
        An array has another shape than the mask.
    """
    found = {"brain_volume_ml": float(mask.sum() * math.prod(voxel_mm) / 1000)}
    for suffix, inside in _normalised(mri, mask).items():
        name, histogram = suffix.lower(), _histogram(inside)
        found |= {f"{name}_p{level}": float(histogram[level - 1]) for level in SHOWN_LEVELS}
        if labels is not None:
            _require_shape("labels", labels, mask)
            found[f"{name}_gm_wm"] = _gm_wm(inside, labels[mask])
        if histograms and suffix in histograms:
            found[f"{name}_histogram_distance"] = histogram_distance(histogram, histograms[suffix])
    if {"T1w", "FLAIR"} <= set(mri):
        spread = {name: found[f"{name}_p75"] - found[f"{name}_p25"] for name in ("flair", "t1w")}
        found["flair_t1w_spread"] = _ratio(spread["flair"], spread["t1w"])
        if labels is not None:
            found["flair_t1w_contrast"] = _ratio(found["flair_gm_wm"], found["t1w_gm_wm"])
    return found


def input_histograms(
    mri: Mapping[str, NDArray[np.floating] | None], mask: NDArray[np.bool_]
) -> dict[str, Values]:
    """Histogram of each sequence, as the intensities at :data:`HISTOGRAM_LEVELS`.

    Parameters
    ----------
    mri, mask
        As in :func:`input_features`.

    Returns
    -------
    dict
        BIDS suffix -> (99,) float from 0 to 1; NaN for a sequence that is missing.
    """
    return {suffix: _histogram(inside) for suffix, inside in _normalised(mri, mask).items()}


def mean_histograms(histograms: Sequence[Mapping[str, Values]]) -> dict[str, list[float]]:
    """Mean of the training participants' histograms, by sequence.

    Of intensities at equal shares, not of counts: the distribution that lies nearest to all of
    them in Wasserstein distance (their barycentre), where a mean of counts would be blurred.

    Parameters
    ----------
    histograms
        One per participant, from :func:`input_histograms`.

    Returns
    -------
    dict
        BIDS suffix -> 99 intensities; a sequence that nobody has is left out.
    """
    found = {}
    for suffix in dict.fromkeys(suffix for histogram in histograms for suffix in histogram):
        stacked = np.stack([h[suffix] for h in histograms if suffix in h])
        known = stacked[~np.isnan(stacked).any(axis=1)]
        if len(known):
            found[suffix] = known.mean(axis=0).tolist()
    return found


def histogram_distance(one: ArrayLike, other: ArrayLike) -> float:
    """Wasserstein distance (the first, earth mover's) of two histograms at the same shares."""
    return float(np.abs(np.asarray(one) - np.asarray(other)).mean())


def _left_out(z: Values, i: int) -> float:
    """Distance of one participant from the others."""
    fit = LedoitWolf().fit(np.delete(z, i, axis=0))
    return math.sqrt(fit.mahalanobis(z[i : i + 1])[0])


def _quantile(ordered: Values, level: float) -> float:
    """The value that the next of the same kind stays below with at least this probability.

    The k-th smallest, k = ceil((n + 1) level); the largest where n is too small to say.
    """
    k = math.ceil((ordered.size + 1) * level)
    return float(ordered[min(k, ordered.size) - 1])


def _distance(known: Mapping[str, float], stats: Mapping[str, Any]) -> float:
    here = [i for i, name in enumerate(stats["names"]) if name in known]
    if not here:
        return math.nan
    apart = np.array([known[stats["names"][i]] - stats["mean"][i] for i in here])
    covariance = np.array(stats["covariance"])[np.ix_(here, here)]
    whole, part = chi2.ppf(FLAG_LEVEL, [len(stats["names"]), len(here)])
    return math.sqrt(apart @ np.linalg.solve(covariance, apart) * whole / part)


def _far_features(known: Mapping[str, float], stats: Mapping[str, Any]) -> Iterator[str]:
    variances = np.diagonal(np.array(stats["covariance"]))
    for name, mean, variance in zip(stats["names"], stats["mean"], variances, strict=True):
        z = (known.get(name, mean) - mean) / math.sqrt(variance)
        if abs(z) > FAR_SD:
            lowest, highest = stats["ranges"][name]
            yield (
                f"{name} is {known[name]:.4g}, {abs(z):.1f} SD {'above' if z > 0 else 'below'} "
                f"the training mean {mean:.4g} (seen: {lowest:.4g} to {highest:.4g})"
            )


def _normalised(
    mri: Mapping[str, NDArray[np.floating] | None], mask: NDArray[np.bool_]
) -> dict[str, Values]:
    """BIDS suffix -> intensities in the brain (N,); NaN where there is no image."""
    if not mask.any():
        raise DataError("the brain mask is empty: there is no input to look at. Mend the mask.")
    found = {}
    for suffix, image in mri.items():
        found[suffix] = np.full(int(mask.sum()), np.nan)
        if image is not None:
            _require_shape(suffix, image, mask)
            inside = image[mask].astype(np.float64)
            finite = inside[np.isfinite(inside)]
            low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 0.0)
            if high > low:
                found[suffix] = (inside - low) / (high - low)
    return found


def _histogram(inside: Values) -> Values:
    known = inside[np.isfinite(inside)]
    shares = HISTOGRAM_LEVELS
    return np.quantile(known, shares) if known.size else np.full(shares.size, np.nan)


def _gm_wm(inside: Values, labels: NDArray[np.integer]) -> float:
    grey, white = (
        inside[np.isin(labels, numbers) & np.isfinite(inside)]
        for numbers in (GREY_LABELS, WHITE_LABELS)
    )
    return float(grey.mean() - white.mean()) if grey.size and white.size else math.nan


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def _require_shape(name: str, image: NDArray, mask: NDArray[np.bool_]) -> None:
    if image.shape != mask.shape:
        raise GridMismatchError(
            f"{name} has the shape {image.shape}, the brain mask {mask.shape}; both must lie on "
            "one grid. Resample one of them first."
        )
