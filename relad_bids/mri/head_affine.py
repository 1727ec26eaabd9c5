"""A T1w laid on the template head by twelve numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from ants import ANTsImage

from relad_bids.mri.bias import foreground, usable
from relad_bids.mri.head_search import Look, head_starts, template_points
from relad_bids.mri.head_template import HeadTemplate
from relad_bids.mri.linear import apply_affine, read_affine, write_affine
from relad_bids.mri.resample import isotropic_grid, like, reference_image, resample
from relad_bids.mri.stages import Stage, register

WORKING_MM = 2.0

STARTS = 3
"""Starts of the search that are optimised; on eight heads of five scanners the best was always
among the first two."""

BRIGHTEST = 1.5
"""Times the median of the tissue. Fat is two to three times as bright as white matter in some
sequences and not in others, and the template's scalp is no brighter than white matter."""

STAGES = (
    Stage(transform="Similarity[0.1]", iterations=(60,), shrink=(4,), sigmas=(2,)),
    Stage(
        transform="Affine[0.1]", iterations=(100, 50), shrink=(4, 3), sigmas=(2, 1), sampling=0.5
    ),
)
"""Size before shape: twelve free numbers at once can stretch a brain over scalp and air."""


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
    fits = []
    with tempfile.TemporaryDirectory() as folder:
        for number, start in enumerate(head_starts(head, template, count=STARTS)):
            initial = write_affine(start, Path(folder) / f"start{number}.mat")
            prefix = Path(folder) / f"fit{number}_"
            register(
                template.head,
                head,
                STAGES,
                prefix=prefix,
                initial=initial,
                fixed_mask=template.seen,
            )
            fits.append(read_affine(Path(f"{prefix}0GenericAffine.mat")))
    scores = [look.information(apply_affine(fit, points)) for fit in fits]
    return write_affine(fits[int(np.argmax(scores))], out_file)
