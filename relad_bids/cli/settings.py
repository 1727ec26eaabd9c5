"""From parsed arguments to one checked :class:`Config`."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from relad_bids.bids.selection import read_filters, read_labels
from relad_bids.cli.plugin import read_plugin
from relad_bids.config import Config
from relad_bids.data.template import SPACES
from relad_bids.errors import CheckpointError, UsageError
from relad_bids.masks import CENTAUR, CENTILOID, Scale, find_masks
from relad_bids.model.card import Card
from relad_bids.model.predictor import sampling_steps
from relad_bids.resources import available, parse_memory
from relad_bids.tables import find_tracer
from relad_bids.tables import tracers as all_tracers
from relad_bids.vois import reference_of_tracer

NONE = "none"
"""In place of tracers: nothing is synthesised."""

BUNDLED = Path(__file__).parents[1] / "data" / "checkpoint"
"""The checkpoint that ships with the package."""


def config_of(args: Namespace) -> Config:
    """Turn arguments into settings; every value that does not fit is named at once."""
    machine = available()
    nprocs = args.nprocs or machine.cpus
    return Config(
        bids_dir=args.bids_dir.absolute(),
        output_dir=args.output_dir.absolute(),
        work_dir=args.work_dir.absolute(),
        participants=read_labels(args.participants, prefix="sub-"),
        sessions=read_labels(args.sessions, prefix="ses-"),
        filters=read_filters(args.bids_filter_file) if args.bids_filter_file else {},
        tracers=_known(args.synth_tracers),
        synthesise=[word.lower() for word in args.synth_tracers] != [NONE],
        model_dir=(args.model_dir or BUNDLED).absolute(),
        device=args.device,
        missing_flair=args.missing_flair,
        run_choice=args.run_choice,
        skull_strip=args.skull_strip,
        skull_strip_engine=args.skull_strip_engine,
        reference=dict(_pair(text) for text in args.ref_region),
        real_pet=args.real_pet,
        tracer_labels=tuple(args.tracer_labels),
        rec_labels=tuple(args.rec_labels),
        run_labels=tuple(args.run_labels),
        pet_windows=dict(_window(text) for text in args.pet_window),
        pet_scan_starts=dict(_scan_start(text) for text in args.pet_scan_start_min),
        pet2anat=args.pet2anat_method,
        fs_subjects_dir=args.fs_subjects_dir.absolute() if args.fs_subjects_dir else None,
        derivatives=dict(_named(text, "--derivatives") for text in args.derivatives),
        reuse=args.reuse,
        atlases=tuple(args.atlases),
        atlas_datasets=dict(_named(text, "--atlas-dataset") for text in args.atlas_dataset),
        atlas_cut=args.atlas_cut,
        suit_atlas=args.suit_atlas.absolute() if args.suit_atlas else None,
        pet_fwhm=args.pet_fwhm,
        pet_psf_tsv=args.pet_psf_tsv.absolute() if args.pet_psf_tsv else None,
        pvc=args.pvc,
        pvc_fwhm=args.pvc_fwhm,
        centiloid_dir=_masks(CENTILOID, args.centiloid_dir),
        centaur_dir=_masks(CENTAUR, args.centaur_dir),
        n_samples=args.n_samples,
        sampling_steps=args.sampling_steps,
        min_coverage=args.min_coverage,
        seed=args.random_seed,
        nprocs=nprocs,
        omp_nthreads=min(args.omp_nthreads or 1, nprocs),
        mem_mb=parse_memory(args.mem) if args.mem else machine.memory_mb,
        sloppy=args.sloppy,
        plugin=read_plugin(args.nipype_plugin_file) if args.nipype_plugin_file else None,
        stop_on_first_crash=args.stop_on_first_crash,
        clean_workdir=args.clean_workdir,
    ).checked()


def for_checkpoint(config: Config, card: Card) -> Config:
    """Complete the settings with what the checkpoint decides.

    Raises
    ------
    CheckpointError
        It synthesises a tracer that this version knows nothing of.
    UsageError
        A space or tracer that one of both does not know, a reference region that cannot be
        drawn, sessions without FLAIR for a network that never saw one missing, or samples that
        it cannot draw.
    """
    if card.space not in SPACES:
        raise UsageError(
            f"the checkpoint {card.name} works in {card.space}; this version prepares MRI in "
            f"{' or '.join(SPACES)}. Give a checkpoint of such a space with --model-dir."
        )
    if not config.synthesise:
        return replace(config, reference=_references(config, ()))
    known = _tracers_of(card)
    asked = (find_tracer(text, among=known).name for text in config.tracers)
    tracers = tuple(dict.fromkeys(asked)) or known
    reference = _references(config, known)
    for name in tracers:
        _require_tracer(card, name)
        reference_of_tracer(name, reference)
    if config.missing_flair == "t1w-only" and not card.missing_flair:
        raise UsageError(
            f"--missing-flair t1w-only was asked for, but {card.name} was never trained without "
            "FLAIR. Use --missing-flair skip, or a checkpoint whose card says missing_flair."
        )
    steps = sampling_steps(card, n_samples=config.n_samples, steps=config.sampling_steps)
    return replace(config, tracers=tracers, reference=reference, sampling_steps=steps)


def _references(config: Config, known: Sequence[str]) -> dict[str, str]:
    """Reference regions by canonical tracer; ``known`` says what ``tspo`` means."""
    return {
        find_tracer(text, among=known).name: region for text, region in config.reference.items()
    }


def _tracers_of(card: Card) -> tuple[str, ...]:
    """Canonical names of what a checkpoint synthesises."""
    names = tuple(tracer.name for tracer in card.tracers)
    if unknown := [name for name in names if name not in all_tracers()]:
        raise CheckpointError(
            f"the checkpoint {card.name} synthesises {', '.join(unknown)}; this version knows "
            "nothing of such a tracer, not even its reference region. Use the version that it was "
            "made with, or another checkpoint with --model-dir."
        )
    return names


def _masks(scale: Scale, folder: Path | None) -> Path | None:
    """The folder of a scale's masks, once all of them are there."""
    if folder is not None:
        find_masks(scale, folder)
        return folder.absolute()
    return None


def _known(words: Sequence[str]) -> tuple[str, ...]:
    """The tracers as they were written, once no word of them is unknown; ``none`` is none."""
    if [word.lower() for word in words] == [NONE]:
        return ()
    for word in words:
        find_tracer(word)
    return tuple(words)


def _require_tracer(card: Card, name: str) -> None:
    """Refuse a tracer that the checkpoint lacks, and say so of a ligand that it may have."""
    asked, known = all_tracers()[name], _tracers_of(card)
    for other in (all_tracers()[other] for other in known if name not in known):
        if other.target == asked.target and not other.declared:
            raise UsageError(
                f"the checkpoint {card.name} was asked for {name}; which {asked.target.upper()} "
                f"ligand it learned was never declared, so that its images are {other.name} and "
                f"cannot be taken for {name}. Ask for --synth-tracers {other.name}, or give a "
                f"checkpoint of {name} with --model-dir."
            )
    card.tracer(name)


def _pair(text: str) -> tuple[str, str]:
    tracer, region = _told(text, "--ref-region", "TRACER=NAME, for example pib=cerebellum-gm")
    find_tracer(tracer)
    return tracer, region


def _named(text: str, flag: str) -> tuple[str, Path]:
    """Split ``NAME=PATH``; a path alone is named by its last folder."""
    name, sign, path = text.rpartition("=")
    name = name if sign else Path(path).absolute().name
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or not path:
        raise UsageError(
            f"{flag} takes NAME=PATH with a name of letters, digits, '.', '_' and '-'; got "
            f"{text!r}."
        )
    return name, Path(path).absolute()


def _window(text: str) -> tuple[str, tuple[float, float]]:
    needed = "TRACER=FIRST-LAST in minutes after injection, for example pib=50-70"
    tracer, told = _told(text, "--pet-window", needed)
    first, _, last = told.partition("-")
    try:
        return find_tracer(tracer).name, (float(first), float(last))
    except ValueError as error:
        raise UsageError(f"--pet-window takes {needed}; got {text!r}.") from error


def _scan_start(text: str) -> tuple[str, float]:
    needed = "TRACER=MINUTES after injection, for example flortaucipir=80"
    tracer, told = _told(text, "--pet-scan-start-min", needed)
    try:
        return find_tracer(tracer).name, float(told)
    except ValueError as error:
        raise UsageError(f"--pet-scan-start-min takes {needed}; got {text!r}.") from error


def _told(text: str, flag: str, needed: str) -> tuple[str, str]:
    """Split ``TRACER=SOMETHING``."""
    tracer, sign, told = text.partition("=")
    if not sign or not told:
        raise UsageError(f"{flag} takes {needed}; got {text!r}.")
    return tracer, told
