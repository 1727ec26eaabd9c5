"""Intensity contracts: what a network sees in [-1, 1], and the way back.

A network that works in [-1, 1] has moved zero. SUVr forgives a gain and does not forgive an
offset, so a synthetic PET goes through :func:`activity_from_network` before any ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from relad_bids.errors import DataError

BACKGROUND = -1.0
"""What every contract writes outside the brain, and for an image that is missing."""

PETContractName = Literal["suvr-fixed", "minmax"]


@dataclass(frozen=True, kw_only=True)
class MRIContract:
    """Percentiles inside the brain that become -1 and +1."""

    lower_percentile: float = 0.1
    upper_percentile: float = 99.9
    background_counts: bool = False
    """Whether the percentiles are those of the whole grid with 0 outside the brain, as in the
    published code, which scales after masking: its -1 is no intensity of the brain but 0."""

    def problems(self) -> list[str]:
        if 0 <= self.lower_percentile < self.upper_percentile <= 100:
            return []
        return [
            "need 0 <= lower_percentile < upper_percentile <= 100, got "
            f"{self.lower_percentile}, {self.upper_percentile}"
        ]


@dataclass(frozen=True)
class NormalisedMRI:
    """What the network sees, and the two intensities that fix the scale."""

    data: NDArray[np.float32]
    """(I, J, K) in [-1, 1]; -1 outside the mask."""
    lower: float
    """Intensity that became -1, in the unit of the image."""
    upper: float
    """Intensity that became +1."""

    def told(self, contract: MRIContract) -> dict[str, object]:
        """For the sidecar: with it and the image before, anybody can repeat the scale."""
        return {
            "Method": "x = 2 (I - LowerIntensity) / (UpperIntensity - LowerIntensity) - 1, cut at "
            "-1 and 1; -1 outside the brain mask",
            "LowerIntensity": self.lower,
            "UpperIntensity": self.upper,
            "LowerPercentile": contract.lower_percentile,
            "UpperPercentile": contract.upper_percentile,
            "PercentilesOf": "whole grid, 0 outside the brain mask"
            if contract.background_counts
            else "brain mask",
        }


def normalise_mri(
    image: NDArray[np.floating],
    mask: NDArray[np.bool_],
    contract: MRIContract,
    *,
    exclude: NDArray[np.bool_] | None = None,
) -> NormalisedMRI:
    """Map the brain's intensities to [-1, 1] by two of its own percentiles.

    Parameters
    ----------
    image : (I, J, K) float
        MRI in any unit; only its order and contrast matter.
    mask : (I, J, K) bool
        Brain. Fat, skull and background must not set the scale.
    contract
        ``0 / 100`` with the background is the min-max of the published RelA-Diffusion code
        (method.md 2.1); ``0.1 / 99.9`` keeps vessels and spikes from doing so.
    exclude : (I, J, K) bool
        Lesion: it does not set the scale, and is mapped by it like any other voxel.

    Raises
    ------
    DataError
        The mask is empty, or the brain has one intensity only.
    """
    counts = mask if exclude is None else mask & ~exclude
    inside = image[counts]
    if inside.size == 0:
        raise DataError("the brain mask is empty on the network's grid: nothing to normalise.")
    counted = np.where(counts, image, 0) if contract.background_counts else inside
    lower, upper = np.percentile(
        counted, [contract.lower_percentile, contract.upper_percentile]
    ).tolist()
    if not upper > lower:
        raise DataError(
            f"the brain has one intensity only ({lower:.4g}) between its percentiles "
            f"{contract.lower_percentile} and {contract.upper_percentile}; a real scan is needed."
        )
    scaled = np.clip(2 * (image - lower) / (upper - lower) - 1, -1, 1)
    return NormalisedMRI(
        np.where(mask, scaled, BACKGROUND).astype(np.float32), float(lower), float(upper)
    )


def suvr_to_network(suvr: NDArray[np.floating], *, suvr_max: float) -> NDArray[np.float32]:
    r"""Contract ``suvr-fixed``: :math:`x = 2\,\mathrm{clip}(\mathrm{SUVr}, 0, S)/S - 1`.

    ``suvr_max`` is S, the SUVr that becomes +1; one number per tracer, so that the scale
    survives (pet-quantification, section 0.1).
    """
    return np.asarray(2 * np.clip(suvr, 0, suvr_max) / suvr_max - 1, dtype=np.float32)


def activity_from_network(
    x: NDArray[np.floating], *, contract: PETContractName, suvr_max: float | None = None
) -> NDArray[np.float32]:
    """Undo the PET contract: an image whose zero is true zero activity.

    ``suvr-fixed`` gives SUVr on the training set's scale, ``minmax`` an activity in arbitrary
    units, of which only ratios mean anything. Values below the contract's zero are noise of
    the network and become 0.

    Raises
    ------
    DataError
        ``suvr-fixed`` without its ``suvr_max``.
    """
    scale = {"suvr-fixed": suvr_max, "minmax": 1.0}[contract]
    if scale is None:
        raise DataError("the PET contract suvr-fixed needs suvr_max, the SUVr that became +1.")
    return np.asarray(np.maximum((x + 1) / 2, 0) * scale, dtype=np.float32)


def stack_mri(
    sequences: Mapping[str, NDArray[np.float32] | None], order: tuple[str, ...]
) -> NDArray[np.float32]:
    """Stack normalised images to (S, I, J, K) in the checkpoint's order.

    A missing sequence (None) becomes all background, which is what the network was shown
    for it in training. The first sequence must be there: it fixes the shape.
    """
    first = sequences[order[0]]
    if first is None:
        raise DataError(f"the network needs {order[0]}, and it is missing.")
    missing = np.full(first.shape, BACKGROUND, dtype=np.float32)
    return np.stack(
        [missing if (image := sequences.get(name)) is None else image for name in order]
    )
