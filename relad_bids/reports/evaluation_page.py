"""One evaluation on one page: numbers with intervals, floors, words and charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from relad_bids.core.columns import SYNTHETIC_STATEMENT
from relad_bids.files import write_text
from relad_bids.reports import charts
from relad_bids.reports.evaluation_rows import (
    Block,
    Verdict,
    in_short,
    more_blocks,
    number,
    regional_block,
    verdicts,
    with_interval,
)
from relad_bids.reports.templates import data_uri, template


@dataclass(frozen=True, kw_only=True)
class EvaluationPage:
    """What the page of one evaluation shows."""

    software_version: str
    cohort: str
    held_to: str
    """What the estimates are held to: ``measured`` or ``simulated``."""
    statements: Mapping[str, str]
    """Model -> the sentence of its card."""
    primary: Mapping[str, str]
    """Tracer -> the VOI that was declared before looking."""
    references: Mapping[str, str]
    """Tracer -> reference region."""
    facts: Mapping[str, str]
    """How the models were asked, in the order in which it is printed."""
    notes: tuple[str, ...]
    tables: Mapping[str, pd.DataFrame]
    """By the stem of their file."""
    definitions: Mapping[str, str]
    """Metric -> what it is."""


@dataclass(frozen=True, kw_only=True)
class _Section:
    tracer: str
    reference: str
    regional: Block
    verdicts: tuple[Verdict, ...]
    agreement_picture: str
    skill_picture: str
    positivity: tuple[tuple[str, ...], ...]
    more: tuple[Block, ...]
    rank_picture: str | None


def write_evaluation_page(path: Path, page: EvaluationPage) -> None:
    """Write the page of one evaluation, pictures inside, whole or not at all."""
    html = template("evaluation").render(
        page=page,
        synthetic_statement=SYNTHETIC_STATEMENT,
        short=in_short(page.tables["desc-voi_skill"]),
        sections=[_section(page, tracer, voi) for tracer, voi in page.primary.items()],
        comparisons=_comparisons(page.tables.get("desc-model_comparison")),
        unusual=_unusual(page.tables.get("desc-mri_ood")),
    )
    write_text(path, html)


def _section(page: EvaluationPage, tracer: str, voi: str) -> _Section:
    tables = {
        name: table[table["tracer"] == tracer] if "tracer" in table else table
        for name, table in page.tables.items()
    }
    pairs = tables["desc-voi_pairs"].query("divided_by == 'own' and voi == @voi")
    skill = tables["desc-voi_skill"]
    ranks = tables.get("desc-voi_ranks")
    return _Section(
        tracer=tracer,
        reference=page.references[tracer],
        regional=regional_block(tables, tracer, voi),
        verdicts=tuple(verdicts(skill[skill["voi"] == voi])),
        agreement_picture=data_uri(
            charts.agreement_figure(pairs, tracer=tracer, voi=voi, held_to=page.held_to)
        ),
        skill_picture=data_uri(
            charts.skill_figure(skill, tracer=tracer, floor="mean", words="the training mean")
        ),
        positivity=_positivity(tables.get("desc-voi_positivity")),
        more=tuple(more_blocks(tables, tracer, voi)),
        rank_picture=None
        if ranks is None or ranks.empty
        else data_uri(charts.rank_figure(ranks[ranks["voi"] == voi], tracer=tracer, voi=voi)),
    )


def _positivity(table: pd.DataFrame | None) -> tuple[tuple[str, ...], ...]:
    """Model, VOI, cut-off, metric, value, counts and note of what needs no training pairs."""
    if table is None:
        return ()
    measures = table["metric"].isin(["roc_auc", "sensitivity", "specificity"])
    # Where there is no value, one line says why.
    shown = table[measures & (table["value"].notna() | (table["metric"] == "roc_auc"))]
    return tuple(
        (
            str(row.model),
            f"{row.voi} at {row.cutoff:g}",
            str(row.metric).replace("_", " "),
            with_interval(row.value, row.low, row.high, 2),
            f"{row.n_positive} / {row.n_negative}",
            str(row.note),
        )
        for row in shown.itertuples()
    )


def _comparisons(table: pd.DataFrame | None) -> list[tuple[str, ...]]:
    """Tracer, whose error, model, other, difference, effect, p and adjusted p, n."""
    if table is None:
        return []
    return [
        (
            str(row.tracer), str(row.of), str(row.model), str(row.other),
            with_interval(row.difference, row.low, row.high, 4, signed=True),
            number(row.effect, 2, signed=True), number(row.p, 4),
            number(row.p_wilcoxon, 4), number(row.p_adjusted, 4), str(row.n),
        )
        for row in table.itertuples()
    ]  # fmt: skip


def _unusual(table: pd.DataFrame | None) -> list[tuple[str, ...]]:
    """Model, how many inputs it was asked about, and those that were flagged with the reasons."""
    if table is None:
        return []
    return [
        (
            str(model), str(len(rows)), str(int(rows["ood_flag"].sum())),
            "; ".join(
                f"{row.participant_id}: {row.ood_reasons}" for row in rows.itertuples()
                if row.ood_flag
            ),
        )
        for model, rows in table.groupby("model", sort=False)
    ]  # fmt: skip
