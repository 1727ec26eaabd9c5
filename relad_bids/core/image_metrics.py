"""How near one PET image comes to another, voxel by voxel, for one participant.

Everything here but :func:`paper_compat` is in SUVr units inside the brain, on a range that is
fixed per tracer. Rescaling each image by its own minimum and maximum, or counting the
background, moves the same pair of images by many decibels, and by more than methods differ.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

from relad_bids.core.suvr import reference_of
from relad_bids.errors import DataError, GridMismatchError

SSIM_SIGMA = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
SSIM_RADIUS = 5
"""Wang et al. 2004, IEEE TIP 13:600: a Gaussian window of 11 voxels along each axis."""
SSIM_WINDOW = 2 * SSIM_RADIUS + 1

BRAIN, WHOLE_FOV = "brain", "whole-fov"

IMAGE_METRICS: Mapping[str, str] = {
    "voxel_bias": "mean of estimate - truth over the voxels, SUVr",
    "voxel_nbias": "voxel_bias / mean true SUVr of the same voxels",
    "voxel_mae": "mean of |estimate - truth| over the voxels, SUVr",
    "voxel_rmse": "root of the mean squared error over the voxels, SUVr",
    "voxel_nmae": "voxel_mae / mean true SUVr of the same voxels",
    "psnr": "10 log10(L^2 / MSE) in dB; L is the tracer's fixed SUVr range; infinite without "
    "error",
    "ssim": "3-D SSIM (Gaussian window 11^3, sigma 1.5 voxels, K1 0.01, K2 0.03, range L), both "
    "images 0 outside the brain, its map averaged over the voxels; comparable at one voxel size",
    "ssim_core": "as ssim, over those voxels whose whole window lies inside the brain",
}
"""Metric -> its definition, for the dictionary beside a table."""

PAPER_COMPAT_METRICS: Mapping[str, str] = {
    "paper_compat_psnr": "10 log10(2^2 / MSE) in dB over the whole field of view, each image "
    "rescaled to [-1, 1] by its own extremes; blind to a gain; not comparable to psnr",
    "paper_compat_ssim2d": "mean 2-D SSIM of sagittal slices over the whole field of view, each "
    "image rescaled to [-1, 1]; background counts; not comparable to ssim",
    "paper_compat_mae": "mean absolute error over the whole field of view, each image rescaled "
    "to [-1, 1]; not SUVr",
}
"""Metric -> its definition; only to stand beside numbers published with RelA-Diffusion."""


def image_metrics(
    estimate: NDArray[np.floating],
    truth: NDArray[np.floating],
    brain: NDArray[np.bool_],
    *,
    suvr_range: float,
    regions: Mapping[str, NDArray[np.bool_]] | None = None,
) -> pd.DataFrame:
    """Compare two SUVr images over the brain and over parts of it.

    Voxels that are not finite in both images (outside the field of view) are treated as outside
    the brain. Nothing is clipped to the range.

    Parameters
    ----------
    estimate, truth : (I, J, K) float
        SUVr; see :func:`on_references` for the division.
    brain : (I, J, K) bool
        Where to compare.
    suvr_range
        L, in SUVr: one number per tracer, the ``suvr_max`` of its network.
    regions
        Name -> (I, J, K) bool: tissues, VOIs. Only their part inside the brain counts.

    Returns
    -------
    DataFrame
        ``voi metric value n_voxels``: the metrics of :data:`IMAGE_METRICS` for ``brain``, then
        for each region; NaN where no voxel is left.

    Raises
    ------
    GridMismatchError
        An array has another shape than the truth.
    DataError
        The range is not above 0.
    """
    masks = {BRAIN: brain, **(regions or {})}
    _require_shapes(truth.shape, {"estimate": estimate, **masks})
    if not suvr_range > 0:
        raise DataError(
            f"the SUVr range of PSNR and SSIM is {suvr_range}, must be above 0. Give the tracer's "
            "suvr_max."
        )
    inside = _comparable(estimate, truth, brain)
    similarity = ssim_map(estimate, truth, inside, suvr_range=suvr_range)
    core = _core(inside)
    rows = []
    for name, mask in masks.items():
        here = inside & mask
        values = _errors(estimate[here], truth[here], suvr_range)
        values |= {"ssim": _mean(similarity[here]), "ssim_core": _mean(similarity[here & core])}
        rows += _rows(name, int(here.sum()), values)
    return pd.DataFrame(rows)


def ssim_map(
    estimate: NDArray[np.floating],
    truth: NDArray[np.floating],
    brain: NDArray[np.bool_],
    *,
    suvr_range: float,
) -> NDArray[np.float64]:
    """Structural similarity at each voxel of the brain; Wang et al. 2004, Eq. 13.

    **At the edge of the brain** both images are 0 outside, the same zeros in both, also beyond
    the border of the array. A window that reaches out sees them: it finds the step from brain
    to 0 in both images, and is more alike than the brain alone. What lies outside the brain,
    and how much of it the array holds, changes nothing. Windows without any background are those
    of ``ssim_core``.

    Parameters
    ----------
    estimate, truth : (I, J, K) float
        SUVr; finite inside the brain.
    brain : (I, J, K) bool
    suvr_range
        L in SUVr.

    Returns
    -------
    (I, J, K) float64
        In [-1, 1]; NaN outside the brain.
    """
    found = np.full(brain.shape, np.nan)
    if not brain.any():
        return found
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    here = brain[box]
    images = (
        np.pad(np.where(here, image[box], 0).astype(np.float64), SSIM_RADIUS)
        for image in (estimate, truth)
    )
    _, similarity = structural_similarity(*images, **_ssim_settings(suvr_range), full=True)
    back = (slice(SSIM_RADIUS, -SSIM_RADIUS),) * 3
    found[box] = np.where(here, similarity[back], np.nan)
    return found


def on_references(
    estimate: NDArray[np.floating],
    truth: NDArray[np.floating],
    reference: NDArray[np.bool_],
) -> dict[str, tuple[NDArray[np.floating], NDArray[np.floating]]]:
    """Divide a pair of images by reference means, in the two ways that are reported.

    ``own`` divides each by its own, as the regional tables do: a global gain of the estimate
    cancels. ``real`` divides both by that of the truth and keeps the gain: it has a meaning only
    where both have one unit.

    Parameters
    ----------
    estimate, truth : (I, J, K) float
        Activity whose zero is true zero.
    reference : (I, J, K) bool
        Reference region.

    Returns
    -------
    dict
        ``own`` and ``real``, each (estimate, truth) in SUVr.
    """
    # Only the means are wanted here, so the voxel's volume does not matter.
    ours, real = (
        reference_of(image, reference, voxel_volume_mm3=1.0).mean for image in (estimate, truth)
    )
    return {"own": (estimate / ours, truth / real), "real": (estimate / real, truth / real)}


def paper_compat(
    estimate: NDArray[np.floating], truth: NDArray[np.floating], brain: NDArray[np.bool_]
) -> pd.DataFrame:
    """Score as the code released with RelA-Diffusion does; for comparison with it alone.

    Both images are set to 0 outside the brain and rescaled to [-1, 1] by their own minimum and
    maximum; all of the array counts; SSIM is 2-D, slice by slice along the first axis, which
    must run from left to right. A gain error is invisible, and background alone gives an SSIM
    near 1. (The released code scores the network's output as it comes, which aims at [-1, 1].)

    Parameters
    ----------
    estimate, truth : (I, J, K) float
        Any linear unit.
    brain : (I, J, K) bool

    Returns
    -------
    DataFrame
        ``voi metric value n_voxels`` with the metrics of :data:`PAPER_COMPAT_METRICS` and the
        VOI ``whole-fov``. NaN for an image of one intensity; SSIM is NaN where a slice is
        smaller than its window.
    """
    _require_shapes(truth.shape, {"estimate": estimate, "brain": brain})
    inside = _comparable(estimate, truth, brain)
    ours, real = (_minmax(np.where(inside, image, 0)) for image in (estimate, truth))
    errors = _errors(ours.ravel(), real.ravel(), 2.0)
    fits = min(truth.shape[1:]) >= SSIM_WINDOW
    similarity = (
        structural_similarity(ours, real, **_ssim_settings(2.0), channel_axis=0)
        if fits
        else np.nan
    )
    values = {
        "paper_compat_psnr": errors["psnr"],
        "paper_compat_ssim2d": float(similarity),
        "paper_compat_mae": errors["voxel_mae"],
    }
    return pd.DataFrame(_rows(WHOLE_FOV, truth.size, values))


def _ssim_settings(data_range: float) -> dict[str, object]:
    return {
        "gaussian_weights": True,
        "sigma": SSIM_SIGMA,
        "use_sample_covariance": False,
        "K1": SSIM_K1,
        "K2": SSIM_K2,
        "data_range": data_range,
    }


def _errors(
    estimate: NDArray[np.floating], truth: NDArray[np.floating], data_range: float
) -> dict[str, float]:
    """The metrics that need no neighbours, over (N,) voxels."""
    error = np.subtract(estimate, truth, dtype=np.float64)
    bias, mae, mse = _mean(error), _mean(np.abs(error)), _mean(error**2)
    level = _mean(truth) or np.nan
    return {
        "voxel_bias": bias,
        "voxel_nbias": bias / level,
        "voxel_mae": mae,
        "voxel_rmse": float(np.sqrt(mse)),
        "voxel_nmae": mae / level,
        "psnr": float(10 * np.log10(data_range**2 / mse)) if mse else float("inf"),
    }


def _rows(voi: str, n_voxels: int, values: Mapping[str, float]) -> list[dict[str, object]]:
    return [
        {"voi": voi, "metric": metric, "value": value, "n_voxels": n_voxels}
        for metric, value in values.items()
    ]


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")


def _comparable(
    estimate: NDArray[np.floating], truth: NDArray[np.floating], brain: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    return np.asarray(brain & np.isfinite(estimate) & np.isfinite(truth))


def _core(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels whose whole window lies inside; the array's border counts as outside."""
    whole = ndimage.minimum_filter(
        inside.astype(np.uint8), size=SSIM_WINDOW, mode="constant", cval=0
    )
    return np.asarray(whole > 0)


def _minmax(image: NDArray[np.floating]) -> NDArray[np.float64]:
    low, high = float(image.min()), float(image.max())
    if not high > low:
        return np.full(image.shape, np.nan)
    return np.asarray(2 * (image.astype(np.float64) - low) / (high - low) - 1)


def _require_shapes(shape: tuple[int, ...], others: Mapping[str, NDArray]) -> None:
    for name, other in others.items():
        if other.shape != shape:
            raise GridMismatchError(
                f"{name} has the shape {other.shape}, the truth {shape}; both must lie on one "
                "grid. Resample one of them first."
            )
