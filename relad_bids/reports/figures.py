"""The pictures of a session page, each as the bytes of one WebP image.

WebP, because a page of six mosaics then stays below 3 MB without visible loss. Figures are
made without pyplot: no window system, no state shared between pages.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from relad_bids.reports.slices import AXIAL, CORONAL, SAGITTAL, Mosaic, Tile, Volume, box_of

MIME = "image/webp"
DPI = 100
PIXEL_MM = 1.0
"""No head scan shows more, and a row of seven heads is then as wide as a page."""
HEAD_MARGIN_MM = 14.0
"""Scalp and skull stay visible, so that a mask that cuts or leaks can be seen."""
BRAIN_MARGIN_MM = 6.0
STRIP_PX, BAR_PX = 34, 110
LEGEND_PT = 9.5
CHECKER_MM = 22.0

OUTLINE, EDGE, REFERENCE, WARNING = "#ff5d5d", "#ffd54a", "#63f5ff", "#ffb454"
GROUND, UNKNOWN, TEXT, QUIET = "#000000", "#343a46", "#d7dde6", "#9aa4b2"
HALO = (Stroke(linewidth=2, foreground=GROUND), Normal())
PET_COLOURS = "inferno"
"""Even in lightness, and readable to the colour-blind."""

LEFT_IS_LEFT = "left is the participant's left (neurological)"
_LETTERS = {AXIAL: "LR", CORONAL: "LR", SAGITTAL: "AP"}
_COORDINATE = {AXIAL: "z", CORONAL: "y", SAGITTAL: "x"}


class Key(NamedTuple):
    """One entry of a legend; a colour of its own, or a sentence without a line."""

    colour: str
    label: str
    line: bool = True


def head_mosaic(mask: Volume) -> Mosaic:
    """Slices through a participant's head, the same for every picture in T1w space."""
    return Mosaic(box=box_of(mask, margin_mm=HEAD_MARGIN_MM), pixel_mm=PIXEL_MM)


def mask_figure(t1w: Volume, mask: Volume, mosaic: Mosaic) -> bytes:
    """T1w with the outline of the brain mask."""
    inside = mosaic.draw(mask)
    sheet = _sheet(mosaic, _grey(mosaic.draw(t1w), inside > 0.5))
    _outline(sheet, inside, 0.5, OUTLINE)
    return _finish(sheet, mosaic, [Key(OUTLINE, "brain mask")])


def registration_figure(t1w: Volume, template: Volume) -> bytes:
    """Participant in template space, with the template's edges, above the template.

    Parameters
    ----------
    t1w
        On any grid in template space, with or without skull.
    template
        Brain only, 0 outside.
    """
    brain = Volume((template.data > 0).astype(np.float32), template.affine)
    box = box_of(brain, margin_mm=BRAIN_MARGIN_MM)
    mosaic = Mosaic(box=box, pixel_mm=PIXEL_MM, counts=(7, 7, 6), copies=2)
    inside = mosaic.draw(brain)
    upper, lower = mosaic.draw(t1w, copy=0), mosaic.draw(template, copy=1)
    grey = np.fmax(_grey(upper, inside > 0.5), _grey(lower, inside > 0.5))
    sheet = _sheet(mosaic, grey)
    _outline(sheet, inside, 0.5, OUTLINE)
    _tissue_edges(sheet, mosaic.draw(template, copy=0), inside > 0.5)
    keys = [
        Key(OUTLINE, "brain of the template"),
        Key(EDGE, "its grey-white border"),
        Key(TEXT, "upper rows: participant; lower rows: template", line=False),
    ]
    return _finish(sheet, mosaic, keys, coordinates=True)


def flair_figure(flair: Volume, t1w: Volume, mask: Volume) -> bytes:
    """FLAIR with edges taken from the T1w, above a chessboard of both."""
    box = box_of(mask, margin_mm=HEAD_MARGIN_MM)
    mosaic = Mosaic(box=box, pixel_mm=PIXEL_MM, copies=2)
    inside = mosaic.draw(mask)
    brain = inside > 0.5
    anatomy = mosaic.draw(t1w)
    grey = _grey(mosaic.draw(flair), brain)
    board = _chessboard(mosaic)
    sheet = _sheet(mosaic, np.where(board, _grey(anatomy, brain), grey))
    upper = _rows(mosaic, copy=0)
    _outline(sheet, np.where(upper, inside, np.nan), 0.5, OUTLINE)
    _tissue_edges(sheet, np.where(upper, anatomy, np.nan), brain)
    keys = [
        Key(OUTLINE, "brain mask (from T1w)"),
        Key(EDGE, "grey-white border of the T1w"),
        Key(TEXT, "upper rows: FLAIR; lower rows: T1w and FLAIR in turn", line=False),
    ]
    return _finish(sheet, mosaic, keys)


def pet_figure(
    suvr: Volume,
    mask: Volume,
    reference: Volume,
    mosaic: Mosaic,
    *,
    tracer: str,
    suvr_max: float,
) -> bytes:
    """Synthetic SUVr in colours of a fixed range, with the reference region.

    Parameters
    ----------
    suvr
        Unitless; NaN outside the field of view.
    mask, reference
        Brain mask and reference region, 0 / 1.
    mosaic
        The slices of :func:`mask_figure`, so that both can be compared.
    tracer
        Named in the picture beside the word "synthetic": a picture that is copied out of
        its page still says what it is.
    suvr_max
        Value of the brightest colour; the same for every participant.
    """
    values = mosaic.draw(suvr)
    colours = ScalarMappable(norm=Normalize(0.0, suvr_max), cmap=mpl.colormaps[PET_COLOURS])
    rgb = colours.to_rgba(np.nan_to_num(values))[..., :3]
    sheet = _sheet(mosaic, rgb, unknown=_tiled(mosaic) & np.isnan(values), right_px=BAR_PX)
    _outline(sheet, mosaic.draw(mask), 0.5, TEXT, width=0.7)
    _outline(sheet, mosaic.draw(reference), 0.5, REFERENCE)
    _colour_bar(sheet, mosaic, colours)
    keys = [
        Key(WARNING, f"SYNTHETIC {tracer}: estimated from MRI, not a measurement", line=False),
        Key(REFERENCE, "reference region"),
        Key(TEXT, "brain mask"),
    ]
    return _finish(sheet, mosaic, keys)


class _Sheet(NamedTuple):
    figure: Figure
    axes: Axes
    unknown: NDArray[np.bool_]


def _sheet(
    mosaic: Mosaic,
    picture: NDArray,
    *,
    unknown: NDArray[np.bool_] | None = None,
    right_px: int = 0,
) -> _Sheet:
    """Put a picture, grey in [0, 1] or RGB, on a dark figure, one pixel to a pixel."""
    if unknown is None:
        unknown = _tiled(mosaic) & np.isnan(picture)
    rgb = picture if picture.ndim == 3 else np.repeat(np.nan_to_num(picture)[..., None], 3, 2)
    rgb = np.where(_tiled(mosaic)[..., None], rgb, to_rgb(GROUND))
    rgb[unknown] = to_rgb(UNKNOWN)
    pixels = np.rint(255 * rgb).astype(np.uint8)  # Matplotlib is slow on floats
    height, width = mosaic.shape
    total = (width + right_px, height + STRIP_PX)
    figure = Figure(figsize=(total[0] / DPI, total[1] / DPI), dpi=DPI, facecolor=GROUND)
    place = (0.0, STRIP_PX / total[1], width / total[0], height / total[1])
    axes = figure.add_axes(place)
    axes.set_axis_off()
    axes.imshow(pixels, interpolation="none", aspect="auto")
    return _Sheet(figure, axes, unknown)


def _tiled(mosaic: Mosaic) -> NDArray[np.bool_]:
    """Where the mosaic holds slices, and not the gaps between them."""
    return np.logical_or(_rows(mosaic, copy=0), _rows(mosaic, copy=mosaic.copies - 1))


def _rows(mosaic: Mosaic, *, copy: int) -> NDArray[np.bool_]:
    found = np.zeros(mosaic.shape, dtype=bool)
    for tile in mosaic.tiles:
        if tile.copy == copy:
            found[tile.window] = True
    return found


def _chessboard(mosaic: Mosaic) -> NDArray[np.bool_]:
    """Squares of the lower rows in which the other image is shown."""
    field_px = round(CHECKER_MM / mosaic.pixel_mm)
    found = np.zeros(mosaic.shape, dtype=bool)
    for tile in (tile for tile in mosaic.tiles if tile.copy == 1):
        down, across = np.indices((tile.height, tile.width)) // field_px
        found[tile.window] = (down + across) % 2 == 0
    return found


def _grey(values: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scale so that the brain fills the greys, with a little left for what is brighter."""
    known = values[brain & np.isfinite(values)]
    if not known.size:
        return values * 0
    low, high = np.percentile(known, (0.5, 99.5))
    return np.asarray(np.clip((values - low) / max(1.1 * (high - low), 1e-6), 0, 1))


def _outline(
    sheet: _Sheet, field: NDArray, level: float, colour: str, *, width: float = 1.1
) -> None:
    """Draw where a field crosses a level; a field that never does draws nothing."""
    known = field[np.isfinite(field)]
    if known.size and known.min() < level < known.max():
        sheet.axes.contour(
            np.ma.masked_invalid(field), levels=[level], colors=[colour], linewidths=width
        )


def _tissue_edges(sheet: _Sheet, t1w: NDArray[np.float32], brain: NDArray[np.bool_]) -> None:
    """Draw the border of grey and white matter: the upper of two Otsu thresholds."""
    values = t1w[brain & np.isfinite(t1w)]
    if np.unique(values).size < 4:
        return
    level = float(threshold_multiotsu(values, classes=3, nbins=128)[1])
    smooth = ndimage.gaussian_filter(np.where(brain, np.nan_to_num(t1w), 0), sigma=1.2)
    _outline(sheet, np.where(np.isfinite(t1w), smooth, np.nan), level, EDGE, width=0.7)


def _colour_bar(sheet: _Sheet, mosaic: Mosaic, colours: ScalarMappable) -> None:
    height, width = mosaic.shape
    total_w, total_h = width + BAR_PX, height + STRIP_PX
    place = ((width + 24) / total_w, 0.2, 18 / total_w, 0.65 * height / total_h)
    bar = sheet.figure.colorbar(colours, cax=sheet.figure.add_axes(place), extend="max")
    bar.set_label("SUVr (synthetic)", color=TEXT, fontsize=10)
    bar.ax.tick_params(colors=TEXT, labelsize=9)
    bar.outline.set_edgecolor(TEXT)


def _finish(
    sheet: _Sheet, mosaic: Mosaic, keys: Sequence[Key], *, coordinates: bool = False
) -> bytes:
    """Write letters, slice names and the legend; return the encoded picture."""
    for tile in mosaic.tiles:
        offset_mm = tile.position_mm - (0.0 if coordinates else mosaic.box.middle_mm[tile.axis])
        _write_on(sheet.axes, tile, _slice_name(tile.axis, offset_mm, coordinates=coordinates))
    if sheet.unknown.any():
        keys = [*keys, Key(UNKNOWN, "outside the field of view")]
    _legend(sheet.figure, [*keys, Key(QUIET, LEFT_IS_LEFT, line=False)])
    buffer = io.BytesIO()
    sheet.figure.savefig(
        buffer, format="webp", facecolor=GROUND, pil_kwargs={"quality": 84, "method": 4}
    )
    return buffer.getvalue()


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
    scale = min(1.0, width_px / sum(needs_px))
    x = 12.0
    for key, text, need_px in zip(keys, texts, needs_px, strict=True):
        if key.line:
            ends = [x / width_px, (x + 22 * scale) / width_px]
            figure.add_artist(Line2D(ends, [y, y], color=key.colour, linewidth=3))
        text.set(x=(x + 28 * scale * key.line) / width_px, fontsize=LEGEND_PT * scale)
        x += need_px * scale
