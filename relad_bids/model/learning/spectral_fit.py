"""Fit the spectrum of residuals to a cohort, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from relad_bids.errors import DataError
from relad_bids.model.data import Batch
from relad_bids.model.networks.residuals import (
    KNOTS,
    LEAST_POWER,
    ResidualSpectrum,
    knots,
)

TAPER = 5
"""Edge in voxels of the window whose means make the brain's border soft: a sharp one would carry
power of low frequencies to high ones."""


@torch.no_grad()
def fit_spectrum(
    spectrum: ResidualSpectrum, batches: Iterable[Batch], estimate: Callable[[Tensor], Tensor]
) -> None:
    """Set the power to the mean periodogram of what an estimate leaves of the cohort's PET.

    Parameters
    ----------
    batches
        The participants, (B, ...) at a time, on any device; walked through once.
    estimate
        MRI (B, S, I, J, K) -> every tracer (B, R, I, J, K).

    Raises
    ------
    DataError
        A tracer has no scan.
    """
    device = spectrum.log_power.device
    total = torch.zeros(spectrum.log_power.shape, dtype=torch.float64, device=device)
    scans = torch.zeros(len(total), dtype=torch.float64, device=device)
    for batch in (batch.to(device) for batch in batches):
        window = soft_border(batch.mask)
        residual = (batch.pet - estimate(batch.mri)) * window
        voxels = window.square().sum((-3, -2, -1))[..., None]
        total += (periodogram(residual, spectrum) / voxels * batch.available[..., None]).sum(0)
        scans += batch.available.sum(0)
    if (scans == 0).any():
        raise DataError(
            f"tracers number {(scans == 0).nonzero()[:, 0].tolist()} have no scan to start from. "
            "Give participants with these tracers."
        )
    spectrum.log_power.copy_(_filled(total / scans[:, None]))


def soft_border(mask: Tensor) -> Tensor:
    """A window (B, 1, I, J, K) that rises from 0 to 1 within a brain; the mask if it is tiny."""
    whole = mask.float()
    deep = (_means(whole) > 1 - 1e-4).float()
    soft = _means(deep) * whole
    return torch.where(deep.flatten(1).any(1)[:, None, None, None, None], soft, whole)


def _means(x: Tensor) -> Tensor:
    return avg_pool3d(x, TAPER, stride=1, padding=TAPER // 2)


def periodogram(images: Tensor, spectrum: ResidualSpectrum) -> Tensor:
    """Squared Fourier coefficients of images (B, R, I, J, K) around each knot, (B, R, KNOTS).

    Each frequency counts for its two knots as much as it is near to them; NaN where none is near.
    """
    squares = torch.fft.rfftn(images, dim=(-3, -2, -1)).abs().square().double()
    above, lower, count = (
        part.flatten().to(images.device)
        for part in (spectrum.above.double(), spectrum.lower, spectrum.count.double())
    )

    def gathered(values: Tensor) -> Tensor:
        near_lower = torch.bincount(lower, values * (1 - above) * count, minlength=KNOTS)
        return near_lower + torch.bincount(lower + 1, values * above * count, minlength=KNOTS)

    sums = torch.stack([gathered(row) for row in squares.flatten(0, 1).flatten(1)])
    return (sums / gathered(torch.ones_like(above))).unflatten(0, images.shape[:2])


def _filled(power: Tensor) -> Tensor:
    """Log power, with the knots that no frequency is near to on the line between the others."""
    at = knots().numpy()
    rows = []
    for row in power.cpu().numpy():
        known = np.isfinite(row)
        log = np.log(np.maximum(row[known], LEAST_POWER))
        rows.append(np.interp(at, at[known], log))
    return torch.from_numpy(np.stack(rows))
