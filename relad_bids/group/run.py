"""The group level from end to end: read, join, compare, write."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from relad_bids import __version__
from relad_bids.bids.outputs import (
    BIDSIGNORE,
    GROUP_PAGE,
    GROUP_QC,
    GROUP_STATISTICS,
    GROUP_TABLES,
    sidecar_path,
)
from relad_bids.core.columns import GENERATED_BY, SYNTHETIC_STATEMENT, described, dictionary
from relad_bids.core.qc import QC_COLUMNS
from relad_bids.errors import InputError
from relad_bids.files import json_text, read_table, require_writable, write_text
from relad_bids.group.agreement import agreement_tables, comparable, with_floors
from relad_bids.group.ceiling import ceiling_table
from relad_bids.group.cognition import cognition
from relad_bids.group.groups import subgroups
from relad_bids.group.harmonised import combat_tables
from relad_bids.group.mixed import mixed
from relad_bids.group.paired import paired_table
from relad_bids.group.parquet import read_long, require_parquet, write_parquet
from relad_bids.group.people import People, read_people, read_scores
from relad_bids.group.positivity import positivity_tables
from relad_bids.group.predictors import regional_volumes
from relad_bids.group.reading import (
    Joined,
    find_tables,
    join_tables,
    participant_folders,
    read_rows,
)
from relad_bids.group.repeated import change, repeated_rows, retest
from relad_bids.group.scans import Scans, reference_regions, sort_scans
from relad_bids.group.seen import Checkpoints, read_checkpoints
from relad_bids.group.settings import GroupSettings
from relad_bids.group.times import read_session_times
from relad_bids.group.wide import wide_table
from relad_bids.group.written import (
    Table,
    write_statistic,
)
from relad_bids.reports.group_page import GroupPage, write_group_page

LOGGER = logging.getLogger("relad_bids.group")


@dataclass(eq=False)
class Results:
    """What was made, in the order in which it was made."""

    tables: dict[str, Table] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)
    """With floors; empty where nothing can be compared."""
    qc: pd.DataFrame = field(default_factory=pd.DataFrame)
    """QC rows of all sessions, for the page."""

    def add(self, *tables: Table | None) -> None:
        self.tables |= {one.key: one for one in tables if one is not None and len(one.frame)}


def run(settings: GroupSettings) -> Iterator[Path]:
    """Write everything; yield the long tables, then the page.

    Raises
    ------
    ReladError
        What was asked for cannot be done; nothing of it stands under a final name.
    """
    root = settings.output_dir
    folders = participant_folders(root, settings.participants)
    found = {name: paths for key in GROUP_TABLES for name, paths in
             find_tables(folders, key).items()}  # fmt: skip
    if not found:
        raise InputError(
            f"VOI tables were looked for in {root}/sub-*/ and none was found. Run "
            "'relad-bids BIDS_DIR OUTPUT_DIR participant' first, with the same output folder."
        )
    if settings.parquet:
        require_parquet()
    places = [place for place in (root, settings.bids_dir) if place is not None]
    people = read_people(settings.participants_tsv, places)
    scores = read_scores(settings.phenotype, settings.scores, people)
    notes: list[str] = []
    times = read_session_times(settings.sessions_tsv, places, notes)
    checkpoints = read_checkpoints(settings.checkpoints, vouched=settings.unseen)
    require_writable(root)
    joined = [join_tables(paths, root / name) for name, paths in found.items()]
    qc = _join_qc(root, folders)
    scans = sort_scans(read_rows(joined))
    regions = reference_regions(scans.primary)
    for one in joined:
        _describe(root, one, regions, settings)
        yield one.path
    results = Results(notes=[*scans.notes, *notes], qc=pd.DataFrame() if qc is None else qc)
    if people.path is None:
        results.notes.append(
            "No participants.tsv was found beside the derivatives or the dataset: age, sex, "
            "diagnosis and site are in no model."
        )
    _statistics(results, scans, people, scores, times, qc, checkpoints, settings)
    _write(root, results, joined, _facts(scans, settings), settings)
    yield _page(root, results, scans, joined, people, settings)


def _statistics(
    results: Results,
    scans: Scans,
    people: People,
    scores: Mapping[str, pd.DataFrame],
    times: pd.DataFrame,
    qc: pd.DataFrame | None,
    checkpoints: Checkpoints,
    settings: GroupSettings,
) -> None:
    """All tables. Each draws from a generator of its own: none changes another's figures."""

    def rng(what: str) -> np.random.Generator:
        return np.random.default_rng([settings.seed, list(GROUP_STATISTICS).index(what)])

    volumes = regional_volumes(scans.primary, qc)
    if scores:  # first, since it may refuse
        results.add(
            cognition(
                scans.primary, scores, volumes, people, times, checkpoints, settings,
                rng=rng("cognition"), notes=results.notes,
            )
        )  # fmt: skip
    if settings.combat:
        results.add(*combat_tables(scans.primary, people, settings, results.notes))
    results.add(wide_table(scans))
    paired = paired_table(scans, checkpoints)
    results.add(paired)
    again = repeated_rows(scans.primary)
    results.add(retest(again, times, settings, rng=rng("retest")))
    if settings.asks_retest and "retest" not in results.tables:
        results.notes.append("Nobody has two sessions that can be test and retest.")
    results.add(change(again, times, people))
    if len(again) and "change" not in results.tables:
        results.notes.append(
            "Participants have several sessions, and when these were is not known (sessions.tsv, "
            "scans.tsv, --sessions-tsv): no change over the years is told."
        )
    pairs = comparable(paired.frame, results.notes)
    if pairs.empty:
        results.notes.append("No session has both measured and synthetic PET of one tracer.")
        return
    results.pairs, floors = with_floors(
        pairs, volumes, people, rng=rng("paired"), notes=results.notes
    )
    n_draws, kept = settings.n_draws, results.tables.get("retest")
    LOGGER.info("comparing %d pairs of regional values", len(pairs))
    repeats = None if kept is None else kept.frame
    results.add(
        *agreement_tables(results.pairs, floors, repeats, rng=rng("agreement"), n_draws=n_draws)
    )
    results.add(mixed(pairs, people))
    results.add(ceiling_table(pairs, repeats))
    results.add(*positivity_tables(results.pairs, floors, rng=rng("positivity"), n_draws=n_draws))
    results.add(subgroups(results.pairs, people, rng=rng("subgroups"), n_draws=n_draws))


def _describe(
    root: Path, one: Joined, regions: Mapping[str, list[str]], settings: GroupSettings
) -> None:
    """The dictionary of a long table, and its twin in parquet."""
    statement = " ".join(one.statements) or SYNTHETIC_STATEMENT
    facts = {
        "ReferenceRegion": regions,
        "Sources": [f"bids::{path.relative_to(root).as_posix()}" for path in one.sources],
    }
    write_text(sidecar_path(one.path), json_text(dictionary(statement=statement, **facts)))
    if settings.parquet:
        write_parquet(one.path, read_long(one.path))
    LOGGER.info("%d tables joined in %s", len(one.sources), one.path.name)


def _join_qc(root: Path, folders: list[Path]) -> pd.DataFrame | None:
    paths = [path for found in find_tables(folders, "qc").values() for path in found]
    if not paths:
        return None
    join_tables(paths, root / GROUP_QC)
    told = {**described(QC_COLUMNS), **GENERATED_BY}
    write_text(sidecar_path(root / GROUP_QC), json_text(told))
    return read_table(root / GROUP_QC)


def _facts(scans: Scans, settings: GroupSettings) -> dict[str, object]:
    """What the dictionary of each statistic says of all of them."""
    return {
        "ReferenceRegion": reference_regions(scans.primary),
        "BootstrapDraws": settings.n_draws,
        "Seed": settings.seed,
    }


def _write(
    root: Path,
    results: Results,
    joined: list[Joined],
    facts: Mapping[str, object],
    settings: GroupSettings,
) -> None:
    """Every statistic as TSV and JSON; those of an earlier run that are not made now go."""
    statement = " ".join(dict.fromkeys(text for one in joined for text in one.statements))
    sources = [f"bids::{one.path.name}" for one in joined]
    for key, name in GROUP_STATISTICS.items():
        if key not in results.tables:
            for ending in (".tsv", ".json", ".parquet"):
                (root / name).with_suffix(ending).unlink(missing_ok=True)
    for table in results.tables.values():
        write_statistic(
            root, table, facts=facts, statement=statement or SYNTHETIC_STATEMENT,
            sources=sources, parquet=settings.parquet,
        )  # fmt: skip
    write_text(root / ".bidsignore", "\n".join(BIDSIGNORE) + "\n")


def _page(
    root: Path,
    results: Results,
    scans: Scans,
    joined: list[Joined],
    people: People,
    settings: GroupSettings,
) -> Path:
    path = root / GROUP_PAGE
    statements = dict.fromkeys(text for one in joined for text in one.statements)
    facts = {
        "Parcellation": scans.atlas,
        "Intervals": f"95 %, BCa bootstrap over participants, {settings.n_draws} draws, seed "
        f"{settings.seed}",
        "participants.tsv": "read" if people.path else "not found",
    }
    images = scans.primary.drop_duplicates("scan")
    write_group_page(
        path,
        GroupPage(
            software_version=__version__,
            statements=tuple(statements),
            facts=facts,
            notes=tuple(results.notes),
            images=images.drop(columns="scan"),
            tables={key: one.frame for key, one in results.tables.items()},
            columns={key: one.columns for key, one in results.tables.items()},
            files={key: one.file for key, one in results.tables.items()},
            pairs=results.pairs,
            qc=results.qc,
        ),
    )
    return path
