"""The main numbers of an evaluation as they are printed: rounded, with intervals and floors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

MISSING = "n/a"
FLOOR_WORDS: Mapping[str, str] = {
    "mean": "floor: training mean",
    "ridge": "floor: ridge on MRI",
    "permuted": "floor: somebody else's",
    "age_sex": "floor: age and sex",
}


@dataclass(frozen=True)
class Measure:
    """One column of a printed table."""

    metric: str
    title: str
    digits: int
    signed: bool = False


REGIONAL = (
    Measure("mae", "MAE", 3),
    Measure("bias", "bias", 3, signed=True),
    Measure("ccc", "CCC", 2),
    Measure("icc_a1", "ICC(A,1)", 2),
    Measure("sd_ratio", "SD ratio", 2),
    Measure("calibration_slope", "slope", 2),
)
IMAGE = (
    Measure("voxel_mae", "MAE", 3),
    Measure("voxel_bias", "bias", 3, signed=True),
    Measure("psnr", "PSNR (dB)", 1),
    Measure("ssim", "SSIM 3-D", 3),
)
PAPER_COMPAT = (
    Measure("paper_compat_mae", "MAE", 3),
    Measure("paper_compat_psnr", "PSNR (dB)", 1),
    Measure("paper_compat_ssim2d", "SSIM 2-D", 3),
)
TEXTURE = (
    Measure("spectral_distance", "spectral distance", 2),
    Measure("power_gyrus", "ln power, 5-10 mm", 2, signed=True),
    Measure("power_resolution", "ln power, 2.5-5 mm", 2, signed=True),
    Measure("local_sd_ratio", "local SD ratio", 2),
    Measure("voi_sd_ratio", "VOI SD ratio", 2),
)
SPREAD = (
    Measure("coverage_50", "in 50 %", 2),
    Measure("coverage_80", "in 80 %", 2),
    Measure("coverage_90", "in 90 %", 2),
    Measure("coverage_95", "in 95 %", 2),
    Measure("spread_skill", "spread / error", 2),
    Measure("crps", "CRPS", 3),
)


@dataclass(frozen=True)
class Line:
    """One model, or one of its floors, in a printed table."""

    name: str
    cells: tuple[str, ...]
    """One per measure; :data:`MISSING` where nothing is known."""
    is_floor: bool


@dataclass(frozen=True)
class Verdict:
    """What is said of one model and one floor."""

    model: str
    skill: str
    words: str
    good: bool


@dataclass(frozen=True)
class Block:
    """A printed table: a line per model and floor, a cell per measure."""

    title: str
    note: str
    measures: tuple[Measure, ...]
    lines: tuple[Line, ...]


def regional_block(
    tables: Mapping[str, pd.DataFrame],
    tracer: str,
    voi: str,
    measures: Sequence[Measure] = REGIONAL,
) -> Block:
    """The primary VOI of one tracer."""
    rows = tables["desc-voi_agreement"]
    here = rows.query("tracer == @tracer and voi == @voi and divided_by == 'own'")
    return Block(
        f"{tracer}, {voi} (primary VOI), {n_of(here)}",
        "SUVr, each image divided by its own reference region; in brackets 95 % intervals over "
        "participants",
        tuple(measures),
        tuple(lines(here, measures)),
    )


def more_blocks(tables: Mapping[str, pd.DataFrame], tracer: str, voi: str) -> list[Block]:
    """Images, texture and the spread of samples of one tracer, as far as there are any."""
    image = tables["desc-image_agreement"].query("tracer == @tracer")
    texture = tables["desc-image_texture"].query("tracer == @tracer and voi == 'brain'")
    answers = {"estimate": "the estimate", "one-sample": "one of the samples"}
    found = [
        ("Voxels of the brain, own reference", "SUVr; range of PSNR and SSIM fixed per tracer",
         IMAGE, image.query("voi == 'brain' and divided_by == 'own'")),
        ("Voxels of the brain, both by the real reference", "a gain of the estimate shows here",
         IMAGE, image.query("voi == 'brain' and divided_by == 'real'")),
        ("paper_compat: as the code released with RelA-Diffusion",
         "whole field of view, each image rescaled to [-1, 1] by its own extremes; only to stand "
         "beside numbers published so; background counts, and a gain does not",
         PAPER_COMPAT, image.query("divided_by == 'extremes'")),
        *((f"Texture of {words}", "beside that of the real PET, scanner noise included",
           TEXTURE, texture.query("answer == @answer")) for answer, words in answers.items()),
    ]  # fmt: skip
    if "desc-voi_calibration" in tables:
        spread = tables["desc-voi_calibration"].query("tracer == @tracer and voi == @voi")
        note = "share of the truths within the interval that the samples' spread states"
        found.append((f"Spread of the samples in {voi}", note, SPREAD, spread))
    return [
        Block(f"{title}, {n_of(rows)}", note, measures, tuple(lines(rows, measures)))
        for title, note, measures, rows in found
        if len(rows)
    ]


def n_of(rows: pd.DataFrame) -> str:
    """``n = 12``, or ``n = 11 to 12`` where models or metrics have other participants."""
    if rows.empty:
        return "n = 0"
    low, high = int(rows["n"].min()), int(rows["n"].max())
    return f"n = {high}" if low == high else f"n = {low} to {high}"


def lines(table: pd.DataFrame, measures: Sequence[Measure]) -> list[Line]:
    """Print a long table of one tracer and VOI: a line per model, its floors below it.

    Floors that all models share (the same numbers) are printed once, at the end.

    Parameters
    ----------
    table
        ``model metric value low high`` and the floors, one row per model and metric.
    """
    of_model = {str(model): rows for model, rows in table.groupby("model", sort=False)}
    floors = {
        words: {model: _floor(rows, floor, words, measures) for model, rows in of_model.items()}
        for floor, words in FLOOR_WORDS.items()
        if floor in table and table[floor].notna().any()
    }
    shared = [words for words, of in floors.items() if len(set(of.values())) == 1]
    found = []
    for model, rows in of_model.items():
        found.append(Line(model, tuple(_cells(rows, measures)), is_floor=False))
        found += [of[model] for words, of in floors.items() if words not in shared]
    return found + [next(iter(floors[words].values())) for words in shared]


def verdicts(skill: pd.DataFrame) -> list[Verdict]:
    """Print the skill table of one tracer and VOI."""
    return [
        Verdict(
            str(row.model),
            with_interval(row.skill, row.low, row.high, 2, signed=True),
            str(row.verdict),
            str(row.verdict).startswith("better"),
        )
        for row in skill.itertuples()
    ]


@dataclass(frozen=True)
class Short:
    """What one model is worth in the primary VOI of one tracer."""

    tracer: str
    model: str
    n: int
    better: tuple[str, ...]
    """Floors that it is better than, in words."""
    others: tuple[str, ...]


def in_short(skill: pd.DataFrame) -> list[Short]:
    """Sort the floors of each tracer's primary VOI by the verdict."""
    primary = skill[skill["primary"].astype(bool)]
    found = []
    for (tracer, model), rows in primary.groupby(["tracer", "model"], sort=False):
        words = [str(word) for word in rows["verdict"]]
        better = [word.removeprefix("better than ") for word in words if word[:6] == "better"]
        others = [_but_words(word) for word in words if word[:6] != "better"]
        n = int(rows["n"].max())
        found.append(Short(str(tracer), str(model), n, tuple(better), tuple(others)))
    return found


def _but_words(verdict: str) -> str:
    """``the training mean``; a verdict that is not just "no better" keeps its words."""
    return verdict.removeprefix("no better than ")


def with_interval(
    value: float, low: float, high: float, digits: int, *, signed: bool = False
) -> str:
    """``0.12 [0.08, 0.17]``; without bounds where there are none."""
    if math.isnan(value):
        return MISSING
    text = number(value, digits, signed=signed)
    if math.isnan(low) or math.isnan(high):
        return text
    bounds = ", ".join(number(bound, digits, signed=signed) for bound in (low, high))
    return f"{text} [{bounds}]"


def number(value: float, digits: int, *, signed: bool = False) -> str:
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "infinite"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def _floor(rows: pd.DataFrame, floor: str, words: str, measures: Sequence[Measure]) -> Line:
    values = rows.set_index("metric")[floor]
    cells = (
        number(float(values.get(m.metric, math.nan)), m.digits, signed=m.signed) for m in measures
    )
    return Line(words, tuple(cells), is_floor=True)


def _cells(rows: pd.DataFrame, measures: Sequence[Measure]) -> Iterator[str]:
    found = rows.set_index("metric")[["value", "low", "high"]]
    for measure in measures:
        if measure.metric in found.index:
            value, low, high = found.loc[measure.metric].astype(float)
            yield with_interval(value, low, high, measure.digits, signed=measure.signed)
        else:
            yield MISSING
