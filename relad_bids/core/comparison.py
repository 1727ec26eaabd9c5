"""Whether one model is better than another, and whether an image's source changes its values.

Everything is paired within participants: how much harder one person is than another is no
reason to call a model better or worse.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, wilcoxon
from scipy.stats import t as student_t
from statsmodels.genmod.cov_struct import Exchangeable
from statsmodels.genmod.generalized_estimating_equations import GEE
from statsmodels.regression.linear_model import OLS
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.multitest import multipletests

from relad_bids.core.bootstrap import CONFIDENCE, N_DRAWS
from relad_bids.core.evaluation import compare, require_columns
from relad_bids.errors import DataError

Values = NDArray[np.float64]

REFERENCE = "real"
"""Level of a factor that the others are compared with."""

Adjustment = Literal["holm", "fdr_bh"]

COMPARISON_COLUMNS: Mapping[str, dict[str, object]] = {
    "tracer": {"Description": "Canonical tracer name"},
    "model": {"Description": "Model that is compared"},
    "other": {"Description": "Model it is compared with"},
    "difference": {
        "Description": "Mean over participants of error(model) - error(other); below 0: the "
        "model is better"
    },
    "low": {"Description": "Lower bound of its BCa interval over participants"},
    "high": {"Description": "Upper bound of its BCa interval over participants"},
    "effect": {"Description": "Mean / standard deviation of the differences (Cohen's d_z)"},
    "p": {"Description": "Two-sided, from swapping the two at random within participants"},
    "p_wilcoxon": {"Description": "Two-sided, of the Wilcoxon signed-rank test"},
    "p_adjusted": {
        "Description": "p, adjusted for all comparisons in this table",
        "Levels": {"holm": "Holm 1979", "fdr_bh": "Benjamini & Hochberg 1995"},
    },
    "n": {"Description": "Participants that have both errors"},
}
"""Columns of :func:`compare_models`."""


def compare_models(
    errors: pd.DataFrame,
    *,
    rng: np.random.Generator,
    adjustment: Adjustment = "holm",
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Compare each model with each other in the same participants, per tracer.

    Parameters
    ----------
    errors
        ``participant_id tracer model error``, such as the MAE of each participant. Several rows
        of a participant, tracer and model (scans, VOIs) are averaged first.
    rng
        Of the draws and of the permutations.
    adjustment
        ``holm`` keeps the chance of one false claim in the table below its level, ``fdr_bh``
        the share of false claims among the claims.
    n_draws
        2000 to 10000, of the bootstrap and of the permutations.

    Returns
    -------
    DataFrame
        The columns of :data:`COMPARISON_COLUMNS`; models in the order of the frame.
    """
    require_columns(errors, ["participant_id", "tracer", "model", "error"])
    rows = [
        {"tracer": tracer, "model": model, "other": other}
        | _comparison(pair, rng, n_draws, confidence)
        for tracer, scans in errors.dropna(subset=["error"]).groupby("tracer", sort=False)
        for model, other, pair in _pairs(scans)
    ]
    table = pd.DataFrame(rows, columns=[*COMPARISON_COLUMNS])
    return table.assign(p_adjusted=_adjusted(table["p"].to_numpy(dtype=np.float64), adjustment))


@dataclass(frozen=True)
class ResampledT:
    """Corrected t test of the differences between two models over cross-validation."""

    n: int
    """Differences: repeats x folds."""
    difference: float
    """Their mean."""
    low: float
    high: float
    t: float
    df: int
    p: float
    """Two-sided."""


def corrected_resampled_t(
    differences: ArrayLike, n_train: float, n_test: float, *, confidence: float = CONFIDENCE
) -> ResampledT:
    r"""Test a mean difference over repeated cross-validation; Nadeau & Bengio 2003, ML 52:239.

    .. math:: t = \bar d \Big/ \sqrt{\left(\tfrac{1}{J}
              + \tfrac{n_\mathrm{test}}{n_\mathrm{train}}\right) s^2}

    with J differences and J - 1 degrees of freedom. Folds share most of their training
    participants, so that :math:`s^2 / J` is far too small. Exact where any two differences
    correlate with n_test / (n_test + n_train).

    Parameters
    ----------
    differences : (repeats, folds) float
        Score of one model - score of the other, on each held-out fold.
    n_train, n_test
        Participants trained on, and held out, in a fold.

    Returns
    -------
    ResampledT
        NaN for a single difference, and for differences that are all the same.

    Raises
    ------
    DataError
        No difference, one that is not finite, or a number of participants not above 0.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or not d.size or not np.isfinite(d).all():
        raise DataError(
            f"the differences have the shape {d.shape}, {int(np.isfinite(d).sum())} of {d.size} "
            "are finite; need (repeats, folds), all finite. Score both models on every fold."
        )
    if not (n_train > 0 and n_test > 0):
        raise DataError(
            f"a fold has {n_train} training and {n_test} held-out participants; need both above 0."
        )
    mean, df = float(d.mean()), d.size - 1
    sd = float(d.std(ddof=1)) if df else math.nan
    error = math.sqrt(1 / d.size + n_test / n_train) * (sd or math.nan)
    t = mean / error
    reach = float(student_t.ppf((1 + confidence) / 2, df)) * error if df else math.nan
    return ResampledT(
        d.size, mean, mean - reach, mean + reach, t, df, float(2 * student_t.sf(abs(t), df))
    )


@dataclass(frozen=True, eq=False)
class MixedModel:
    """Fixed effects with intervals; made by :func:`mixed_model`."""

    effects: pd.DataFrame
    """``term estimate se low high p``; Wald, normal."""
    formula: str
    method: Literal["MixedLM", "GEE"]
    """``MixedLM`` by REML, or ``GEE`` with exchangeable rows and bias-reduced robust errors."""
    converged: bool
    """Of the method that was used."""
    note: str
    """``ok``, or why the mixed model was not used."""
    n: int
    """Participants."""
    n_rows: int
    sd_between: float
    """Standard deviation of the participants' intercepts; NaN of a GEE."""
    sd_within: float
    """Standard deviation of the residuals; of a GEE, of both together."""


def mixed_model(
    frame: pd.DataFrame,
    *,
    factors: Sequence[str] = ("source", "tracer"),
    covariates: Sequence[str] = ("age", "sex"),
    confidence: float = CONFIDENCE,
) -> MixedModel:
    """Fit ``suvr ~ source * tracer + age + sex + (1 | participant)``.

    By restricted maximum likelihood; where that does not converge, by generalised estimating
    equations, whose errors are those of Mancl & DeRouen 2001, Biometrics 57:126.

    Parameters
    ----------
    frame
        ``participant_id suvr``, the factors and the covariates; one row per image and VOI. Rows
        with a hole are left out.
    factors
        Crossed with each other. ``real`` is the reference level of any of them, else the first
        in alphabetical order. A factor with a single level is left out.
    covariates
        Numbers are slopes, words are levels.

    Returns
    -------
    MixedModel

    Raises
    ------
    DataError
        No participant has two rows, or the rows do not tell the effects apart.
    """
    columns = ["participant_id", "suvr", *factors, *covariates]
    require_columns(frame, columns)
    rows = frame[columns].dropna()
    rows = rows.assign(**{name: _levels(rows[name]) for name in factors})
    formula = _formula(rows, factors, covariates)
    _require_effects(rows, formula)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what statsmodels warns of stands in the result
        fit, note = _reml(rows, formula), "ok"
        used: Literal["MixedLM", "GEE"] = "MixedLM"
        if not _usable(fit):
            fit, used, note = _gee(rows, formula), "GEE", "the mixed model did not converge"
        effects = _effects(fit, confidence)
    between = float(np.sqrt(fit.cov_re.iloc[0, 0])) if used == "MixedLM" else math.nan
    return MixedModel(
        effects, formula, used, bool(fit.converged), note, rows["participant_id"].nunique(),
        len(rows), between, float(np.sqrt(fit.scale)),
    )  # fmt: skip


def _pairs(scans: pd.DataFrame) -> Iterator[tuple[str, str, Values]]:
    """Model, other model, and their errors (2, N) in the participants that have both."""
    models = scans["model"].unique()
    of_person = scans.pivot_table("error", "participant_id", "model", aggfunc="mean")
    for model, other in combinations(models, 2):
        yield model, other, of_person[[model, other]].dropna().to_numpy(dtype=np.float64).T


def _comparison(
    pair: Values, rng: np.random.Generator, n_draws: int, confidence: float
) -> dict[str, float]:
    with np.errstate(invalid="ignore"):  # two models that share nobody
        found = compare(*pair, rng=rng, n_draws=n_draws, confidence=confidence)
    return {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "effect": found.effect,
        "p": found.p,
        "p_wilcoxon": _wilcoxon(pair[0] - pair[1]),
        "n": found.n,
    }


def _wilcoxon(difference: Values) -> float:
    """As the permutation: NaN of one participant, 1 where nobody differs."""
    if difference.size < 2 or not np.isfinite(difference).all():
        return math.nan
    return float(wilcoxon(difference).pvalue) if difference.any() else 1.0


def _adjusted(p: Values, adjustment: Adjustment) -> Values:
    """NaN is no comparison, and costs the others nothing."""
    known = np.isfinite(p)
    found = np.full(p.shape, np.nan)
    if known.any():
        found[known] = multipletests(p[known], method=adjustment)[1]
    return found


def _levels(values: pd.Series) -> pd.Categorical:
    names = sorted(values.astype(str).unique(), key=lambda name: (name != REFERENCE, name))
    return pd.Categorical(values.astype(str), categories=names)


def _formula(rows: pd.DataFrame, factors: Sequence[str], covariates: Sequence[str]) -> str:
    crossed = " * ".join(name for name in factors if len(rows[name].cat.categories) > 1)
    return "suvr ~ " + " + ".join(term for term in ("1", crossed, *covariates) if term)


def _require_effects(rows: pd.DataFrame, formula: str) -> None:
    if not rows["participant_id"].duplicated().any():
        raise DataError(
            f"{len(rows)} rows without a hole, none two of the same participant; a mixed model "
            "needs repeated rows. Give real and synthetic values of each participant."
        )
    design = OLS.from_formula(formula, rows)
    rank = np.linalg.matrix_rank(design.exog)
    if rank < design.exog.shape[1]:
        raise DataError(
            f"{len(rows)} rows tell {rank} effects apart, {formula!r} asks for "
            f"{design.exog.shape[1]}: {', '.join(design.exog_names)}. Leave out a factor or "
            "covariate, or levels that never meet."
        )


def _reml(rows: pd.DataFrame, formula: str) -> Any:
    """The mixed model's fit; None where it cannot be computed."""
    try:
        return MixedLM.from_formula(formula, rows, groups="participant_id").fit(reml=True)
    except (np.linalg.LinAlgError, ValueError):
        return None


def _usable(fit: Any) -> bool:
    return fit is not None and fit.converged and bool(np.isfinite(fit.bse_fe).all())


def _gee(rows: pd.DataFrame, formula: str) -> Any:
    model = GEE.from_formula(formula, "participant_id", rows, cov_struct=Exchangeable())
    return model.fit(cov_type="bias_reduced")


def _effects(fit: Any, confidence: float) -> pd.DataFrame:
    """The fixed effects; a mixed model lists its variances behind them."""
    names = fit.model.exog_names
    estimate, se = (
        np.asarray(part)[: len(names)].astype(np.float64) for part in (fit.params, fit.bse)
    )
    reach = norm.ppf((1 + confidence) / 2) * se
    p = 2 * norm.sf(np.abs(estimate) / se)
    columns = {"estimate": estimate, "se": se, "low": estimate - reach, "high": estimate + reach}
    return pd.DataFrame({"term": names, **columns, "p": p})
