"""What every picture has in common: the dark sheet, its lines, letters, legend and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from relad_bids.reports.encoding import webp
from relad_bids.reports.slices import AXIAL, CORONAL, SAGITTAL, Mosaic, Tile

DPI = 100
STRIP_PX, BAR_PX = 34, 110
LEGEND_PT = 9.5
GROUND, UNKNOWN, TEXT, QUIET = "#000000", "#454d5c", "#d7dde6", "#9aa4b2"
HALO = (Stroke(linewidth=2, foreground=GROUND), Normal())

LEFT_IS_LEFT = "left is the participant's left (neurological)"
_LETTERS = {AXIAL: ("L", "R"), CORONAL: ("L", "R"), SAGITTAL: ("A", "P")}
_COORDINATE = {AXIAL: "z", CORONAL: "y", SAGITTAL: "x"}


class Key(NamedTuple):
    """One entry of a legend; a colour of its own, or a sentence without a line."""

    colour: str
    label: str
    line: bool = True


class Sheet(NamedTuple):
    figure: Figure
    axes: Axes
    unknown: NDArray[np.bool_]


def open_sheet(
    mosaic: Mosaic,
    picture: NDArray,
    *,
    unknown: NDArray[np.bool_] | None = None,
    right_px: int = 0,
) -> Sheet:
    """Put a picture, grey in [0, 1] or RGB, on a dark figure, one pixel to a pixel."""
    if unknown is None:
        unknown = tiled(mosaic) & np.isnan(picture)
    rgb = picture if picture.ndim == 3 else np.repeat(np.nan_to_num(picture)[..., None], 3, 2)
    rgb = np.where(tiled(mosaic)[..., None], rgb, to_rgb(GROUND))
    rgb[unknown] = to_rgb(UNKNOWN)
    pixels = np.rint(255 * rgb).astype(np.uint8)  # Matplotlib is slow on floats
    height, width = mosaic.shape
    total = (width + right_px, height + STRIP_PX)
    figure = Figure(figsize=(total[0] / DPI, total[1] / DPI), dpi=DPI, facecolor=GROUND)
    place = (0.0, STRIP_PX / total[1], width / total[0], height / total[1])
    axes = figure.add_axes(place)
    axes.set_axis_off()
    axes.imshow(pixels, interpolation="none", aspect="auto")
    return Sheet(figure, axes, unknown)


def tiled(mosaic: Mosaic) -> NDArray[np.bool_]:
    """Where the mosaic holds slices, and not the gaps between them."""
    return np.logical_or(rows(mosaic, copy=0), rows(mosaic, copy=mosaic.copies - 1))


def rows(mosaic: Mosaic, *, copy: int) -> NDArray[np.bool_]:
    """Where the slices of one copy lie."""
    found = np.zeros(mosaic.shape, dtype=bool)
    for tile in mosaic.tiles:
        if tile.copy == copy:
            found[tile.window] = True
    return found


def outline(
    sheet: Sheet, field: NDArray, level: float, colour: str, *, width: float = 1.1
) -> None:
    """Draw where a field crosses a level; a field that never does draws nothing."""
    known = field[np.isfinite(field)]
    if known.size and known.min() < level < known.max():
        sheet.axes.contour(field, levels=[level], colors=[colour], linewidths=width)


def colour_bar(sheet: Sheet, mosaic: Mosaic, colours: ScalarMappable, *, label: str) -> None:
    height, width = mosaic.shape
    total_w, total_h = width + BAR_PX, height + STRIP_PX
    place = ((width + 24) / total_w, 0.2, 18 / total_w, 0.65 * height / total_h)
    bar = sheet.figure.colorbar(colours, cax=sheet.figure.add_axes(place), extend="max")
    bar.set_label(label, color=TEXT, fontsize=10)
    bar.ax.tick_params(colors=TEXT, labelsize=9)
    bar.outline.set_edgecolor(TEXT)


def finish(
    sheet: Sheet, mosaic: Mosaic, keys: Sequence[Key], *, coordinates: bool = False
) -> bytes:
    """Write letters, slice names and the legend; return the encoded picture."""
    for tile in mosaic.tiles:
        offset_mm = tile.position_mm - (0.0 if coordinates else mosaic.box.middle_mm[tile.axis])
        _write_on(sheet.axes, tile, _slice_name(tile.axis, offset_mm, coordinates=coordinates))
    if sheet.unknown.any():
        keys = [*keys, Key(UNKNOWN, "outside the field of view")]
    _legend(sheet.figure, [*keys, Key(QUIET, LEFT_IS_LEFT, line=False)])
    return webp(sheet.figure, ground=GROUND, quality=84, method=4)


def _write_on(axes: Axes, tile: Tile, name: str) -> None:
    """Write the sides into the upper corners, where heads are round, and the slice's name."""
    right, bottom, middle = tile.left + tile.width, tile.top + tile.height, tile.width / 2
    first, last = _LETTERS[tile.axis]
    for x, y, text, across, down in (
        (tile.left + 4, tile.top + 4, first, "left", "top"),
        (right - 4, tile.top + 4, last, "right", "top"),
        (tile.left + middle, bottom - 3, name, "center", "bottom"),
    ):
        axes.text(x, y, text, color=TEXT, fontsize=8, ha=across, va=down, path_effects=HALO)


def _slice_name(axis: int, offset_mm: float, *, coordinates: bool) -> str:
    """Template coordinate; in a participant's own space only the side of a sagittal slice."""
    if coordinates:
        return f"{_COORDINATE[axis]} {offset_mm:+.0f}".replace("-", "\N{MINUS SIGN}")
    if axis != SAGITTAL:
        return ""
    return f"{'left' if offset_mm < 0 else 'right'} {abs(offset_mm):.0f} mm"


def _legend(figure: Figure, keys: Sequence[Key]) -> None:
    """Write the keys in one line below the picture, smaller where a small head leaves no room."""
    width_px, height_px = figure.get_size_inches() * DPI
    y = STRIP_PX / 2 / height_px
    texts = [
        figure.text(0, y, key.label, va="center", fontsize=LEGEND_PT,
                    color=TEXT if key.line else key.colour)
        for key in keys
    ]  # fmt: skip
    needs_px = [
        text.get_window_extent().width + (54 if key.line else 26)
        for key, text in zip(keys, texts, strict=True)
    ]
    scale = min(1.0, (width_px - 24) / sum(needs_px))
    x = 12.0
    for key, text, need_px in zip(keys, texts, needs_px, strict=True):
        if key.line:
            ends = [x / width_px, (x + 22 * scale) / width_px]
            figure.add_artist(Line2D(ends, [y, y], color=key.colour, linewidth=3))
        text.set(x=(x + 28 * scale * key.line) / width_px, fontsize=LEGEND_PT * scale)
        x += need_px * scale
