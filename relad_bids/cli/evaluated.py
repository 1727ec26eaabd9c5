"""What ``relad evaluate`` leaves behind: tables, dictionaries, a page, and what it prints."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Printed

from relad_bids import __version__
from relad_bids.core.bootstrap import CONFIDENCE
from relad_bids.core.columns import GENERATED_BY, SYNTHETIC_STATEMENT
from relad_bids.data.template import ATLAS_SPACE
from relad_bids.evaluate.bench import Bench, can_be_compared
from relad_bids.evaluate.contender import Contender, Question
from relad_bids.evaluate.score import FLOORS
from relad_bids.evaluate.tables import Table, Terms
from relad_bids.files import json_text, write_table, write_text
from relad_bids.reports.evaluation_page import EvaluationPage, write_evaluation_page
from relad_bids.reports.evaluation_rows import (
    REGIONAL,
    Block,
    more_blocks,
    regional_block,
    verdicts,
)
from relad_bids.tables import tracers
from relad_bids.vois import reference_of_tracer

PAGE, FACTS = "evaluation.html", "evaluation.json"

WIDTH = 150
"""Columns of the printed tables where the output is no terminal."""

PRINTED = tuple(measure for measure in REGIONAL if measure.metric != "calibration_slope")


def page_of(
    benches: Sequence[Bench],
    question: Question,
    terms: Terms,
    tables: Mapping[str, Table],
    suvr_range: Mapping[str, float],
) -> EvaluationPage:
    contenders = [contender for bench in benches for contender in bench.contenders]
    here = {name: value for name, value in suvr_range.items() if name in terms.primary}
    facts = {
        "Participants": benches[0].found.label,
        "Models": "; ".join(f"{c.name} ({c.kind})" for c in contenders),
        "Samples of models that draw": f"{question.n_samples}, "
        + (f"{question.steps} steps each" if question.steps else "steps as the card says"),
        "Range of PSNR and SSIM": ", ".join(f"{name} {top:g} SUVr" for name, top in here.items()),
        "Intervals": f"{100 * CONFIDENCE:g} %, BCa bootstrap of participants, "
        f"{terms.n_draws} draws",
        "Seed of samples, draws and exchanges": str(terms.seed),
    }
    levels = tables["desc-voi_agreement"].columns["metric"]["Levels"]
    return EvaluationPage(
        software_version=__version__,
        cohort=benches[0].found.label,
        held_to="measured" if benches[0].found.real else "simulated",
        statements={contender.name: contender.card.statement for contender in contenders},
        primary=terms.primary,
        references={name: reference_of_tracer(name, {}) for name in terms.primary},
        facts=facts,
        notes=_notes(benches),
        tables={name: table.rows for name, table in tables.items()},
        definitions={**levels, **tables["desc-image_agreement"].columns["metric"]["Levels"]},
    )


def _notes(benches: Sequence[Bench]) -> tuple[str, ...]:
    notes = [note for bench in benches for note in bench.found.notes]
    if len(benches) > 1:
        notes.append(
            f"the models lie on {len(benches)} grids: each is held to the PET on its own grid"
        )
    for bench in benches:
        space = bench.contenders[0].card.space
        if bench.found.real and space != ATLAS_SPACE:
            notes.append(
                f"the parcellation lies in {ATLAS_SPACE}; in {space} its regions are displaced by "
                "1 to 2 mm, in synthetic and measured images alike"
            )
        notes += [note for contender in bench.contenders for note in _notes_on(contender, bench)]
    return tuple(notes)


def models_of(benches: Sequence[Bench], n_samples: Mapping[str, int]) -> dict[str, Any]:
    """What evaluation.json says of each model."""
    return {
        contender.name: {
            "Kind": contender.kind,
            "WeightsSHA256": [fold.predictor.card.sha256 for fold in contender.folds],
            "NumberOfSamples": n_samples[contender.name],
            "PETContract": contender.card.pet_contract,
            "Statement": contender.card.statement,
        }
        for bench in benches
        for contender in bench.contenders
    }


def _notes_on(contender: Contender, bench: Bench) -> list[str]:
    folds, notes = contender.folds, []
    if bench.found.real and not all(fold.seen.known for fold in folds):
        notes.append(
            f"whom {contender.name} was trained on is not known: whether it has seen these "
            "participants cannot be checked"
        )
    if not all(fold.floors for fold in folds):
        lenders = any(fold.floors for other in bench.contenders for fold in other.folds)
        notes.append(
            f"{contender.name} carries no training mean and no regression; "
            + ("those of another model stand beside it" if lenders else "no model lends any")
        )
    if not all(fold.training for fold in folds):
        notes.append(
            f"too few training participants of {contender.name} were looked at again: the floor "
            "of age and sex is missing, and statistics of unusual inputs are those of its card, "
            "if it has any"
        )
    if unknown := sorted(name for name in contender.tracers if not can_be_compared(name)):
        notes.append(f"{contender.name}: {', '.join(unknown)} left out, no reference region")
    known = [name for name in sorted(contender.tracers) if name in tracers()]
    if undeclared := [name for name in known if not tracers()[name].declared]:
        notes.append(
            f"{contender.name}: positivity of {', '.join(undeclared)} is not judged, since a "
            "cut-off belongs to a ligand and none was declared"
        )
    return notes


def write_evaluation(
    out: Path, tables: Mapping[str, Table], page: EvaluationPage, models: Mapping[str, Any]
) -> None:
    statement = f"{SYNTHETIC_STATEMENT} {' '.join(dict.fromkeys(page.statements.values()))}"
    common = {
        "SyntheticDataStatement": statement,
        **GENERATED_BY,
        "ReferenceRegion": dict(page.references),
    }
    for name, table in tables.items():
        write_table(out / f"{name}.tsv", table.rows)
        write_text(out / f"{name}.json", json_text({**table.columns, **common}))
    facts = {
        **common,
        "Cohort": page.cohort,
        "PrimaryVOI": dict(page.primary),
        "Settings": dict(page.facts),
        "Models": dict(models),
        "Floors": dict(FLOORS),
        "Definitions": dict(page.definitions),
        "Notes": list(page.notes),
        "Tables": [f"{name}.tsv" for name in tables],
    }
    write_text(out / FACTS, json_text(facts))
    write_evaluation_page(out / PAGE, page)


def print_evaluation(page: EvaluationPage) -> None:
    """Print what a person wants to know first."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(f"{page.cohort}. {SYNTHETIC_STATEMENT}", markup=False)
    for tracer, voi in page.primary.items():
        tables = page.tables
        console.print()
        _print_block(console, regional_block(tables, tracer, voi, PRINTED))
        skill = tables["desc-voi_skill"].query("tracer == @tracer and voi == @voi")
        for verdict in verdicts(skill):
            line = f"  {verdict.model}: {verdict.words}"
            console.print(f"{line} (skill {verdict.skill})", markup=False)
        console.print()
        _print_block(console, more_blocks(tables, tracer, voi)[0])
    for note in page.notes:
        console.print(f"note: {note}", markup=False)


def _print_block(console: Console, block: Block) -> None:
    printed = Printed(title=block.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    printed.add_column("model", overflow="fold", min_width=26)
    for measure in block.measures:
        printed.add_column(measure.title, justify="right", no_wrap=True)
    for line in block.lines:
        printed.add_row(f"  {line.name}" if line.is_floor else line.name, *line.cells)
    console.print(printed, markup=False)
