"""How good an MRI is, told from its own voxels: noise, contrast, background, blur, coil field.

Formulas are those of MRIQC (Esteban et al. 2017) where it has the figure, so that values can be
laid beside its reports; what differs is said at each function. Figures that need the noise of
the air are None where the air was set to 0: many scanners and every defacing tool do that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.core.brain_checks import largest_piece

Image = NDArray[np.floating]
Mask = NDArray[np.bool_]

AIR_MM = 10.0
"""How far from the head air begins: ears, hair and the blur of the scalp lie nearer."""

MOST_ZERO = 0.5
"""Share of exact zeros in the air from which on it counts as set to 0. Eight real T1w have at most
0.20 (as scanned, 8 bits) or at least 0.80 (masked by the scanner or by defacing)."""

FEWEST = 100
"""Voxels below which a standard deviation says little."""

RAYLEIGH = float(np.sqrt(2 / (4 - np.pi)))
"""Standard deviation of a channel's noise over that of the magnitude where there is no signal
(Dietrich et al. 2007; Gudbjartsson and Patz 1995)."""


def air(image: Image, head: Mask, *, voxel_mm: Sequence[float]) -> NDArray[np.floating] | None:
    """Values of the air around a head, (N,); None where it is masked or not in the picture.

    Parameters
    ----------
    image
        As scanned: a bias field divided out would change the noise.
    head
        All tissue, same grid.
    voxel_mm
        Size of a voxel along each axis.
    """
    if not head.any():
        return None
    largest = largest_piece(head)
    # Half of the resolution is enough for a distance of 10 mm, and eight times as fast.
    step = tuple(slice(None, None, 2 if mm < AIR_MM / 4 else 1) for mm in voxel_mm)
    coarse_mm = [mm * (one.step or 1) for mm, one in zip(voxel_mm, step, strict=True)]
    outside_mm = ndimage.distance_transform_edt(~largest[step], sampling=coarse_mm)
    values = np.asarray(image[step][outside_mm > AIR_MM])
    if values.size < FEWEST or float((values == 0).mean()) > MOST_ZERO:
        return None
    return values


def snr(tissue: NDArray[np.floating]) -> float | None:
    """Median of a tissue over its standard deviation, unitless: Magnotta et al. 2006, as in MRIQC.

    Bias field, iron and partial volume count as noise; of one tissue it therefore is lower than
    the scanner's.
    """
    if tissue.size < FEWEST or not tissue.std(ddof=1) > 0:
        return None
    return float(np.median(tissue) / tissue.std(ddof=1))


def snr_dietrich(tissue: NDArray[np.floating], noise: NDArray[np.floating] | None) -> float | None:
    """Median of a tissue over the noise of a channel, from the air (Dietrich et al. 2007).

    Holds for one coil; parallel imaging spreads noise unevenly and makes it too high or too low.
    """
    if tissue.size < FEWEST or noise is None or not noise.std() > 0:
        return None
    return float(np.median(tissue) / (RAYLEIGH * noise.std()))


def cnr(
    gm: NDArray[np.floating], wm: NDArray[np.floating], noise: NDArray[np.floating] | None
) -> float | None:
    r"""Contrast of grey and white matter over their spread: Magnotta et al. 2006, as in MRIQC.

    :math:`|m_{WM} - m_{GM}| / \sqrt{s_{air}^2 + s_{GM}^2 + s_{WM}^2}` of medians and standard
    deviations. Without air in the picture its term is left out; it is the smallest of the three.
    """
    if min(gm.size, wm.size) < FEWEST:
        return None
    variance = gm.var() + wm.var() + (0.0 if noise is None else noise.var())
    return float(abs(np.median(wm) - np.median(gm)) / np.sqrt(variance)) if variance > 0 else None


def entropy_focus(image: Image) -> float:
    r"""Entropy focus criterion, Atkinson et al. 1997, over its largest value, 0 to 1.

    :math:`E = -\sum_j \frac{x_j}{x_{max}} \ln \frac{x_j}{x_{max}}` with
    :math:`x_{max} = \sqrt{\sum_j x_j^2}`, divided by :math:`\sqrt{N} \ln \sqrt{N}`, its value for
    a uniform image. 0: all energy in one voxel. Ghosts and blur raise it, and so does a tight
    field of view: compare scans of one protocol.
    """
    x = np.abs(np.asarray(image, dtype=np.float64)).ravel()
    share = x / np.sqrt((x**2).sum())
    positive = share[share > 0]
    entropy = -(positive * np.log(positive)).sum()
    return float(entropy / (np.sqrt(x.size) * np.log(np.sqrt(x.size))))


def foreground_background(
    head: NDArray[np.floating], noise: NDArray[np.floating] | None
) -> float | None:
    """Median energy of the head over that of the air (FBER): Shehzad et al. 2015, as in MRIQC."""
    if noise is None or not np.median(noise**2) > 0:
        return None
    return float(np.median(head**2) / np.median(noise**2))


def smoothness_mm(image: Image, mask: Mask, *, voxel_mm: Sequence[float]) -> float | None:
    r"""FWHM of the Gaussian that would make noise as smooth as this brain, mm, mean of the axes.

    Forman et al. 1995: :math:`d \sqrt{-2 \ln 2 / \ln(1 - v_d / 2v)}` with the variance v of the
    values and that of the differences of neighbours. MRIQC asks AFNI's 3dFWHMx for the same,
    after a trend is taken out; here the anatomy counts, so that a sharp head has 3 to 5 mm.
    """
    values = np.asarray(image, dtype=np.float64)
    variance = float(values[mask].var()) if mask.sum() >= FEWEST else 0.0
    widths = []
    for axis, mm in enumerate(voxel_mm):
        pair = np.take(mask, range(1, mask.shape[axis]), axis)
        pair = pair & np.take(mask, range(mask.shape[axis] - 1), axis)
        step = np.diff(values, axis=axis)[pair]
        if variance <= 0 or step.size < FEWEST:
            return None
        alike = 1 - float(step.var()) / (2 * variance)
        widths.append(mm * np.sqrt(-2 * np.log(2) / np.log(np.clip(alike, 1e-9, 1 - 1e-9))))
    return float(np.mean(widths))


def field_range(before: Image, after: Image, mask: Mask) -> float | None:
    """How uneven the coils saw the brain: 95th minus 5th percentile of the field, median 1.

    As ``inu_range`` of MRIQC, but inside the brain.

    Parameters
    ----------
    before, after
        MRI before and after the bias field was divided out, same grid.
    """
    here = mask & (after > 0) & (before > 0)
    if here.sum() < FEWEST:
        return None
    field = before[here] / after[here]
    low, middle, high = np.percentile(field, [5, 50, 95])
    return float((high - low) / middle)
