"""Whom the models are asked about: participants with MRI and the PET that answers are held to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from relad_bids.core.intensity import normalise_mri, stack_mri
from relad_bids.model.card import Card
from relad_bids.sessions import session_label


@dataclass(frozen=True, eq=False)
class Images:
    """One session on the grid of the networks; arrays (I, J, K)."""

    t1w: NDArray[np.float32]
    """Any unit: each network's contract is applied when it is asked."""
    flair: NDArray[np.float32] | None
    mask: NDArray[np.bool_]
    """Brain."""
    suvr: Mapping[str, NDArray[np.float32]]
    """Canonical tracer name -> the SUVr that answers are held to, not clipped to any range."""

    @property
    def sequences(self) -> dict[str, NDArray[np.float32] | None]:
        """BIDS suffix -> image."""
        return {"T1w": self.t1w, "FLAIR": self.flair}

    def mri(self, card: Card) -> NDArray[np.float32]:
        """What a network is shown (S, I, J, K), in [-1, 1] by its card."""
        shown = {
            name: None
            if image is None
            else normalise_mri(image, self.mask, card.mri_contract).data
            for name, image in self.sequences.items()
        }
        return stack_mri(shown, card.sequences)


@dataclass(frozen=True, eq=False)
class Case:
    """One session; its images are made or read when asked for, and kept by nobody."""

    subject: str
    """Label without ``sub-``."""
    session: str | None
    tracers: tuple[str, ...]
    """Canonical names of the PET there is."""
    images: Callable[[], Images]
    covariates: Mapping[str, float] = field(default_factory=dict)
    """``age`` in years and ``female`` (0 or 1), where they are known."""

    @property
    def participant_id(self) -> str:
        return f"sub-{self.subject}"

    @property
    def label(self) -> str:
        """``sub-01_ses-a``."""
        return session_label(self.subject, self.session)

    def seed(self, base: int, tracer: str) -> int:
        """The seed that the app gives this synthesis (:meth:`relad_bids.sessions.Unit.seed`)."""
        digest = hashlib.sha256(f"{base}/{self.label}_trc-{tracer}".encode()).digest()
        return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True, eq=False)
class Answer:
    """What one model says of one participant and tracer; activity whose zero is true zero."""

    samples: NDArray[np.float32]
    """(M, I, J, K); 0 outside the brain. Of M = 1 there is no spread."""

    @property
    def estimate(self) -> NDArray[np.float32]:
        """The posterior mean (I, J, K)."""
        return np.asarray(self.samples.mean(0))
