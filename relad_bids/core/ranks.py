"""Midranks of values that count several times, or not at all: what a rank correlation is of."""

from __future__ import annotations

from threading import local

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Values = NDArray[np.float64]

BLOCK = 2**22
"""Pairs of participants compared at a time: a few MB, however many participants."""


def rank_sums(x: Values, y: Values, weight: Values) -> tuple[Values, Values, Values]:
    r"""Weighted sums of :math:`r_x r_y`, :math:`r_x^2`, :math:`r_y^2`, r the midrank - its mean.

    Of ranks by themselves :math:`\sum_g t_g r_g^2 = (n^3 - \sum_g t_g^3) / 12` with the weight
    :math:`t_g` of each distinct value; Kendall 1945, Biometrika 33:239.

    Parameters
    ----------
    x, y : (N,) float
    weight : (N, D) float
        How often each counts in each draw: whole numbers.

    Returns
    -------
    (xy, xx, yy)
        (D,) each; NaN where a value is not finite.
    """
    r, q, upto, more = _room(weight.shape)
    xx = _double_midranks(x, weight, r, upto, more)
    yy = _double_midranks(y, weight, q, upto, more)
    return np.einsum("nd,nd,nd->d", weight, r, q) / 4, xx, yy


class _Kept(local):
    """Arrays of the last call of a thread: to ask the system for them costs more than ranks."""

    shape: tuple[int, ...] = ()
    arrays: tuple[Values, ...] = ()


_KEPT = _Kept()


def _room(shape: tuple[int, ...]) -> tuple[Values, ...]:
    if _KEPT.shape != shape:
        n, draws = shape
        _KEPT.arrays = tuple(np.empty((rows, draws)) for rows in (n, n, n + 1, n))
        _KEPT.shape = shape
    return _KEPT.arrays


def _double_midranks(
    values: Values, weight: Values, found: Values, upto: Values, more: Values
) -> Values:
    """Put the weight below less the weight above of each into ``found`` (N, D).

    Returns the weighted sum of the squared midranks (D,); ``upto`` and ``more`` are room.
    Participants along the first axis: to put them in order moves whole rows of memory.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    _run_sums(weight, order, upto)
    # Of a run of equal values: the weight before its first and up to its last.
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    starts = np.append(0, changes)[: values.size]
    ends = np.append(starts, values.size)[1:]
    before, each = found[: starts.size], more[: starts.size]
    np.take(upto, starts, axis=0, out=before, mode="clip")
    np.take(upto, ends, axis=0, out=each, mode="clip")
    each -= before
    spread = (upto[-1] ** 3 - np.einsum("nd,nd,nd->d", each, each, each)) / 12
    np.take(upto, np.searchsorted(ordered, values, side="left"), axis=0, out=found, mode="clip")
    np.take(upto, np.searchsorted(ordered, values, side="right"), axis=0, out=more, mode="clip")
    found += more
    found -= upto[-1]
    missing = ~np.isfinite(values)
    found[missing] = np.nan
    return np.full_like(spread, np.nan) if missing.any() else spread


def rank_sums_without_each(x: Values, y: Values) -> tuple[Values, Values, Values]:
    r"""Sums of :math:`r_x r_y`, :math:`r_x^2`, :math:`r_y^2` over the midranks of N - 1 values.

    Without value i the midrank of j falls by :math:`s_{ij} = \tfrac12 \mathrm{sgn}(x_j - x_i)`,
    so that with t of y as s of x, over j other than i

    .. math:: \sum_j (r_j - s_{ij})(q_j - t_{ij}) = \sum_j r_j q_j - r_i q_i
              - \sum_j s_{ij} q_j - \sum_j t_{ij} r_j + \sum_j s_{ij} t_{ij}

    Parameters
    ----------
    x, y : (N,) float

    Returns
    -------
    (xy, xx, yy)
        (N,) each: without the first, without the second, ... Sums of whole numbers and quarters,
        exact as those of :func:`rank_sums`.
    """
    r, q = _midranks(x), _midranks(y)
    xy = r @ q - r * q - _signed(x, q) - _signed(y, r) + _alike(x, y)
    return xy, _spread_without_each(x), _spread_without_each(y)


def _midranks(values: Values) -> Values:
    """Around their mean (N,)."""
    return rankdata(values, nan_policy="propagate") - (values.size + 1) / 2


def _spread_without_each(values: Values) -> Values:
    if not np.isfinite(values).all():
        return np.full(values.size, np.nan)
    _, place, equal = np.unique(values, return_inverse=True, return_counts=True)
    t = equal[place].astype(np.float64)
    left = (equal.astype(np.float64) ** 3).sum() - t**3 + (t - 1) ** 3
    return ((values.size - 1.0) ** 3 - left) / 12


def _signed(values: Values, summed: Values) -> Values:
    """Half the sum over what has a larger value, less that over what has a smaller one (N,)."""
    order = np.argsort(values, kind="stable")
    ordered, upto = values[order], np.append(0, np.cumsum(summed[order]))
    below = upto[np.searchsorted(ordered, values, side="left")]
    upto_it = upto[np.searchsorted(ordered, values, side="right")]
    return (upto[-1] - upto_it - below) / 2


def _alike(x: Values, y: Values) -> Values:
    """A quarter of: with how many others each is in the same order in x and y, less the rest."""
    first, second = (np.unique(part, return_inverse=True)[1].astype(np.int32) for part in (x, y))
    found = np.empty(x.size)
    step = max(1, BLOCK // max(1, x.size))
    for start in range(0, x.size, step):
        here = slice(start, start + step)
        signs = _sign(first, here) * _sign(second, here)
        found[here] = signs.sum(axis=1, dtype=np.int32)
    return found / 4


def _sign(ranks: NDArray[np.int32], here: slice) -> NDArray[np.int8]:
    mine = ranks[here, None]
    return (ranks > mine).view(np.int8) - (ranks < mine).view(np.int8)


def _run_sums(rows: Values, order: NDArray[np.integer], found: Values) -> None:
    """Put the sum of all rows before each, in this order, into ``found`` (N + 1, D).

    Row by row: to put them in order and take NumPy's ``cumsum`` needs three times as long.
    """
    found[0] = 0
    upto = found[0]
    for index, following in zip(order, found[1:], strict=True):
        np.add(upto, rows[index], out=following)
        upto = following
