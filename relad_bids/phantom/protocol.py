"""How each tracer is given and scanned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FRAME_S = 300.0
_WASHOUT_PER_S = 0.004 / 60


@dataclass(frozen=True)
class Protocol:
    """One tracer's injection and window; the windows are those of ``tracers.tsv``."""

    label: str
    """BIDS ``trc`` label."""
    name: str
    radionuclide: str
    half_life_s: float
    start_s: float
    """First frame after injection."""
    n_frames: int
    injected_mbq: float
    injected_mass_ug: float
    reference_suv: float
    """SUV of cerebellar grey matter at the start of the window, g/mL; domain knowledge."""

    def frame_starts_s(self) -> NDArray[np.float64]:
        """Return the start of each frame in seconds after injection."""
        return np.asarray(self.start_s + FRAME_S * np.arange(self.n_frames, dtype=np.float64))

    def count_shares(self) -> NDArray[np.float64]:
        """Return each frame's share of the window's counts (decay), sum 1."""
        shares = np.exp2(-(self.frame_starts_s() - self.start_s) / self.half_life_s)
        return np.asarray(shares / shares.sum())

    def washout(self) -> NDArray[np.float64]:
        """Return the common factor of each frame's decay-corrected activity."""
        return np.asarray(np.exp(-_WASHOUT_PER_S * (self.frame_starts_s() - self.start_s)))


PROTOCOLS = {
    "flortaucipir": Protocol(
        label="18FAV1451",
        name="AV1451",
        radionuclide="F18",
        half_life_s=6586.2,
        start_s=80 * 60,
        n_frames=4,
        injected_mbq=370.0,
        injected_mass_ug=1.5,
        reference_suv=0.95,
    ),
    "pib": Protocol(
        label="11CPIB",
        name="PIB",
        radionuclide="C11",
        half_life_s=1221.84,
        start_s=50 * 60,
        n_frames=4,
        injected_mbq=555.0,
        injected_mass_ug=2.0,
        reference_suv=0.85,
    ),
    "pbr28": Protocol(
        label="11CPBR28",
        name="PBR28",
        radionuclide="C11",
        half_life_s=1221.84,
        start_s=60 * 60,
        n_frames=6,
        injected_mbq=600.0,
        injected_mass_ug=2.5,
        reference_suv=1.10,
    ),
}
