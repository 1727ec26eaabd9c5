"""One session on one page: a single HTML file that opens anywhere, without a network."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from jinja2 import Environment, StrictUndefined, Template

from relad_bids.core.columns import MEASURED_STATEMENT, SYNTHETIC_STATEMENT
from relad_bids.core.coregistration import Coregistration
from relad_bids.core.rows import primary_rows
from relad_bids.files import read_table, write_text
from relad_bids.reports import figures
from relad_bids.reports.motion import Motion, moved_figure, trace_figure
from relad_bids.reports.quality_rows import QualityRow
from relad_bids.reports.slices import Mosaic, Volume, read_volume
from relad_bids.reports.voi_rows import (
    VOIRow,
    flags_of,
    main_rows,
    reference_line,
    shared_flags,
)
from relad_bids.vois import GEOMETRIC, reference_regions


@dataclass(frozen=True, kw_only=True)
class PetEntry:
    """One PET of the page."""

    tracer: str
    source: Literal["synthetic", "real"] = "synthetic"
    suvr_t1w: Path
    """SUVr in T1w space, NaN outside the field of view."""
    table: Path
    """VOI table (:mod:`relad_bids.core.columns`)."""
    ref_region: str
    primary_vois: tuple[str, ...]
    suvr_max: float
    """End of the colour scale and of the bars."""
    ref_mask: Path | None = None
    """Reference region as applied; without it the labels it is drawn from are outlined."""
    score: Mapping[str, float] | None = None
    """How well a measured PET lies on the T1w (:class:`Coregistration.facts`)."""
    motion: Motion | None = None
    """Of a measured PET with several frames."""


@dataclass(frozen=True, kw_only=True)
class SessionPage:
    """What the page of one session shows."""

    label: str
    """``sub-01_ses-a``"""
    software_version: str
    checkpoint: str
    """Empty where nothing was synthesised."""
    statement: str
    """The checkpoint's own sentence on what its images are worth."""
    t1w: Path
    mask: Path
    """Brain mask, T1w space."""
    t1w_mni: Path
    template: Path
    """Brain-only template, same space as ``t1w_mni``, any grid."""
    flair_t1w: Path | None
    """FLAIR in T1w space; None where the session has none."""
    dseg: Path
    """FreeSurfer label numbers in T1w space."""
    pets: tuple[PetEntry, ...]
    facts: Mapping[str, str]
    """What was used, in the order in which it is printed."""
    flags: tuple[str, ...]
    methods: str
    """Paragraphs separated by an empty line."""
    quality: tuple[QualityRow, ...] = ()
    """Quality figures of the MRI, those of one scan together."""


@dataclass(frozen=True, kw_only=True)
class _PetSection:
    tracer: str
    kind: str
    """``Synthetic`` or ``Measured``, the first word wherever its numbers stand."""
    picture: str
    reference: str
    suvr_max: float
    flags: tuple[str, ...]
    rows: tuple[VOIRow, ...]
    coregistration: str | None
    score: Coregistration | None
    trace: str | None
    moved: str | None


def write_session_page(path: Path, page: SessionPage) -> None:
    """Write the page of one session, pictures inside, whole or not at all.

    Raises
    ------
    EmptyRegionError
        The brain mask is empty.
    """
    t1w, mask = read_volume(page.t1w), read_volume(page.mask)
    mosaic = figures.head_mosaic(mask)
    registration = figures.registration_figure(
        read_volume(page.t1w_mni), read_volume(page.template)
    )
    labels = read_volume(page.dseg)
    html = _template().render(
        page=page,
        title=_title(page),
        synthetic_statement=SYNTHETIC_STATEMENT,
        measured_statement=MEASURED_STATEMENT,
        flags=flags_of(page.flags),
        methods=[part for part in page.methods.split("\n\n") if part.strip()],
        mask_picture=_data_uri(figures.mask_figure(t1w, mask, mosaic)),
        registration_picture=_data_uri(registration),
        flair_picture=_flair_picture(page.flair_t1w, t1w, mask),
        pets=[_pet_section(entry, labels, t1w, mask, mosaic) for entry in page.pets],
    )
    write_text(path, html)


def _title(page: SessionPage) -> str:
    measured = any(pet.source == "real" for pet in page.pets)
    parts = ["synthetic PET from MRI"] if page.checkpoint else []
    parts += ["measured PET"] if measured or not parts else []
    text = " and ".join(parts)
    return text[0].upper() + text[1:]


def _flair_picture(flair: Path | None, t1w: Volume, mask: Volume) -> str | None:
    if flair is None:
        return None
    return _data_uri(figures.flair_figure(read_volume(flair), t1w, mask))


def _pet_section(
    entry: PetEntry, labels: Volume, t1w: Volume, mask: Volume, mosaic: Mosaic
) -> _PetSection:
    table = primary_rows(read_table(entry.table))
    picture = figures.pet_figure(
        read_volume(entry.suvr_t1w), mask, _reference(entry, labels), mosaic,
        tracer=entry.tracer, suvr_max=entry.suvr_max, reference_name=_reference_name(entry),
        synthetic=entry.source == "synthetic",
    )  # fmt: skip
    return _PetSection(
        tracer=entry.tracer,
        kind="Synthetic" if entry.source == "synthetic" else "Measured",
        picture=_data_uri(picture),
        reference=reference_line(table, entry.ref_region),
        suvr_max=entry.suvr_max,
        flags=shared_flags(table),
        rows=main_rows(table, entry.primary_vois, suvr_max=entry.suvr_max),
        coregistration=_coregistration(entry, t1w, mask, mosaic),
        score=Coregistration.from_facts(entry.score) if entry.score else None,
        trace=_drawn(trace_figure, entry),
        moved=_drawn(moved_figure, entry),
    )


def _coregistration(entry: PetEntry, t1w: Volume, mask: Volume, mosaic: Mosaic) -> str | None:
    if entry.source == "synthetic":
        return None
    picture = figures.coregistration_figure(
        read_volume(entry.suvr_t1w), t1w, mask, replace(mosaic, copies=2),
        tracer=entry.tracer, suvr_max=entry.suvr_max,
    )  # fmt: skip
    return _data_uri(picture)


def _drawn(figure: Callable[..., bytes], entry: PetEntry) -> str | None:
    return _data_uri(figure(entry.motion, tracer=entry.tracer)) if entry.motion else None


def _reference(entry: PetEntry, labels: Volume) -> Volume:
    if entry.ref_mask is not None:
        return read_volume(entry.ref_mask)
    inside = np.isin(np.rint(labels.data), reference_regions()[entry.ref_region])
    return Volume(inside.astype(np.float32), labels.affine)


def _reference_name(entry: PetEntry) -> str:
    """Labels alone do not give the inferior cerebellum: then the line is not yet the region."""
    if entry.ref_mask is None and entry.ref_region == GEOMETRIC:
        return "cerebellar grey matter (holds the reference region)"
    return "reference region"


def _data_uri(picture: bytes) -> str:
    return f"data:{figures.MIME};base64,{base64.b64encode(picture).decode('ascii')}"


@cache
def _template() -> Template:
    source = (files("relad_bids") / "reports" / "session.html.jinja").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)
