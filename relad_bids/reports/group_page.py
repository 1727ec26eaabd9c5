"""All participants on one page: what was found, what synthetic PET is worth, and in whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from relad_bids.core.cognition import THEORY
from relad_bids.core.columns import SYNTHETIC_STATEMENT
from relad_bids.core.regional_mixed import OVERALL
from relad_bids.core.skill import SKILL_COLUMNS
from relad_bids.files import write_text
from relad_bids.reports.charts import agreement_figure
from relad_bids.reports.evaluation_rows import Short, Verdict, in_short, n_of, verdicts
from relad_bids.reports.group_charts import (
    change_figure,
    effects_figure,
    heat_map,
    roc_figure,
)
from relad_bids.reports.group_rows import (
    FLOOR_WORDS,
    Printed,
    agreement_lines,
    change_lines,
    effect_lines,
    images_found,
    long_lines,
    pivoted,
)
from relad_bids.reports.quality_rows import quality_summary
from relad_bids.reports.templates import data_uri, template
from relad_bids.tables import tracers

Tables = Mapping[str, pd.DataFrame]
_NONE = pd.DataFrame()

AT_CUTOFF = {
    "roc_auc": ("AUC", 2), "sensitivity": ("sensitivity", 2), "specificity": ("specificity", 2),
    "delta_auc_age_sex": ("- AUC of age, sex", 2),
    "delta_auc_ridge": ("- AUC of volumes", 2), "brier": ("Brier", 3),
    "logistic_slope": ("logistic slope", 2), "truth_cutoff": ("cut-off, measured", 2),
    "estimate_cutoff": ("cut-off, synthetic", 2),
}  # fmt: skip
OF_LINES = {
    "passing_bablok_slope": ("Passing-Bablok slope", 2),
    "passing_bablok_intercept": ("intercept", 3),
    "deming_slope": ("Deming slope", 2), "deming_intercept": ("intercept", 3),
    "deming_error_ratio": ("error ratio", 2),
}  # fmt: skip
IN_GROUPS = {
    "bias": ("bias", 3),
    "mae": ("MAE", 3),
    "ccc": ("CCC", 2),
    "sd_ratio": ("SD ratio", 2),
}
OF_SCORES = {"r2": ("R2", 3), "mae": ("MAE", 2), "spearman": ("Spearman", 2)}
OF_REPEATS = {
    "icc_a1": ("ICC(A,1)", 2), "abs_diff_percent": ("|difference|, %", 1),
    "within_sd": ("within-participant SD", 3), "repeatability": ("repeatability", 3),
}  # fmt: skip
"""Metric -> title and digits of its column."""
COUNTS = ["n_positive", "n_negative"]


@dataclass(frozen=True, kw_only=True)
class GroupPage:
    """What the page of the group level shows."""

    software_version: str
    statements: tuple[str, ...]
    facts: Mapping[str, str]
    notes: tuple[str, ...]
    images: pd.DataFrame
    """One row per image."""
    tables: Tables
    """By key of :data:`relad_bids.bids.outputs.GROUP_STATISTICS`; those that were made."""
    columns: Mapping[str, Mapping[str, Any]]
    """Dictionary of each table."""
    files: Mapping[str, str]
    pairs: pd.DataFrame
    """``tracer voi primary estimate truth`` and floors; empty where nothing is compared."""
    qc: pd.DataFrame
    """QC rows of all sessions; may be empty."""


@dataclass(frozen=True)
class Picture:
    """A chart with its words."""

    uri: str
    alt: str
    caption: str
    narrow: bool = False


@dataclass(frozen=True)
class Block:
    """A printed table with its title and what to know."""

    title: str
    note: str
    printed: Printed
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Section:
    """One tracer that has measured and synthetic PET."""

    tracer: str
    title: str
    lines: Printed
    verdicts: tuple[Verdict, ...]
    pictures: tuple[Picture, ...]
    blocks: tuple[Block, ...]


def write_group_page(path: Path, page: GroupPage) -> None:
    """Write the page, pictures inside, whole or not at all."""
    skill = page.tables.get("skill")
    html = template("group").render(
        page=page,
        synthetic_statement=SYNTHETIC_STATEMENT,
        found=images_found(page.images),
        n_participants=page.images["participant_id"].nunique(),
        short=[] if skill is None else _short(skill),
        sections=[] if page.pairs.empty else list(_sections(page)),
        others=[*_quality(page.qc), *_others(page.tables)],
        definitions=_definitions(page.columns),
    )
    write_text(path, html)


def _short(skill: pd.DataFrame) -> list[Short]:
    return in_short(skill.assign(model="synthetic PET"))


def _sections(page: GroupPage) -> Iterator[Section]:
    # One participant alone has no floor to be held against.
    none = pd.DataFrame(columns=list(SKILL_COLUMNS))
    skill = page.tables.get("skill", none).assign(model="synthetic PET")
    for tracer, pairs in page.pairs.groupby("tracer", sort=True):
        own = pairs[pairs["primary"].astype(bool)]
        if own.empty:
            continue
        voi = str(own["voi"].iloc[0])
        tables = {
            key: table[table["tracer"] == tracer] if "tracer" in table else table
            for key, table in page.tables.items()
        }
        here = tables["agreement"].query("voi == @voi")
        floors = [name for name in FLOOR_WORDS if name in here and here[name].notna().any()]
        mine = skill[(skill["tracer"] == tracer) & (skill["voi"] == voi)]
        yield Section(
            str(tracer),
            f"{tracer}, {voi} (primary VOI), {n_of(here)}",
            agreement_lines(here, floors),
            tuple(verdicts(mine)),
            tuple(_pictures(str(tracer), voi, pairs, own, tables)),
            tuple(_blocks(voi, tables)),
        )


def _pictures(
    tracer: str, voi: str, pairs: pd.DataFrame, own: pd.DataFrame, tables: Tables
) -> Iterator[Picture]:
    both = own.assign(model="synthetic PET")
    yield Picture(
        data_uri(agreement_figure(both, tracer=tracer, voi=voi, held_to="measured")),
        f"Scatter and Bland-Altman plots of synthetic {tracer} in the primary VOI",
        "Left: a dot per scan; the line is agreement. Right: difference against the mean; full "
        "line: bias; broken lines: limits of agreement (bias -/+ 1.96 SD); bars on the right: "
        "their 95 % t intervals. An estimate that is shrunk to the mean slopes downwards.",
    )
    yield Picture(
        data_uri(heat_map(tables["agreement"], pairs, tracer=tracer)),
        f"Agreement of synthetic {tracer} in every region",
        "Blue is good, red is bad; white: skill 0, CCC 0, half or twice the spread, a bias of "
        "half the between-participant SD of measured SUVr (the unit of bias). Only the primary "
        "VOI, in the first row, was declared before looking; intervals and adjusted p values of "
        "the others stand in the tables.",
    )
    judged = tables.get("positivity")
    if judged is None:
        return
    areas = judged[(judged["metric"] == "roc_auc") & judged["value"].notna()]
    for row in areas.itertuples():
        scans = pairs[pairs["voi"] == row.voi]
        order = scans.sort_values(["session_id", "run"], na_position="first", kind="stable")
        once = order.drop_duplicates("participant_id")
        yield Picture(
            data_uri(roc_figure(once, tracer=tracer, voi=str(row.voi), cutoff=float(row.cutoff))),
            f"ROC curve of synthetic {tracer} in {row.voi}",
            "Positive: measured SUVr at or above the preset cut-off. The dot: the same cut-off "
            "applied to synthetic SUVr.",
            narrow=True,
        )


def _blocks(voi: str, tables: Tables) -> Iterator[Block]:
    lines = tables["agreement"].query("voi == @voi")
    if len(lines := lines[lines["metric"].isin(OF_LINES)]):
        yield Block(
            "Method comparison",
            "The line of synthetic on measured SUVr where both have error; ideal: slope 1, "
            "intercept 0. One scan of each participant. The error ratio is that of test and "
            "retest where both are known; 1 supposes that both have the same error.",
            pivoted(lines, ["voi"], OF_LINES),
        )
    if len(ceiling := _primary(tables.get("ceiling"))):
        shown = ceiling.rename(
            columns={"r_max": "value", "r_max_low": "low", "r_max_high": "high"}
        )
        yield Block(
            "Noise ceiling",
            "How high a correlation could be, given how well two scans of one person agree: the "
            "root of ICC(A,1) of measured times that of synthetic PET (1 where it is not known). "
            "Where the ICC is from the literature there is no interval.",
            long_lines(shown, ["voi", "origin"], 2, ["n"]),
        )
    if len(judged := tables.get("positivity", _NONE)):
        yield Block(
            "Positivity at the preset cut-off",
            "The cut-off applied to synthetic and measured SUVr alike; one scan per participant."
            + _remarks(judged),
            pivoted(judged, ["voi", "cutoff"], AT_CUTOFF, COUNTS),
        )
    if len(folded := tables.get("positivity_folds", _NONE)):
        yield Block(
            "Positivity at cut-offs of the other folds",
            "Measured SUVr is cut where two groups of a mixture are equally likely, synthetic "
            "SUVr by Youden's index, both in four fifths of the participants for the fifth; in "
            "brackets of a cut-off: its range." + _remarks(folded),
            pivoted(folded, ["voi"], AT_CUTOFF, COUNTS),
        )
    if len(groups := tables.get("subgroups", _NONE)):
        yield Block(
            "Subgroups",
            f"{voi}. Groups of fewer than 10 participants have no figures. p: whether the bias "
            "differs among the groups; FDR: adjusted over tracers and variables.",
            pivoted(groups.query("voi == @voi"), ["variable", "level"], IN_GROUPS,
                    ["n", "p_bias", "p_bias_fdr"]),
        )  # fmt: skip


def _quality(qc: pd.DataFrame) -> Iterator[Block]:
    """What the figures of quality are like in this cohort, and how many lie outside."""
    if (printed := quality_summary(qc)).rows:
        yield Block(
            "Quality of the MRI",
            "Over all sessions. The usual range is that of a few public scans and no law: where "
            "a whole cohort lies outside it, look for the one that lies apart from its own. Which "
            "sessions are outside stands in desc-relad_qc.tsv, column flags.",
            printed,
        )


def _others(tables: Tables) -> Iterator[Block]:
    """What does not need measured and synthetic PET of one session."""
    if len(scores := tables.get("cognition", _NONE)):
        keys = ["score", "tracer", "sample", "model"]
        gains = scores["metric"] == "delta_r2"
        yield Block(
            "Cognitive scores",
            THEORY + _remarks(scores),
            pivoted(scores[~gains], keys, OF_SCORES, ["n", "n_predictors"]),
        )
        yield Block(
            "Gains in cognitive scores",
            "Difference of two models' out-of-fold R2 in the same participants. p: share of "
            "permutations of the synthetic PET among participants that gain as much as M2.",
            pivoted(scores[gains], keys, {"delta_r2": ("gain in R2", 3)}, ["p", "n"]),
        )
    if len(again := _primary(tables.get("retest"))):
        yield Block(
            "Test and retest",
            "Two scans between which nothing should have changed; primary regions. Of synthetic "
            "PET it is the repeatability of the synthesis, and no evidence of truth.",
            pivoted(again, ["tracer", "source", "voi"], OF_REPEATS),
        )
    for tracer, rows in _primary(tables.get("change")).groupby("tracer", sort=True):
        yield Block(
            f"Change over the years, {tracer}",
            "Mixed models by restricted maximum likelihood; primary regions. p values are not "
            "adjusted for the number of regions.",
            change_lines(rows),
            tuple(_of_change(str(tracer), rows)),
        )
    if len(mixed := _of_primary_regions(tables.get("mixed", _NONE))):
        yield Block(
            "Whether the source changes the values",
            "Mixed models of measured and synthetic SUVr together, with an intercept for each "
            "participant. source[T.synthetic]: synthetic - measured in the first tracer; its "
            "product with a tracer: by how much that differs there. Over all regions of a tracer "
            "it is the mean; regions one by one stand in the table.",
            effect_lines(mixed),
            tuple(_of_source(mixed)),
        )
    if len(effects := tables.get("combat_effects", _NONE)):
        each = effects.groupby(["tracer", "source", "site"], sort=True)
        mean = each.agg(
            value=("shift", "mean"), low=("shift", "min"), high=("shift", "max"),
            scale=("scale", "mean"), n=("n", "first"),
        ).reset_index()  # fmt: skip
        ratio = mean.assign(metric="scale", value=mean["scale"], low=None, high=None)
        yield Block(
            "Site effects taken out by ComBat",
            "Means over regions: shift in SUVr, in brackets its smallest and largest; ratio of "
            "the site's residual SD to the pooled one. The originals stand beside the harmonised "
            "values.",
            pivoted(pd.concat([mean.assign(metric="shift"), ratio]),
                    ["tracer", "source", "site"],
                    {"shift": ("shift [range]", 3), "scale": ("SD ratio", 2)}),
        )  # fmt: skip


def _of_primary_regions(mixed: pd.DataFrame) -> pd.DataFrame:
    """The models of single regions, and of those over all the mean over regions."""
    if mixed.empty:
        return mixed
    mean = mixed["term"].isna() | (mixed["term"] == OVERALL)
    kept = mixed[(mixed["voi"] != "all") | mean]
    words = "all regions, " + kept["tracer"].astype(str)
    return kept.assign(voi=kept["voi"].where(kept["voi"] != "all", words))


def _of_change(tracer: str, rows: pd.DataFrame) -> Iterator[Picture]:
    known = rows.dropna(subset=["annual_change"])
    if len(known):
        yield Picture(
            data_uri(change_figure(known, tracer=tracer)),
            f"Annual change of {tracer} in the primary regions",
            "Dot: annual change; bar: 95 % Wald interval. Synthetic PET is estimated from MRI: "
            "its change is one of the anatomy, and no evidence of a change of the tracer.",
        )


def _of_source(mixed: pd.DataFrame) -> Iterator[Picture]:
    known = mixed.dropna(subset=["estimate"])
    about = known[known["term"].astype(str).str.startswith("source[")]
    if len(about):
        yield Picture(
            data_uri(effects_figure(about)),
            "Effects of the source on SUVr",
            "Dot: effect; bar: 95 % Wald interval. Effects of tracer, age and sex stand in the "
            "table alone.",
        )


def _remarks(table: pd.DataFrame) -> str:
    """What the rows of a table have to say, each once."""
    notes = table.loc[table["note"] != "ok"].dropna(subset=["note"])
    told = {
        f"{' '.join(str(row[key]) for key in ('tracer', 'voi', 'score') if key in row)}: "
        f"{row['note']}."
        for row in notes.to_dict("records")
    }
    return "".join(f" {text}" for text in sorted(told))


def _primary(table: pd.DataFrame | None) -> pd.DataFrame:
    """Rows of the regions that were declared for their tracer."""
    if table is None:
        return pd.DataFrame({"tracer": []})
    declared = [
        row.tracer in tracers() and row.voi in tracers()[row.tracer].primary_vois
        for row in table.itertuples()
    ]
    return table[declared]


def _definitions(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Measure -> what it is, from the dictionaries of the tables."""
    found: dict[str, str] = {}
    for entries in columns.values():
        models = entries.get("model", {}).get("Levels", {}) if "score" in entries else {}
        # A dictionary of its own: those of the columns are constants of their modules.
        levels = {**entries.get("metric", {}).get("Levels", {}), **models}
        found |= {str(name): str(words) for name, words in levels.items()}
    return found
