"""How the head moved between the frames of a measured PET, and whether that was undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import ndimage

from relad_bids.pet.frames import HIGH_MM, worst_frame
from relad_bids.reports.charts import DPI, INK, LINE, MODEL_COLOURS
from relad_bids.reports.encoding import webp
from relad_bids.reports.figures import OUTLINE, WARNING, grey_of
from relad_bids.reports.sheet import TEXT, Key, finish, open_sheet, outline, rows
from relad_bids.reports.slices import Mosaic, Volume, box_of, read_volume

BRAIN_SHARE = 0.55
"""Of the 98th percentile: a line around the brain, and not around the neck's noise."""

COUNTS, PIXEL_MM = (10, 10, 8), 1.5
"""More and smaller slices than elsewhere: the lines count, and PET has no finer detail."""

MARGIN_MM = 10.0


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What the step that lays frames on their mean found."""

    frames: Sequence[int]
    """Numbers of the frames that count, from 1."""
    shift_mm: Sequence[float]
    """How far each was moved, at the middle of the uptake."""
    rotation_deg: Sequence[float]
    before: Path
    """Mean of the frames as they lay, on the scan's grid."""
    after: Path
    """Mean of the frames laid on each other."""
    worst_before: Path
    """The frame that had moved most, as it lay."""
    worst_after: Path
    """The same, laid on the mean."""

    @property
    def worst(self) -> int:
        """Number of the frame that had moved most."""
        return self.frames[worst_frame(self.shift_mm, self.rotation_deg)]


def trace_figure(motion: Motion, *, tracer: str) -> bytes:
    """Millimetres and degrees of each frame, with the bound of the flag."""
    figure = Figure(figsize=(9.4, 2.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for values, name, colour in (
        (motion.shift_mm, "shift, mm", MODEL_COLOURS[0]),
        (motion.rotation_deg, "rotation, degrees", MODEL_COLOURS[1]),
    ):
        axes.plot(motion.frames, values, marker="o", markersize=3.5, color=colour, label=name)
    axes.axhline(HIGH_MM, color=INK, linewidth=0.9, linestyle="--", label="bound of the flag")
    axes.set_ylim(0, 1.15 * max(HIGH_MM, *motion.shift_mm, *motion.rotation_deg))
    axes.set_xlabel("frame of the scan", fontsize=8.5, color=INK)
    axes.set_title(f"measured {tracer}, n = {len(motion.frames)} frames that count",
                   fontsize=9.5, color=INK, loc="left")  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=LINE, linewidth=0.5)
    axes.tick_params(labelsize=8, colors=INK)
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    return webp(figure, ground="#ffffff")


def moved_figure(motion: Motion, *, tracer: str) -> bytes:
    """The mean before and after, with the outline of the frame that had moved most."""
    before, after, worst_before, worst_after = map(
        read_volume, (motion.before, motion.after, motion.worst_before, motion.worst_after)
    )
    head = Volume((_smooth(after) > _level(after)).astype(np.float32), after.affine)
    box = box_of(head, margin_mm=MARGIN_MM)
    mosaic = Mosaic(box=box, pixel_mm=PIXEL_MM, counts=COUNTS, copies=2)
    upper = rows(mosaic, copy=0)
    picture = np.where(upper, mosaic.draw(before), mosaic.draw(after))
    sheet = open_sheet(mosaic, grey_of(picture, mosaic.draw(head) > 0.5))
    for mean, frame, where in ((before, worst_before, upper), (after, worst_after, ~upper)):
        for volume, colour in ((mean, TEXT), (frame, OUTLINE)):
            smooth = mosaic.draw(Volume(_smooth(volume), volume.affine))
            outline(sheet, np.where(where, smooth, np.nan), _level(volume), colour, width=0.9)
    keys = [
        Key(WARNING, f"measured {tracer}", line=False),
        Key(TEXT, "outline of the mean"),
        Key(OUTLINE, f"outline of frame {motion.worst}, which had moved most"),
        Key(TEXT, "upper rows: before; lower rows: after", line=False),
    ]
    return finish(sheet, mosaic, keys)


def _smooth(volume: Volume) -> np.ndarray:
    """8 mm: frames of a few minutes are noise at the scanner's own resolution."""
    sigma = 8.0 / np.sqrt(8 * np.log(2)) / volume.zooms_mm
    return np.asarray(ndimage.gaussian_filter(np.nan_to_num(volume.data), sigma), dtype=np.float32)


def _level(volume: Volume) -> float:
    return BRAIN_SHARE * float(np.percentile(_smooth(volume), 98))
