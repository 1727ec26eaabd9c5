"""Change over the years in people who were scanned again: linear mixed models."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from statsmodels.regression.mixed_linear_model import MixedLM

from relad_bids.core.bootstrap import CONFIDENCE
from relad_bids.core.evaluation import TABLE_COLUMNS, require_columns

Values = NDArray[np.float64]

MIN_REPEATED = 8
"""Fewest participants with two scans of whom a change is told; as of a correlation."""
MIN_FOR_SLOPES = 10
"""Fewest participants with three scans from which slopes of their own are told from noise: two
scans fix a line, and leave nothing for the residual."""

CHANGE_COLUMNS: Mapping[str, dict[str, object]] = {
    "tracer": TABLE_COLUMNS["tracer"],
    "source": {"Description": "real or synthetic"},
    "voi": TABLE_COLUMNS["voi"],
    "annual_change": {
        "Description": "Fixed effect of years since the first scan, SUVr per year",
        "Units": "1/year",
    },
    "se": {"Description": "Its standard error", "Units": "1/year"},
    "low": {"Description": "Lower bound of its 95 % Wald interval", "Units": "1/year"},
    "high": {"Description": "Upper bound of its 95 % Wald interval", "Units": "1/year"},
    "p": {"Description": "Two-sided, Wald"},
    "model": {
        "Description": "Random effects of the participants",
        "Levels": {
            "intercept+slope": "own level and own change",
            "intercept": "own level; where own changes differ, the interval is too narrow",
        },
    },
    "covariates": {"Description": "Fixed effects beside the years"},
    "sd_intercept": {
        "Description": "Standard deviation of the participants' levels", "Units": "unitless",
    },
    "sd_slope": {
        "Description": "Standard deviation of the participants' changes; n/a without random "
        "slopes",
        "Units": "1/year",
    },
    "sd_residual": {"Description": "Standard deviation of the residuals", "Units": "unitless"},
    "converged": {
        "Description": "Whether the fit converged", "Levels": {"True": "yes", "False": "no"},
    },
    "n": {"Description": "Participants with two scans or more"},
    "n_scans": {"Description": "Their scans"},
    "years": {"Description": "Mean time from the first to the last scan", "Units": "year"},
    "note": {"Description": "`ok`, or what to know, or why there is no value"},
}  # fmt: skip


def change_table(
    scans: pd.DataFrame, *, covariates: Sequence[str] = (), confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """Annual change per tracer, source and VOI, by restricted maximum likelihood.

    ``suvr ~ years + covariates + (1 + years | participant)``, with random slopes only where
    :data:`MIN_FOR_SLOPES` participants have three scans, and where that fit converges.

    Parameters
    ----------
    scans
        ``participant_id tracer source voi suvr years`` and the covariates as numbers, constant
        in a participant; ``years`` since the participant's first scan. Participants with one
        scan are left out.

    Returns
    -------
    DataFrame
        The columns of :data:`CHANGE_COLUMNS`; NaN with a note where nothing can be told.
    """
    keys = ["tracer", "source", "voi"]
    require_columns(scans, ["participant_id", *keys, "suvr", "years", *covariates])
    known = scans.dropna(subset=["suvr", "years", *covariates])
    rows = [
        dict(zip(keys, key, strict=True)) | _change(group, covariates, confidence)
        for key, group in known.groupby(keys, sort=False, observed=True)
    ]
    return pd.DataFrame(rows, columns=[*CHANGE_COLUMNS])


def _change(
    scans: pd.DataFrame, covariates: Sequence[str], confidence: float
) -> dict[str, object]:
    of_years = scans.groupby("participant_id", observed=True)["years"]
    of_person = of_years.agg(["nunique", "min", "max"])
    again = of_person[of_person["nunique"] > 1]
    rows = scans[scans["participant_id"].isin(again.index)]
    facts: dict[str, object] = {
        "covariates": ", ".join(covariates) or None,
        "n": len(again),
        "n_scans": len(rows),
        "years": float((again["max"] - again["min"]).mean()) if len(again) else np.nan,
    }
    if len(again) < MIN_REPEATED:
        return {**facts, "note": f"{len(again)} participants with two scans, needs {MIN_REPEATED}"}
    with_slopes = int((again["nunique"] >= 3).sum()) >= MIN_FOR_SLOPES
    tried = [_fit(rows, covariates, slopes=True)] if with_slopes else []
    fit = next((fit for fit in tried if fit is not None), None)
    fit = fit or _fit(rows, covariates, slopes=False)
    if fit is None:
        return {**facts, "converged": False, "note": "the mixed model could not be fitted"}
    if with_slopes:
        note = "ok" if fit.slopes else "random slopes did not converge"
    else:
        note = f"fewer than {MIN_FOR_SLOPES} participants with three scans: no random slopes"
    if not fit.result.converged:
        note = "the fit did not converge: not to be relied on"
    return {**facts, **fit.columns(confidence), "note": note}


@dataclass(frozen=True, eq=False)
class _Fit:
    result: Any
    slopes: bool

    def columns(self, confidence: float) -> dict[str, object]:
        estimate, se = float(self.result.fe_params[1]), float(self.result.bse_fe[1])
        reach = float(norm.ppf((1 + confidence) / 2)) * se
        spread = np.sqrt(np.diag(np.asarray(self.result.cov_re)))
        return {
            "annual_change": estimate,
            "se": se,
            "low": estimate - reach,
            "high": estimate + reach,
            "p": float(2 * norm.sf(abs(estimate) / se)),
            "model": "intercept+slope" if self.slopes else "intercept",
            "sd_intercept": float(spread[0]),
            "sd_slope": float(spread[1]) if self.slopes else np.nan,
            "sd_residual": float(np.sqrt(self.result.scale)),
            "converged": bool(self.result.converged),
        }


def _fit(rows: pd.DataFrame, covariates: Sequence[str], *, slopes: bool) -> _Fit | None:
    """None where it cannot be computed, or does not converge with random slopes."""
    one, years = np.ones(len(rows)), rows["years"].to_numpy(dtype=np.float64)
    others = [_centred(rows[name]) for name in covariates]
    design = np.stack([one, years, *others], axis=1)
    random = np.stack([one, years], axis=1) if slopes else one[:, None]
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    model = MixedLM(
        rows["suvr"].to_numpy(dtype=np.float64), design, rows["participant_id"].to_numpy(), random
    )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what statsmodels warns of stands in the result
        try:
            result = model.fit(reml=True)
        except (np.linalg.LinAlgError, ValueError):
            return None
    varies = (np.diag(np.asarray(result.cov_re)) > 0).all()
    if not np.isfinite(result.bse_fe).all() or (slopes and not (result.converged and varies)):
        return None
    return _Fit(result, slopes)


def _centred(values: pd.Series) -> Values:
    found = values.to_numpy(dtype=np.float64)
    return found - found.mean()
