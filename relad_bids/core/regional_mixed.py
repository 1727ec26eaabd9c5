r"""One mixed model over all regions of a tracer: is synthetic PET off everywhere, in everybody?

.. math:: y_{pvs} = \mu_v + \beta_v s + a_p + b_p s + c_{pv} + e_{pvs}

for participant p, region v, source s (0 measured, 1 synthetic): an effect of the source in each
region, and a level, an effect of the source and a pattern over regions of each participant's own
(pet-quantification 5.6: ``suvr ~ source * voi + (1 + source | participant)``, and
``(1 | participant:voi)``, without which a person's pattern would count as noise).

Every participant has both images and every region: the design is balanced, so that restricted
maximum likelihood has the closed form of the analysis of variance, which costs nothing with
thousands of participants. What does not change within a participant, such as age and sex, moves no
effect of the source in such a design, and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from relad_bids.core.bootstrap import CONFIDENCE
from relad_bids.core.evaluation import require_columns
from relad_bids.errors import DataError

Values = NDArray[np.float64]

FORMULA = "suvr ~ source * voi + (1 + source | participant) + (1 | participant:voi)"
OVERALL = "source[T.synthetic]"


@dataclass(frozen=True, eq=False)
class RegionalModel:
    """Effects of the source over regions; made by :func:`regional_model`."""

    effects: pd.DataFrame
    """``term estimate se low high p``; Wald, normal. First the mean over regions, then by how much
    each region differs from it."""
    sd_slope: float
    """Standard deviation of the participants' own effects of the source."""
    sd_pattern: float
    """Of the participants' own patterns over regions."""
    sd_within: float
    """Of the residuals."""
    n: int
    """Participants."""
    regions: tuple[str, ...]


def regional_model(pairs: pd.DataFrame, *, confidence: float = CONFIDENCE) -> RegionalModel:
    """Fit the model to the participants who have every region.

    A variance whose estimate is below 0 is 0, as restricted maximum likelihood has it at its
    bound; errors are then those of the analysis of variance, and larger.

    Parameters
    ----------
    pairs
        ``participant_id voi estimate truth`` of one tracer, SUVr; of several scans of a
        participant the first counts.

    Raises
    ------
    DataError
        Fewer than two participants or regions without a hole.
    """
    require_columns(pairs, ["participant_id", "voi", "estimate", "truth"])
    once = pairs.dropna(subset=["estimate", "truth"]).drop_duplicates(["participant_id", "voi"])
    tables = [
        once.pivot_table(name, "participant_id", "voi", sort=False)
        for name in ("estimate", "truth")
    ]
    whole = tables[0].notna().all(axis=1)
    synthetic, real = (table[whole].to_numpy(dtype=np.float64) for table in tables)
    n, v = synthetic.shape
    if n < 2 or v < 2:
        raise DataError(
            f"{n} participants have all of {v} regions with both images; a model over regions "
            "needs two of each."
        )
    difference, middle = synthetic - real, (synthetic + real) / 2
    within = _interaction(difference) / 2
    pattern = _interaction(middle) - within / 2
    of_person = difference.mean(axis=1)
    slope = float(of_person.var(ddof=1)) - 2 * within / v
    overall, regional = float(of_person.mean()), difference.mean(axis=0)
    errors = [
        float(np.sqrt(of_person.var(ddof=1) / n)),
        *np.full(v, np.sqrt(2 * within * (1 - 1 / v) / n)),
    ]
    estimates = np.array([overall, *(regional - overall)])
    names = [str(voi) for voi in tables[0].columns]
    terms = [OVERALL, *(f"{OVERALL}:voi[{name}]" for name in names)]
    return RegionalModel(
        _effects(terms, estimates, np.array(errors), confidence),
        sd_slope=float(np.sqrt(max(slope, 0))), sd_pattern=float(np.sqrt(max(pattern, 0))),
        sd_within=float(np.sqrt(within)), n=n, regions=tuple(names),
    )  # fmt: skip


def _interaction(table: Values) -> float:
    """Mean square of what rows and columns leave over, (n - 1)(v - 1) degrees of freedom."""
    n, v = table.shape
    left = table - table.mean(axis=0) - table.mean(axis=1)[:, None] + table.mean()
    return float((left**2).sum() / ((n - 1) * (v - 1)))


def _effects(terms: list[str], estimate: Values, se: Values, confidence: float) -> pd.DataFrame:
    reach = norm.ppf((1 + confidence) / 2) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * norm.sf(np.abs(estimate) / se)
    return pd.DataFrame(
        {"term": terms, "estimate": estimate, "se": se, "low": estimate - reach,
         "high": estimate + reach, "p": p}
    )  # fmt: skip
