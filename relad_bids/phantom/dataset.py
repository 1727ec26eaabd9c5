"""A whole simulated BIDS dataset with its truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from relad_bids.errors import OutputError, UsageError
from relad_bids.phantom import sidecars
from relad_bids.phantom.files import write_image, write_json, write_text, write_tsv
from relad_bids.phantom.latent import Preset, Subject, draw_subject
from relad_bids.phantom.native import native_head
from relad_bids.phantom.participant import latents, participant, subject_name
from relad_bids.phantom.protocol import FRAME_S
from relad_bids.phantom.regions import TRACERS, label_uptake
from relad_bids.phantom.scans import (
    Scan,
    scan_flair,
    scan_pet,
    scan_t1w,
    t1w_grid,
)
from relad_bids.phantom.truth_files import write_truth

_VOXEL_MM = (1.0, 6.0)


def write_dataset(
    out: Path,
    *,
    n: int,
    preset: Preset,
    seed: int,
    voxel_mm: float = 2.0,
    pet_participants: int | None = None,
    tracers: Sequence[str] = TRACERS,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a valid BIDS dataset of ``n`` simulated subjects, truth under ``derivatives/truth``.

    The same arguments give the same bytes, and subject k is the same whatever ``n`` is.

    Parameters
    ----------
    out
        New or empty folder.
    voxel_mm
        Voxel size of T1w, FLAIR (in plane) and PET (in plane), 1 to 6 mm.
    pet_participants
        How many subjects, the first ones, have PET; all by default.
    progress
        Called as ``progress(done, n)`` after each subject.

    Raises
    ------
    UsageError
        A number out of range, an unknown tracer or preset.
    OutputError
        ``out`` is not empty.
    """
    with_pet = n if pet_participants is None else pet_participants
    _check(n=n, voxel_mm=voxel_mm, with_pet=with_pet, tracers=tracers)
    subjects = [draw_subject(index, seed=seed, preset=preset) for index in range(n)]
    _refuse_filled(out)
    _write_top(out, subjects, preset=preset, seed=seed)
    for done, subject in enumerate(subjects, start=1):
        given = tracers if subject.index < with_pet else ()
        write_subject(out, subject, voxel_mm=voxel_mm, tracers=given)
        if progress:
            progress(done, n)


def _write_top(out: Path, subjects: Sequence[Subject], *, preset: str, seed: int) -> None:
    """Write what describes the dataset and its truth as a whole."""
    truth = out / "derivatives" / "truth"
    description = sidecars.dataset_description(preset=preset, seed=seed)
    write_json(out / "dataset_description.json", description)
    description = sidecars.truth_description(preset=preset, seed=seed)
    write_json(truth / "dataset_description.json", description)
    for folder in (out, truth):
        write_text(folder / "README.md", sidecars.README)
    write_text(truth / ".bidsignore", "*_suvr.*\n*_xfm.*\n")  # names BIDS does not know (yet)
    _write_participants(out, [participant(s) for s in subjects], sidecars.PARTICIPANTS)
    _write_participants(truth, [latents(s) for s in subjects], sidecars.LATENTS)


def write_subject(out: Path, subject: Subject, *, voxel_mm: float, tracers: Sequence[str]) -> None:
    """Write one subject's scans, their sidecars, and their truth."""
    name = subject_name(subject)
    anat, pet_dir = out / name / "anat", out / name / "pet"
    head = native_head(subject, voxel_mm=voxel_mm)
    t1w = scan_t1w(subject, head, t1w_grid(subject, voxel_mm=voxel_mm))
    flair = scan_flair(subject, head, voxel_mm=voxel_mm)
    _write_scan(anat / f"{name}_T1w", t1w, sidecars.t1w_sidecar())
    _write_scan(anat / f"{name}_FLAIR", flair, sidecars.flair_sidecar(flair))
    others = {"FLAIR": flair}
    for tracer in tracers:
        pet = scan_pet(subject, head, tracer, voxel_mm=voxel_mm)
        stem = pet_dir / f"{name}_trc-{pet.protocol.label}_pet"
        _write_scan(stem, pet.scan, sidecars.pet_sidecar(pet))
        others[pet.protocol.label] = pet.scan
    # Truth covers all tracers, also of subjects without PET: synthesis is judged there too.
    write_truth(
        out / "derivatives" / "truth",
        name,
        subject,
        head,
        t1w=t1w,
        others=others,
        tracers=TRACERS,
    )


def _write_scan(stem: Path, scan: Scan, sidecar: dict[str, object]) -> None:
    write_image(stem.with_name(stem.name + ".nii.gz"), scan.data, scan.grid, frame_s=FRAME_S)
    write_json(stem.with_name(stem.name + ".json"), sidecar)


def _write_participants(
    folder: Path, rows: list[dict[str, object]], columns: dict[str, object]
) -> None:
    write_tsv(folder / "participants.tsv", pd.DataFrame(rows))
    write_json(folder / "participants.json", columns)


def _check(*, n: int, voxel_mm: float, with_pet: int, tracers: Sequence[str]) -> None:
    if not 1 <= n <= 999:
        raise UsageError(f"a phantom of {n} subjects was asked for; choose 1 to 999.")
    if not _VOXEL_MM[0] <= voxel_mm <= _VOXEL_MM[1]:
        raise UsageError(
            f"phantom voxels of {voxel_mm:g} mm were asked for; "
            f"choose {_VOXEL_MM[0]:g} to {_VOXEL_MM[1]:g} mm."
        )
    if not 0 <= with_pet <= n:
        raise UsageError(
            f"PET for {with_pet} of {n} phantom subjects was asked for; choose 0 to {n}."
        )
    for tracer in tracers:
        label_uptake(tracer)


def _refuse_filled(out: Path) -> None:
    """Raise if ``out`` holds anything: subjects of another phantom would mix in."""
    if out.exists() and any(out.iterdir()):
        raise OutputError(
            f"the phantom was to be written to {out}, which is not empty; "
            f"choose a new folder or empty this one."
        )
