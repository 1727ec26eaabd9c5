"""From parsed arguments to one checked :class:`Config`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from relad_bids.bids.selection import read_filters, read_labels
from relad_bids.config import Config
from relad_bids.data.template import SPACE
from relad_bids.errors import UsageError
from relad_bids.model.card import Card
from relad_bids.resources import available, parse_memory
from relad_bids.tables import find_tracer
from relad_bids.vois import reference_of_tracer

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
        tracers=tuple(dict.fromkeys(find_tracer(text).name for text in args.synth_tracers)),
        model_dir=(args.model_dir or BUNDLED).absolute(),
        device=args.device,
        missing_flair=args.missing_flair,
        skull_strip=args.skull_strip,
        reference=dict(_pair(text) for text in args.ref_region),
        min_coverage=args.min_coverage,
        seed=args.random_seed,
        nprocs=nprocs,
        omp_nthreads=min(args.omp_nthreads or 1, nprocs),
        mem_mb=parse_memory(args.mem) if args.mem else machine.memory_mb,
        sloppy=args.sloppy,
        stop_on_first_crash=args.stop_on_first_crash,
        clean_workdir=args.clean_workdir,
    ).checked()


def for_checkpoint(config: Config, card: Card) -> Config:
    """Complete the settings with what the checkpoint decides.

    Raises
    ------
    UsageError
        A space or tracer that one of both does not know, a reference region that cannot be
        drawn, or sessions without FLAIR for a network that never saw one missing.
    """
    if card.space != SPACE:
        raise UsageError(
            f"the checkpoint {card.name} works in {card.space}; this version prepares MRI in "
            f"{SPACE} only. Give a checkpoint of that space with --model-dir."
        )
    tracers = config.tracers or tuple(t.name for t in card.tracers)
    for name in tracers:
        card.tracer(name)
        reference_of_tracer(name, config.reference)
    if config.missing_flair == "t1w-only" and not card.missing_flair:
        raise UsageError(
            f"--missing-flair t1w-only was asked for, but {card.name} was never trained without "
            "FLAIR. Use --missing-flair skip, or a checkpoint whose card says missing_flair."
        )
    return replace(config, tracers=tracers)


def _pair(text: str) -> tuple[str, str]:
    tracer, sign, region = text.partition("=")
    if not sign or not region:
        raise UsageError(
            f"--ref-region takes TRACER=NAME, for example pib=cerebellum-gm; got {text!r}."
        )
    return find_tracer(tracer).name, region
