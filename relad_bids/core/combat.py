r"""ComBat: take site effects out of regional values, keep what covariates explain.

Johnson 2007, Biostatistics 8:118; for imaging Fortin 2018, NeuroImage 167:104. With site i,
participant j and region v

.. math:: y_{ijv} = \alpha_v + x_{ij}^T \beta_v + \gamma_{iv} + \delta_{iv} \varepsilon_{ijv}

where shift :math:`\gamma` and scale :math:`\delta` of a site are drawn in to what they are in all
its regions (parametric empirical Bayes). It is learnt from some participants and applied to these
or to others of the same sites: whoever is predicted later must not have been learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from relad_bids.errors import DataError

Values = NDArray[np.float64]

MIN_PER_SITE = 10
"""Fewest participants of a site whose shift and scale are learnt (pet-quantification 4.3)."""
MIN_REGIONS = 3
"""Fewest regions from which the spread of a site's effects over regions can be learnt."""
TOLERANCE = 1e-6
"""Largest relative change of the last iteration; a thousandth of what a table shows."""
MAX_ITERATIONS = 1000

COMBAT_COLUMNS = {
    "site": {"Description": "Site"},
    "voi": {"Description": "Region"},
    "shift": {
        "Description": "Additive effect of the site, drawn in by empirical Bayes, SUVr",
        "Units": "unitless",
    },
    "scale": {"Description": "Residual standard deviation of the site / pooled one"},
    "n": {"Description": "Participants of this site that it was learnt from"},
}
"""Columns of :meth:`Combat.effects`."""


@dataclass(frozen=True, eq=False)
class Combat:
    """Effects of S sites on V regions; made by :func:`learn`."""

    sites: tuple[str, ...]
    n: Values
    """(S,) participants learnt from."""
    grand_mean: Values
    """(V,) mean over sites, weighted by their size, at covariates of 0."""
    slopes: Values
    """(C, V) of the covariates, kept in the data."""
    sd: Values
    """(V,) pooled residual standard deviation; 0 of a region that does not vary."""
    shift: Values
    """(S, V) in units of ``sd``."""
    scale: Values
    """(S, V) residual standard deviation over the pooled one."""

    def apply(self, values: ArrayLike, site: Sequence[str], covariates: ArrayLike) -> Values:
        """Take the effects of the sites out.

        Parameters
        ----------
        values : (N, V) float
            NaN stays NaN.
        site : (N,)
            Among :attr:`sites`.
        covariates : (N, C) float
            As in :func:`learn`; NaN gives NaN.

        Returns
        -------
        (N, V) float

        Raises
        ------
        DataError
            A site that was not learnt.
        """
        found = np.asarray(values, dtype=np.float64)
        if unknown := sorted(set(site) - set(self.sites)):
            raise DataError(
                f"values of the sites {', '.join(unknown)} were to be harmonised; learnt were "
                f"{', '.join(self.sites)}. Learn from participants of each site."
            )
        at = np.array([self.sites.index(one) for one in site], dtype=int)
        expected = self.grand_mean + _matrix(covariates, len(found)) @ self.slopes
        still = self.sd == 0
        z = (found - expected) / np.where(still, 1.0, self.sd)
        harmonised = (z - self.shift[at]) / self.scale[at] * self.sd + expected
        return np.where(still, found, harmonised)

    def effects(self, regions: Sequence[str]) -> pd.DataFrame:
        """What was learnt, one row per site and region (:data:`COMBAT_COLUMNS`)."""
        rows = [
            {
                "site": site,
                "voi": region,
                "shift": self.shift[i, v] * self.sd[v],
                "scale": self.scale[i, v],
                "n": int(self.n[i]),
            }
            for i, site in enumerate(self.sites)
            for v, region in enumerate(regions)
        ]
        return pd.DataFrame(rows, columns=[*COMBAT_COLUMNS])


def learn(values: ArrayLike, site: Sequence[str], covariates: ArrayLike) -> Combat:
    """Learn the effects of sites from one scan of each of N participants.

    Parameters
    ----------
    values : (N, V) float
        Finite; three regions or more.
    site : (N,)
        Two sites or more, each with :data:`MIN_PER_SITE` participants.
    covariates : (N, C) float
        What is to stay in the data, such as age and sex; C may be 0.

    Raises
    ------
    DataError
        Too few participants of a site or regions, a hole, or sites that covariates tell apart.
    """
    y, names = np.asarray(values, dtype=np.float64), np.asarray(site, dtype=str)
    x = _matrix(covariates, len(y))
    sites, at, counts = np.unique(names, return_inverse=True, return_counts=True)
    _require_learnable(y, x, sites, counts)
    member = np.eye(len(sites))[at]
    design = np.concatenate([member, x], axis=1)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise DataError(
            f"{len(sites)} sites and {x.shape[1]} covariates were to be told apart in {len(y)} "
            "participants, and cannot be: a covariate is the same for all of each site. Leave it "
            "out, or add participants in whom it differs."
        )
    coefficients = np.linalg.lstsq(design, y)[0]
    grand_mean = counts / len(y) @ coefficients[: len(sites)]
    slopes = coefficients[len(sites) :]
    sd = np.sqrt(np.mean((y - design @ coefficients) ** 2, axis=0))
    sd = np.where(sd <= 1e-12 * np.abs(y).max(axis=0), 0.0, sd)
    varies = sd > 0
    if varies.sum() < MIN_REGIONS:
        raise DataError(
            f"{int(varies.sum())} regions vary; ComBat needs {MIN_REGIONS} to learn how far the "
            "effects of a site lie apart."
        )
    z = (y - grand_mean - x @ slopes)[:, varies] / sd[varies]
    shift, scale = np.zeros((len(sites), len(sd))), np.ones((len(sites), len(sd)))
    for i in range(len(sites)):
        shift[i, varies], variance = _drawn_in(z[at == i])
        scale[i, varies] = np.sqrt(variance)
    return Combat(
        tuple(map(str, sites)), counts.astype(np.float64), grand_mean, slopes, sd, shift, scale
    )


def _drawn_in(z: Values) -> tuple[Values, Values]:
    """Posterior shift and variance (V,) of one site from its standardised values (n, V).

    The conditional means of Johnson 2007, eq. 3.1 f., until they do not change.
    """
    n, mean, variance = len(z), z.mean(axis=0), z.var(axis=0, ddof=1)
    centre, spread = mean.mean(), mean.var(ddof=1)
    middle, wide = variance.mean(), variance.var(ddof=1)
    if wide == 0 or spread == 0:  # all regions alike: nothing to draw in
        return mean, variance
    shape, rate = middle**2 / wide + 2, middle**3 / wide + middle
    shift, found = mean, variance
    for _ in range(MAX_ITERATIONS):
        next_shift = (n * spread * mean + found * centre) / (n * spread + found)
        squares = ((z - next_shift) ** 2).sum(axis=0)
        next_found = (rate + squares / 2) / (n / 2 + shape - 1)
        change = max(np.abs(next_shift - shift).max(), np.abs(next_found / found - 1).max())
        shift, found = next_shift, next_found
        if change < TOLERANCE:
            break
    return shift, found


def _matrix(covariates: ArrayLike, n: int) -> Values:
    return np.asarray(covariates, dtype=np.float64).reshape(n, -1)


def _require_learnable(y: Values, x: Values, sites: NDArray, counts: NDArray) -> None:
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise DataError("ComBat was given values with holes; give participants that have all.")
    small = [f"{site} ({n})" for site, n in zip(sites, counts, strict=True) if n < MIN_PER_SITE]
    if small or len(sites) < 2:
        raise DataError(
            f"ComBat was asked for {len(sites)} sites, {', '.join(small) or 'a single one'} "
            f"{'with too few participants' if small else ''}; it needs two or more with at least "
            f"{MIN_PER_SITE} participants each. Leave small sites out of the column "
            "(n/a), or join them."
        )
