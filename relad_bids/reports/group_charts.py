"""Charts of the group level, each as the bytes of one WebP image (see ``charts``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from relad_bids.reports.charts import (
    DOT,
    DPI,
    INK,
    LABEL_STYLE,
    LINE,
    MODEL_COLOURS,
    TITLE_STYLE,
    WIDTH_IN,
    encoded,
    plain,
)

SHOWN = (
    ("ccc", "CCC"), ("icc_a1", "ICC(A,1)"), ("sd_ratio", "SD ratio"),
    ("bias", "bias / SD"), ("skill_mean", "skill over\nothers' mean"),
    ("skill_age_sex", "skill over\nage and sex"), ("skill_ridge", "skill over\nMRI volumes"),
)  # fmt: skip
"""Columns of the heat map; bias in units of the between-participant SD of the measured SUVr."""


def heat_map(agreement: pd.DataFrame, pairs: pd.DataFrame, *, tracer: str) -> bytes:
    """All regions of a tracer by the measures of :data:`SHOWN`; colour says how good.

    Parameters
    ----------
    agreement
        ``voi metric value n`` of one tracer (:func:`relad_bids.core.evaluation.evaluate`).
    pairs
        ``voi truth`` of the tracer, for the spread of the measured SUVr.
    """
    table = agreement.pivot_table("value", "voi", "metric", sort=False, dropna=False)
    spread = pairs.groupby("voi")["truth"].std()
    shown = [(metric, words) for metric, words in SHOWN if metric in table]
    values = table[[metric for metric, _ in shown]].copy()
    values["bias"] = values["bias"] / spread.reindex(values.index)
    goodness = np.column_stack([_goodness(metric, values[metric]) for metric, _ in shown])
    height = max(2.4, 0.22 * len(values) + 1.5)
    figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    norm = TwoSlopeNorm(0, vmin=-1.3, vmax=1.3)  # the palest ends of the scale: text stays legible
    axes.imshow(goodness, cmap="RdBu", norm=norm, aspect="auto", alpha=0.6)
    for (row, column), value in np.ndenumerate(values.to_numpy(dtype=np.float64)):
        text = f"{value:.2f}" if np.isfinite(value) else "n/a"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=INK)
    n = agreement.groupby("voi", sort=False)["n"].first().reindex(values.index)
    axes.set_yticks(range(len(values)), [f"{voi} (n = {n[voi]})" for voi in values.index],
                    fontsize=7.5)  # fmt: skip
    axes.set_xticks(range(len(shown)), [words for _, words in shown], fontsize=8)
    axes.xaxis.tick_top()
    axes.set_title(f"{tracer}, synthetic against measured SUVr, by region", **TITLE_STYLE)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return encoded(figure)


def _goodness(metric: str, values: pd.Series) -> np.ndarray:
    """1 is ideal, 0 is what a floor reaches, below is worse; for the colour alone."""
    found = values.to_numpy(dtype=np.float64)
    if metric == "sd_ratio":
        with np.errstate(divide="ignore", invalid="ignore"):
            found = 1 - np.abs(np.log2(np.where(found > 0, found, np.nan)))
    elif metric == "bias":
        found = 1 - 2 * np.abs(found)
    return np.clip(found, -1, 1)


def roc_figure(pairs: pd.DataFrame, *, tracer: str, voi: str, cutoff: float) -> bytes:
    """Receiver operating characteristic of the synthetic SUVr, with that of its rivals.

    Parameters
    ----------
    pairs
        ``truth estimate`` of one VOI, one row per participant, and columns ``age_sex ridge`` as
        far as known.
    """
    positive = pairs["truth"].to_numpy(dtype=np.float64) >= cutoff
    rivals = {"age_sex": "age and sex", "ridge": "MRI volumes"}
    figure = Figure(figsize=(WIDTH_IN * 0.52, 4.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.2)
    named = {"estimate": "synthetic PET", **{k: v for k, v in rivals.items() if k in pairs}}
    for (name, words), colour in zip(named.items(), (DOT, *MODEL_COLOURS[1:]), strict=False):
        score = pairs[name].to_numpy(dtype=np.float64)
        if not np.isfinite(score).all():
            continue
        false, true, _ = roc_curve(positive, score)
        area = roc_auc_score(positive, score)
        axes.plot(false, true, color=colour, linewidth=1.6, label=f"{words}, AUC {area:.2f}")
        if name == "estimate":
            called = score >= cutoff
            axes.scatter(
                called[~positive].mean(), called[positive].mean(), s=34, color=colour, zorder=3,
                label=f"synthetic SUVr at {cutoff:g}",
            )  # fmt: skip
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel("1 - specificity", **LABEL_STYLE)
    axes.set_ylabel("sensitivity", **LABEL_STYLE)
    counts = f"n = {positive.sum()} positive, {(~positive).sum()} negative"
    axes.set_title(f"{tracer}, {voi} at {cutoff:g}\n{counts}", **TITLE_STYLE)
    axes.legend(fontsize=7.5, frameon=False, loc="lower right")
    plain(axes)
    return encoded(figure)


SOURCE_COLOURS = {"real": MODEL_COLOURS[2], "synthetic": DOT}


def change_figure(rows: pd.DataFrame, *, tracer: str) -> bytes:
    """Annual change of each region with its interval, measured and synthetic PET apart.

    Parameters
    ----------
    rows
        ``source voi annual_change low high n`` of one tracer
        (:data:`relad_bids.core.change.CHANGE_COLUMNS`), with values.
    """
    labels = [f"{row.voi}, {row.source} (n = {row.n:.0f})" for row in rows.itertuples()]
    colours = [SOURCE_COLOURS.get(str(source), INK) for source in rows["source"]]
    return _forest(
        rows["annual_change"], rows["low"], rows["high"], labels, colours,
        title=f"{tracer}, change over the years; synthetic PET is estimated from MRI",
        axis="SUVr per year, 95 %",
    )  # fmt: skip


def effects_figure(rows: pd.DataFrame) -> bytes:
    """Effects of the source, and of its tracer, with their intervals.

    Parameters
    ----------
    rows
        ``voi term estimate low high n`` (:data:`relad_bids.group.mixed.MIXED_COLUMNS`).
    """
    labels = [f"{row.voi}: {row.term} (n = {row.n:.0f})" for row in rows.itertuples()]
    return _forest(
        rows["estimate"], rows["low"], rows["high"], labels, [DOT] * len(rows),
        title="synthetic - measured SUVr, mixed model",
        axis="SUVr, 95 %; 0: the source makes no difference",
    )  # fmt: skip


def _forest(
    value: pd.Series,
    low: pd.Series,
    high: pd.Series,
    labels: Sequence[str],
    colours: Sequence[str],
    *,
    title: str,
    axis: str,
) -> bytes:
    """A dot and its interval in each line, the first on top."""
    figure = Figure(
        figsize=(WIDTH_IN, max(1.6, 0.26 * len(labels) + 1.1)), dpi=DPI, layout="constrained"
    )
    axes = figure.subplots()
    axes.axvline(0, color=LINE, linewidth=1.2, zorder=0)
    for place, (middle, *ends, colour) in enumerate(zip(value, low, high, colours, strict=True)):
        axes.plot(ends, [-place, -place], color=colour, linewidth=1.4)
        axes.plot(middle, -place, "o", color=colour, markersize=4.5)
    axes.set_yticks([-place for place in range(len(labels))], labels, fontsize=7.5)
    axes.set_ylim(0.6 - len(labels), 0.6)
    axes.set_xlabel(axis, **LABEL_STYLE)
    axes.set_title(title, **TITLE_STYLE)
    plain(axes)
    return encoded(figure)
