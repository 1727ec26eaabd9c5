"""The pictures of a session page, each as the bytes of one WebP image.

WebP, because a page of six mosaics then stays below 3 MB without visible loss. Figures are
made without pyplot: no window system, no state shared between pages.
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from relad_bids.reports.sheet import (
    BAR_PX,
    TEXT,
    Key,
    Sheet,
    colour_bar,
    finish,
    open_sheet,
    outline,
    rows,
    tiled,
)
from relad_bids.reports.slices import Mosaic, Volume, box_of

MIME = "image/webp"
PIXEL_MM = 1.0
"""No head scan shows more, and a row of seven heads is then as wide as a page."""
HEAD_MARGIN_MM = 14.0
"""Scalp and skull stay visible, so that a mask that cuts or leaks can be seen."""
BRAIN_MARGIN_MM = 6.0
CHECKER_MM = 22.0

ISO_LINES = {0.5: "#ff9f43", 0.75: "#ffd54a"}
"""Shares of the brain's median uptake along which lines are drawn on the T1w: around the brain,
and where cortex gives way to CSF. At the median itself they would follow noise."""

OUTLINE, EDGE, REFERENCE, WARNING = "#ff5d5d", "#ffd54a", "#63f5ff", "#ffb454"
PET_COLOURS = "inferno"
"""Even in lightness, and readable to the colour-blind."""


def head_mosaic(mask: Volume) -> Mosaic:
    """Slices through a participant's head, the same for every picture in T1w space."""
    return Mosaic(box=box_of(mask, margin_mm=HEAD_MARGIN_MM), pixel_mm=PIXEL_MM)


def mask_figure(t1w: Volume, mask: Volume, mosaic: Mosaic) -> bytes:
    """T1w with the outline of the brain mask."""
    inside = mosaic.draw(mask)
    sheet = open_sheet(mosaic, grey_of(mosaic.draw(t1w), inside > 0.5))
    outline(sheet, inside, 0.5, OUTLINE)
    return finish(sheet, mosaic, [Key(OUTLINE, "brain mask")])


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
    grey = np.fmax(grey_of(upper, inside > 0.5), grey_of(lower, inside > 0.5))
    sheet = open_sheet(mosaic, grey)
    outline(sheet, inside, 0.5, OUTLINE)
    _tissue_edges(sheet, mosaic.draw(template, copy=0), inside > 0.5)
    keys = [
        Key(OUTLINE, "brain of the template"),
        Key(EDGE, "its grey-white border"),
        Key(TEXT, "upper rows: participant; lower rows: template", line=False),
    ]
    return finish(sheet, mosaic, keys, coordinates=True)


def flair_figure(flair: Volume, t1w: Volume, mask: Volume) -> bytes:
    """FLAIR with edges taken from the T1w, above a chessboard of both."""
    box = box_of(mask, margin_mm=HEAD_MARGIN_MM)
    mosaic = Mosaic(box=box, pixel_mm=PIXEL_MM, copies=2)
    inside = mosaic.draw(mask)
    brain = inside > 0.5
    anatomy = mosaic.draw(t1w)
    grey = grey_of(mosaic.draw(flair), brain)
    board = _chessboard(mosaic)
    sheet = open_sheet(mosaic, np.where(board, grey_of(anatomy, brain), grey))
    upper = rows(mosaic, copy=0)
    outline(sheet, np.where(upper, inside, np.nan), 0.5, OUTLINE)
    _tissue_edges(sheet, np.where(upper, anatomy, np.nan), brain)
    keys = [
        Key(OUTLINE, "brain mask (from T1w)"),
        Key(EDGE, "grey-white border of the T1w"),
        Key(TEXT, "upper rows: FLAIR; lower rows: T1w and FLAIR in turn", line=False),
    ]
    return finish(sheet, mosaic, keys)


def pet_figure(
    suvr: Volume,
    mask: Volume,
    reference: Volume,
    mosaic: Mosaic,
    *,
    tracer: str,
    suvr_max: float,
    reference_name: str = "reference region",
    synthetic: bool = True,
) -> bytes:
    """SUVr in colours of a fixed range, with the reference region.

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
    reference_name
        What the legend calls the line around ``reference``.
    synthetic
        Whether a network made the image, which is then written on it.
    """
    values = mosaic.draw(suvr)
    colours = ScalarMappable(norm=Normalize(0.0, suvr_max), cmap=mpl.colormaps[PET_COLOURS])
    rgb = colours.to_rgba(np.nan_to_num(values))[..., :3]
    sheet = open_sheet(mosaic, rgb, unknown=tiled(mosaic) & np.isnan(values), right_px=BAR_PX)
    outline(sheet, mosaic.draw(mask), 0.5, TEXT, width=0.7)
    outline(sheet, mosaic.draw(reference), 0.5, REFERENCE)
    kind = "synthetic" if synthetic else "measured"
    colour_bar(sheet, mosaic, colours, label=f"SUVr ({kind})")
    told = f"SYNTHETIC {tracer}: estimated from MRI, not a measurement"
    keys = [
        Key(WARNING, told, line=False)
        if synthetic
        else Key(TEXT, f"measured {tracer}", line=False),
        Key(REFERENCE, reference_name),
        Key(TEXT, "brain mask"),
    ]
    return finish(sheet, mosaic, keys)


def coregistration_figure(
    suvr: Volume, t1w: Volume, mask: Volume, mosaic: Mosaic, *, tracer: str, suvr_max: float
) -> bytes:
    """T1w with lines of equal uptake, above the PET with the edges of the T1w.

    Parameters
    ----------
    suvr, t1w, mask, tracer, suvr_max
        As in :func:`pet_figure`; a measured PET.
    mosaic
        With two copies.
    """
    values, anatomy, inside = mosaic.draw(suvr), mosaic.draw(t1w), mosaic.draw(mask)
    upper, brain = rows(mosaic, copy=0), mosaic.draw(mask) > 0.5
    colours = ScalarMappable(norm=Normalize(0.0, suvr_max), cmap=mpl.colormaps[PET_COLOURS])
    grey = np.repeat(np.nan_to_num(grey_of(anatomy, brain))[..., None], 3, 2)
    picture = np.where(upper[..., None], grey, colours.to_rgba(np.nan_to_num(values))[..., :3])
    unknown = tiled(mosaic) & ~upper & np.isnan(values)
    sheet = open_sheet(mosaic, picture, unknown=unknown)
    smooth = ndimage.gaussian_filter(np.nan_to_num(values), sigma=1.5)
    for share, colour in ISO_LINES.items():
        level = share * float(np.nanmedian(values[brain]))
        outline(sheet, np.where(upper, smooth, np.nan), level, colour, width=0.8)
    outline(sheet, np.where(upper, np.nan, inside), 0.5, TEXT, width=0.9)
    _tissue_edges(sheet, np.where(upper, np.nan, anatomy), brain, colour=REFERENCE)
    keys = [
        Key(TEXT, f"measured {tracer}, below the T1w", line=False),
        *(Key(c, f"{share:g} of its median") for share, c in ISO_LINES.items()),
        Key(TEXT, "brain mask"),
        Key(REFERENCE, "grey-white border"),
    ]
    return finish(sheet, mosaic, keys)


def _chessboard(mosaic: Mosaic) -> NDArray[np.bool_]:
    """Squares of the lower rows in which the other image is shown."""
    field_px = round(CHECKER_MM / mosaic.pixel_mm)
    found = np.zeros(mosaic.shape, dtype=bool)
    for tile in (tile for tile in mosaic.tiles if tile.copy == 1):
        down, across = np.indices((tile.height, tile.width)) // field_px
        found[tile.window] = (down + across) % 2 == 0
    return found


def grey_of(values: NDArray[np.float32], brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scale so that the brain fills the greys, with a little left for what is brighter."""
    known = values[brain & np.isfinite(values)]
    if not known.size:
        return values * 0
    low, high = np.percentile(known, (0.5, 99.5))
    return np.asarray(np.clip((values - low) / max(1.1 * (high - low), 1e-6), 0, 1))


def _tissue_edges(
    sheet: Sheet, t1w: NDArray[np.float32], brain: NDArray[np.bool_], *, colour: str = EDGE
) -> None:
    """Draw the border of grey and white matter: the upper of two Otsu thresholds."""
    values = t1w[brain & np.isfinite(t1w)]
    if np.unique(values).size < 4:
        return
    level = float(threshold_multiotsu(values, classes=3, nbins=128)[1])
    smooth = ndimage.gaussian_filter(np.where(brain, np.nan_to_num(t1w), 0), sigma=1.2)
    outline(sheet, np.where(np.isfinite(t1w), smooth, np.nan), level, colour, width=0.7)
