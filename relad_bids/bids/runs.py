"""Several runs of one MRI in a session: reading what they are chosen by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np

from relad_bids.bids.images import require_readable, require_usable
from relad_bids.core.run_quality import RunQuality, run_quality
from relad_bids.errors import ImageError


def measure_run(path: Path) -> RunQuality | None:
    """Return the figures of one image; None where it cannot be used at all."""
    try:
        require_usable(path)
    except ImageError:
        return None
    image: Any = nb.load(path)
    data = np.asanyarray(image.dataobj).reshape(image.shape[:3])
    return run_quality(data, require_readable(path).zooms)
