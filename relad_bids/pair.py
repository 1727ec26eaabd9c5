"""One session that a network can learn from: its MRI and its measured PET, as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relad_bids.sessions import session_label


@dataclass(frozen=True)
class Pair:
    """Images of one session, all on the grid of one network."""

    subject: str
    session: str | None
    t1w: Path
    """Original intensities: whoever reads it applies an intensity contract of their own."""
    flair: Path | None
    mask: Path
    """Brain."""
    pet: Mapping[str, Path]
    """Canonical tracer name -> measured SUVr; a tracer that was not scanned is not there."""

    @property
    def label(self) -> str:
        """``sub-01_ses-a``."""
        return session_label(self.subject, self.session)
