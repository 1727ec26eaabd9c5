"""How sharp a PET image is: its Gaussian point spread, and smoothing to a common resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d
from scipy.special import ive

from relad_bids.errors import DataError, UsageError

FWHM_PER_SIGMA = float(np.sqrt(8 * np.log(2)))

REACH = 3.5
"""Standard deviations after which a point spread is cut; 0.05 % lies beyond. The digital
phantom's scanner cuts there, too."""

NARROW = 0.7
"""Standard deviation, in voxels, below which samples of a Gaussian are no longer one."""

_NARROW_REACH = 6

SAME_FWHM_MM = 1e-6
"""Resolutions closer than this are the same."""


@dataclass(frozen=True)
class PointSpread:
    """A Gaussian point spread function on a voxel grid."""

    fwhm_mm: tuple[float, float, float]
    """Full width at half maximum along the voxel axes; 0 for none."""
    voxel_mm: tuple[float, float, float]
    """Size of a voxel along each axis."""

    @property
    def sigma(self) -> tuple[float, ...]:
        """Standard deviation along each axis, in voxels."""
        return tuple(
            fwhm / FWHM_PER_SIGMA / size
            for fwhm, size in zip(self.fwhm_mm, self.voxel_mm, strict=True)
        )

    @property
    def reach(self) -> tuple[int, ...]:
        """Voxels along each axis to which one voxel spreads."""
        return tuple(_kernel(sigma).size // 2 for sigma in self.sigma)

    def blur(self, image: NDArray[np.floating]) -> NDArray[np.float32]:
        """Spread an image; beyond its edges the edge value holds, so a constant stays one.

        Parameters
        ----------
        image : (I, J, K) float
            Finite everywhere.
        """
        blurred = np.asarray(image, dtype=np.float32)
        for axis, sigma in enumerate(self.sigma):
            blurred = correlate1d(blurred, _kernel(sigma), axis, mode="nearest")
        return blurred


def point_spread(fwhm_mm: ArrayLike, voxel_mm: Sequence[float]) -> PointSpread:
    """Give a point spread its three widths.

    Parameters
    ----------
    fwhm_mm
        Full width at half maximum: one number, or one for each voxel axis; 0 for none.
    voxel_mm
        Size of a voxel along each axis.

    Raises
    ------
    UsageError
        Not one or three numbers, or a number that no width can have.
    """
    widths = np.asarray(fwhm_mm, dtype=np.float64)
    if widths.shape not in ((), (1,), (3,)) or not (np.isfinite(widths) & (widths >= 0)).all():
        raise UsageError(
            f"the resolution was given as {widths.tolist()}; a full width at half maximum is one "
            "number of mm, or three for the axes of the image, none below 0. Give such."
        )
    i, j, k = np.broadcast_to(widths, 3).tolist()
    return PointSpread((i, j, k), (float(voxel_mm[0]), float(voxel_mm[1]), float(voxel_mm[2])))


def smooth_to(
    image: NDArray[np.floating],
    *,
    native_fwhm_mm: ArrayLike,
    target_fwhm_mm: float,
    voxel_mm: Sequence[float],
) -> NDArray[np.float32]:
    r"""Smooth an image of one known resolution to a common one; Joshi et al. 2009.

    .. math:: \mathrm{FWHM}_k = \sqrt{\mathrm{target}^2 - \mathrm{native}^2}

    along each axis: resolutions in plane and across planes differ.

    Parameters
    ----------
    image : (I, J, K) float
        Any linear unit; NaN outside the field of view, where it stays NaN. Near the edge of
        the field of view only what lies inside is averaged.
    native_fwhm_mm
        Resolution of the image: one number, or one for each voxel axis.
    target_fwhm_mm
        Resolution wanted, the same along all axes.
    voxel_mm
        Size of a voxel along each axis.

    Returns
    -------
    (I, J, K) float32
        Constants and, away from the edges, the sum are kept.

    Raises
    ------
    DataError
        The image is less sharp than the target: nothing is ever sharpened.
    """
    native = point_spread(native_fwhm_mm, voxel_mm).fwhm_mm
    if max(native) > target_fwhm_mm + SAME_FWHM_MM:
        raise DataError(
            f"the PET image was to be smoothed to {target_fwhm_mm:g} mm, but its own resolution "
            f"is {' x '.join(f'{width:g}' for width in native)} mm (FWHM along its axes); "
            "sharpening would make noise of it. Ask for a --pet-fwhm of at least "
            f"{max(native):g} mm, or leave the image out of what is pooled."
        )
    kernel = point_spread(
        [np.sqrt(max(target_fwhm_mm**2 - width**2, 0.0)) for width in native], voxel_mm
    )
    inside = np.isfinite(image)
    if inside.all():
        return kernel.blur(image)
    share = kernel.blur(inside.astype(np.float32))
    blurred = kernel.blur(np.where(inside, image, 0))
    return np.divide(blurred, share, out=np.full_like(blurred, np.nan), where=inside)


def _kernel(sigma: float) -> NDArray[np.float64]:
    """Weights of one axis, summing to 1, of a standard deviation in voxels.

    Samples of a Gaussian; where it is narrow the discrete Gaussian of Lindeberg 1990, IEEE
    Trans PAMI 12:234, whose variance is exact down to 0 (samples at a sigma of 0.4 voxels have
    half of it). Wide ones have longer tails than a Gaussian, so they are not used throughout.
    """
    if sigma < NARROW:
        reach = _NARROW_REACH if sigma > 0 else 0
        weights = ive(np.arange(-reach, reach + 1), sigma**2)
    else:
        reach = int(REACH * sigma + 0.5)
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum())
