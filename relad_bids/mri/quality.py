"""The quality figures of a prepared session: names and values of its QC columns.

None stands for what cannot be told, never for a value that is fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import ants
import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray

from relad_bids.core import image_quality as iq
from relad_bids.core.coregistration import nmi
from relad_bids.core.grid import Grid
from relad_bids.core.placement import (
    correlation,
    data_box,
    share_inside,
    soft_dice,
    stretch,
)
from relad_bids.data.template import SPACE, template_file
from relad_bids.mri.bias import foreground, usable
from relad_bids.mri.linear import apply_affine, read_affine
from relad_bids.mri.resample import carry_points, grid_of, reference_image, resample

WORKING_MM = 2.0
"""Grid on which the warp was found, and on which it is judged."""

CEREBELLUM = (7, 8, 46, 47)
"""FreeSurfer's labels of its grey and white matter, both sides."""

PURE = 0.5
"""Least probability of a voxel that counts as a tissue, as with the hard labels of MRIQC. A higher
one keeps voxels of middle brightness alone, and a noisy tissue would look quiet."""

_LOW, _HIGH = np.array([-96.0, -134.0, -96.0]), np.array([96.0, 100.0, 106.0])
"""A box around the template brains, symmetric about the mid-sagittal plane x = 0, RAS+ mm."""

Figures = dict[str, float | None]
"""Column of the QC table -> value."""


@dataclass(frozen=True)
class Standard:
    """A template space on a symmetric grid of 2 mm."""

    grid: Grid
    t1w: NDArray[np.float32]
    brain: NDArray[np.bool_]
    gm: NDArray[np.float32]
    """Prior probability of grey matter, 0 to 1."""
    wm: NDArray[np.float32]
    cerebellum: NDArray[np.bool_]


@lru_cache(maxsize=2)
def standard(space: str = SPACE) -> Standard:
    """Bring the packaged images to one grid.

    Priors lie in MNI152NLin2009aSym and the cerebellum in MNI152NLin6Asym, and are taken as they
    lie in every space: the few millimetres between the spaces cost each Dice the same in every
    participant, and move a plane of the field of view by less than two of its slices.

    Raises
    ------
    InputError
        A packaged image is not installed.
    """
    n_x, n_y, n_z = ((_HIGH - _LOW) / WORKING_MM).astype(int) + 1
    affine = np.diag([WORKING_MM, WORKING_MM, WORKING_MM, 1.0])
    affine[:3, 3] = _LOW
    grid = Grid((int(n_x), int(n_y), int(n_z)), affine)
    reference = reference_image(grid)

    def bring(name: str, interpolation: str = "linear") -> NDArray[np.float32]:
        image = ants.image_read(str(template_file(name, space=space)))
        made = resample(image, reference, [], interpolation=interpolation)  # type: ignore[arg-type]
        return np.asarray(made.numpy(), dtype=np.float32)

    t1w = bring("T1w")
    labels = np.rint(bring("aparcaseg", "nearest"))
    gm, wm = (bring(name) / np.float32(255) for name in ("GM", "WM"))
    return Standard(grid, t1w, t1w > 0, gm, wm, np.isin(labels, CEREBELLUM))


def t1w_figures(
    scanned: ANTsImage | None, t1w: ANTsImage, mask: ANTsImage, gm: ANTsImage, wm: ANTsImage
) -> Figures:
    """Noise, contrast and blur of a T1w.

    Parameters
    ----------
    scanned
        T1w before the bias field was divided out, same grid; None where it is not at hand
        (a T1w that was prepared elsewhere).
    t1w
        After it.
    mask, gm, wm
        Brain and probabilities of its tissues, same grid.
    """
    values, brain = usable(t1w), mask.numpy() > 0
    grey, white = (values[(one.numpy() > PURE) & brain] for one in (gm, wm))
    raw = None if scanned is None else usable(scanned)
    head = foreground(values)
    noise = None if raw is None else iq.air(raw, head, voxel_mm=t1w.spacing)
    return {
        "t1w_voxel_mm": float(max(t1w.spacing)),
        "t1w_snr_gm": iq.snr(grey),
        "t1w_snr_wm": iq.snr(white),
        "t1w_snr_air": iq.snr_dietrich(white, noise),
        "t1w_cnr": iq.cnr(grey, white, noise),
        "t1w_efc": None if raw is None or noise is None else iq.entropy_focus(raw),
        "t1w_fber": None if raw is None else iq.foreground_background(raw[head], noise),
        "t1w_fwhm_mm": iq.smoothness_mm(values, brain, voxel_mm=t1w.spacing),
        "t1w_inu_range": None if raw is None else iq.field_range(raw, values, brain),
    }


def template_figures(
    t1w: ANTsImage,
    mask: ANTsImage,
    gm: ANTsImage,
    wm: ANTsImage,
    *,
    forward: Sequence[Path],
    affine_file: Path | None = None,
    space: str = SPACE,
) -> Figures:
    """How a T1w lies on the template, how far it was bent, and how much of the brain it holds.

    Parameters
    ----------
    t1w, mask, gm, wm
        As in :func:`t1w_figures`.
    forward
        ITK files that resample the T1w onto the template, the last one applied first.
    affine_file
        Linear first guess of the same (:attr:`relad_bids.mri.brain.BrainMask.affine_file`). A
        warp pulls a cerebellum that was cut off into the image, a line does not: with it the
        field of view is judged, and left and right. None where there is no such file.
    space
        One of :data:`relad_bids.data.template.SPACES`.
    """
    known = standard(space)
    reference = reference_image(known.grid)

    def warp(image: ANTsImage) -> NDArray[np.float32]:
        return np.asarray(resample(image, reference, list(forward)).numpy(), dtype=np.float32)

    warped, brain = warp(t1w), known.brain
    lattice = _lattice(known.grid)
    places = carry_points(lattice, list(forward))
    bent = stretch(places.reshape(*known.grid.shape, 3), WORKING_MM, brain)
    straight = _straight(t1w, reference, affine_file)
    rough = places if affine_file is None else apply_affine(read_affine(affine_file), lattice)
    box, place = data_box(t1w.numpy()), grid_of(t1w).affine
    return {
        "mask_dice": soft_dice(warp(mask), brain.astype(np.float32)),
        "template_corr": correlation(warped[brain], known.t1w[brain]),
        "template_nmi": _nmi(warped[brain], known.t1w[brain]),
        "gm_dice": soft_dice(warp(gm), known.gm),
        "wm_dice": soft_dice(warp(wm), known.wm),
        "jacobian_p01": bent.p01,
        "jacobian_p99": bent.p99,
        "jacobian_min": bent.least,
        "jacobian_folded": bent.folded,
        "brain_in_fov": share_inside(rough[brain.ravel()], place, box),
        "cerebellum_in_fov": share_inside(rough[known.cerebellum.ravel()], place, box),
        "t1w_left_right": _sides(straight, known),
    }


def flair_figures(
    flair: ANTsImage,
    on_t1w: ANTsImage,
    t1w: ANTsImage,
    mask: ANTsImage,
    gm: ANTsImage,
    wm: ANTsImage,
    *,
    xfm: Path,
    scanned: ANTsImage | None = None,
) -> Figures:
    """Noise and contrast of a FLAIR as it is used, and how it lies on the T1w.

    Parameters
    ----------
    flair
        In its own voxels, after N4.
    on_t1w
        The same on the T1w grid; one interpolation takes a part of its noise away.
    t1w, mask, gm, wm
        As in :func:`t1w_figures`.
    xfm
        ITK file that resamples the FLAIR onto the T1w.
    scanned
        FLAIR before N4, own voxels.
    """
    values, brain = usable(on_t1w), mask.numpy() > 0
    grey, white = (values[(one.numpy() > PURE) & brain] for one in (gm, wm))
    places = carry_points(_voxels(mask), [xfm])
    own_brain = foreground(usable(flair))
    return {
        "flair_voxel_mm": float(max(flair.spacing)),
        "flair_nmi": _nmi(values[brain], usable(t1w)[brain]),
        "flair_snr_wm": iq.snr(white),
        "flair_cnr": iq.cnr(grey, white, None),
        "flair_inu_range": None
        if scanned is None
        else iq.field_range(usable(scanned), usable(flair), own_brain),
        "flair_brain_in_fov": share_inside(places, grid_of(flair).affine, data_box(flair.numpy())),
    }


def _nmi(first: NDArray[np.floating], second: NDArray[np.floating]) -> float | None:
    seen = np.ptp(first) > 0 and np.ptp(second) > 0 if first.size else False
    return nmi(first, second) if seen else None


def _lattice(grid: Grid) -> NDArray[np.float64]:
    index = np.indices(grid.shape).reshape(3, -1).T
    return apply_affine(grid.affine, index)


def _voxels(mask: ANTsImage) -> NDArray[np.float64]:
    """Voxels of a mask about 4 mm apart, RAS+ mm: thousands, enough for a share."""
    steps = [max(1, round(2 * WORKING_MM / mm)) for mm in mask.spacing]
    coarse = mask.numpy()[tuple(slice(None, None, step) for step in steps)] > 0
    return apply_affine(grid_of(mask).affine, np.argwhere(coarse) * steps)


def _straight(
    t1w: ANTsImage, reference: ANTsImage, affine_file: Path | None
) -> NDArray[np.float32] | None:
    if affine_file is None:
        return None
    return np.asarray(resample(t1w, reference, [affine_file]).numpy(), dtype=np.float32)


def _sides(straight: NDArray[np.float32] | None, known: Standard) -> float | None:
    """How much more a head correlates with the template than its mirror does."""
    if straight is None:
        return None
    both = known.brain & known.brain[::-1]
    as_is = correlation(straight[both], known.t1w[both])
    mirrored = correlation(straight[::-1][both], known.t1w[both])
    return None if as_is is None or mirrored is None else as_is - mirrored
