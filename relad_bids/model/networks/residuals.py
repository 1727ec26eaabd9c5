"""How what an estimate leaves of PET hangs together in space, and the denoiser that follows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

KNOTS = 24
"""Spatial frequencies at which the power is kept; close together where it falls steeply."""
HIGHEST = math.sqrt(3) / 2
"""Cycles per voxel in the corner of a spectrum."""
LEAST_POWER = 1e-8
"""Of the network's scale squared: below the rounding of a float16 image."""


class ResidualSpectrum(nn.Module):
    r"""Power of the residuals of an estimate by spatial frequency, the same in all directions.

    A scanner blurs, so neighbouring voxels are off together: residuals have power at low
    frequencies and little at high ones. White noise of SD 1 has power 1 at each frequency. For
    stationary Gaussian residuals :math:`r` of power :math:`S(f)`, of which :math:`y = \alpha r +
    \sigma \epsilon` is seen, the exact denoiser is the filter of Wiener (1949),

    .. math:: E[r|y] = F^{-1} \frac{\alpha S}{\alpha^2 S + \sigma^2} F y,

    and what it leaves has the power :math:`S \sigma^2 / (\alpha^2 S + \sigma^2)`. With the same
    power everywhere this is :math:`c_\text{skip}` of Karras et al. 2022 (Table 1). A walk
    that starts from this denoiser has the residuals' texture before anything is learned.

    Nothing is learned by gradient; ``learning.spectral_fit`` fits it. Until then residuals are
    white with SD 1.

    Parameters
    ----------
    n_tracers
        R; each has its own power.
    shape
        (I, J, K) of the grid; frequencies are in cycles per voxel.
    """

    log_power: Tensor
    lower: Tensor
    above: Tensor
    count: Tensor

    def __init__(self, *, n_tracers: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        lower, above, count = spectral_grid(shape)
        self.register_buffer("log_power", torch.zeros(n_tracers, KNOTS))
        self.register_buffer("lower", lower, persistent=False)
        self.register_buffer("above", above, persistent=False)
        self.register_buffer("count", count, persistent=False)

    def power(self, tracer: Tensor) -> Tensor:
        """S (B, 1, I, J, K//2 + 1) of each participant's tracer (B,), at ``rfftn``'s places."""
        below, next_up = (self.log_power[tracer][:, k] for k in (self.lower, self.lower + 1))
        return torch.lerp(below, next_up, self.above).exp()[:, None]

    def expected(self, y: Tensor, tracer: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[r | y] of noisy residuals y (B, 1, I, J, K) = alpha r + sigma noise, 0 outside.

        ``alpha`` and ``sigma`` are (B, 1, 1, 1, 1).
        """
        power = self.power(tracer)
        gain = alpha * power / (alpha.square() * power + sigma.square())
        return torch.fft.irfftn(gain * torch.fft.rfftn(y, dim=(-3, -2, -1)), s=self.shape)

    def left(self, tracer: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """SD of a voxel around that expectation, (B, 1, 1, 1, 1)."""
        power = self.power(tracer)
        remaining = power * sigma.square() / (alpha.square() * power + sigma.square())
        share = self.count / self.count.sum()
        return (remaining * share).sum((-3, -2, -1), keepdim=True).sqrt()


def knots() -> Tensor:
    """Frequencies (KNOTS,) at which the power is kept, cycles per voxel."""
    return HIGHEST * (torch.arange(KNOTS) / (KNOTS - 1)).square()


def spectral_grid(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Where each of ``rfftn``'s frequencies lies between the knots, and how many it stands for.

    Returns
    -------
    lower : (I, J, K//2 + 1) int64
        The knot below.
    above : (I, J, K//2 + 1) float32
        How far on to the next one, 0 to 1.
    count : (I, J, K//2 + 1) float32
        1, or 2 where the half that ``rfftn`` leaves out has its mirror image.
    """
    i, j, k = shape
    axes = (torch.fft.fftfreq(i), torch.fft.fftfreq(j), torch.fft.rfftfreq(k))
    radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0)
    place = (radius / HIGHEST).sqrt() * (KNOTS - 1)
    lower = place.long().clamp(0, KNOTS - 2)
    # The line between two knots is one in frequency, not in its root.
    at = knots()
    above = ((radius - at[lower]) / (at[lower + 1] - at[lower])).clamp(0, 1)
    count = torch.full_like(above, 2.0)
    count[..., 0] = 1.0
    if k % 2 == 0:
        count[..., -1] = 1.0
    return lower, above, count
