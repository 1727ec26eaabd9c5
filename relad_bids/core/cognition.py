"""What synthetic PET adds to MRI in telling a cognitive score (pet-quantification, section 5.7).

Nested models: M0 knows the person, M1 their MRI, M2 synthetic PET as well, M3 measured PET in
its place. Synthetic PET is a function of the MRI; the fair rivals of M2 are therefore M1 with
a non-linear function of the same MRI, and M1 with the synthetic PET of somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.core.agreement import agreement
from relad_bids.core.bootstrap import CONFIDENCE, N_DRAWS, bootstrap_interval
from relad_bids.core.nested import Split, boosted_on_ridge, nested_ridge, split, training_mean
from relad_bids.core.ordinal import LEVELS, is_ordinal, nested_ordinal
from relad_bids.core.tobit import bound_of, nested_tobit

Values = NDArray[np.float64]

MIN_PARTICIPANTS = 40
"""Fewest participants: five folds leave 32 to learn from, and the interval of an R2 spans more
than 0.4 below."""
N_PERMUTATIONS = 1000

M0, M1, M2, M3, RIVAL, STRANGER = "M0", "M1", "M2", "M3", "M1+nonlinear", "M1+permuted"
M1_BOUND, M2_BOUND = "M1 (Tobit)", "M2 (Tobit)"
M1_STEPS, M2_STEPS = "M1 (ordinal)", "M2 (ordinal)"
MODELS: Mapping[str, str] = {
    M0: "age, sex, education and site, as far as known; APOE e4 alleles where known of everybody",
    M1: "M0 and regional MRI volumes; white matter hyperintensities where known of everybody",
    M2: "M1 and synthetic PET",
    M3: "M1 and measured PET: the ceiling",
    RIVAL: "M1 and boosted trees of the same variables on what M1 leaves over, by the weight they "
    "earn in inner folds: a non-linear function of MRI, the fair rival of M2",
    STRANGER: "M1 and the synthetic PET of another participant: mean over the permutations, with "
    "the range of their middle 95 %",
    M1_BOUND: "M1 that knows the end of the scale: censored (Tobit) ridge regression, where a "
    "tenth of the scores or more lie at their largest or smallest value",
    M2_BOUND: "M2 that knows the end of the scale",
    M1_STEPS: "M1 that knows the steps of the scale: proportional odds on its line, where the "
    f"score has {LEVELS[0]} to {LEVELS[1]} different values",
    M2_STEPS: "M2 that knows the steps of the scale",
}
COMPARISONS: Mapping[str, tuple[str, str]] = {
    "M1 - M0": (M1, M0),
    "M2 - M1": (M2, M1),
    "M2 - M1+nonlinear": (M2, RIVAL),
    "M3 - M1": (M3, M1),
    "M3 - M2": (M3, M2),
    "M2 - M1 (Tobit)": (M2_BOUND, M1_BOUND),
    "M2 - M1 (ordinal)": (M2_STEPS, M1_STEPS),
}
METRICS: Mapping[str, str] = {
    "r2": "out-of-fold R2: 1 - SSE / SSE of the training folds' mean; 0 and less is no better",
    "mae": "out-of-fold mean absolute error, in points of the score",
    "rmse": "out-of-fold root mean squared error, in points of the score",
    "pearson": "correlation of score and out-of-fold prediction",
    "spearman": "rank correlation; a score with a ceiling is told more fairly by it",
    "delta_r2": "difference of two models' R2 in the same participants; paired interval; p: share "
    "of permutations of the synthetic PET among participants that gain as much",
}
THEORY = (
    "Synthetic PET is computed from the MRI. By the data-processing inequality it cannot hold "
    "more about cognition than the MRI and what the network learned in training: a gain of M2 "
    "over M1 is a gain of feature extraction, and is to be held against the non-linear function "
    "of the same MRI. Diagnosis is a mediator and is no covariate."
)

COGNITION_COLUMNS: Mapping[str, dict[str, object]] = {
    "score": {
        "Description": "Cognitive score; with `change per year` behind it: its slope over the "
        "years after the scan, of each participant by least squares"
    },
    "tracer": {"Description": "Canonical tracer name"},
    "sample": {
        "Description": "Participants",
        "Levels": {
            "all": "with score, MRI volumes and synthetic PET",
            "with-measured": "those who have measured PET, too",
            "diagnosis <name>": "of all, those who have this diagnosis in participants.tsv",
        },
    },
    "model": {"Description": "Model, or difference of two", "Levels": MODELS},
    "metric": {"Description": "Measure", "Levels": METRICS},
    "value": {"Description": "The measure"},
    "low": {"Description": "Lower bound of its interval over participants"},
    "high": {"Description": "Upper bound of its interval over participants"},
    "p": {"Description": "One-sided, by permutation; of M2 - M1 alone"},
    "n": {"Description": "Participants"},
    "n_predictors": {"Description": "Predictors of the model"},
    "note": {"Description": "`ok`, or why there is no value"},
}


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of one score; one per scan, without holes."""

    people: NDArray
    """(N,) participant."""
    score: Values
    """(N,)."""
    person: Values
    """(N, a): age, sex, education, site, APOE e4 alleles."""
    mri: Values
    """(N, b): volumes, white matter hyperintensities."""
    synthetic: Values
    """(N, c): SUVr."""
    measured: Values | None = None
    """(N, c): SUVr, or None where the models without it are asked for."""


def cognition_table(
    sample: Sample,
    *,
    rng: np.random.Generator,
    n_permutations: int = N_PERMUTATIONS,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Score the models of one score and tracer, out of fold, and their differences.

    Returns
    -------
    DataFrame
        ``model metric value low high p n n_predictors note``; one row with a note below
        :data:`MIN_PARTICIPANTS`.
    """
    n = len(np.unique(sample.people))
    if n < MIN_PARTICIPANTS:
        return pd.DataFrame(
            [{"model": M2, "metric": "r2", "n": n,
              "note": f"{n} participants, needs {MIN_PARTICIPANTS}"}]
        )  # fmt: skip
    folds = split(sample.people, rng=rng)
    designs = _designs(sample)
    predicted = {name: nested_ridge(x, sample.score, folds) for name, x in designs.items()}
    seed = int(rng.integers(2**31))
    predicted[RIVAL] = boosted_on_ridge(designs[M1], sample.score, folds, seed=seed)
    predicted |= _bounded(sample, designs, folds)
    base = training_mean(sample.score, folds)
    widths = {name: x.shape[1] for name, x in designs.items()}
    widths |= dict.fromkeys((RIVAL, M1_BOUND, M1_STEPS), widths[M1])
    widths |= dict.fromkeys((M2_BOUND, M2_STEPS), widths[M2])
    table = _bootstrapped(sample, predicted, base, widths, rng, n_draws, confidence)
    gained = _permuted_r2(sample, folds, base, n_permutations, rng)
    return _with_permutations(table, gained, widths[M2], n)


def _designs(sample: Sample) -> dict[str, Values]:
    mri = np.concatenate([sample.person, sample.mri], axis=1)
    found = {M0: sample.person, M1: mri, M2: np.concatenate([mri, sample.synthetic], axis=1)}
    if sample.measured is not None:
        found[M3] = np.concatenate([mri, sample.measured], axis=1)
    return found


def _bounded(sample: Sample, designs: Mapping[str, Values], folds: Split) -> dict[str, Values]:
    """The same score by models that know the end of its scale, or its steps, if it has such."""
    found: dict[str, Values] = {}
    if bound := bound_of(sample.score):
        found |= {
            name: nested_tobit(designs[plain], sample.score, folds, bound)
            for name, plain in ((M1_BOUND, M1), (M2_BOUND, M2))
        }
    if is_ordinal(sample.score):
        found |= {
            name: nested_ordinal(designs[plain], sample.score, folds)
            for name, plain in ((M1_STEPS, M1), (M2_STEPS, M2))
        }
    return found


def _bootstrapped(
    sample: Sample,
    predicted: Mapping[str, Values],
    base: Values,
    widths: Mapping[str, int],
    rng: np.random.Generator,
    n_draws: int,
    confidence: float,
) -> pd.DataFrame:
    """All measures of all models, and differences of R2, with intervals over participants."""
    names, at = np.unique(sample.people, return_inverse=True)
    pairs = {name: two for name, two in COMPARISONS.items() if set(two) <= predicted.keys()}

    def statistic(weight: Values) -> Values:
        of_row = weight[..., at]
        r2 = {name: _r2(sample.score, one, base, of_row) for name, one in predicted.items()}
        rows = []
        for name, one in predicted.items():
            found = agreement(one, sample.score, of_row)
            rows += [r2[name], found.mae, found.rmse, found.pearson, found.spearman]
        return np.stack([*rows, *(r2[ours] - r2[other] for ours, other in pairs.values())])

    found = bootstrap_interval(
        statistic, len(names), rng=rng, n_draws=n_draws, confidence=confidence
    )
    measures = [name for name in METRICS if name != "delta_r2"]
    keys = [(name, metric) for name in predicted for metric in measures]
    keys += [(name, "delta_r2") for name in pairs]
    return pd.DataFrame(
        {
            "model": [name for name, _ in keys],
            "metric": [metric for _, metric in keys],
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "p": np.nan,
            "n": len(names),
            "n_predictors": pd.array([widths.get(name) for name, _ in keys], dtype="Int64"),
            "note": "ok",
        }
    )


def _permuted_r2(
    sample: Sample,
    folds: Split,
    base: Values,
    n_permutations: int,
    rng: np.random.Generator,
) -> Values:
    """R2 of M1 and the synthetic PET of somebody else, once for each permutation.

    Participants are exchanged: a row is given a row of the partner, in order of appearance.
    """
    mri = np.concatenate([sample.person, sample.mri], axis=1)
    names, at = np.unique(sample.people, return_inverse=True)
    rows_of = [np.flatnonzero(at == who) for who in range(len(names))]
    once = np.ones(len(sample.score))
    found = np.empty(n_permutations)
    for index in range(n_permutations):
        partner = rng.permutation(len(names))
        taken = np.empty(len(at), dtype=int)
        for who, rows in enumerate(rows_of):
            taken[rows] = np.resize(rows_of[partner[who]], len(rows))
        x = np.concatenate([mri, sample.synthetic[taken]], axis=1)
        found[index] = _r2(sample.score, nested_ridge(x, sample.score, folds), base, once)
    return found


def _with_permutations(table: pd.DataFrame, r2: Values, width: int, n: int) -> pd.DataFrame:
    """The row of the strangers' PET, and the p of M2 - M1."""
    if not r2.size:
        return table
    row = {
        "model": STRANGER,
        "metric": "r2",
        "value": r2.mean(),
        "low": np.quantile(r2, 0.025),
        "high": np.quantile(r2, 0.975),
        "p": np.nan,
        "n": n,
        "n_predictors": width,
        "note": "ok",
    }
    ours = table.query("model == @M2 and metric == 'r2'")["value"].iloc[0]
    table.loc[table["model"] == "M2 - M1", "p"] = (1 + (r2 >= ours).sum()) / (1 + r2.size)
    return pd.concat([table, pd.DataFrame([row])], ignore_index=True)


def _r2(score: Values, predicted: Values, base: Values, weight: Values) -> Values:
    return np.asarray(1 - weight @ (score - predicted) ** 2 / (weight @ (score - base) ** 2))
