"""Slices of a head for the eye: right way up, sides known, millimetres square.

Every image is sampled at the places of one :class:`Mosaic`, whatever its own grid, so that
pictures of different images show the same anatomy at the same place of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import nibabel as nb
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.errors import EmptyRegionError

SAGITTAL, CORONAL, AXIAL = 0, 1, 2

# Axis of the box that runs to the right and downwards on the page, and its direction there.
# Neurological: the participant's left is on the left of the page; sagittal: nose to the left.
_ACROSS = {SAGITTAL: (1, -1), CORONAL: (0, 1), AXIAL: (0, 1)}
_DOWN = {SAGITTAL: (2, -1), CORONAL: (2, -1), AXIAL: (1, -1)}

_INNER = (0.10, 0.88)
"""Share of the brain's box between first and last slice: the outermost are slivers."""


@dataclass(frozen=True, eq=False)
class Volume:
    """An image in memory, its voxel axes nearest to right, anterior, superior."""

    data: NDArray[np.float32]
    """(I, J, K)"""
    affine: NDArray[np.float64]
    """(4, 4) voxel index -> RAS+ mm."""

    @property
    def zooms_mm(self) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0), dtype=np.float64)


def read_volume(path: Path) -> Volume:
    """Read an image and turn its axes to the closest of RAS+; no voxel is interpolated."""
    image = nb.Nifti1Image.from_filename(path)
    data = image.get_fdata(dtype=np.float32)
    return to_canonical(data.reshape(data.shape[:3]), image.affine)


def to_canonical(data: NDArray[np.floating], affine: NDArray[np.float64]) -> Volume:
    """Flip and reorder voxel axes until they run closest to right, anterior, superior."""
    image = nb.as_closest_canonical(nb.Nifti1Image(data.astype(np.float32, copy=False), affine))
    return Volume(data=np.asarray(image.dataobj), affine=image.affine)


@dataclass(frozen=True, eq=False)
class Box:
    """The part of space that is drawn, along the voxel axes of the image it was made from."""

    axes: NDArray[np.float64]
    """(3, 3) unit vectors in columns, each nearest to right, anterior, superior."""
    low_mm: NDArray[np.float64]
    """(3,) first corner of the object along ``axes``."""
    high_mm: NDArray[np.float64]
    margin_mm: float
    """Shown around the object on each side."""
    centre_mm: NDArray[np.float64]
    """(3,) centre of one voxel, so that slices can run through the middle of voxels."""
    step_mm: NDArray[np.float64]
    """(3,) distance of two such centres."""

    @property
    def middle_mm(self) -> NDArray[np.float64]:
        return np.asarray((self.low_mm + self.high_mm) / 2)

    def extent_mm(self, axis: int) -> tuple[float, float]:
        return (
            float(self.low_mm[axis] - self.margin_mm),
            float(self.high_mm[axis] + self.margin_mm),
        )

    def positions_mm(self, axis: int, count: int) -> NDArray[np.float64]:
        """Return ``count`` places along an axis, each in the middle of an acquired slice.

        A picture between two thick slices would show anatomy that nobody measured.
        """
        low, high = self.low_mm[axis], self.high_mm[axis]
        wanted = low + np.linspace(*_INNER, count) * (high - low)
        steps = np.rint((wanted - self.centre_mm[axis]) / self.step_mm[axis])
        return np.asarray(self.centre_mm[axis] + steps * self.step_mm[axis])


def box_of(mask: Volume, *, margin_mm: float) -> Box:
    """Return the box around the voxels of ``mask`` that are above 0.5.

    Raises
    ------
    EmptyRegionError
        There is none.
    """
    inside = mask.data > 0.5
    if not inside.any():
        raise EmptyRegionError(
            "the figures need a brain mask, and the mask given has no voxel above 0.5. Look at "
            "the mask that was written for this session, or supply one."
        )
    spans = [np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    first, last = (np.array([span[end] for span in spans]) for end in (0, -1))
    axes = mask.affine[:3, :3] / mask.zooms_mm
    origin_mm = np.asarray(np.linalg.solve(axes, mask.affine[:3, 3]), dtype=np.float64)
    return Box(
        axes=axes,
        low_mm=origin_mm + (first - 0.5) * mask.zooms_mm,
        high_mm=origin_mm + (last + 0.5) * mask.zooms_mm,
        margin_mm=margin_mm,
        centre_mm=origin_mm,
        step_mm=mask.zooms_mm,
    )


@dataclass(frozen=True)
class Tile:
    """One slice and its rectangle in the mosaic, in pixels."""

    axis: int
    position_mm: float
    copy: int
    """Which of several images of the same slice belongs here."""
    top: int
    left: int
    height: int
    width: int

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Slices side by side: axial, coronal and sagittal rows, from below, behind and left."""

    box: Box
    pixel_mm: float
    counts: Sequence[int] = (7, 7, 6)
    """Slices in the axial, coronal and sagittal rows."""
    copies: int = 1
    """Rows of each kind, one under the other, for images that are to be compared."""
    gap: int = 6

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        found: list[Tile] = []
        top = 0
        rows = zip((AXIAL, CORONAL, SAGITTAL), self.counts, strict=True)
        for (axis, count), copy in product(rows, range(self.copies)):
            row = self._row(axis, count, copy, top)
            found += row
            top += row[0].height + self.gap
        return tuple(found)

    def _row(self, axis: int, count: int, copy: int, top: int) -> list[Tile]:
        """Lay one row, its gaps widened until it is as wide as the widest."""
        height, width = self._size(axis)
        room = self.shape[1] - count * width
        positions = self.box.positions_mm(axis, count)
        return [
            Tile(axis, float(mm), copy, top, n * width + round(room * n / max(count - 1, 1)),
                 height, width)
            for n, mm in enumerate(positions)
        ]  # fmt: skip

    def _size(self, axis: int) -> tuple[int, int]:
        return self._pixels(_DOWN[axis][0]), self._pixels(_ACROSS[axis][0])

    def _pixels(self, axis: int) -> int:
        low, high = self.box.extent_mm(axis)
        return round((high - low) / self.pixel_mm)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        axes = (AXIAL, CORONAL, SAGITTAL)
        height = self.copies * sum(self._size(axis)[0] + self.gap for axis in axes) - self.gap
        width = max(
            count * (self._size(axis)[1] + self.gap) - self.gap
            for axis, count in zip(axes, self.counts, strict=True)
        )
        return height, width

    def draw(
        self, volume: Volume, *, copy: int | None = None, labels: bool = False
    ) -> NDArray[np.float32]:
        """Sample an image at every tile.

        Parameters
        ----------
        volume
            Any grid in the same space. Where it is not finite, or does not reach, the mosaic
            is NaN: nothing known is not zero.
        copy
            Draw only the tiles of this copy; none: all.
        labels
            Take the nearest voxel, as label numbers need.

        Returns
        -------
        (height, width) float32
            NaN between the tiles.
        """
        canvas = np.full(self.shape, np.nan, dtype=np.float32)
        finite = np.isfinite(volume.data)
        filled = volume if finite.all() else Volume(np.nan_to_num(volume.data), volume.affine)
        for tile in self.tiles:
            if copy is not None and tile.copy != copy:
                continue
            index = self._index(tile, volume)
            values = ndimage.map_coordinates(
                filled.data, index, order=0 if labels else 1, mode="nearest"
            )
            values[~_known(finite, index)] = np.nan
            canvas[tile.window] = values
        return canvas

    def _index(self, tile: Tile, volume: Volume) -> NDArray[np.float64]:
        """Voxel indices of the pixels of a tile, (3, height, width)."""
        down, across = _DOWN[tile.axis], _ACROSS[tile.axis]
        place = np.empty((3, tile.height, tile.width))
        place[tile.axis] = tile.position_mm
        place[down[0]] = self._line(*down, tile.height)[:, None]
        place[across[0]] = self._line(*across, tile.width)[None, :]
        from_box = np.linalg.inv(volume.affine) @ _homogeneous(self.box.axes)
        turned = np.tensordot(from_box[:3, :3], place, axes=1)
        return np.asarray(turned + from_box[:3, 3][:, None, None])

    def _line(self, axis: int, direction: int, count: int) -> NDArray[np.float64]:
        low, high = self.box.extent_mm(axis)
        offsets_mm = (np.arange(count) + 0.5) * self.pixel_mm
        return np.asarray(low + offsets_mm if direction > 0 else high - offsets_mm)


def _homogeneous(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    full = np.eye(4)
    full[:3, :3] = axes
    return full


def _known(finite: NDArray[np.bool_], index: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the voxel nearest to each place exists and holds a number."""
    nearest = np.rint(index).astype(np.intp)
    last = np.array(finite.shape)[:, None, None] - 1
    there = np.asarray(((nearest >= 0) & (nearest <= last)).all(axis=0))
    i, j, k = np.clip(nearest, 0, last)
    return there & finite[i, j, k]
