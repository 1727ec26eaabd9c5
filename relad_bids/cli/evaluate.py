"""``relad evaluate``: checkpoints held against PET, beside floors, in tables and on one page."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from relad_bids.bids.selection import read_labels
from relad_bids.cli.evaluated import (
    PAGE,
    models_of,
    page_of,
    print_evaluation,
    write_evaluation,
)
from relad_bids.cli.settings import BUNDLED
from relad_bids.errors import ConflictError, InputError, UsageError
from relad_bids.evaluate.bench import Bench, known_tracers, suvr_ranges
from relad_bids.evaluate.contender import Contender, Question, load_contenders
from relad_bids.evaluate.leakage import held_out_of
from relad_bids.evaluate.pairs import covariates_of
from relad_bids.evaluate.record import calibration_of, write_card
from relad_bids.evaluate.regions import Regions, regions_of
from relad_bids.evaluate.sources import measured, same_grid, simulated
from relad_bids.evaluate.tables import Table, Terms, all_tables
from relad_bids.evaluate.walk import Rows
from relad_bids.files import read_table, require_writable
from relad_bids.model.predictor import resolve_device

N_PHANTOMS = 30


def run_evaluate(args: Namespace) -> None:
    """Evaluate, and write tables, dictionaries, ``evaluation.json`` and the page into OUT."""
    _require_sense(args)
    require_writable(args.out)
    question = Question(n_samples=args.n_samples, steps=args.steps, seed=args.random_seed)
    models = args.models or [str(BUNDLED)]
    contenders = load_contenders(models, device=resolve_device(args.device))
    names = known_tracers(contenders)
    suvr_range = suvr_ranges(contenders, names)
    benches = [_bench(args, group, names) for group in same_grid(contenders)]
    benches = [bench.looked_back(args.n_training, _bar) for bench in benches]
    rows = _joined([bench.rows(question, suvr_range, _bar) for bench in benches])
    terms = Terms(
        primary=_primary(rows, benches[0].regions),
        n_samples={c.name: question.n_samples if c.draws else 1 for c in contenders},
        seed=args.random_seed,
        n_draws=args.n_draws,
    )
    tables = all_tables(rows, terms)
    page = page_of(benches, question, terms, tables, suvr_range)
    write_evaluation(args.out, tables, page, models_of(benches, terms.n_samples))
    if args.write_card:
        _write_cards(benches, tables, question)
    print_evaluation(page)
    print(args.out / PAGE)


def _require_sense(args: Namespace) -> None:
    """Refuse numbers and pairs of arguments that mean nothing.

    Raises
    ------
    UsageError, ConflictError
        Names them.
    """
    least = {"phantoms": 1, "n_samples": 1, "steps": 1, "n_training": 0, "n_draws": 200}
    for name, fewest in least.items():
        value = getattr(args, name)
        if value is not None and value < fewest:
            raise UsageError(
                f"--{name.replace('_', '-')} is {value}, needed is at least {fewest}."
            )
    of_pairs = {
        "--participant-label": args.participants,
        "--held-out": args.held_out,
        "--participants-tsv": args.participants_tsv,
    }
    given = [name for name, value in of_pairs.items() if value]
    if given and not args.pairs:
        raise ConflictError(
            f"{', '.join(given)} choose among real participants, and phantoms are evaluated on. "
            "Give the derivatives with --pairs."
        )
    if args.pairs and args.phantoms is not None:
        raise ConflictError("--pairs and --phantoms were both given; give one of them.")


def _bench(args: Namespace, group: Sequence[Contender], names: Sequence[str]) -> Bench:
    card = group[0].card
    regions = regions_of(card)
    if not args.pairs:
        n = N_PHANTOMS if args.phantoms is None else args.phantoms
        found = simulated(card, names, n=n, preset=args.preset, seed=args.seed)
        return Bench(tuple(group), found, regions)
    found = measured(
        args.pairs, card, names,
        participants=_wanted(args, group),
        covariates=_covariates(args),
        without_flair=all(contender.card.missing_flair for contender in group),
    )  # fmt: skip
    return Bench(tuple(group), found, regions)


def _wanted(args: Namespace, group: Sequence[Contender]) -> frozenset[str]:
    """Who was asked for by name, or as held out by all models; empty is everybody."""
    named = frozenset(f"sub-{label}" for label in read_labels(args.participants, prefix="sub-"))
    if not args.held_out:
        return named
    of_models = [
        frozenset().union(*(held_out_of(fold.folder) for fold in contender.folds if fold.folder))
        for contender in group
        if contender.folds[0].folder
    ]
    held_out = frozenset.intersection(*of_models)
    if not (wanted := held_out & named if named else held_out):
        raise UsageError(
            f"--held-out was asked for, and nobody {'of those named ' if named else ''}was held "
            f"out of all {len(of_models)} models. Evaluate them one by one, or name others with "
            "--participant-label."
        )
    return wanted


def _covariates(args: Namespace) -> Mapping[str, Mapping[str, float]]:
    path: Path = args.participants_tsv or args.pairs / "participants.tsv"
    if path.is_file():
        return covariates_of(read_table(path))
    if args.participants_tsv:
        raise InputError(
            f"{path} was given with --participants-tsv and is not there. It is the list of the "
            "participants with their age and sex; give its path, or leave it out."
        )
    return {}


def _joined(found: Sequence[Rows]) -> Rows:
    return {
        name: pd.concat([rows[name] for rows in found], ignore_index=True) for name in found[0]
    }


def _primary(rows: Rows, regions: Regions) -> dict[str, str]:
    return {tracer: regions.primary(tracer) for tracer in rows["voi"]["tracer"].unique()}


def _bar(title: str, total: int) -> Callable[[], object]:
    return tqdm(total=total, unit="participant", desc=title, file=sys.stderr).update


def _write_cards(
    benches: Sequence[Bench], tables: Mapping[str, Table], question: Question
) -> None:
    conformal = tables["desc-voi_conformal"].rows
    for bench in benches:
        for contender in bench.contenders:
            told = calibration_of(contender, conformal, question, cohort=bench.found.label)
            for fold in contender.folds:
                write_card(fold, told)
