"""Whether a header contradicts itself about left and right."""

from __future__ import annotations

from typing import Any

import numpy as np

FEWEST_DIRECTIONS = 1e-6
"""Determinant below which an affine was never filled in."""


def swaps_sides(header: Any) -> bool:
    """Tell whether an orientation that is switched off would swap left and right.

    A NIfTI file has room for two orientations, each with a code that switches it on. Two that
    are on and disagree are refused by :func:`relad_bids.bids.images.require_readable`. One that
    is off counts for nobody by the standard, but programs that look at it all the same, and
    files whose right one was switched off by mistake, exist: then nobody can tell the sides
    apart by this file.

    Parameters
    ----------
    header
        NIfTI header with usable orientation.

    Returns
    -------
    bool
        True where exactly one is on, the other is filled in and has the other handedness.
    """
    on = {name: int(header[f"{name}_code"]) > 0 for name in ("sform", "qform")}
    if on["sform"] == on["qform"]:
        return False
    used, unused = ("sform", "qform") if on["sform"] else ("qform", "sform")
    if unused == "qform" and not any(float(header[f"quatern_{axis}"]) for axis in "bcd"):
        return False
    signs = [float(np.linalg.det(_form(header, name)[:3, :3])) for name in (used, unused)]
    if not np.isfinite(signs).all() or min(map(abs, signs)) < FEWEST_DIRECTIONS:
        return False
    return (signs[0] > 0) != (signs[1] > 0)


def _form(header: Any, name: str) -> np.ndarray:
    return np.asarray(getattr(header, f"get_{name}")(), dtype=np.float64)
