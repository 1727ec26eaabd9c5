r"""Partial volume correction: what regions take up, without what spilt in from their neighbours.

A scanner shows the true uptake spread by its point spread function (PSF). Given the regions and
the PSF, the geometric transfer matrix (GTM) says how much of each region is seen in each other;
its solution is the uptake of the regions. Region-based voxelwise correction (RBV) and the
iterative Yang method make images of it; Mueller-Gaertner needs tissues instead of regions.

**Background.** All that no region covers must have an uptake, too. What the PSF carries in from
the unlabelled voxels nearby (region :data:`NEAR`: at 6 mm FWHM those within some 6 mm) and
from those beyond (:data:`FAR`) are two regions, each taken as uniform. Fluid, meninges and scalp
are not alike: label them where they are known, or the cortex beside them is biased.

Corrected values never stand in one column with uncorrected ones, and those of a synthetic image
suppose the PSF of the training images (pet-quantification, section 1.7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from relad_bids.core.resolution import PointSpread, point_spread
from relad_bids.errors import DataError, EmptyRegionError, GridMismatchError, UsageError

Values = NDArray[np.float64]
Image = NDArray[np.floating]
Box = tuple[slice, ...]

NEAR, FAR = 0, -1
"""Numbers of the two background regions."""

NEAR_SHARE = 0.01
"""An unlabelled voxel is near where labels make up more than this share of what it shows."""

MAX_CONDITION = 1e3
"""Largest condition number of a GTM that is solved: an error of the observed means may grow by
as much. 94 regions have 33 to 114 (pet-quantification, section 1.7)."""

MAX_AMPLIFICATION = 5.0
"""By how much independent errors of the regional means may grow in a corrected value that is
still called stable: 1 % of them makes 5 % of it."""

ROUNDING = 1e-3
"""By how much fractions of a voxel may sum to more than 1."""

N_ITERATIONS = 10
"""Of the iterative Yang method."""

DEEP_WHITE = 0.95
"""Share of white matter, after blurring, from which a voxel tells the uptake of white matter."""

MIN_DEEP_VOXELS = 50
"""Fewest of these voxels that are averaged."""

MIN_GREY = 0.5
"""Grey matter fraction above which Mueller-Gaertner gives a value; as tissues cut labels."""


@dataclass(frozen=True, eq=False)
class RegionModel:
    """Regions, and how the PSF mixes them. One serves all images of a person and PSF."""

    shape: tuple[int, ...]
    numbers: NDArray[np.int64]
    """(R,) labels, ascending, then :data:`NEAR` and :data:`FAR` where there are such voxels."""
    weights: sparse.csc_array
    """(V, R) share of each region in each voxel, summing to 1 where every region was seen."""
    seen: NDArray[np.bool_]
    """(V,) voxels inside the field of view."""
    unseen: tuple[int, ...]
    """Regions without a voxel inside the field of view; each is taken as what lies near it."""
    psf: PointSpread

    @cached_property
    def matrix(self) -> Values:
        r"""The GTM (R, R): what region i shows of region j at uptake 1; Rousset 1998.

        .. math:: M_{ij} = \sum_v F_i (F_j * h) \,/\, \sum_v F_i

        with fractions F and PSF h, over the voxels inside the field of view; rows sum to 1.
        Each region is spread in its own bounding box, wider by the reach of the PSF.
        """
        index = np.arange(len(self.seen), dtype=np.int32).reshape(self.shape)
        by_voxel = self._observed.tocsr()
        matrix = np.zeros((self.numbers.size, self.numbers.size))
        for column, number in enumerate(self.numbers):
            if number == FAR:
                matrix[:, column] = 1 - matrix.sum(axis=1)  # the last one, and the largest
                continue
            box, fractions = self._box(column)
            spread = self.psf.blur(fractions) / self._known[box]
            shown = by_voxel[index[box].ravel()].T @ spread.ravel().astype(np.float64)
            matrix[:, column] = shown / self.n_voxels
        return matrix

    @property
    def n_voxels(self) -> Values:
        """(R,) voxels of each region inside the field of view, with fractions summed."""
        return np.asarray(self._observed.sum(axis=0))

    @cached_property
    def amplification(self) -> Values:
        r"""(R,) by how much independent, equal errors of the observed means grow in each region.

        .. math:: a_i = \sqrt{\textstyle\sum_j (M^{-1})_{ij}^2}

        the diagonal of :func:`gtm_covariance` for a covariance of 1: never above the condition
        number for rows that sum to 1, and far below it for most regions.
        """
        return np.asarray(np.linalg.norm(np.linalg.inv(self.matrix), axis=1))

    @cached_property
    def condition(self) -> float:
        """Condition number of the GTM: largest over smallest singular value."""
        return float(np.linalg.cond(self.matrix))

    def observe(self, image: Image) -> Values:
        """Average an image over each region (R,)."""
        values = self.flat(image)
        return np.asarray(self._observed.T @ np.where(self.seen, values, 0)) / self.n_voxels

    def paint(self, values: Values) -> Values:
        """Give every voxel the uptake of its regions, in their shares (I, J, K)."""
        return np.asarray(self.weights @ values).reshape(self.shape)

    def blur(self, image: Image) -> NDArray[np.float32]:
        """Spread an image that is 0 in the regions nobody saw, as if they were like it."""
        return np.asarray(self.psf.blur(image) / self._known, dtype=np.float32)

    def flat(self, image: Image) -> Values:
        """Return the image (V,), checked.

        Raises
        ------
        GridMismatchError
            It has another shape than the labels.
        DataError
            It has no value in a voxel that the model was told is inside the field of view.
        """
        if image.shape != self.shape:
            raise GridMismatchError(
                f"the PET image is {image.shape} voxels but its labels are {self.shape}; "
                "resample one onto the other first."
            )
        values = np.asarray(image, dtype=np.float64).ravel()
        if lost := int((self.seen & ~np.isfinite(values)).sum()):
            raise DataError(
                f"the PET image has no value in {lost} voxels that were given as inside its field "
                "of view. Make the model of the regions with seen=np.isfinite(image)."
            )
        return values

    @cached_property
    def _observed(self) -> sparse.csc_array:
        """Weights (V, R) of the voxels inside the field of view."""
        if self.seen.all():
            return self.weights
        return sparse.csc_array(self.weights.multiply(self.seen[:, None]))

    @cached_property
    def _known(self) -> NDArray[np.float32]:
        """Share of what a voxel shows that comes from regions in the model (I, J, K)."""
        if not self.unseen:
            return np.broadcast_to(np.float32(1), self.shape)
        known = self.psf.blur(np.asarray(self.weights.sum(axis=1)).reshape(self.shape))
        return np.where(known > 0, known, np.float32(1))  # beyond their reach all is 0

    def _box(self, column: int) -> tuple[Box, NDArray[np.float32]]:
        """The box that a region spreads to, and the region's fractions in it."""
        entries = slice(*self.weights.indptr[column : column + 2])
        where = np.unravel_index(self.weights.indices[entries], self.shape)
        starts = [max(int(w.min()) - r, 0) for w, r in zip(where, self.psf.reach, strict=True)]
        stops = [int(w.max()) + r + 1 for w, r in zip(where, self.psf.reach, strict=True)]
        stops = [min(stop, size) for stop, size in zip(stops, self.shape, strict=True)]
        fractions = np.zeros(np.subtract(stops, starts), dtype=np.float32)
        inside = tuple(w - start for w, start in zip(where, starts, strict=True))
        fractions[inside] = self.weights.data[entries]
        return tuple(map(slice, starts, stops)), fractions


def region_model(
    labels: NDArray[np.integer] | Mapping[int, Image],
    *,
    fwhm_mm: ArrayLike,
    voxel_mm: Sequence[float],
    seen: NDArray[np.bool_] | None = None,
) -> RegionModel:
    """Describe how a scanner mixes regions.

    Parameters
    ----------
    labels : (I, J, K) int, or label -> (I, J, K) float
        Region of each voxel, 0 where none; or the fraction of each voxel that a region fills,
        in [0, 1]. What is left of a voxel is background.
    fwhm_mm
        Full width at half maximum of the PSF: one number, or one for each voxel axis. 0, or at
        least a voxel.
    voxel_mm
        Size of a voxel along each axis.
    seen : (I, J, K) bool
        Voxels inside the field of view; by default all.

    Raises
    ------
    UsageError
        A width that is above 0 and below a voxel: such a PSF has no samples on this grid.
    DataError
        A label below 0, no label above 0, or fractions that are none.
    """
    psf = _scanner(fwhm_mm, voxel_mm)
    regions = _fractions(labels) if isinstance(labels, Mapping) else _ones(labels)
    numbers, weights, shape = regions
    inside = np.ones(shape, dtype=bool) if seen is None else np.asarray(seen)
    if inside.shape != shape:
        raise GridMismatchError(
            f"the field of view is {inside.shape} voxels but the labels are {shape}; resample "
            "one onto the other first."
        )
    rest = np.clip(1 - np.asarray(weights.sum(axis=1)), 0, 1).astype(np.float32)
    near = (psf.blur(1 - rest.reshape(shape)) > NEAR_SHARE).ravel()
    outside = [sparse.csc_array((rest * side)[:, None]) for side in (near, ~near)]
    every = sparse.hstack([weights, *outside], format="csc")
    number_of = np.append(numbers, (NEAR, FAR))
    present = np.asarray(every.T @ inside.ravel().astype(np.float32)) > 0
    unseen = number_of[~present & (np.asarray(every.sum(axis=0)) > 0)]
    return RegionModel(
        shape, number_of[present], every[:, present], inside.ravel(), tuple(unseen.tolist()), psf
    )


def gtm(image: Image, model: RegionModel, *, max_condition: float = MAX_CONDITION) -> pd.DataFrame:
    r"""Correct regional means with the geometric transfer matrix; Rousset 1998, J Nucl Med 39:904.

    .. math:: t = M^{-1} \bar y

    Uptake is taken as uniform in each region. The result is linear in the image.

    Parameters
    ----------
    image : (I, J, K) float
        Any linear unit whose zero is true zero; NaN outside the field of view.
    model
        From :func:`region_model`, with the field of view of this image.
    max_condition
        Largest condition number of the matrix that is solved.

    Returns
    -------
    DataFrame
        A row per region by its number (``label``), the two of the background included:
        ``observed`` and ``corrected`` in the unit of the image, ``n_voxels`` inside the field of
        view. NaN, and 0 voxels, for a region outside it.

    Raises
    ------
    DataError
        The matrix is singular, or nearly so; names the regions that cannot be told apart.
    """
    observed = model.observe(image)
    require_solvable(model, max_condition=max_condition)
    table = pd.DataFrame(
        {
            "observed": observed,
            "corrected": np.linalg.solve(model.matrix, observed),
            "n_voxels": model.n_voxels,
        },
        index=model.numbers,
    )
    rows = sorted([*model.numbers.tolist(), *model.unseen], key=lambda n: (n <= 0, abs(n)))
    return table.reindex(rows).rename_axis("label").fillna({"n_voxels": 0})


def gtm_covariance(
    covariance: Values, model: RegionModel, *, max_condition: float = MAX_CONDITION
) -> Values:
    r"""Carry the covariance of the observed means (R, R) over to the corrected values.

    .. math:: \mathrm{Cov}(t) = M^{-1}\, \mathrm{Cov}(\bar y)\, M^{-\mathsf T}

    Rows and columns are those of ``model.numbers``.
    """
    require_solvable(model, max_condition=max_condition)
    half = np.linalg.solve(model.matrix, covariance)
    return np.linalg.solve(model.matrix, half.T).T


def require_solvable(model: RegionModel, *, max_condition: float = MAX_CONDITION) -> None:
    """Raise :class:`DataError` unless the regions can be told apart at this PSF."""
    _, scale, modes = np.linalg.svd(model.matrix)
    if scale[0] <= max_condition * scale[-1]:
        return
    # The mix of regions that shows least: its largest members hide behind one another.
    share = np.abs(modes[-1])
    worst = np.flatnonzero(share >= share.max() / 2)
    named = ", ".join(f"{model.numbers[i]} ({model.n_voxels[i]:.3g} voxels)" for i in worst)
    condition = f"{scale[0] / scale[-1]:.3g}" if scale[-1] > 0 else "infinite"
    raise DataError(
        f"the partial volume correction of {model.numbers.size} regions has a condition number "
        f"of {condition}, must be at most {max_condition:g}: at a PSF of "
        f"{' x '.join(f'{width:g}' for width in model.psf.fwhm_mm)} mm it cannot tell the uptake "
        f"of the labels {named}. Join them to their neighbours, or leave them out."
    )


def rbv(
    image: Image, model: RegionModel, *, max_condition: float = MAX_CONDITION
) -> NDArray[np.float32]:
    r"""Correct every voxel, region-based; Thomas et al. 2011, Eur J Nucl Med Mol Imaging 38:1104.

    .. math:: x = y \, \frac{s}{s * h}

    with s the image painted of the GTM's values. Regional means of x are those of the GTM where
    y is what the model expects; noise and uneven uptake move them apart.

    Parameters
    ----------
    image, model, max_condition
        As for :func:`gtm`.

    Returns
    -------
    (I, J, K) float32
        In the unit of the image; NaN where it has none.
    """
    model_values = gtm(image, model, max_condition=max_condition)["corrected"]
    return _rescaled(image, model_values[model.numbers].to_numpy(), model)


def iterative_yang(
    image: Image, model: RegionModel, *, n_iterations: int = N_ITERATIONS
) -> NDArray[np.float32]:
    """Correct every voxel from the regional means of the image itself; Erlandsson et al. 2012.

    As :func:`rbv`, with regional means that start uncorrected (Phys Med Biol 57:R119) and are
    taken anew from each corrected image. Needs no matrix, so no region makes it fail; small
    regions need more iterations.

    Parameters
    ----------
    image, model
        As for :func:`gtm`.
    n_iterations
        At least 1.

    Returns
    -------
    (I, J, K) float32
        In the unit of the image; NaN where it has none.
    """
    corrected = np.asarray(image)
    for _ in range(n_iterations):
        corrected = _rescaled(image, model.observe(corrected), model)
    return np.asarray(corrected, dtype=np.float32)


def mueller_gaertner(
    image: Image,
    *,
    gm: Image,
    wm: Image,
    fwhm_mm: ArrayLike,
    voxel_mm: Sequence[float],
    wm_value: float | None = None,
) -> NDArray[np.float32]:
    r"""Correct grey matter for white matter and fluid; Mueller-Gaertner 1992, J CBF Metab 12:571.

    .. math:: x = \frac{y - w\,(W * h)}{G * h}

    with fractions G and W, PSF h and one uptake w for all white matter. What is neither is
    taken as without uptake, which errs where fluid or meninges take up tracer.

    Parameters
    ----------
    image : (I, J, K) float
        Any linear unit whose zero is true zero; NaN outside the field of view.
    gm, wm : (I, J, K) float
        Fractions in [0, 1] on the same grid.
    fwhm_mm, voxel_mm
        As for :func:`region_model`.
    wm_value
        Uptake of white matter, in the unit of the image; by default the mean of the voxels that
        show more than :data:`DEEP_WHITE` of it.

    Returns
    -------
    (I, J, K) float32
        NaN where ``gm`` is at most :data:`MIN_GREY`, and where the image has no value.

    Raises
    ------
    GridMismatchError
        The images differ in shape.
    EmptyRegionError
        Too few voxels to tell the uptake of white matter.
    """
    if not image.shape == gm.shape == wm.shape:
        raise GridMismatchError(
            f"the PET image is {image.shape} voxels, grey matter {gm.shape}, white matter "
            f"{wm.shape}; resample them onto one grid first."
        )
    psf = _scanner(fwhm_mm, voxel_mm)
    white = psf.blur(wm)
    white_value = _deep_white(image, white) if wm_value is None else wm_value
    without_white = np.asarray(image - white_value * white, dtype=np.float32)
    nothing = np.full_like(without_white, np.nan)
    return np.divide(without_white, psf.blur(gm), out=nothing, where=gm > MIN_GREY)


def _deep_white(image: Image, white: Image) -> float:
    values = image[white > DEEP_WHITE]
    inside = values[np.isfinite(values)]
    if inside.size < MIN_DEEP_VOXELS:
        raise EmptyRegionError(
            f"the uptake of white matter was to be read where it makes up {DEEP_WHITE:.0%} of "
            f"the signal, which {inside.size} voxels inside the field of view do; needs "
            f"{MIN_DEEP_VOXELS}. Give it a value, or use another correction."
        )
    return float(inside.mean(dtype=np.float64))


def _rescaled(image: Image, values: Values, model: RegionModel) -> NDArray[np.float32]:
    """The image times what is expected of it without blur / with blur.

    Uptake is never below 0, so nor is what is expected. Where nothing is, the image stays.
    """
    sharp = model.paint(np.maximum(values, 0))
    blurred = model.blur(sharp)
    ratio = np.divide(sharp, blurred, out=np.ones(model.shape), where=blurred > 0)
    return np.asarray(image * ratio, dtype=np.float32)


def _scanner(fwhm_mm: ArrayLike, voxel_mm: Sequence[float]) -> PointSpread:
    psf = point_spread(fwhm_mm, voxel_mm)
    for axis, fwhm, size in zip("ijk", psf.fwhm_mm, psf.voxel_mm, strict=True):
        if 0 < fwhm < size:
            raise UsageError(
                f"a PSF of {fwhm:g} mm was given for voxels of {size:g} mm along axis {axis}; "
                "a partial volume correction needs a PSF of at least a voxel, or 0 for none. "
                "Give the resolution of the image as full width at half maximum, in mm."
            )
    return psf


Regions = tuple[NDArray[np.int64], sparse.csc_array, tuple[int, ...]]


def _ones(labels: NDArray[np.integer]) -> Regions:
    """Label numbers (R,), and weights (V, R) of 1 where a voxel has the label."""
    if labels.min(initial=0) < 0 or labels.max(initial=0) <= 0:
        raise DataError(
            f"the labels run from {labels.min(initial=0)} to {labels.max(initial=0)}; regions "
            "have numbers above 0 and what is in none has 0. Give a parcellation."
        )
    voxels = np.flatnonzero(labels)
    numbers, column = np.unique(labels.ravel()[voxels], return_inverse=True)
    ones = np.ones(voxels.size, dtype=np.float32)
    weights = sparse.csc_array((ones, (voxels, column)), shape=(labels.size, numbers.size))
    return numbers.astype(np.int64), weights, labels.shape


def _fractions(maps: Mapping[int, Image]) -> Regions:
    """Label numbers (R,) and their fractions as weights (V, R)."""
    ordered = dict(sorted(maps.items()))
    shapes = {fractions.shape for fractions in ordered.values()}
    if len(shapes) != 1 or min(ordered) <= 0:
        raise DataError(
            f"the fractions of {len(ordered)} regions, numbered {', '.join(map(str, ordered))}, "
            f"have the shapes {sorted(shapes)}; regions have numbers above 0 and share one grid."
        )
    for number, fractions in ordered.items():
        # Written so that NaN fails, too.
        if not (fractions.min() >= 0 and fractions.max() <= 1 + ROUNDING):
            raise DataError(
                f"the fractions of region {number} run from {fractions.min():g} to "
                f"{fractions.max():g}; a fraction of a voxel lies in 0 to 1. Rescale the map."
            )
    columns = [sparse.csc_array(f.reshape(-1, 1).astype(np.float32)) for f in ordered.values()]
    weights = sparse.hstack(columns, format="csc")
    if (most := float(weights.sum(axis=1).max())) > 1 + ROUNDING:
        raise DataError(
            f"the fractions of all regions sum to as much as {most:.4g} in one voxel; they must "
            "not exceed 1. Rescale the maps together."
        )
    return np.array(list(ordered), dtype=np.int64), weights, shapes.pop()
