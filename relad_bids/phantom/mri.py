"""T1w and FLAIR contrasts, bias fields and noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.grid import Grid
from relad_bids.phantom.anatomy import Tissue, label_table
from relad_bids.phantom.fields import smooth_noise

# T1w of deep nuclei lies between cortex and white matter (iron, myelin).
_DEEP_T1W = {10: 0.80, 13: 0.88, 12: 0.76, 11: 0.72, 28: 0.85, 26: 0.72}
_DEEP_T1W |= {49: 0.80, 52: 0.88, 51: 0.76, 50: 0.72, 60: 0.85, 58: 0.72}
_BIAS_MM = 45.0


class Contrast(NamedTuple):
    """Intensity of each tissue; white matter is 1."""

    gm: float
    wm: float
    csf: float
    wmh: float


T1W = Contrast(gm=0.70, wm=1.0, csf=0.25, wmh=0.80)
FLAIR = Contrast(gm=1.25, wm=1.0, csf=0.20, wmh=1.85)


def draw_contrast(contrast: Contrast, generator: np.random.Generator) -> Contrast:
    """Vary a contrast by 3 % (SD) a tissue, as sequences differ between scanners."""
    return Contrast(*(np.array(contrast) * (1 + 0.03 * generator.standard_normal(4))))


def render(tissue: Tissue, contrast: Contrast, *, deep_nuclei: bool) -> NDArray[np.float32]:
    """Return the noise-free brain (I, J, K), 0 outside.

    ``deep_nuclei`` brightens thalamus and lentiform nucleus as on T1w.
    """
    healthy = tissue.wm - tissue.wmh
    gm = tissue.gm * np.float32(contrast.gm)
    if deep_nuclei:
        factor = label_table({k: v / T1W.gm for k, v in _DEEP_T1W.items()}, default=1.0)
        gm = gm * factor.astype(np.float32)[tissue.gm_label]
    return np.asarray(
        gm + contrast.wm * healthy + contrast.csf * tissue.csf + contrast.wmh * tissue.wmh,
        dtype=np.float32,
    )


def bias_field(
    grid: Grid, generator: np.random.Generator, *, amplitude: float
) -> NDArray[np.float32]:
    """Draw a smooth factor within ``1 +- amplitude``, mean about 1."""
    return np.asarray(1 + amplitude * np.tanh(smooth_noise(grid, generator, sigma_mm=_BIAS_MM)))


def add_rician_noise(
    image: NDArray[np.floating], generator: np.random.Generator, *, sigma: float
) -> NDArray[np.float32]:
    """Return the magnitude of ``image`` plus complex Gaussian noise of SD ``sigma``."""
    real = image + sigma * generator.standard_normal(image.shape, dtype=np.float32)
    imaginary = sigma * generator.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary), dtype=np.float32)
