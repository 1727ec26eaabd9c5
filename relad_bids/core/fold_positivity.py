"""Positivity by cut-offs that those who are judged had no say in.

Five folds of participants. In four of them a mixture of the measured SUVr gives the cut-off of
the truth, and Youden's index that of the estimate; both are applied to the fifth.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest, norm, rankdata

from relad_bids.core.bootstrap import CONFIDENCE
from relad_bids.core.evaluation import TABLE_COLUMNS, require_columns
from relad_bids.core.mixture import mixture_cutoff
from relad_bids.core.positivity import (
    MIN_PER_CLASS,
    logistic_map,
    logistic_slope,
    youden_cutoff,
)

N_FOLDS = 5

FOLD_METRICS: Mapping[str, str] = {
    "roc_auc": "probability that a positive has a higher estimate than a negative, positives by "
    "the cut-off of the other folds; DeLong interval",
    "sensitivity": "share of the positive that the estimate's cut-off of the other folds calls "
    "positive; exact binomial interval",
    "specificity": "share of the negative that it calls negative; exact binomial interval",
    "brier": "mean squared difference of positivity (0 or 1) and its probability by a logistic "
    "map fitted in the other folds; Wald interval",
    "logistic_slope": "slope of positivity on the log odds of that map; ideal 1; below 1: too "
    "sure; Wald interval",
    "truth_cutoff": "cut-off of the measured SUVr, mean over the folds; in the bounds its range",
    "estimate_cutoff": "cut-off of the synthetic SUVr, mean over the folds; in the bounds its "
    "range",
}

FOLD_COLUMNS: Mapping[str, dict[str, object]] = {
    "tracer": TABLE_COLUMNS["tracer"],
    "voi": TABLE_COLUMNS["voi"],
    "metric": {"Description": "Measure of positivity", "Levels": FOLD_METRICS},
    "value": {"Description": "The measure"},
    "low": {"Description": "Lower bound"},
    "high": {"Description": "Upper bound"},
    "n": TABLE_COLUMNS["n"],
    "n_positive": {"Description": "Participants whose measured SUVr is positive"},
    "n_negative": {"Description": "Participants whose measured SUVr is negative"},
    "note": {"Description": "`ok`, or why there is no value"},
}


def fold_positivity(
    pairs: pd.DataFrame, *, rng: np.random.Generator, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Judge by cut-offs of the other folds, per tracer and VOI.

    Parameters
    ----------
    pairs
        ``participant_id tracer voi estimate truth``; one scan per participant.

    Returns
    -------
    DataFrame
        The columns of :data:`FOLD_COLUMNS`; NaN with a note where a fold has no cut-off.
    """
    require_columns(pairs, ["participant_id", "tracer", "voi", "estimate", "truth"])
    rows: list[dict[str, object]] = []
    known = pairs.dropna(subset=["estimate", "truth"])
    for (tracer, voi), scans in known.groupby(["tracer", "voi"], sort=False, observed=True):
        ordered = scans.sort_values("participant_id")
        found = _judged(ordered, rng, confidence)
        rows += [{"tracer": tracer, "voi": voi, **row} for row in found]
    return pd.DataFrame(rows, columns=[*FOLD_COLUMNS])


def _judged(
    scans: pd.DataFrame, rng: np.random.Generator, confidence: float
) -> list[dict[str, object]]:
    truth, score = (scans[name].to_numpy(dtype=np.float64) for name in ("truth", "estimate"))
    fold = rng.permutation(len(scans)) % N_FOLDS
    seed = int(rng.integers(2**31))
    positive, called = np.zeros((2, len(scans)), dtype=bool)
    log_odds = np.zeros(len(scans))
    cutoffs = []
    for one in range(N_FOLDS):
        out = fold == one
        by_mixture = mixture_cutoff(truth[~out], seed=seed)
        known = truth[~out] >= by_mixture.value
        if by_mixture.note != "ok" or known.all() or not known.any():
            note = by_mixture.note if by_mixture.note != "ok" else "all on one side of the cut-off"
            return _none(scans, f"no cut-off in a training fold: {note}")
        chosen = youden_cutoff(score[~out], known)
        positive[out], called[out] = truth[out] >= by_mixture.value, score[out] >= chosen
        log_odds[out] = logistic_map(score[~out], known, score[out])
        cutoffs.append((by_mixture.value, chosen))
    if min(positive.sum(), (~positive).sum()) < MIN_PER_CLASS:
        few = f"fewer than {MIN_PER_CLASS} positive or negative participants"
        return _none(scans, few, positive)
    at = np.array(cutoffs).T
    values = {
        "roc_auc": delong(score, positive, confidence=confidence),
        "sensitivity": _share(called[positive], confidence),
        "specificity": _share(~called[~positive], confidence),
        "brier": _mean((expit(log_odds) - positive) ** 2, confidence),
        "logistic_slope": tuple(logistic_slope(log_odds, positive, confidence).tolist()),
        "truth_cutoff": (at[0].mean(), at[0].min(), at[0].max()),
        "estimate_cutoff": (at[1].mean(), at[1].min(), at[1].max()),
    }
    counts = _counts(scans, positive)
    return [
        {"metric": name, **dict(zip(("value", "low", "high"), one, strict=True)), **counts,
         "note": "ok" if np.isfinite(one[0]) else
         "no finite slope: the log odds of positives and negatives do not overlap"}
        for name, one in values.items()
    ]  # fmt: skip


def delong(
    score: np.ndarray, positive: np.ndarray, *, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Area under the ROC curve with its interval; DeLong et al. 1988, Biometrics 44:837.

    Parameters
    ----------
    score : (N,) float
        Higher is more likely positive.
    positive : (N,) bool
        Of both kinds.

    Returns
    -------
    (area, low, high)
        Wald interval on the scale of the area, cut to [0, 1].
    """
    ours, others = score[positive], score[~positive]
    ranks = rankdata(np.concatenate([ours, others]))
    wins = (ranks[: ours.size] - rankdata(ours)) / others.size
    losses = 1 - (ranks[ours.size :] - rankdata(others)) / ours.size
    area = float(wins.mean())
    variance = wins.var(ddof=1) / ours.size + losses.var(ddof=1) / others.size
    reach = float(norm.ppf((1 + confidence) / 2) * np.sqrt(variance))
    return area, max(area - reach, 0.0), min(area + reach, 1.0)


def _mean(values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    mean = float(values.mean())
    reach = float(norm.ppf((1 + confidence) / 2) * values.std(ddof=1) / np.sqrt(values.size))
    return mean, max(mean - reach, 0.0), mean + reach


def _share(right: np.ndarray, confidence: float) -> tuple[float, float, float]:
    interval = binomtest(int(right.sum()), right.size).proportion_ci(confidence, method="exact")
    return float(right.mean()), float(interval.low), float(interval.high)


def _none(
    scans: pd.DataFrame, note: str, positive: np.ndarray | None = None
) -> list[dict[str, object]]:
    counts = {"n": len(scans)} if positive is None else _counts(scans, positive)
    return [{"metric": name, **counts, "note": note} for name in FOLD_METRICS]


def _counts(scans: pd.DataFrame, positive: np.ndarray) -> dict[str, int]:
    return {
        "n": len(scans),
        "n_positive": int(positive.sum()),
        "n_negative": int((~positive).sum()),
    }
