"""Tables of agreement with intervals over participants, beside floors.

Frames of pairs have one row per scan and VOI: ``participant_id tracer voi estimate truth``,
and a column for each floor (a prediction that knows nothing individual) and for ``spread``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from relad_bids.core.agreement import (
    ASSOCIATIONS,
    METRICS,
    Agreement,
    agreement,
    each_left_out,
)
from relad_bids.core.bootstrap import (
    BATCH,
    CONFIDENCE,
    N_DRAWS,
    Interval,
    LeftOut,
    Statistic,
    Values,
    bootstrap_interval,
)
from relad_bids.core.image_metrics import IMAGE_METRICS, PAPER_COMPAT_METRICS
from relad_bids.errors import DataError

MIN_FOR_CORRELATION = 8
"""Fewest participants whose correlation is shown (pet-quantification, section 5.3), and by the
same rule whatever else of :data:`relad_bids.core.agreement.ASSOCIATIONS`."""

COVERAGE_LEVELS = (0.5, 0.8, 0.9, 0.95)
SPREAD_METRICS: Mapping[str, str] = {
    **{
        f"coverage_{100 * level:.0f}": "share of scans whose truth lies within estimate "
        f"-/+ {norm.ppf((1 + level) / 2):.3f} spread; ideal {level:g}; exact binomial interval"
        for level in COVERAGE_LEVELS
    },
    "spread_skill": "root mean squared spread, corrected for the number of samples, / RMSE; "
    "ideal 1; below 1: too sure",
}
SKILL = "1 - MSE / MSE of this floor on the same scans; 0 and less is no better than the floor"

TABLE_COLUMNS: Mapping[str, dict[str, object]] = {
    "tracer": {"Description": "Canonical tracer name"},
    "voi": {"Description": "Volume of interest; brain and whole-fov for whole images"},
    "metric": {"Description": "Measure of agreement"},
    "value": {"Description": "The measure, for the network"},
    "low": {"Description": "Lower bound of its interval over participants"},
    "high": {"Description": "Upper bound of its interval over participants"},
    "n": {"Description": "Participants"},
    "n_scans": {"Description": "Scans of these participants"},
}
"""Columns of every table made here; one for each floor follows."""


@dataclass(frozen=True)
class Comparison:
    """Whether one method has smaller scores than another in the same participants."""

    n: int
    difference: float
    """Mean of ours - other; negative is better for an error."""
    low: float
    high: float
    effect: float
    """Mean / standard deviation of the differences (Cohen's d_z)."""
    p: float
    """Two-sided, from swapping the two at random within participants."""


def dictionary(floors: Sequence[str] = ()) -> dict[str, dict[str, object]]:
    """The JSON beside a table: every column, and the definition of every metric in it."""
    metrics = {
        **METRICS,
        **{f"skill_{name}": SKILL for name in floors},
        **IMAGE_METRICS,
        **PAPER_COMPAT_METRICS,
        **SPREAD_METRICS,
    }
    of_floors: dict[str, dict[str, object]] = {
        name: {"Description": f"The same measure for the floor {name}"} for name in floors
    }
    metric = {**TABLE_COLUMNS["metric"], "Levels": metrics}
    return {**TABLE_COLUMNS, "metric": metric, **of_floors}


def evaluate(
    pairs: pd.DataFrame,
    *,
    rng: np.random.Generator,
    floors: Sequence[str] = (),
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Regional agreement per tracer and VOI, across participants, with floors beside it.

    Rows without estimate or truth are left out, and ``n`` says how many participants remain.
    Correlations, slopes and ratios of spread of fewer than :data:`MIN_FOR_CORRELATION`
    participants are NaN.

    Parameters
    ----------
    pairs
        ``participant_id tracer voi estimate truth`` and the ``floors``, SUVr. A participant may
        have several scans: all count in the value, and are drawn together.
    rng
        Of the draws. All VOIs of a tracer that have the same participants share them.
    floors
        Names of columns, scored as if they were the estimate. A floor that lacks one of the
        scans has NaN: it would be compared on other scans than the network.
    n_draws
        2000 to 10000.

    Returns
    -------
    DataFrame
        ``tracer voi metric value low high n n_scans`` and one column per floor; the metrics of
        :data:`relad_bids.core.agreement.METRICS`, then ``skill_<floor>`` for each floor.
    """
    require_columns(pairs, ["participant_id", "tracer", "voi", "estimate", "truth", *floors])
    complete = pairs.dropna(subset=["estimate", "truth"])
    items = [
        _agreement_item(tracer, voi, scans, floors)
        for (tracer, voi), scans in complete.groupby(["tracer", "voi"], sort=False)
    ]
    return interval_table(items, floors, rng, n_draws, confidence)


def mean_scores(
    scores: pd.DataFrame,
    *,
    rng: np.random.Generator,
    floors: Sequence[str] = (),
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Mean over participants of what was measured in each, such as image metrics.

    Parameters
    ----------
    scores
        ``participant_id tracer voi metric value`` and the ``floors``, whose columns hold the
        same metric of the floor's image. The scans of a participant are averaged first.

    Returns
    -------
    DataFrame
        As :func:`evaluate`.
    """
    keys = ["participant_id", "tracer", "voi", "metric"]
    require_columns(scores, [*keys, "value", *floors])
    complete = scores.dropna(subset=["value"])
    items = [
        _mean_item(tracer, voi, metric, scans, floors)
        for (tracer, voi, metric), scans in complete.groupby(keys[1:], sort=False)
    ]
    return interval_table(items, floors, rng, n_draws, confidence)


def compare(
    ours: ArrayLike,
    other: ArrayLike,
    *,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> Comparison:
    """Compare two methods on the same participants, such as by each one's MAE.

    Parameters
    ----------
    ours, other : (N,) float
        One score per participant, in the same order.

    Returns
    -------
    Comparison
        BCa interval of the mean difference and the p of a paired permutation test with
        ``n_draws`` permutations, exact where there are fewer than that. NaN for one participant,
        and where a score is missing.
    """
    pairs = agreement(ours, other)
    difference, n = pairs.estimate - pairs.truth, pairs.truth.size
    found = bootstrap_interval(
        lambda weight: (weight @ difference / weight.sum(-1))[None],
        n, rng=rng, n_draws=n_draws, confidence=confidence,
    )  # fmt: skip
    mean, low, high = (float(part[0]) for part in (found.value, found.low, found.high))
    sd = float(pairs.sd_difference)
    effect = mean / sd if sd else math.nan
    return Comparison(n, mean, low, high, effect, swapped_p(ours, other, rng=rng, n_draws=n_draws))


def swapped_p(
    ours: ArrayLike, other: ArrayLike, *, rng: np.random.Generator, n_draws: int = N_DRAWS
) -> float:
    """Two-sided p of a mean difference, from swapping two scores within participants.

    Parameters
    ----------
    ours, other : (N,) float
        One score per participant, in the same order.

    Returns
    -------
    float
        As :func:`swapped_ps`.
    """
    pairs = agreement(ours, other)
    difference = (pairs.estimate - pairs.truth)[:, None]
    return float(swapped_ps(difference, rng=rng, n_draws=n_draws)[0])


def swapped_ps(differences: Values, *, rng: np.random.Generator, n_draws: int = N_DRAWS) -> Values:
    """Two-sided p of K mean differences; the same participants are swapped in all of them.

    Parameters
    ----------
    differences : (N, K) float
        One score less another of each of N participants.

    Returns
    -------
    (K,) float
        Twice the smaller tail. Exact where there are no more than ``n_draws`` permutations; else
        of ``n_draws`` random ones and the observed (Phipson & Smyth 2010, Stat Appl Genet Mol
        Biol 9:39). NaN for one participant, and where a score is missing.
    """
    n, k = differences.shape
    found, known = np.full(k, np.nan), np.isfinite(differences).all(axis=0)
    if n < 2 or not known.any():
        return found
    exact = n < 63 and 2**n <= n_draws
    total = 2**n if exact else n_draws
    each = differences[:, known]
    observed, room = each.mean(axis=0), 100 * np.finfo(np.float64).eps * np.abs(each).mean(axis=0)
    below, above = np.zeros((2, known.sum()), dtype=int)
    for start in range(0, total, block := max(1, BATCH // n)):
        size = min(block, total - start)
        swap = _patterns(start, size, n) if exact else rng.integers(0, 2, (size, n), np.int8)
        mean = observed - swap.astype(np.float64) @ each * (2 / n)
        below += (mean <= observed + room).sum(axis=0)
        above += (mean >= observed - room).sum(axis=0)
    drawn = 0 if exact else 1  # what was observed is one of the draws; Phipson & Smyth 2010
    found[known] = np.minimum(1.0, 2 * (np.minimum(below, above) + drawn) / (total + drawn))
    return found


def _patterns(start: int, size: int, n: int) -> NDArray[np.int8]:
    """Some of all 2^n ways to swap n pairs: (size, n), 0 or 1."""
    return ((start + np.arange(size))[:, None] >> np.arange(n) & 1).astype(np.int8)


@dataclass(frozen=True, eq=False)
class Item:
    """What becomes a few rows of a table: M metrics of one VOI of one tracer."""

    tracer: str
    voi: str
    metrics: tuple[str, ...]
    participants: tuple[str, ...]
    """P, sorted."""
    n_scans: int
    statistic: Statistic
    floors: Mapping[str, Values]
    """(M,) each."""
    left_out: LeftOut | None = None
    """The statistic without each participant, where there is a short way to it."""

    def rows(self, found: Interval) -> Iterator[dict[str, object]]:
        n = len(self.participants)
        for i, metric in enumerate(self.metrics):
            shown = metric not in ASSOCIATIONS or n >= MIN_FOR_CORRELATION
            values = {
                "value": found.value[i],
                "low": found.low[i],
                "high": found.high[i],
                **{name: floor[i] for name, floor in self.floors.items()},
            }
            yield {
                "tracer": self.tracer,
                "voi": self.voi,
                "metric": metric,
                "n": n,
                "n_scans": self.n_scans,
                **{name: value if shown else np.nan for name, value in values.items()},
            }


def interval_table(
    items: Sequence[Item],
    floors: Sequence[str],
    rng: np.random.Generator,
    n_draws: int,
    confidence: float,
) -> pd.DataFrame:
    """Put the rows of all items in one table, in order; same participants share draws."""
    rows: dict[Item, list[dict[str, object]]] = {}
    for together in _sharing_participants(items):
        found = bootstrap_interval(
            _joined([item.statistic for item in together]),
            len(together[0].participants), rng=rng, n_draws=n_draws, confidence=confidence,
            left_out=_all_left_out([item.left_out for item in together]),
        )  # fmt: skip
        ends = np.cumsum([len(item.metrics) for item in together])
        for item, end in zip(together, ends, strict=True):
            mine = slice(end - len(item.metrics), end)
            bounds = Interval(found.value[mine], found.low[mine], found.high[mine])
            rows[item] = list(item.rows(bounds))
    in_order = [row for item in items for row in rows[item]]
    return pd.DataFrame(in_order, columns=[*TABLE_COLUMNS, *floors])


def require_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise :class:`DataError` that names the columns which are missing."""
    if missing := [name for name in names if name not in frame]:
        raise DataError(
            f"the table has the columns {', '.join(map(str, frame))}; {', '.join(missing)} "
            "missing. Add them."
        )


def _joined(statistics: Sequence[Statistic]) -> Statistic:
    return lambda weight: np.concatenate([statistic(weight) for statistic in statistics])


def _all_left_out(parts: Sequence[LeftOut | None]) -> LeftOut | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return lambda: np.concatenate([part() for part in known])


def _sharing_participants(items: Iterable[Item]) -> list[list[Item]]:
    """Group what may share draws: same tracer, same participants."""
    groups: dict[tuple[str, tuple[str, ...]], list[Item]] = {}
    for item in items:
        groups.setdefault((item.tracer, item.participants), []).append(item)
    return list(groups.values())


def _agreement_item(tracer: str, voi: str, scans: pd.DataFrame, floors: Sequence[str]) -> Item:
    scans = scans.sort_values("participant_id", key=lambda who: who.astype(str), kind="stable")
    names, person = np.unique(scans["participant_id"].to_numpy(dtype=str), return_inverse=True)
    columns = {
        name: scans[name].to_numpy(dtype=np.float64) for name in ("estimate", "truth", *floors)
    }
    one_each = len(names) == len(scans)

    def pairs(name: str, weight: Values | None = None) -> Agreement:
        return agreement(columns[name], columns["truth"], weight)

    def left_out() -> Values:
        return _scores(each_left_out(columns["estimate"], columns["truth"]), columns, floors)

    return Item(
        tracer,
        voi,
        (*METRICS, *(f"skill_{name}" for name in floors)),
        tuple(names),
        len(scans),
        lambda weight: _scores(
            pairs("estimate", weight if one_each else weight[..., person]), columns, floors
        ),
        {name: _scores(pairs(name), columns, floors) for name in floors},
        left_out if one_each else None,
    )


def _scores(pairs: Agreement, columns: Mapping[str, Values], floors: Sequence[str]) -> Values:
    """All metrics of one prediction (M, ...)."""
    skills = [pairs.skill(replace(pairs, estimate=columns[name])) for name in floors]
    return np.stack([*pairs.scores().values(), *skills])


def _mean_item(
    tracer: str, voi: str, metric: str, scans: pd.DataFrame, floors: Sequence[str]
) -> Item:
    names, person = np.unique(scans["participant_id"].to_numpy(dtype=str), return_inverse=True)
    mean = {
        name: np.bincount(person, scans[name].to_numpy(dtype=np.float64)) / np.bincount(person)
        for name in ("value", *floors)
    }
    return Item(
        tracer,
        voi,
        (metric,),
        tuple(names),
        len(scans),
        lambda weight: (weight @ mean["value"] / weight.sum(-1))[None],
        {name: mean[name].mean(keepdims=True) for name in floors},
    )
