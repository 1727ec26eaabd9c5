"""What regional MRI means say about PET, linearly: the start of every learned network.

A small change of a whole region, under contrast that differs between scanners, is what a
convolutional network finds last and a regression on regional means finds at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, interpolate, pad

from relad_bids.core.intensity import BACKGROUND

MRI_CELL = 8
"""Edge of the cells over which MRI is averaged, in voxels: 16 mm on a 2 mm grid."""
PET_CELL = 4
"""Edge of the cells in which PET is foretold: 8 mm on a 2 mm grid."""
MIN_CORE = 0.2
"""Least share of a cell that lies in the core; smaller cells are mostly edge."""


class RegionalRegression(nn.Module):
    """Training mean plus a reduced-rank ridge regression on regional MRI means.

    All tensors are fitted (``learning.regional_fit``), none is learned by gradient. Only the
    core takes part: voxels that lie in nearly every training brain, so that the answer hardly
    depends on where a brain mask ends.

    Parameters
    ----------
    n_sequences, n_tracers
        MRI channels S, tracers R.
    rank
        Patterns of PET that are foretold.
    shape
        (I, J, K) of the grid.
    """

    prior: Tensor
    core: Tensor
    centre: Tensor
    scale: Tensor
    loadings: Tensor
    patterns: Tensor

    def __init__(
        self, *, n_sequences: int, n_tracers: int, rank: int, shape: tuple[int, int, int]
    ) -> None:
        super().__init__()
        coarse, fine = cells(shape, MRI_CELL), cells(shape, PET_CELL)
        self.register_buffer("prior", torch.full((n_tracers, *shape), BACKGROUND))
        self.register_buffer("core", torch.zeros(shape, dtype=torch.bool))
        self.register_buffer("centre", torch.zeros(n_sequences, *coarse))
        self.register_buffer("scale", torch.ones(n_sequences, *coarse))
        self.register_buffer("loadings", torch.zeros(rank, n_sequences, *coarse))
        self.register_buffer("patterns", torch.zeros(rank, n_tracers, *fine))

    def features(self, mri: Tensor) -> Tensor:
        """Standardised cell means (B, S, i, j, k) of MRI (B, S, I, J, K).

        0, "like the average", where a sequence is missing and where a cell lies outside.
        """
        means = cell_means(mri, self.core[None, None], MRI_CELL)[0]
        shown = is_shown(mri)[..., None, None, None]
        return (means - self.centre) / self.scale * shown * inside(self.core, MRI_CELL)

    def forward(self, mri: Tensor) -> Tensor:
        """MRI (B, S, I, J, K) in [-1, 1] -> every tracer (B, R, I, J, K), the linear estimate."""
        with torch.autocast(mri.device.type, enabled=False):  # sums over 1000 cells
            scores = torch.einsum("bsijk,qsijk->bq", self.features(mri), self.loadings)
            foretold = torch.einsum("bq,qrijk->brijk", scores, self.patterns)
            return self.prior + spread_out(foretold, self.core)


def is_shown(mri: Tensor) -> Tensor:
    """Whether each sequence is there, (B, S) bool: a missing one is background everywhere."""
    return (mri != BACKGROUND).flatten(2).any(2)


def cells(shape: tuple[int, int, int], edge: int) -> tuple[int, ...]:
    """How many cells of ``edge`` voxels cover a grid, the last ones in part."""
    return tuple(-(-side // edge) for side in shape)


def inside(core: Tensor, edge: int) -> Tensor:
    """Which cells (i, j, k) of ``edge`` voxels lie in the core (I, J, K), bool."""
    whole = core[None, None].float()
    return cell_means(whole, whole, edge)[1][0, 0] >= MIN_CORE


def cell_means(x: Tensor, weight: Tensor, edge: int) -> tuple[Tensor, Tensor]:
    """Weighted mean of x in each cell (B, C, i, j, k), and the weight's own mean (., 1, i, j, k).

    ``x`` is (B, C, I, J, K), ``weight`` (B or 1, 1, I, J, K); a cell without weight is 0.
    """
    extra = [amount for side in reversed(x.shape[-3:]) for amount in (0, -side % edge)]
    weight = weight.to(x.dtype)
    share = avg_pool3d(pad(weight, extra), edge)
    return avg_pool3d(pad(x * weight, extra), edge) / share.clamp_min(1e-6), share


def spread_out(coarse: Tensor, core: Tensor) -> Tensor:
    """Coarse cells (B, R, i, j, k) -> voxels (B, R, I, J, K), linear between cell centres.

    Cells outside the core say nothing: they do not pull the brain's edge towards 0.
    """
    size = [PET_CELL * n for n in coarse.shape[-3:]]
    taken = inside(core, PET_CELL)[None, None].to(coarse)
    fine, weight = (interpolate(part, size, mode="trilinear") for part in (coarse * taken, taken))
    i, j, k = core.shape
    return (fine / weight.clamp_min(1e-6))[..., :i, :j, :k]
