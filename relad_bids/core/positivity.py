"""Positivity: whether an estimate tells who lies above a cut-off of the measured PET.

Frames of pairs are those of :mod:`relad_bids.core.evaluation`, with one scan per participant.
A value at or above its cut-off is positive.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import DegenerateDataWarning, binomtest, bootstrap
from sklearn.metrics import roc_curve
from statsmodels.discrete.discrete_model import Logit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from relad_bids.core.agreement import ROUNDING
from relad_bids.core.bootstrap import BATCH, CONFIDENCE, N_DRAWS, Statistic
from relad_bids.core.evaluation import TABLE_COLUMNS, require_columns
from relad_bids.errors import DataError

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

MIN_PER_CLASS = 8
"""Fewest positives, and fewest negatives, of which a share is shown; as of a correlation."""

LEAKAGE_AUC = 0.85
"""MRI tells amyloid positivity with an AUC of 0.61 (T1w) to 0.67 (with FLAIR); what lies above
this limit more often comes from a leak (pet-quantification, section 5.4)."""

_AT_CUTOFF: Mapping[str, str] = {
    "sensitivity": "share of the positive whose estimate is positive",
    "specificity": "share of the negative whose estimate is negative",
    "ppv": "share of the positive among those whose estimate is positive; moves with prevalence",
    "npv": "share of the negative among those whose estimate is negative; moves with prevalence",
}
_EXACT = "exact binomial interval"

POSITIVITY_METRICS: Mapping[str, str] = {
    "roc_auc": "probability that a positive has a higher estimate than a negative; stratified "
    "BCa interval",
    "pr_auc": "average precision, the mean of precision over recall; by chance it is the share "
    "of positives; stratified BCa interval",
    **{name: f"{text}, at the preset cut-off; {_EXACT}" for name, text in _AT_CUTOFF.items()},
    "trained_cutoff": "cut-off of the estimate with the largest sensitivity + specificity "
    "(Youden) in the training pairs",
    **{f"{name}_trained": f"{text}, at trained_cutoff; {_EXACT}"
       for name, text in _AT_CUTOFF.items()},
    "brier": "mean squared difference of positivity (0 or 1) and its probability by a logistic "
    "map fitted on the training pairs; stratified BCa interval",
    "logistic_slope": "slope of positivity on the log odds of that map; ideal 1; below 1: too "
    "sure; Wald interval",
}  # fmt: skip
"""Metric -> its definition, for the dictionary beside a table."""

DELTA = "roc_auc - roc_auc of this floor in the same participants; paired, stratified BCa interval"

POSITIVITY_COLUMNS: Mapping[str, dict[str, object]] = {
    **{name: TABLE_COLUMNS[name] for name in ("tracer", "voi")},
    "cutoff": {"Description": "Preset cut-off; a truth at or above it is positive"},
    **{name: TABLE_COLUMNS[name] for name in ("metric", "value", "low", "high", "n")},
    "n_positive": {"Description": "Participants whose truth is positive"},
    "n_negative": {"Description": "Participants whose truth is negative"},
    "note": {"Description": "`ok`, or why there is no value, or what to look at"},
}
"""Columns of :func:`positivity_table`; one for each floor follows."""


def dictionary(floors: Sequence[str] = ()) -> dict[str, dict[str, object]]:
    """The JSON beside a table: every column, and the definition of every metric in it."""
    levels = {**POSITIVITY_METRICS, **{f"delta_auc_{name}": DELTA for name in floors}}
    return {
        **POSITIVITY_COLUMNS,
        "metric": {**POSITIVITY_COLUMNS["metric"], "Levels": levels},
        **{name: {"Description": f"The same measure for the floor {name}"} for name in floors},
    }


def positivity_table(
    pairs: pd.DataFrame,
    cutoffs: Mapping[tuple[str, str], float],
    *,
    training: pd.DataFrame | None = None,
    rng: np.random.Generator,
    floors: Sequence[str] = (),
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Judge per tracer and VOI how well the estimate tells who is positive.

    Parameters
    ----------
    pairs
        ``participant_id tracer voi estimate truth`` and the ``floors``; one scan per
        participant. Rows without estimate or truth are left out.
    cutoffs
        (tracer, voi) -> cut-off in the unit of the truth. Other VOIs are left out.
    training
        As ``pairs``, of other participants: the cut-off of the estimate and the logistic map
        are chosen here. The network must not have learnt from them either, or its estimates
        are better there than in the ``pairs``: the validation set of the training serves.
    rng
        Of the draws.
    floors
        Names of columns, judged as if they were the estimate; higher must mean more likely
        positive. NaN for a floor that lacks one of the scans.
    n_draws
        2000 to 10000.

    Returns
    -------
    DataFrame
        The columns of :data:`POSITIVITY_COLUMNS` and one per floor; the metrics of
        :data:`POSITIVITY_METRICS`, then ``delta_auc_<floor>`` for each floor. NaN, with a note,
        below :data:`MIN_PER_CLASS` positives or negatives.

    Raises
    ------
    DataError
        A participant has several scans of one VOI, or is in the training pairs, too.
    """
    complete = _one_scan_each(pairs, floors)
    known = complete.iloc[:0] if training is None else _one_scan_each(training, ())
    _require_disjoint(known["participant_id"], complete["participant_id"])
    of_training = dict(list(known.groupby(["tracer", "voi"])))
    rows: list[dict[str, object]] = []
    for key, scans in complete.groupby(["tracer", "voi"], sort=False):
        if key not in cutoffs:
            continue
        ordered = scans.sort_values("participant_id")
        own = of_training.get(key, known.iloc[:0])
        ours, *others = (
            _judge(ordered, own, name, cutoffs[key]) for name in ("estimate", *floors)
        )
        found = _rows(ours, dict(zip(floors, others, strict=True)), rng, n_draws, confidence)
        rows += [{"tracer": key[0], "voi": key[1], "cutoff": cutoffs[key], **row} for row in found]
    return pd.DataFrame(rows, columns=[*POSITIVITY_COLUMNS, *floors])


def youden_cutoff(score: Values, positive: Flags) -> float:
    """Cut-off with the largest sensitivity + specificity; Youden 1950, Cancer 3:32.

    Halfway between the lowest score that is called positive and the next below it: where
    positives and negatives do not overlap, in the middle of the gap. Of several that are
    equally good, the highest.

    Parameters
    ----------
    score : (N,) float
        Higher is more likely positive.
    positive : (N,) bool
        Of both kinds.

    Returns
    -------
    float
        Infinite where calling nobody positive is best.
    """
    false, true, at = roc_curve(positive, score, drop_intermediate=False)
    # The cut-offs go down from infinity, where nobody is positive; at the last, where everybody
    # is, the sum is the same, so that one always follows the first best.
    best = int(np.argmax(true - false))
    return float((at[best] + at[best + 1]) / 2)


@dataclass(frozen=True, eq=False)
class _Judge:
    """One prediction of one VOI beside what is true."""

    score: Values
    """(N,); higher is more likely positive."""
    positive: Flags
    """(N,), by the truth."""
    cutoff: float
    """Of the score, preset."""
    trained_cutoff: float
    """Of the score, from the training pairs; NaN where they do not allow it."""
    log_odds: Values
    """(N,), by the logistic map of the training pairs; NaN where they do not allow it."""

    def drawn(self, weight: Values) -> Values:
        """ROC-AUC, PR-AUC and Brier score (3, ...) where each counts ``weight`` (..., N)."""
        squared_error = (expit(self.log_odds) - self.positive) ** 2
        brier = weight @ squared_error / weight.sum(-1)
        return np.stack([*_areas(self.score, self.positive, weight), brier])

    def right(self) -> dict[str, Flags]:
        """Metric -> whether each of those that it counts is called right."""
        found = {}
        for suffix, cutoff in (("", self.cutoff), ("_trained", self.trained_cutoff)):
            called = self.score >= cutoff
            among = (self.positive, ~self.positive, called, ~called)
            right = called == self.positive
            for name, group in zip(_AT_CUTOFF, among, strict=True):
                found[f"{name}{suffix}"] = right[group & ~np.isnan(cutoff)]
        return found

    def slope(self, confidence: float) -> Values:
        return logistic_slope(self.log_odds, self.positive, confidence)

    def values(self) -> dict[str, float]:
        """All of :data:`POSITIVITY_METRICS`; NaN where a score is missing."""
        if np.isnan(self.score).any():
            return dict.fromkeys(POSITIVITY_METRICS, np.nan)
        roc_auc, pr_auc, brier = self.drawn(np.ones(self.score.size))
        found = {
            "roc_auc": roc_auc,
            "pr_auc": pr_auc,
            **{name: right.mean() if right.size else np.nan
               for name, right in self.right().items()},
            "trained_cutoff": self.trained_cutoff,
            "brier": brier,
            "logistic_slope": self.slope(CONFIDENCE)[0],
        }  # fmt: skip
        return {name: float(found[name]) for name in POSITIVITY_METRICS}


def _judge(scans: pd.DataFrame, training: pd.DataFrame, name: str, cutoff: float) -> _Judge:
    """Choose on the training pairs what needs to be chosen."""
    score = scans[name].to_numpy(dtype=np.float64)
    positive = scans["truth"].to_numpy(dtype=np.float64) >= cutoff
    trained_cutoff, log_odds = np.nan, np.full(score.size, np.nan)
    known = training.dropna(subset=name) if name in training else training.iloc[:0]
    known_positive = known["truth"].to_numpy(dtype=np.float64) >= cutoff
    if _enough(known_positive):
        known_score = known[name].to_numpy(dtype=np.float64)
        trained_cutoff = youden_cutoff(known_score, known_positive)
        log_odds = logistic_map(known_score, known_positive, score)
    return _Judge(score, positive, cutoff, trained_cutoff, log_odds)


def _rows(
    ours: _Judge,
    floors: Mapping[str, _Judge],
    rng: np.random.Generator,
    n_draws: int,
    confidence: float,
) -> list[dict[str, object]]:
    """The rows of one VOI of one tracer."""
    deltas = {f"delta_auc_{name}": floor for name, floor in floors.items()}
    metrics = (*POSITIVITY_METRICS, *deltas)
    counts = {
        "n": ours.positive.size,
        "n_positive": int(ours.positive.sum()),
        "n_negative": int((~ours.positive).sum()),
    }
    if not _enough(ours.positive):
        few = f"fewer than {MIN_PER_CLASS} positive or negative participants"
        return [{"metric": name, **counts, "note": few} for name in metrics]
    values = {name: judge.values() for name, judge in {"value": ours, **floors}.items()}
    for found in values.values():
        found |= {f"delta_auc_{name}": found["roc_auc"] - values[name]["roc_auc"]
                  for name in floors}  # fmt: skip
    bounds = _bounds(ours, deltas, rng, n_draws, confidence)
    return [
        {
            "metric": name,
            "low": bounds[name][0],
            "high": bounds[name][1],
            **counts,
            "note": _note(name, values["value"][name], ours),
            **{column: found[name] for column, found in values.items()},
        }
        for name in metrics
    ]


def _bounds(
    ours: _Judge,
    deltas: Mapping[str, _Judge],
    rng: np.random.Generator,
    n_draws: int,
    confidence: float,
) -> dict[str, Sequence[float]]:
    """Metric -> bounds of its interval."""

    def drawn(weight: Values) -> Values:
        own = ours.drawn(weight)
        return np.stack([*own, *(own[0] - floor.drawn(weight)[0] for floor in deltas.values())])

    names = ("roc_auc", "pr_auc", "brier", *deltas)
    low, high = _stratified(drawn, ours.positive, rng, n_draws, confidence)
    slope = ours.slope(confidence)
    return {
        **{name: ends for name, *ends in zip(names, low, high, strict=True)},
        **{name: _exact(right, confidence) for name, right in ours.right().items()},
        "trained_cutoff": (np.nan, np.nan),
        "logistic_slope": (slope[1], slope[2]),
    }


def _note(metric: str, value: float, ours: _Judge) -> str:
    learnt = metric.endswith("_trained") or metric in ("trained_cutoff", "brier", "logistic_slope")
    if learnt and np.isnan(ours.trained_cutoff):
        return f"fewer than {MIN_PER_CLASS} positive or negative training participants"
    if metric == "logistic_slope" and np.isnan(value):
        return "no finite slope: the log odds of positives and negatives do not overlap"
    if metric.startswith("delta_auc_") and np.isnan(value):
        return "the floor lacks a scan"
    if np.isnan(value):
        return "nobody to count"
    if metric == "roc_auc" and value > LEAKAGE_AUC:
        return f"above {LEAKAGE_AUC:g}: check for leakage from PET to MRI or from training to test"
    return "ok"


def _areas(score: Values, positive: Flags, weight: Values) -> Values:
    """ROC-AUC and average precision (2, ...); ties count half, or as one threshold."""
    if np.isnan(score).any():
        return np.full((2, *weight.shape[:-1]), np.nan)
    order = np.argsort(-score, kind="stable")
    # Participants along the first axis: to put them in order moves whole rows of memory.
    flat = weight.reshape(int(np.prod(weight.shape[:-1])), score.size)
    counted = np.ascontiguousarray(flat.T)[order]
    last = np.flatnonzero(np.diff(score[order], append=-np.inf))  # of each run of equal scores
    true = np.cumsum(counted * positive[order, None], axis=0)[last]
    called = np.cumsum(counted, axis=0)[last]
    false, gained = called - true, np.diff(true, axis=0, prepend=0)
    # Trapezoids: of each step to the right, the mean height on both sides.
    roc = (np.diff(false, axis=0, prepend=0) * (true - gained / 2)).sum(0)
    # Nobody drawn is called yet where the precision is undefined, so it does not count.
    pr = (gained * (true / np.maximum(called, 1))).sum(0)
    found = np.stack([roc / (true[-1] * false[-1]), pr / true[-1]])
    return found.reshape(2, *weight.shape[:-1])


def logistic_slope(log_odds: Values, positive: Flags, confidence: float) -> Values:
    """Of positivity on the log odds, with its Wald bounds (3,); NaN where it has none.

    Parameters
    ----------
    log_odds : (N,) float
    positive : (N,) bool
        Of both kinds.
    """
    ours, others = log_odds[positive], log_odds[~positive]
    # Albert & Anderson 1984, Biometrika 71:1: only then has the likelihood a maximum.
    if not (ours.min() < others.max() and others.min() < ours.max()):
        return np.full(3, np.nan)
    design = np.stack([np.ones(log_odds.size), log_odds], axis=1)
    fit = Logit(positive.astype(np.float64), design).fit(disp=0)
    return np.array([fit.params[1], *fit.conf_int(1 - confidence)[1]])


def logistic_map(training_score: Values, training_positive: Flags, score: Values) -> Values:
    """Log odds of being positive, by a logistic map; Platt 1999, Adv Large Margin Classif 61.

    His targets, drawn in by one prior case of each kind, keep the map finite where the training
    classes do not overlap.
    """
    n_positive, n = training_positive.sum(), training_positive.size
    target = np.where(
        training_positive, (n_positive + 1) / (n_positive + 2), 1 / (n - n_positive + 2)
    )
    centre, scale = training_score.mean(), training_score.std() or 1.0

    def design(values: Values) -> Values:
        return np.stack([np.ones(values.size), (values - centre) / scale], axis=1)

    fit = GLM(target, design(training_score), family=Binomial()).fit()
    return np.asarray(design(score) @ fit.params)


def _stratified(
    statistic: Statistic,
    positive: Flags,
    rng: np.random.Generator,
    n_draws: int,
    confidence: float,
) -> tuple[Values, Values]:
    """BCa bounds, with as many positives and negatives in each draw as there are.

    :func:`relad_bids.core.bootstrap.bootstrap_interval` would draw sets without positives.
    """
    n = positive.size
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (np.flatnonzero(positive), np.flatnonzero(~positive)),
            lambda ours, others, axis: statistic(_counts(ours, n) + _counts(others, n)),
            n_resamples=n_draws, vectorized=True, method="BCa", batch=max(1, BATCH // n),
            confidence_level=confidence, rng=rng,
        ).confidence_interval  # fmt: skip
        varies = found.high - found.low > ROUNDING
    return np.where(varies, found.low, np.nan), np.where(varies, found.high, np.nan)


def _counts(drawn: NDArray[np.integer], n: int) -> Values:
    """Participants drawn (..., P) -> how often each (..., n)."""
    rows = drawn.reshape(-1, drawn.shape[-1])
    place = rows + n * np.arange(len(rows))[:, None]
    counts = np.bincount(place.ravel(), minlength=n * len(rows))
    return counts.reshape(*drawn.shape[:-1], n).astype(np.float64)


def _exact(right: Flags, confidence: float) -> tuple[float, float]:
    """Clopper-Pearson bounds of a share; NaN of nobody."""
    if not right.size:
        return np.nan, np.nan
    interval = binomtest(int(right.sum()), right.size).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def _enough(positive: Flags) -> bool:
    return bool(min(positive.sum(), (~positive).sum()) >= MIN_PER_CLASS)


def _one_scan_each(pairs: pd.DataFrame, floors: Sequence[str]) -> pd.DataFrame:
    keys = ["participant_id", "tracer", "voi"]
    require_columns(pairs, [*keys, "estimate", "truth", *floors])
    complete = pairs.dropna(subset=["estimate", "truth"])
    repeated = complete[complete.duplicated(keys)]
    if len(repeated):
        raise DataError(
            f"{len(repeated)} rows repeat a participant, tracer and VOI, first "
            f"{' '.join(map(str, repeated.iloc[0][keys]))}; positivity counts participants. Keep "
            "one scan of each."
        )
    return complete


def _require_disjoint(training: pd.Series, other: pd.Series) -> None:
    if shared := sorted(set(training) & set(other)):
        raise DataError(
            f"{len(shared)} participants are both in the training pairs and in the pairs to "
            f"judge, first {shared[0]}; a cut-off must not know them. Split by participant."
        )
