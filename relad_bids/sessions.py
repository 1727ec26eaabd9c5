"""What a run works on: scans, sessions, what was found for them, and what is left out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relad_bids.pet.reading import Reading
from relad_bids.pet.sharpness import UNKNOWN, Sharpness
from relad_bids.runs import Choice


@dataclass(frozen=True)
class Scan:
    """One file of the dataset and the BIDS entities in its name."""

    path: Path
    entities: Mapping[str, str]
    """Long names (``subject``, ``session``, ``run``, ``suffix`` ...) -> text as in the file
    name; what the name does not say is not there."""


@dataclass(frozen=True)
class Measured:
    """One measured PET scan that is quantified."""

    path: Path
    subject: str
    session: str | None
    """Of the PET; its MRI may lie in another one."""
    tracer: str
    """Canonical name."""
    entities: Mapping[str, str]
    """``trc``, and ``rec`` and ``run`` where the scan has them: what its derivatives are named by.
    """
    reading: Reading
    """What its sidecar decides."""
    sharpness: Sharpness = UNKNOWN
    """How sharp it is, and what it is smoothed to."""

    @property
    def label(self) -> str:
        return session_label(self.subject, self.session)

    @property
    def node_name(self) -> str:
        """Its name in the session's graph."""
        session = f"ses_{self.session}_" if self.session else ""
        return f"{session}{self.tracer}".replace("+", "__")


@dataclass(frozen=True)
class Unread:
    """A measured PET scan that cannot be quantified, and why."""

    label: str
    """Of its session."""
    path: Path
    reason: str
    missed: Measured | None = None
    """Where it missed its tracer's window and nothing else: what its table says, n/a in each row.
    """


@dataclass(frozen=True)
class Labels:
    """The user's own parcellation of a T1w, in FreeSurfer numbers."""

    path: Path
    source: str
    """``freesurfer``, ``fastsurfer``, or the name of the derivatives: column ``voi_source``."""
    atlas: str
    """Label of the BIDS entity ``atlas-``."""
    uri: str
    """Its BIDS URI, in which no folder of the machine is named."""


@dataclass(frozen=True)
class Atlas:
    """One more parcellation, of which every PET gets a table of its own."""

    path: Path
    space: str
    """Template space in which it lies."""
    entities: Mapping[str, str]
    """``atlas``, and ``seg`` and ``scale`` where it has them: what its files are named by."""
    regions: tuple[tuple[int, str], ...]
    """Label numbers and their names."""
    uri: str
    """Its BIDS URI, in which no folder of the machine is named."""

    @property
    def label(self) -> str:
        """``atlas-Schaefer2018_seg-100Parcels7Networks``"""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items())

    @property
    def node_name(self) -> str:
        """Its name in a session's graph."""
        return "_".join(self.entities.values()).replace("+", "__")


@dataclass(frozen=True)
class Lesion:
    """Voxels that a registration and a scale of intensities should not follow."""

    path: Path
    on: Literal["T1w", "FLAIR"]
    """The image on which it was drawn."""
    uri: str
    """Its BIDS URI, in which no folder of the machine is named."""


@dataclass(frozen=True)
class Derived:
    """A file of somebody's derivatives."""

    path: Path
    source: str
    """Name of the dataset."""
    uri: str


@dataclass(frozen=True)
class Reused:
    """Files that take the place of own steps; None where the own step is done."""

    t1w: Derived | None = None
    """Corrected T1w, in place of N4."""
    mask: Derived | None = None
    """Brain of it, in place of the brain extraction."""
    to_template: Derived | None = None
    from_template: Derived | None = None
    """ITK composites from the T1w to the checkpoint's space and back, in place of SyN; both or
    none."""

    def steps(self) -> dict[str, Derived]:
        """Replaced step -> what replaces it."""
        named = {"bias-correction": self.t1w, "brain-mask": self.mask, "warp": self.to_template}
        return {name: derived for name, derived in named.items() if derived}


NOTHING_REUSED = Reused()


@dataclass(frozen=True)
class Unit:
    """One participant's session: what is prepared once, for all tracers."""

    subject: str
    session: str | None
    t1w: Path
    flair: Path | None
    tracers: tuple[str, ...]
    """To be synthesised; empty for a session whose measured PET alone is quantified."""
    measured: tuple[Measured, ...] = ()
    unread: tuple[Unread, ...] = ()
    """Measured PET of the session that is left alone."""
    flair_missing: bool = False
    """Whether it lacks the FLAIR that its synthesis would have seen."""
    flair_problem: str = ""
    """Why the FLAIR that is there is not used; empty where there is none, or it is used."""
    labels: Labels | None = None
    """The user's own labels; None where the packaged ones are warped onto the T1w."""
    atlases: tuple[Atlas, ...] = ()
    """More parcellations; each is one job of the session."""
    suit: Atlas | None = None
    """Lobules of the cerebellum, by which its inferior part is drawn where the user has them."""
    t1w_choice: Choice | None = None
    flair_choice: Choice | None = None
    """Where the session has several runs of it."""
    lesion: Lesion | None = None
    reused: Reused = NOTHING_REUSED

    @property
    def anatomy(self) -> Path:
        """The T1w that is prepared: of the dataset, or of derivatives."""
        return self.reused.t1w.path if self.reused.t1w else self.t1w

    @property
    def missed(self) -> tuple[Measured, ...]:
        """Measured PET that missed its tracer's window: tables without values."""
        return tuple(one.missed for one in self.unread if one.missed)

    @property
    def label(self) -> str:
        """``sub-01_ses-a``: the head of every file name and the name in every message."""
        return session_label(self.subject, self.session)

    @property
    def graph_name(self) -> str:
        """``sub_01_ses_a_wf``; Nipype's names take no ``+``, which BIDS allows in a label."""
        return self.label.replace("-", "_").replace("+", "__") + "_wf"

    def seed(self, base: int, tracer: str) -> int:
        """Give each synthesis its own seed, the same on every machine and in any order.

        ``hash()`` would differ from one Python process to the next.
        """
        digest = hashlib.sha256(f"{base}/{self.label}_trc-{tracer}".encode()).digest()
        return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True)
class Left:
    """A session that is not processed, and why."""

    label: str
    subject: str
    session: str | None
    flag: str
    """One word for the QC table: ``flair_missing``, ``t1w_missing``, ``image_unusable`` ..."""
    reason: str
    exit_code: int
    """0 where leaving it out is what the user asked for."""


@dataclass(frozen=True)
class Plan:
    units: tuple[Unit, ...]
    left: tuple[Left, ...]
    unread: tuple[Unread, ...] = ()
    """Measured PET that is left alone, though its session may be processed."""
    partly: tuple[Left, ...] = ()
    """What failed of sessions that are among the units all the same: their measured PET is
    quantified, and their row of the QC table is their own."""


def session_label(subject: str, session: str | None) -> str:
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")
