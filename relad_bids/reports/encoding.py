"""From a figure to the bytes that stand in a page."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure


def webp(figure: Figure, *, ground: str, **settings: Any) -> bytes:
    """Draw a figure as WebP, and empty it.

    Axes and pictures hold each other in circles: a page's figures would stay in memory together,
    500 MB of them, until Python looks for circles.

    Parameters
    ----------
    figure
        Nothing can be drawn on it afterwards.
    ground
        Colour behind it.
    settings
        Of Pillow's encoder.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="webp", facecolor=ground, pil_kwargs=settings)
    figure.clear()
    return buffer.getvalue()
