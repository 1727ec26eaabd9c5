import gc
import io
import weakref

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from relad_bids.reports.encoding import webp


def test_a_picture_is_whole_and_leaves_no_memory_behind():
    """Its array is gone at once, although nobody looks for circles."""
    figure = Figure(figsize=(3, 2), dpi=50, facecolor="#000000")
    axes = figure.add_axes((0, 0, 0.5, 1))
    axes.set_axis_off()
    drawn = axes.imshow(np.full((10, 10, 3), 200, dtype=np.uint8), aspect="auto")
    seen = weakref.ref(drawn)
    del axes, drawn
    gc.disable()
    try:
        found = Image.open(io.BytesIO(webp(figure, ground="#ff0000", lossless=True)))
        assert seen() is None
    finally:
        gc.enable()
    pixels = np.asarray(found.convert("RGB"))
    assert pixels.shape == (100, 150, 3)
    assert (pixels[:, 2:70] == 200).all()
    assert (pixels[:, 80:] == [255, 0, 0]).all()
