"""From SUVr to Centiloid and to CenTauR z: only where an equation was made for just that SUVr.

An equation belongs to its tracer, target VOI, reference region and way of processing. One scan
reads 38 Centiloid with the VOI of the equation and 101 with a composite of labels put into the
same equation (pet-quantification, section 0.4), so nothing is ever taken for something like it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

UNCALIBRATED = "uncalibrated-pipeline"
"""Note of a value whose processing was not yet run on the scans that the scale was made on."""

NO_CORRECTION = "none"
"""Partial volume correction of the SUVr that all equations were made for."""


READ = "read"
"""Status of an equation whose coefficients are known."""


@dataclass(frozen=True, kw_only=True)
class Equation:
    """A published line from SUVr to a scale."""

    scale: str
    """As a reader knows it: ``Centiloid`` or ``CenTauR z``."""
    tracer: str
    """Canonical name."""
    pipeline: str
    """Key of the way of processing, which settles space, resolution and masks."""
    voi: str
    reference: str
    slope: float | None
    intercept: float | None
    """None, as the slope, where the equation is known to exist and was not read."""
    status: str
    """:data:`READ`, or why the equation cannot be used."""
    source: str


@dataclass(frozen=True)
class Scaled:
    """A value on a scale, or why there is none."""

    value: float
    """NaN where there is none."""
    pipeline: str | None
    """Key of the equation used."""
    note: str
    """``ok``, :data:`UNCALIBRATED`, or the reason in words."""


def to_scale(
    suvr: float,
    equations: Iterable[Equation],
    *,
    tracer: str,
    pipeline: str,
    voi: str,
    reference: str,
    pvc: str = NO_CORRECTION,
    calibrated: bool = False,
) -> Scaled:
    """Put a SUVr on a scale by the one equation that was made for it.

    Parameters
    ----------
    suvr
        Ratio of the means of ``voi`` and ``reference``.
    equations
        Those of one scale.
    tracer, pipeline, voi, reference
        How the SUVr came about, in the words of the equations.
    pvc
        Partial volume correction of the SUVr.
    calibrated
        Whether this pipeline reproduced the published values of the scale's own scans.

    Returns
    -------
    Scaled
        NaN with the reason unless tracer, pipeline, VOI and reference are all those of an
        equation, its coefficients are known, and the SUVr is uncorrected and finite.
    """
    fitting = list(equations)
    scale = f"{fitting[0].scale} equation" if fitting else "equation"
    made = {"tracer": tracer, "pipeline": pipeline, "voi": voi, "reference": reference}
    so_far = ""
    for key, ours in made.items():
        offered = sorted({getattr(equation, key) for equation in fitting})
        fitting = [equation for equation in fitting if getattr(equation, key) == ours]
        if not fitting:
            there_is = ", ".join(offered) or "none"
            return _refused(f"no {scale} for {so_far}{key} {ours}; there is {there_is}")
        so_far += f"{key} {ours}, "
    (equation,) = fitting
    if equation.status != READ or equation.slope is None or equation.intercept is None:
        return _refused(f"the {scale} for {tracer} by {pipeline}: {equation.status}")
    if pvc != NO_CORRECTION:
        return _refused(f"a {scale} is for uncorrected SUVr, not for pvc {pvc}")
    if not math.isfinite(suvr):
        return _refused("no SUVr")
    value = equation.slope * suvr + equation.intercept
    return Scaled(value, pipeline, "ok" if calibrated else UNCALIBRATED)


def _refused(reason: str) -> Scaled:
    return Scaled(math.nan, None, reason)
