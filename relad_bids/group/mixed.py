"""Whether an image's source changes its values: mixed models of one region, and of all."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from relad_bids.core.comparison import mixed_model
from relad_bids.core.evaluation import MIN_FOR_CORRELATION, TABLE_COLUMNS
from relad_bids.core.regional_mixed import FORMULA, regional_model
from relad_bids.errors import DataError
from relad_bids.group.agreement import primaries
from relad_bids.group.people import People
from relad_bids.group.predictors import DEMOGRAPHICS
from relad_bids.group.written import Table

MIXED_COLUMNS: Mapping[str, dict[str, object]] = {
    "voi": {
        "Description": "Volume of interest: the primary ones of the tracers; `all`: a model over "
        "all regions of one tracer"
    },
    "tracer": {"Description": "Tracer of a model over all regions; n/a: all that have the VOI"},
    "term": {
        "Description": "Fixed effect: source[T.synthetic] is synthetic - real in the first "
        "tracer, source[T.synthetic]:tracer[T.x] by how much that differs in tracer x; over all "
        "regions it is the mean, and source[T.synthetic]:voi[x] by how much region x differs "
        "from that"
    },
    "estimate": {
        "Description": "SUVr, or SUVr per unit of a covariate (age: year; female: 1, male: 0)",
        "Units": "unitless, or 1/year of age",
    },
    "se": {"Description": "Its standard error; unit of the estimate"},
    "low": {"Description": "Lower bound of its 95 % Wald interval; unit of the estimate"},
    "high": {"Description": "Upper bound of its 95 % Wald interval; unit of the estimate"},
    "p": {"Description": "Two-sided, Wald"},
    "formula": {"Description": "Fixed effects; participants have intercepts of their own"},
    "method": {
        "Description": "How it was fitted",
        "Levels": {
            "MixedLM": "linear mixed model, restricted maximum likelihood",
            "balanced": "linear mixed model of complete data, closed form",
            "GEE": "generalised estimating equations, exchangeable, Mancl & DeRouen errors",
        },
    },
    "sd_between": {
        "Description": "Standard deviation of the participants' intercepts; n/a of a GEE",
        "Units": "unitless",
    },
    "sd_within": {
        "Description": "Standard deviation of the residuals; of a GEE, of both together",
        "Units": "unitless",
    },
    "sd_slope": {
        "Description": "Standard deviation of the participants' own effects of the source, over "
        "all regions",
        "Units": "unitless",
    },
    "sd_pattern": {
        "Description": "Standard deviation of the participants' own patterns over regions",
        "Units": "unitless",
    },
    "n": TABLE_COLUMNS["n"],
    "n_rows": {"Description": "Values: one measured and one synthetic of each scan (and region)"},
    "note": {"Description": "`ok`, or what to know, or why there is no value"},
}


def mixed(pairs: pd.DataFrame, people: People) -> Table:
    """``suvr ~ source * tracer + age + sex + (1 | participant)`` in each primary VOI.

    And one model over all regions of each tracer (:mod:`relad_bids.core.regional_mixed`).

    Parameters
    ----------
    pairs
        ``participant_id tracer voi estimate truth``, SUVr; every tracer that has the VOI counts.
    """
    known = [name for name in DEMOGRAPHICS if people.has(name)]
    tables = [
        _effects(voi, pairs[pairs["voi"].astype(str) == voi], people, known)
        for voi in dict.fromkeys(primaries(pairs).values())
    ]
    tables += [_over_regions(str(tracer), rows) for tracer, rows in pairs.groupby("tracer")]
    frame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return Table("mixed", frame.reindex(columns=list(MIXED_COLUMNS)), MIXED_COLUMNS)


def _over_regions(tracer: str, pairs: pd.DataFrame) -> pd.DataFrame:
    head = {"voi": "all", "tracer": tracer}
    n = pairs["participant_id"].nunique()
    if n < MIN_FOR_CORRELATION:
        note = f"{n} participants, needs {MIN_FOR_CORRELATION}"
        return pd.DataFrame([{**head, "n": n, "note": note}])
    try:
        fit = regional_model(pairs)
    except DataError as error:
        return pd.DataFrame([{**head, "n": n, "note": str(error)}])
    return fit.effects.assign(
        **head, formula=FORMULA, method="balanced", sd_slope=fit.sd_slope,
        sd_pattern=fit.sd_pattern, sd_within=fit.sd_within, n=fit.n,
        n_rows=2 * fit.n * len(fit.regions), note="ok",
    )  # fmt: skip


def _effects(voi: str, pairs: pd.DataFrame, people: People, known: list[str]) -> pd.DataFrame:
    complete = pairs.dropna(subset=["estimate", "truth"])
    complete = complete.assign(**people.of(complete, known)).dropna(subset=known)
    n = complete["participant_id"].nunique()
    if n < MIN_FOR_CORRELATION:
        note = f"{n} participants, needs {MIN_FOR_CORRELATION}"
        return pd.DataFrame([{"voi": voi, "n": n, "n_rows": 2 * len(complete), "note": note}])
    keys = ["participant_id", "tracer", *known]
    images = [
        complete[keys].assign(source=source, suvr=complete[name])
        for source, name in (("real", "truth"), ("synthetic", "estimate"))
    ]
    try:
        fit = mixed_model(pd.concat(images, ignore_index=True), covariates=known)
    except DataError as error:
        note = str(error)
        return pd.DataFrame([{"voi": voi, "n": n, "n_rows": 2 * len(complete), "note": note}])
    return fit.effects.assign(
        voi=voi, formula=fit.formula, method=fit.method, sd_between=fit.sd_between,
        sd_within=fit.sd_within, n=fit.n, n_rows=fit.n_rows, note=fit.note,
    )  # fmt: skip
