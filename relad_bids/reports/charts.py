"""Charts of an evaluation, each as the bytes of one WebP image.

Every chart says how many participants it shows, and which axis is synthetic: one that is copied
out of its page still says what it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from relad_bids.core.agreement import bland_altman
from relad_bids.reports.encoding import webp

MIME = "image/webp"
DPI = 130
WIDTH_IN = 9.4
INK, SOFT, LINE = "#1b2430", "#5c6877", "#c5ced8"
DOT, BAND = "#1f5f8b", "#9db8cc"
MODEL_COLOURS = ("#1f5f8b", "#c7622b", "#3b7d4f", "#7a4a8b", "#a0892c", "#8b3a4a")


def agreement_figure(pairs: pd.DataFrame, *, tracer: str, voi: str, held_to: str) -> bytes:
    """Scatter and Bland-Altman plot of one VOI, a row of both for each model.

    Parameters
    ----------
    pairs
        ``model participant_id estimate truth`` of one tracer and VOI, SUVr.
    held_to
        What the truth is: ``measured`` or ``simulated``.
    """
    groups = [(str(model), rows) for model, rows in pairs.groupby("model", sort=False)]
    figure = Figure(figsize=(WIDTH_IN, 3.7 * len(groups)), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False)
    for (model, rows), (left, right) in zip(groups, axes, strict=True):
        known = rows.dropna(subset=["estimate", "truth"])
        x, y = known["truth"].to_numpy(float), known["estimate"].to_numpy(float)
        n = known["participant_id"].nunique()
        _scatter(left, x, y, held_to)
        _bland_altman(right, x, y, held_to)
        left.set_title(f"{model}\n{tracer}, {voi}, n = {n}, synthetic", **TITLE_STYLE)
        right.set_title(f"Bland-Altman, n = {n}, synthetic", **TITLE_STYLE)
    return encoded(figure)


def skill_figure(skill: pd.DataFrame, *, tracer: str, floor: str, words: str) -> bytes:
    """Skill over one floor in every VOI of a tracer, with intervals, all models together.

    Parameters
    ----------
    skill
        ``model voi primary floor skill low high n`` of one tracer.
    floor, words
        Which floor, and what the axis calls it.
    """
    rows = skill[(skill["floor"] == floor) & skill["skill"].notna()]
    vois = list(dict.fromkeys(rows.sort_values("primary", ascending=False, kind="stable")["voi"]))
    place = {voi: -index for index, voi in enumerate(vois)}
    models = list(dict.fromkeys(rows["model"]))
    height = max(2.2, 0.19 * len(vois) + 1.3)
    figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for index, model in enumerate(models):
        mine = rows[rows["model"] == model]
        y = mine["voi"].map(place).to_numpy(float) + 0.24 * ((len(models) - 1) / 2 - index)
        value = mine["skill"].to_numpy(float)
        reach = np.abs(mine[["low", "high"]].to_numpy(float).T - value)
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        axes.errorbar(
            value, y, xerr=np.nan_to_num(reach), fmt="o", color=colour, ecolor=colour,
            markersize=3.6, elinewidth=1.1, label=model,
        )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_xlim(left=max(-1.5, axes.get_xlim()[0]), right=1.02)
    primary = set(rows.loc[rows["primary"].astype(bool), "voi"])
    labels = [f"{voi} (primary)" if voi in primary else voi for voi in vois]
    axes.set_yticks([place[voi] for voi in vois], labels, fontsize=7.5)
    axes.set_ylim(-len(vois) + 0.4, 0.6)
    n = int(rows["n"].max()) if len(rows) else 0
    axes.set_xlabel(f"skill over {words}: 0 is no better, 1 is without error", **LABEL_STYLE)
    axes.set_title(f"{tracer}, synthetic SUVr, n = {n}", **TITLE_STYLE)
    if len(models) > 1:
        figure.legend(fontsize=7.5, frameon=False, loc="outside upper right", ncols=2)
    plain(axes)
    return encoded(figure)


def rank_figure(ranks: pd.DataFrame, *, tracer: str, voi: str) -> bytes:
    """Rank of the truth among the samples of each model that draws, in one VOI.

    Parameters
    ----------
    ranks
        ``model rank count expected n`` of one tracer and VOI.
    """
    groups = [(str(model), rows) for model, rows in ranks.groupby("model", sort=False)]
    figure = Figure(figsize=(WIDTH_IN, 2.6), dpi=DPI, layout="constrained")
    for axes, (model, rows) in zip(
        figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True
    ):
        axes.bar(rows["rank"], rows["count"], color=BAND, edgecolor=DOT, linewidth=0.6)
        axes.axhline(float(rows["expected"].iloc[0]), color=INK, linewidth=0.9)
        n = rows["n"].iloc[0]
        axes.set_title(f"{model}\n{tracer}, {voi}, n = {n}, synthetic", **TITLE_STYLE)
        axes.set_xlabel("rank: synthetic samples below the truth", **LABEL_STYLE)
        axes.set_ylabel("participants", **LABEL_STYLE)
        plain(axes)
    return encoded(figure)


TITLE_STYLE: dict[str, Any] = {"fontsize": 9, "color": INK, "loc": "left"}
LABEL_STYLE: dict[str, Any] = {"fontsize": 8.5, "color": SOFT}


def _scatter(axes: Axes, truth: np.ndarray, estimate: np.ndarray, held_to: str) -> None:
    low, high = (_end(np.concatenate([truth, estimate]), sign) for sign in (-1, 1))
    axes.plot([low, high], [low, high], color=LINE, linewidth=1.2, zorder=0)
    axes.scatter(truth, estimate, s=20, color=DOT, alpha=0.85, linewidths=0)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
    axes.set_xlabel(f"{held_to} SUVr", **LABEL_STYLE)
    axes.set_ylabel("synthetic SUVr", **LABEL_STYLE)
    plain(axes)


def _bland_altman(axes: Axes, truth: np.ndarray, estimate: np.ndarray, held_to: str) -> None:
    found = bland_altman(estimate, truth)
    axes.axhline(0, color=LINE, linewidth=1.2, zorder=0)
    for value, interval, style, place in (
        (found.bias, found.bias_interval, "-", 1.02),
        (found.low, found.low_interval, "--", 1.035),
        (found.high, found.high_interval, "--", 1.05),
    ):
        if np.isfinite(value):
            axes.axhline(value, color=INK, linewidth=0.9, linestyle=style)
        if np.isfinite(interval).all():
            # Beside the plot: in small samples the three overlap.
            axes.plot(
                [place, place], interval, color=BAND, linewidth=3, clip_on=False,
                transform=axes.get_yaxis_transform(), solid_capstyle="butt",
            )  # fmt: skip
    axes.scatter(
        (truth + estimate) / 2, estimate - truth, s=20, color=DOT, alpha=0.85, linewidths=0
    )
    axes.set_xlabel(f"mean of synthetic and {held_to} SUVr", **LABEL_STYLE)
    axes.set_ylabel(f"synthetic - {held_to} SUVr", **LABEL_STYLE)
    plain(axes)


def _end(values: np.ndarray, sign: int) -> float:
    """A little beyond the smallest or the largest value."""
    if not values.size:
        return 0.5 + 0.5 * sign
    span = max(float(np.ptp(values)), 0.02)
    return float((values.max() if sign > 0 else values.min()) + sign * 0.06 * span)


def plain(axes: Axes) -> None:
    axes.tick_params(labelsize=8, colors=SOFT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)


def encoded(figure: Figure) -> bytes:
    """The figure as an image; a ``$`` in a name is no formula, which may be one that cannot be."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return webp(figure, ground="#ffffff", lossless=True)
