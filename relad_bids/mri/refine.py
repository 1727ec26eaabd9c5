"""From where the template's brain ends to where this brain ends.

The template's outline, bent over centimetres, comes within some millimetres of the surface: too
far out where the skull is thin or a wide space of fluid lies under it, too far in where a pole of
the brain bulges. The image itself decides in a band around it.
"""

from __future__ import annotations

import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray
from scipy import ndimage

from relad_bids.core.brain_checks import largest_piece
from relad_bids.core.grid import Grid
from relad_bids.errors import ImageError
from relad_bids.mri.bias import usable
from relad_bids.mri.resample import grid_of, reference_image, resample
from relad_bids.mri.tissue import class_means

FINEST_MM = 1.25
"""Voxels of the working grid are no smaller: the surface is smooth at 2 mm, and distances in a
1 mm head cost twice the time."""

REACH_MM = 4.0
"""How far outside of the template's outline brain may lie. On the way there the least brightness
rises to that of grey matter: muscle, behind thin bone, is darker."""

BRIDGE_MM = 2.0
"""How far outside of the outline fluid is taken in: the hull of the folds must not span the
petrous bone between temporal lobe and cerebellum."""

CORE_MM = 8.0
"""What lies deeper inside of it is brain whatever it looks like: ventricles, lesions, cavities."""

MEANS_MM = 4.0
"""The tissue's brightness is learned from here inwards, free of dura and skull."""

DARKEST = 0.01
"""Quantile of the core that is taken for fluid: ventricles and cisterns, few voxels in the young,
whose brightness a mixture does not find."""

BRIGHTEST = 1.35
"""Times white matter; above it are fat and vessels."""

LEAST_CONTRAST = 0.15
"""Grey matter less fluid, as a share of white matter, below which the image cannot decide."""

OPENING_MM = 2.5
"""Bridges of dura and vessels are thinner than twice this, folds of cortex are not."""

CLOSING_MM = 10.0
"""Half the width of the furrows and fissures whose fluid belongs to the brain."""

SMOOTHING_MM = 2.0

LEVEL = 0.3
"""Of the smoothed hull of the folds; it lies 1 mm outside of them, where the pia is: voxels that
are half fluid fail the threshold of tissue. At 0.5 the masks lost 5 % of the labels of an elderly
head; from 0.25 to 0.35 Dice changed by less than 0.01."""


def refine(t1w: ANTsImage, outline: ANTsImage) -> NDArray[np.bool_]:
    """Return the brain inside of a band around an outline.

    What the mask follows: the hull of cortex and cerebellum with the fluid between their folds
    and in the ventricles, 1 mm of the fluid around it, no dura and no wide space under the skull.
    That is what FreeSurfer's ``brainmask`` and the filled labels of DLMUSE hold, and less than an
    intracranial volume.

    Parameters
    ----------
    t1w
        After :func:`relad_bids.mri.bias.correct_bias`.
    outline
        Mask of the template's brain, carried onto the T1w; same grid.

    Returns
    -------
    (I, J, K) bool on the grid of the T1w, perhaps in pieces.

    Raises
    ------
    ImageError
        Grey matter and fluid are equally bright, or there is too little of them.
    """
    working = reference_image(working_grid(t1w))
    values = usable(resample(t1w, working, []))
    inside = resample(outline, working, []).numpy() > 0.5
    box = _box(inside, working.spacing)
    soft = np.zeros(values.shape, dtype=np.float32)
    soft[box] = _soft_hull(values[box], inside[box], np.asarray(working.spacing))
    made = working.new_image_like(soft)
    return np.asarray(resample(made, t1w, []).numpy() > LEVEL)


def working_grid(t1w: ANTsImage) -> Grid:
    """Return the T1w's grid with voxels of :data:`FINEST_MM` where its own are smaller."""
    own = grid_of(t1w)
    ratio = np.maximum(FINEST_MM / np.asarray(t1w.spacing), 1.0)
    n_i, n_j, n_k = (
        int(np.ceil((n - 1) / r - 1e-6)) + 1 for n, r in zip(own.shape, ratio, strict=True)
    )
    return Grid(shape=(n_i, n_j, n_k), affine=own.affine @ np.diag([*ratio, 1.0]))


def _soft_hull(
    values: NDArray[np.float32], inside: NDArray[np.bool_], mm: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the smoothed hull of the brain's tissue, 0 to 1."""
    depth = ndimage.distance_transform_edt(inside, sampling=mm)
    away = ndimage.distance_transform_edt(~inside, sampling=mm)
    low, grey, high = tissue_range(values, depth)
    least = low + (grey - low) * away / REACH_MM
    body = ((away <= REACH_MM) & (values > least) & (values < high)) | (depth > CORE_MM)
    brain = _opened(body, mm)
    hull = ndimage.binary_fill_holes(brain | (_closed(brain, mm) & (away <= BRIDGE_MM)))
    # Beyond an edge of the image the brain goes on: `nearest`, or it would shrink from there.
    return np.asarray(
        ndimage.gaussian_filter(hull.astype(np.float32), SMOOTHING_MM / mm, mode="nearest")
    )


def tissue_range(
    values: NDArray[np.float32], depth_mm: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Return the darkest value of brain tissue, that of grey matter, and the brightest.

    The darkest is half way from fluid to grey matter.

    Raises
    ------
    ImageError
        As :func:`refine`.
    """
    _, grey, white = class_means(values[depth_mm > MEANS_MM])
    core = values[depth_mm > CORE_MM]
    fluid = float(np.quantile(core, DARKEST)) if core.size else 0.0
    if grey - fluid < LEAST_CONTRAST * white:
        raise ImageError(
            f"the edge of the brain was looked for in a T1w whose fluid ({fluid:.3g}), grey "
            f"({grey:.3g}) and white matter ({white:.3g}) are nearly alike. It needs the contrast "
            f"of a T1w: look at the image."
        )
    return (fluid + grey) / 2, grey, BRIGHTEST * white


def _opened(body: NDArray[np.bool_], mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Cut thin bridges and drop what hung on them."""
    thick = ndimage.distance_transform_edt(body, sampling=mm) > OPENING_MM
    if not thick.any():
        return body
    near = ndimage.distance_transform_edt(~largest_piece(thick), sampling=mm) <= OPENING_MM
    return np.asarray(near & body)


def _closed(body: NDArray[np.bool_], mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Fill what is narrower than twice :data:`CLOSING_MM`.

    The padding repeats the last slice, so that a brain cut off by the image stays whole there.
    """
    pad = [(int(np.ceil(CLOSING_MM / size)) + 1,) * 2 for size in mm]
    wide = np.pad(body, pad, mode="edge")
    grown = ndimage.distance_transform_edt(~wide, sampling=mm) <= CLOSING_MM
    closed = (ndimage.distance_transform_edt(grown, sampling=mm) > CLOSING_MM) | wide
    middle = tuple(
        slice(low, size - high) for (low, high), size in zip(pad, wide.shape, strict=True)
    )
    return np.asarray(closed[middle])


def _box(inside: NDArray[np.bool_], mm: tuple[float, ...]) -> tuple[slice, ...]:
    """Return the box around the outline with all that may become brain."""
    if not inside.any():
        return tuple(slice(0, size) for size in inside.shape)
    margin = [int(np.ceil((REACH_MM + 3 * SMOOTHING_MM) / size)) for size in mm]
    found = ndimage.find_objects(inside.astype(np.uint8))[0]
    return tuple(
        slice(max(part.start - more, 0), part.stop + more)
        for part, more in zip(found, margin, strict=True)
    )
