r"""How well two sets of regional values agree, across participants.

One VOI at a time: pooled over VOIs, any mean image correlates with the truth above 0.9
(pet-quantification, section 5.2). In the formulas x is the estimate, y the truth,
:math:`d = x - y`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from relad_bids.core.ranks import rank_sums, rank_sums_without_each
from relad_bids.errors import DataError

Values = NDArray[np.float64]

LIMITS_Z = 1.96
"""Limits of agreement are bias -/+ 1.96 SD; Bland & Altman 1986, Lancet 327:307."""

ROUNDING = 1e-12
"""A standard deviation below this share of the largest value is rounding, and counts as 0."""

_LOST = 1e-4
"""A variance below this share of the second moment has lost 4 of its 16 digits in their
difference, and is taken again around its own mean."""

METRICS: Mapping[str, str] = {
    "bias": "mean of estimate - truth",
    "mae": "mean of |estimate - truth|",
    "rmse": "root of the mean squared difference",
    "pearson": "Pearson correlation; blind to gain, offset and shrinkage",
    "spearman": "Spearman rank correlation",
    "ccc": "Lin's concordance correlation coefficient, 1/n moments",
    "icc_a1": "ICC(A,1): two-way, absolute agreement, single measure; McGraw & Wong 1996",
    "icc_c1": "ICC(C,1): two-way, consistency, single measure; McGraw & Wong 1996",
    "sd_ratio": "SD(estimate) / SD(truth) across participants; below 1: shrunk to the mean",
    "loa_low": "lower limit of agreement, bias - 1.96 SD of the differences",
    "loa_high": "upper limit of agreement, bias + 1.96 SD of the differences",
    "calibration_slope": "slope of the truth regressed on the estimate; ideal 1",
    "calibration_intercept": "intercept of the truth regressed on the estimate; ideal 0",
    "proportional_bias_mean": "slope of estimate - truth on the mean of both; not 0: the bias "
    "changes with the level",
    "proportional_bias_truth": "slope of estimate - truth on the truth; negative by construction "
    "where the estimate is shrunk or noisy",
}
"""Property of :class:`Agreement` -> its definition, for the dictionary beside a table."""

CORRELATIONS = frozenset({"pearson", "spearman", "ccc", "icc_a1", "icc_c1"})
"""Metrics that weigh how participants vary together."""

ASSOCIATIONS = CORRELATIONS | {
    "sd_ratio",
    "calibration_slope",
    "calibration_intercept",
    "proportional_bias_mean",
    "proportional_bias_truth",
}
"""Metrics that a handful of participants cannot give: correlations, slopes, ratios of spread."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """Measures of agreement of N pairs; made by :func:`agreement`.

    A measure has the shape of ``weight`` without its last axis, and is NaN where it has no
    meaning: no spread, too few pairs, a value that is not finite.
    """

    estimate: Values
    """(N,)."""
    truth: Values
    """(N,), same unit."""
    weight: Values
    """(..., N): how often each pair counts. One row per draw makes a bootstrap one call."""

    def scores(self) -> dict[str, Values]:
        """All of :data:`METRICS`."""
        return {name: getattr(self, name) for name in METRICS}

    @cached_property
    def n(self) -> Values:
        return np.asarray(self.weight.sum(-1))

    @cached_property
    def bias(self) -> Values:
        return self._mean(self._difference)

    @property
    def mae(self) -> Values:
        return self._mean(np.abs(self._difference))

    @cached_property
    def mse(self) -> Values:
        return self._mean(self._difference**2)

    @property
    def rmse(self) -> Values:
        return np.asarray(np.sqrt(self.mse))

    @property
    def pearson(self) -> Values:
        return _ratio(self._covariance, np.sqrt(self._var_estimate * self._var_truth))

    @property
    def spearman(self) -> Values:
        """Pearson correlation of the midranks within each row of weights."""
        xy, xx, yy = (self._rank_moment(sums) for sums in self._rank_sums())
        return _ratio(xy, np.sqrt(xx * yy))

    @property
    def ccc(self) -> Values:
        r""":math:`2 s_{xy} / (s_x^2 + s_y^2 + (\bar x - \bar y)^2)`; Lin 1989."""
        apart = self._var_estimate + self._var_truth + self.bias**2
        return _ratio(2 * self._covariance, apart)

    @property
    def icc_a1(self) -> Values:
        r"""ICC(A,1) of two measures; McGraw & Wong 1996, Psychol Methods 1:30, table 4.

        .. math:: (MS_R - MS_E) / (MS_R + MS_E + \tfrac{2}{n} (MS_C - MS_E))
        """
        rows, columns, error = self._mean_squares
        # Sorted so that no term is negative: with n = 2 the sum would cancel to rounding.
        share = _ratio(2, self.n)
        total = rows + (1 - share) * error + share * columns
        return _ratio(rows - error, total)

    @property
    def icc_c1(self) -> Values:
        r"""ICC(C,1) of two measures: :math:`(MS_R - MS_E) / (MS_R + MS_E)`."""
        rows, _, error = self._mean_squares
        return _ratio(rows - error, rows + error)

    @property
    def sd_ratio(self) -> Values:
        """What correlation hides: an estimate shrunk by half has 0.5 here and r = 1."""
        return np.sqrt(_ratio(self._var_estimate, self._var_truth))

    @property
    def sd_difference(self) -> Values:
        """Standard deviation of the differences, with n - 1."""
        return np.sqrt(self._unbiased(self._var_difference))

    @property
    def loa_low(self) -> Values:
        return self.bias - LIMITS_Z * self.sd_difference

    @property
    def loa_high(self) -> Values:
        return self.bias + LIMITS_Z * self.sd_difference

    @property
    def calibration_slope(self) -> Values:
        return _ratio(self._covariance, self._var_estimate)

    @property
    def calibration_intercept(self) -> Values:
        return self._mean(self.truth) - self.calibration_slope * self._mean(self.estimate)

    @property
    def proportional_bias_mean(self) -> Values:
        return _ratio((self._var_estimate - self._var_truth) / 2, self._var_pair_mean)

    @property
    def proportional_bias_truth(self) -> Values:
        return _ratio(self._covariance - self._var_truth, self._var_truth)

    def skill(self, floor: Agreement) -> Values:
        """1 - MSE / MSE of a floor on the same truth; 0 and less is no better than the floor."""
        return 1 - _ratio(self.mse, floor.mse)

    def deming(self, *, error_ratio: float) -> tuple[Values, Values]:
        r"""Slope and intercept of the estimate on the truth, both with error; Linnet 1993.

        .. math:: \left(u + \sqrt{u^2 + 4 \delta s_{xy}^2}\right) / (2 s_{xy}), \quad
                  u = s_x^2 - \delta s_y^2

        Parameters
        ----------
        error_ratio
            :math:`\delta`, the error variance of the estimate over that of the truth, from
            repeated scans; 1 is orthogonal regression.
        """
        u = self._var_estimate - error_ratio * self._var_truth
        root = np.sqrt(u**2 + 4 * error_ratio * self._covariance**2)
        slope = _ratio(u + root, 2 * self._covariance)
        return slope, self._mean(self.estimate) - slope * self._mean(self.truth)

    @property
    def _difference(self) -> Values:
        return self.estimate - self.truth

    @cached_property
    def _var_estimate(self) -> Values:
        return self._variance(self._of_estimate)

    @cached_property
    def _var_truth(self) -> Values:
        return self._variance(self._of_truth)

    @cached_property
    def _var_difference(self) -> Values:
        return self._variance(self._moments(self._difference))

    @cached_property
    def _var_pair_mean(self) -> Values:
        return self._variance(self._moments((self.estimate + self.truth) / 2))

    @cached_property
    def _covariance(self) -> Values:
        still = (self._var_estimate == 0) | (self._var_truth == 0)
        return np.where(still, 0.0, self._covariance_of(self._of_estimate, self._of_truth))

    @cached_property
    def _of_estimate(self) -> _Moments:
        return self._moments(self.estimate)

    @cached_property
    def _of_truth(self) -> _Moments:
        return self._moments(self.truth)

    @property
    def _mean_squares(self) -> tuple[Values, Values, Values]:
        """Two-way analysis of variance of n rows (pairs) and 2 columns: rows, columns, error."""
        return (
            2 * self._unbiased(self._var_pair_mean),
            self.n * self.bias**2 / 2,
            self._unbiased(self._var_difference) / 2,
        )

    def _unbiased(self, variance: Values) -> Values:
        return variance * _ratio(self.n, self.n - 1)

    def _mean(self, values: Values) -> Values:
        # einsum: no array of all draws in between, and the same sum on any number of threads.
        return _ratio(np.einsum("...n,n->...", self.weight, values), self.n)

    def _rank_sums(self) -> Sequence[Values]:
        """Weighted sums of the products of midranks: xy, xx, yy, each (...)."""
        draws = self.weight.shape[:-1]
        flat = self.weight.reshape(int(np.prod(draws)), self.truth.size)
        sums = rank_sums(self.estimate, self.truth, np.ascontiguousarray(flat.T))
        return [found.reshape(draws) for found in sums]

    def _rank_moment(self, total: Values) -> Values:
        found = _ratio(total, self.n)
        return np.where(np.abs(found) <= (ROUNDING * self.n) ** 2, 0.0, found)

    def _moments(self, values: Values) -> _Moments:
        """Of (N,) values around the mean of all: one pass over the draws, no copy of them."""
        centred = values - (values.mean() if values.size else 0.0)
        return _Moments(values, centred, self._mean(centred), self._mean(centred**2))

    def _variance(self, of: _Moments) -> Values:
        found = self._covariance_of(of, of)
        rounding = (ROUNDING * np.abs(of.values).max(initial=0)) ** 2
        return np.where(found <= rounding, 0.0, found)

    def _covariance_of(self, a: _Moments, b: _Moments) -> Values:
        """With 1/n; where a draw lies so far off that digits are lost, around its own mean."""
        if not self.truth.size:
            return np.full(self.n.shape, np.nan)
        second = a.second if a is b else self._mean(a.centred * b.centred)
        found = np.asarray(second - a.mean * b.mean)
        lost = a.lost | b.lost
        if lost.any():
            rows = Agreement(self.estimate, self.truth, self._weight_of(lost))
            away_a, away_b = (x - rows._mean(x)[..., None] for x in (a.centred, b.centred))
            found[lost] = _ratio((rows.weight * away_a * away_b).sum(-1), rows.n)
        return found

    def _weight_of(self, rows: NDArray[np.bool_]) -> Values:
        return self.weight[rows]


@dataclass(frozen=True, eq=False)
class EachLeftOut(Agreement):
    """Agreement of N - 1 pairs, (N,): without the first, without the second, ...

    What ``weight`` of N rows with one 0 each would give, from sums over the pairs before and
    after the one left out; ``weight`` is (N,), ones.
    """

    @cached_property
    def n(self) -> Values:
        return np.full(self.truth.size, self.truth.size - 1.0)

    def _mean(self, values: Values) -> Values:
        before, after = np.cumsum(values), np.cumsum(values[::-1])[::-1]
        return _ratio(np.append(0, before[:-1]) + np.append(after[1:], 0), self.n)

    def _rank_sums(self) -> Sequence[Values]:
        return rank_sums_without_each(self.estimate, self.truth)

    def _weight_of(self, rows: NDArray[np.bool_]) -> Values:
        return 1 - np.eye(self.truth.size)[rows]


@dataclass(frozen=True, eq=False)
class _Moments:
    """First and second moment of one set of values under each row of weights."""

    values: Values
    """(N,)."""
    centred: Values
    """(N,), around the mean of all."""
    mean: Values
    """(...) of the centred values."""
    second: Values
    """(...) mean of their squares."""

    @cached_property
    def lost(self) -> NDArray[np.bool_]:
        """Where the variance as a difference of both has lost its digits."""
        return np.asarray(self.second - self.mean**2 <= _LOST * self.second)


@dataclass(frozen=True)
class BlandAltman:
    """Numbers of a Bland-Altman plot, each with its interval."""

    n: int
    sd: float
    """Standard deviation of the differences."""
    bias: float
    bias_interval: tuple[float, float]
    low: float
    """Lower limit of agreement."""
    low_interval: tuple[float, float]
    high: float
    high_interval: tuple[float, float]


def agreement(estimate: ArrayLike, truth: ArrayLike, weight: ArrayLike | None = None) -> Agreement:
    """Pair two sets of values of one VOI.

    Parameters
    ----------
    estimate, truth : (N,) float
        One value per participant; the same unit.
    weight : (..., N) float
        How often each pair counts; once by default.

    Raises
    ------
    DataError
        The sets differ in size.
    """
    x, y = np.asarray(estimate, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(
            f"estimate and truth have the shapes {x.shape} and {y.shape}; agreement needs one of "
            "each per participant, (N,) and (N,)."
        )
    w = np.ones(x.size) if weight is None else np.asarray(weight, dtype=np.float64)
    return Agreement(x, y, w)


def each_left_out(estimate: Values, truth: Values) -> EachLeftOut:
    """The pairs (N,) and (N,) N times, each time without another one: the jackknife."""
    return EachLeftOut(estimate, truth, np.ones(truth.size))


def concordance(estimate: ArrayLike, truth: ArrayLike) -> float:
    r"""Lin's concordance correlation coefficient; Lin 1989, Biometrics 45:255.

    .. math:: 2 s_{xy} / (s_x^2 + s_y^2 + (\bar x - \bar y)^2)

    with :math:`1/n` moments. A correlation of 1 hides a gain and a shrinkage, this does not.

    Parameters
    ----------
    estimate, truth : (N,) float
        One value per participant, in one VOI; pooling VOIs would inflate it.

    Returns
    -------
    float
        In [-1, 1]; NaN when neither varies and the means agree.
    """
    return float(agreement(estimate, truth).ccc)


def bland_altman(
    estimate: ArrayLike, truth: ArrayLike, *, confidence: float = 0.95
) -> BlandAltman:
    r"""Bias and limits of agreement with t intervals; Bland & Altman 1986, Lancet 327:307.

    Standard errors: :math:`SD / \sqrt n` of the bias, :math:`SD \sqrt{3 / n}` of a limit. They
    need independent pairs: repeated scans of a participant need the bootstrap of
    :func:`relad_bids.core.evaluation.evaluate`.

    Parameters
    ----------
    estimate, truth : (N,) float
        One value per participant, in one VOI.

    Returns
    -------
    BlandAltman
        With NaN for what a single pair cannot give.
    """
    pairs = agreement(estimate, truth)
    n, sd = int(pairs.n), float(pairs.sd_difference)
    quantile = float(student_t.ppf((1 + confidence) / 2, n - 1))  # NaN for one pair
    reach = quantile * sd / np.sqrt(n)
    bias, low, high = float(pairs.bias), float(pairs.loa_low), float(pairs.loa_high)
    return BlandAltman(
        n, sd,
        bias, _around(bias, reach),
        low, _around(low, np.sqrt(3) * reach),
        high, _around(high, np.sqrt(3) * reach),
    )  # fmt: skip


def _around(value: float, reach: float) -> tuple[float, float]:
    return float(value - reach), float(value + reach)


def _ratio(above: ArrayLike, below: ArrayLike) -> Values:
    """NaN, not infinity or an error, where nothing is below the line."""
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    undefined = np.full(np.broadcast_shapes(a.shape, b.shape), np.nan)
    return np.divide(a, b, out=undefined, where=b != 0)
