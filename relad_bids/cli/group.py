"""``relad-bids BIDS OUT group``: tables of all participants, from the derivatives alone."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from relad_bids.bids.selection import read_labels
from relad_bids.group.run import run
from relad_bids.group.settings import GroupSettings

BUNDLED = Path(__file__).parents[1] / "data" / "checkpoint"
"""Whom it has seen is known without asking: phantoms alone."""


def run_group(args: Namespace) -> int:
    """Write tables, statistics and the page; their names go to stdout."""
    for path in run(settings_of(args)):
        print(path)
    return 0


def settings_of(args: Namespace) -> GroupSettings:
    """Turn arguments into settings; labels lose or get their prefix."""
    retest = read_labels(args.retest_sessions or [], prefix="ses-")
    return GroupSettings(
        output_dir=args.output_dir,
        bids_dir=args.bids_dir,
        participants=read_labels(args.participants, prefix="sub-"),
        participants_tsv=args.participants_tsv,
        sessions_tsv=args.sessions_tsv,
        phenotype=tuple(args.phenotype),
        scores=tuple(dict.fromkeys(args.scores)),
        checkpoints=(*args.checkpoints, BUNDLED),
        unseen=args.unseen,
        retest_sessions=(f"ses-{retest[0]}", f"ses-{retest[-1]}") if retest else None,
        retest_days=args.retest_days,
        combat=args.combat,
        combat_train=read_labels(args.combat_train, prefix="sub-"),
        parquet=args.parquet,
        n_draws=args.bootstrap_draws,
        n_permutations=args.permutations,
        seed=args.random_seed,
    ).checked()
