"""What one run was asked to do: read once, checked once, frozen, written beside the outputs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

from relad_bids.engines import engine_problem
from relad_bids.errors import ConfigError

MissingFlair = Literal["skip", "t1w-only", "error"]
SkullStrip = Literal["auto", "skip", "force"]
SkullStripEngine = Literal["template", "hd-bet", "synthstrip"]
Device = str
"""``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
RealPET = Literal["auto", "ignore", "require"]
AtlasCut = Literal["gm", "none"]
PET2Anat = Literal["auto", "identity"]
PVC = Literal["none", "gtm", "rbv", "mg", "iy"]
RunChoice = Literal["first", "quality"]
Reuse = Literal["all", "labels"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of ``relad-bids``; every field has a flag of the same name."""

    bids_dir: Path
    output_dir: Path
    work_dir: Path
    participants: tuple[str, ...] = ()
    """Labels without ``sub-``; empty means all."""
    sessions: tuple[str, ...] = ()
    filters: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Content of ``--bids-filter-file``: ``t1w``, ``flair``, ``pet`` -> entities."""
    tracers: tuple[str, ...] = ()
    """As the user wrote them, and canonical once the checkpoint has been asked, which alone knows
    what ``tspo`` means to it; empty means all that it knows."""
    synthesise: bool = True
    """False where measured PET alone is quantified: no network, no FLAIR; ``tracers`` is empty."""
    model_dir: Path
    device: Device = "auto"
    missing_flair: MissingFlair = "skip"
    run_choice: RunChoice = "first"
    """Which run of a T1w or FLAIR that was repeated in a session."""
    skull_strip: SkullStrip = "auto"
    skull_strip_engine: SkullStripEngine = "template"
    """Who finds the brain of a whole head: this program, or one of the user's."""
    reference: Mapping[str, str] = field(default_factory=dict)
    """Tracer (as in ``tracers``) -> reference region, where the user wants another than the
    tracer's default."""
    real_pet: RealPET = "auto"
    """What to do with measured PET: quantify what can be, nothing, or fail where none can be."""
    tracer_labels: tuple[str, ...] = ()
    rec_labels: tuple[str, ...] = ()
    run_labels: tuple[str, ...] = ()
    """Measured PET to use; empty means all."""
    pet_windows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Canonical tracer -> first and last minute after injection, in place of the tracer's own."""
    pet_scan_starts: Mapping[str, float] = field(default_factory=dict)
    """Canonical tracer -> minutes from injection to the start of the scan, where the sidecar does
    not know."""
    pet2anat: PET2Anat = "auto"
    fs_subjects_dir: Path | None = None
    """Folder of FreeSurfer or FastSurfer output, whose labels go before the packaged ones."""
    derivatives: Mapping[str, Path] = field(default_factory=dict)
    """Name -> dataset of derivatives that may hold parcellations and prepared T1w."""
    reuse: Reuse = "all"
    """What of ``derivatives`` takes the place of own steps: all that is there, or labels alone."""
    atlases: tuple[str, ...] = ()
    """Atlases of TemplateFlow that are added."""
    atlas_datasets: Mapping[str, Path] = field(default_factory=dict)
    """Name -> atlas of the user's that is added."""
    atlas_cut: AtlasCut = "gm"
    """What of an added atlas counts: where the T1w has grey matter, or all of it."""
    suit_atlas: Path | None = None
    """Lobules of the cerebellum (SUIT), by which its inferior part is drawn."""
    pet_fwhm: float | None = None
    """mm to which measured PET is smoothed; None leaves it as it is."""
    pet_psf_tsv: Path | None = None
    """Table of the native resolution of measured PET."""
    pvc: PVC = "none"
    """Partial volume correction of further rows; the uncorrected ones are always there."""
    pvc_fwhm: float | None = None
    """mm, assumed of measured PET; None takes what is known of each scan."""
    centiloid_dir: Path | None = None
    centaur_dir: Path | None = None
    """Folders of the masks of both scales."""
    n_samples: int = 1
    """Draws of the network that are averaged into each image."""
    sampling_steps: int | None = None
    """Calls of the network for each draw; None until the checkpoint has been asked."""
    min_coverage: float = 0.5
    """Least share of a VOI inside the field of view; below it the value is n/a."""
    seed: int = 0
    nprocs: int = 1
    omp_nthreads: int = 1
    mem_mb: int = 4000
    plugin: tuple[str, Mapping[str, object]] | None = None
    """Nipype's plugin and its arguments, where the user wants another than by ``nprocs``."""
    sloppy: bool = False
    stop_on_first_crash: bool = False
    clean_workdir: bool = False

    def problems(self) -> list[str]:
        found = [
            f"{name} {value!r} is not one of {', '.join(get_args(kind))}"
            for name, value, kind in (
                ("missing_flair", self.missing_flair, MissingFlair),
                ("skull_strip", self.skull_strip, SkullStrip),
                ("skull_strip_engine", self.skull_strip_engine, SkullStripEngine),
                ("real_pet", self.real_pet, RealPET),
                ("pet2anat", self.pet2anat, PET2Anat),
                ("atlas_cut", self.atlas_cut, AtlasCut),
                ("pvc", self.pvc, PVC),
                ("run_choice", self.run_choice, RunChoice),
                ("reuse", self.reuse, Reuse),
            )
            if value not in get_args(kind)
        ]
        found += [
            f"pet_windows of {name} is {first:g}-{last:g}, needed are ascending minutes from 0"
            for name, (first, last) in self.pet_windows.items()
            if not 0 <= first < last < math.inf
        ]
        found += [
            f"pet_scan_starts of {name} is {start:g}, needed are minutes from 0"
            for name, start in self.pet_scan_starts.items()
            if not 0 <= start < math.inf
        ]
        found += [problem] if (problem := engine_problem(self.skull_strip_engine)) else []
        if not DEVICE.fullmatch(self.device):
            found.append(f"device {self.device!r} is not one of auto, cpu, cuda, cuda:N")
        found += self._widths()
        if not 0 <= self.min_coverage <= 1:
            found.append(f"min_coverage {self.min_coverage} is not in [0, 1]")
        counts = ("n_samples", "sampling_steps", "nprocs", "omp_nthreads", "mem_mb")
        found += [
            f"{name} {value} is below 1"
            for name in counts
            if (value := getattr(self, name)) is not None and value < 1
        ]
        return found

    def _widths(self) -> list[str]:
        """What is wrong with the resolutions asked for."""
        found = [
            f"{name} {value:g} is no width of a point spread in mm (above 0, at most 20)"
            for name, value in (("pet_fwhm", self.pet_fwhm), ("pvc_fwhm", self.pvc_fwhm))
            if value is not None and not 0 < value <= 20
        ]
        if self.pvc_fwhm is not None and self.pvc == "none":
            found.append("pvc_fwhm is given and pvc is none: say which correction")
        if self.pvc_fwhm and self.pet_fwhm and self.pvc_fwhm != self.pet_fwhm:
            found.append(
                f"pvc_fwhm {self.pvc_fwhm:g} differs from pet_fwhm {self.pet_fwhm:g}, to which "
                "the images are smoothed before: leave pvc_fwhm out"
            )
        return found

    def checked(self) -> Config:
        """Return itself, or raise with every problem at once."""
        if found := self.problems():
            raise ConfigError("the settings cannot be used:\n  " + "\n  ".join(found))
        return self

    def to_json(self) -> str:
        """The resolved values, for the record beside the outputs."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, default=str) + "\n"
