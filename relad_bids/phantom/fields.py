"""Smooth random fields and axis-aligned interpolation: the chance in everything spatial."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from relad_bids.core.grid import Grid

_NODES_PER_SIGMA = 2.0
"""Linear interpolation between nodes half a sigma apart errs by 3 % of the field's SD."""


def voxel_sizes(grid: Grid) -> NDArray[np.float64]:
    """Return the voxel edge lengths, shape (3,), in mm."""
    return np.asarray(np.linalg.norm(grid.affine[:3, :3], axis=0))


def node_grid(grid: Grid, *, spacing_mm: float) -> Grid:
    """Return a coarser grid over the same box (at least 2 nodes an axis, never finer)."""
    sizes = voxel_sizes(grid)
    last = np.array(grid.shape) - 1
    nodes = np.maximum(np.ceil(last * sizes / spacing_mm).astype(int), 1)
    nodes = np.minimum(nodes, np.maximum(last, 1))
    affine = grid.affine.astype(float).copy()
    affine[:3, :3] = grid.affine[:3, :3] * (last / nodes)
    shape = (int(nodes[0]) + 1, int(nodes[1]) + 1, int(nodes[2]) + 1)
    return Grid(shape, affine)


def smooth_noise(
    grid: Grid, generator: np.random.Generator, *, sigma_mm: float
) -> NDArray[np.float32]:
    """Draw a stationary Gaussian field of mean 0 and SD 1, correlated over ``sigma_mm``.

    White noise on a coarse node grid, smoothed with periodic borders (which keeps the
    variance the same everywhere) and interpolated linearly.

    Returns
    -------
    (I, J, K) float32
        ``grid.shape``.
    """
    nodes = node_grid(grid, spacing_mm=sigma_mm / _NODES_PER_SIGMA)
    return to_grid(node_noise(nodes, generator, sigma_mm=sigma_mm), nodes, grid)


def node_noise(
    nodes: Grid, generator: np.random.Generator, *, sigma_mm: float
) -> NDArray[np.float32]:
    """Draw the field of :func:`smooth_noise` on the nodes themselves."""
    sigma = sigma_mm / voxel_sizes(nodes)
    white = generator.standard_normal(nodes.shape, dtype=np.float32)
    smooth = gaussian_filter(white, sigma, mode="wrap", truncate=3.0)
    # SD of smoothed white noise, axis by axis, from the kernel really used.
    spread = np.prod([_kernel_norm(s, n) for s, n in zip(sigma, nodes.shape, strict=True)])
    return np.asarray(smooth / np.float32(spread))


def _kernel_norm(sigma: float, n: int) -> float:
    """Return the root sum of squares of the periodic smoothing kernel of length ``n``."""
    impulse = np.zeros(n)
    impulse[0] = 1.0
    kernel = gaussian_filter(impulse, sigma, mode="wrap", truncate=3.0)
    return float(np.sqrt((kernel**2).sum()))


def to_grid(values: NDArray[np.floating], nodes: Grid, grid: Grid) -> NDArray[np.float32]:
    """Interpolate node values linearly onto ``grid``; beyond the nodes the edge value holds.

    Parameters
    ----------
    values : (I, J, K) float
        On ``nodes``.

    Returns
    -------
    (I', J', K') float32
        ``grid.shape``.
    """
    relative = np.linalg.inv(nodes.affine) @ grid.affine
    linear = relative[:3, :3]
    scale = np.diag(linear)
    if np.abs(linear - np.diag(scale)).max() > 1e-9 * np.abs(linear).max():
        index = index_points(grid, relative)
        return np.asarray(
            map_coordinates(values, index, order=1, mode="nearest", output=np.float32)
        )
    result = np.asarray(values, dtype=np.float32)
    for axis in range(3):
        where = scale[axis] * np.arange(grid.shape[axis]) + relative[axis, 3]
        weights = _linear_weights(where, nodes.shape[axis])
        result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result)


def _linear_weights(where: NDArray[np.float64], n: int) -> NDArray[np.float32]:
    """Return the (points, n) matrix that interpolates linearly at ``where`` (clamped)."""
    where = np.clip(where, 0, n - 1)
    low = np.minimum(where.astype(int), max(n - 2, 0))
    weights = np.zeros((where.size, n), dtype=np.float32)
    rows = np.arange(where.size)
    weights[rows, low] = 1 - (where - low)
    weights[rows, np.minimum(low + 1, n - 1)] += where - low
    return weights


def index_points(grid: Grid, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``matrix`` applied to every voxel index of ``grid``, shape (3, I, J, K)."""
    axes = [np.arange(n, dtype=float) for n in grid.shape]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.stack(
        [row[0] * x + row[1] * y + row[2] * z + row[3] for row in np.asarray(matrix)[:3]]
    )


def sample(volume: NDArray[np.floating], index: NDArray[np.floating]) -> NDArray[np.float32]:
    """Interpolate ``volume`` linearly at voxel indices (3, ...); 0 outside."""
    return np.asarray(map_coordinates(volume, index, order=1, mode="constant", output=np.float32))
