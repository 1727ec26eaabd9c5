"""A T1w laid on the template head by twelve numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray

from relad_bids.mri.bias import foreground, usable
from relad_bids.mri.head_search import Look, head_starts, template_points
from relad_bids.mri.head_template import HeadTemplate
from relad_bids.mri.linear import apply_affine, read_affine, write_affine
from relad_bids.mri.resample import isotropic_grid, like, reference_image, resample
from relad_bids.mri.stages import Stage, register

WORKING_MM = 2.0

STARTS = 3
"""Starts of the search that are optimised; on eight scans of seven heads one of the first two
ended within 0.001 nat of the best."""

BRIGHTEST = 1.5
"""Times the median of the tissue. Fat is two to three times as bright as white matter in some
sequences and not in others, and the template's scalp is no brighter than white matter."""

COARSE = Stage(transform="Affine[0.05]", iterations=(80,), shrink=(3,), sigmas=(1,), sampling=0.5)
FINE = Stage(transform="Affine[0.05]", iterations=(40,), shrink=(2,), sigmas=(0.5,), sampling=0.5)
"""Small steps at 6 mm from every start, then at 4 mm, which costs most, from the best. Coarser, a
thin skull is no longer seen and the brain is blown up to the scalp: a similarity at 8 mm first did
so on simulated heads and, for a while, on real ones. Half as many samples moved the fit of a
phantom by 24 mm."""

LARGEST_ML = 2300.0
"""Volume of the template's brain (1.9 L with its fluid) under a fit that can be right."""


def working_copy(t1w: ANTsImage) -> ANTsImage:
    """Return the T1w on axis-aligned 2 mm voxels, RAS+, with its brightest tissue cut off."""
    grid = isotropic_grid(t1w, spacing_mm=WORKING_MM)
    values = usable(resample(t1w, reference_image(grid), []))
    ceiling = BRIGHTEST * float(np.median(values[foreground(values)]))
    return like(reference_image(grid), np.minimum(values, ceiling))


def fit_affine(head: ANTsImage, template: HeadTemplate, *, out_file: Path) -> Path:
    """Write the best affine from several starts and return its file.

    Parameters
    ----------
    head
        As :func:`working_copy` makes it.
    template
        Whole head or brain alone, like ``head``.
    out_file
        Where to write; an ITK ``.mat`` that resamples ``head`` onto the template.
    """
    points, brightness = template_points(template)
    look = Look(head, brightness)
    with tempfile.TemporaryDirectory() as folder:
        fits = []
        for number, start in enumerate(head_starts(head, template, count=STARTS)):
            initial = write_affine(start, Path(folder) / f"start{number}.mat")
            fits.append(_improved(head, template, COARSE, initial))
        best = _best(fits, look, points, template)
        initial = write_affine(best, Path(folder) / "best.mat")
        return write_affine(_improved(head, template, FINE, initial), out_file)


def _improved(
    head: ANTsImage, template: HeadTemplate, stage: Stage, initial: Path
) -> NDArray[np.float64]:
    prefix = initial.with_suffix("")
    register(
        template.head,
        head,
        [stage],
        prefix=prefix,
        initial=initial,
        fixed_mask=template.seen,
    )
    return read_affine(Path(f"{prefix}0GenericAffine.mat"))


def _best(
    fits: Sequence[NDArray[np.float64]],
    look: Look,
    points: NDArray[np.float64],
    template: HeadTemplate,
) -> NDArray[np.float64]:
    """Return the fit of most information among those whose brain is no larger than brains are."""
    brain_ml = float(template.brain.sum()) * float(np.prod(template.brain.spacing)) / 1000
    possible = [f for f in fits if brain_ml * abs(np.linalg.det(f[:3, :3])) <= LARGEST_ML]
    candidates = possible or list(fits)
    scores = [look.information(apply_affine(fit, points)) for fit in candidates]
    return candidates[int(np.argmax(scores))]
