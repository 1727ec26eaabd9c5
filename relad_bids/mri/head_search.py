"""Where in the image is the head: an exhaustive look before any optimiser starts.

Optimisers find the nearest optimum, and headers are wrong by centimetres. Mutual information of
a few thousand template points is cheap, so a lattice of shifts and nods of the head is tried,
and only the best few are handed on.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.mri.bias import UPPER_HEAD_MM
from relad_bids.mri.head_template import HeadTemplate
from relad_bids.mri.information import binned, mutual_information
from relad_bids.mri.linear import apply_affine
from relad_bids.mri.resample import grid_of

POINTS_MM = 8.0
"""Distance of the template points that are compared: about 7,000 of them."""

SCALE = 0.93
"""Size of a usual head beside the template's (1.9 L of brain against 1.5 L)."""

SHIFTS_X_MM = (-12.0, 0.0, 12.0)
SHIFTS_Y_MM = (-36.0, -24.0, -12.0, 0.0, 12.0, 24.0, 36.0)
SHIFTS_Z_MM = (-60.0, -48.0, -36.0, -24.0, -12.0, 0.0, 12.0, 24.0, 36.0, 48.0)
NODS_DEG = (-24.0, -12.0, 0.0, 12.0, 24.0)
"""Chin up and down; turning and tilting stay within what an optimiser mends by itself."""

FEWEST_INSIDE = 0.6
"""Share of the template points that must fall into the image."""


def head_starts(head: ANTsImage, template: HeadTemplate, *, count: int) -> list[NDArray]:
    """Return the ``count`` best starts, (4, 4) float, template RAS+ mm -> image RAS+ mm.

    Starts that lie next to a better one are left out, so that the optimiser gets truly
    different ones. The header's own position (identity) is tried like any other.
    """
    points, brightness = template_points(template)
    look = Look(head, brightness)
    centre = _upper_centre(head)
    pivot = points.mean(axis=0)
    shifts = product(SHIFTS_X_MM, SHIFTS_Y_MM, SHIFTS_Z_MM)
    tried = [np.eye(4)]
    tried += [
        _nod(degrees, pivot, centre + np.array(shift))
        for shift, degrees in product(list(shifts), NODS_DEG)
    ]
    scores = np.array([look.information(apply_affine(start, points)) for start in tried])
    return _apart([tried[k] for k in np.argsort(-scores, kind="stable")], pivot, count)


class Look:
    """Mutual information between template points and what lies under them in an image."""

    def __init__(self, head: ANTsImage, brightness: NDArray[np.float64]) -> None:
        grid = grid_of(head)
        sigma = [POINTS_MM / 4 / mm for mm in head.spacing]
        self.values = ndimage.gaussian_filter(head.numpy(), sigma)
        self.to_index = np.linalg.inv(grid.affine)
        self.top = float(self.values.max())
        self.template_bin = binned(brightness, top=float(brightness.max()))

    def information(self, points: NDArray[np.float64]) -> float:
        """Return nats at ``points`` (N, 3) in image RAS+ mm; -1 where too few fall inside."""
        index = np.round(apply_affine(self.to_index, points)).astype(np.intp)
        inside = ((index >= 0) & (index < self.values.shape)).all(axis=1)
        if inside.mean() < FEWEST_INSIDE:
            return -1.0
        found = self.values[tuple(index[inside].T)]
        return mutual_information(self.template_bin[inside], binned(found, top=self.top))


def template_points(
    template: HeadTemplate,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    step = max(1, round(POINTS_MM / template.head.spacing[0]))
    lattice = np.zeros(template.head.shape, dtype=bool)
    lattice[::step, ::step, ::step] = True
    index = np.argwhere(lattice & (template.seen.numpy() > 0))
    smooth = ndimage.gaussian_filter(template.head.numpy(), step / 4)
    return apply_affine(grid_of(template.head).affine, index), smooth[tuple(index.T)]


def _upper_centre(head: ANTsImage) -> NDArray[np.float64]:
    """Return the middle of the tissue in the upper part of the image, RAS+ mm."""
    tissue = head.numpy() > 0.1 * float(np.quantile(head.numpy(), 0.99))
    points = apply_affine(grid_of(head).affine, np.argwhere(tissue)[::7])
    top = np.quantile(points[:, 2], 0.999)
    return points[points[:, 2] > top - UPPER_HEAD_MM].mean(axis=0)


def _nod(degrees: float, pivot: NDArray, target: NDArray) -> NDArray[np.float64]:
    """Return the turn about the left-right axis that brings ``pivot`` to ``target``."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    start = np.eye(4)
    start[1:3, 1:3] = [[c, -s], [s, c]]
    start[:3, :3] *= SCALE
    start[:3, 3] = target - start[:3, :3] @ pivot
    return start


def _apart(starts: list[NDArray], pivot: NDArray, count: int) -> list[NDArray]:
    """Return the first ``count`` starts that are not neighbours on the lattice."""
    kept: list[NDArray] = []
    for start in starts:
        if all(_distance_mm(start, other, pivot) > 20.0 for other in kept):
            kept.append(start)
        if len(kept) == count:
            break
    return kept


def _distance_mm(one: NDArray, other: NDArray, pivot: NDArray) -> float:
    """Return how far two starts lie apart at the vertex and the pivot, the larger of the two."""
    ends = np.array([pivot, np.add(pivot, [0.0, 0.0, 70.0])])
    return float(np.linalg.norm(apply_affine(one, ends) - apply_affine(other, ends), axis=1).max())
