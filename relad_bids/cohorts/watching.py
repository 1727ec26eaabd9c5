"""What is looked at while a network learns: errors in regions, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relad_bids.cohorts.gather import grid_of
from relad_bids.core.grid import Grid
from relad_bids.errors import ConfigError, DataError
from relad_bids.model.base import Model
from relad_bids.model.card import TracerOutput
from relad_bids.model.data import Batch, Cohort, collate, loader
from relad_bids.model.learning.recipe import Recipe
from relad_bids.phantom.template import template_head
from relad_bids.reports.slices import to_canonical
from relad_bids.tables import tracers, voi_sets

Answer = Callable[[Tensor], Tensor]
"""MRI (1, S, I, J, K) -> every tracer (1, R, I, J, K)."""


@dataclass(frozen=True, eq=False)
class Part:
    """Grey matter of some labels on the template: V voxels and their weights."""

    voxels: Tensor
    """(V,) int64, positions in the flattened grid."""
    weights: Tensor
    """(V,) float32, share of grey matter: a small region on a coarse grid is not lost."""

    def mean(self, image: Tensor, mask: Tensor) -> Tensor:
        """Mean of an image (I, J, K) over the part inside a brain (I, J, K); NaN if outside."""
        weights = self.weights * mask.flatten()[self.voxels]
        return (image.flatten()[self.voxels] * weights).sum() / weights.sum()

    def to(self, device: torch.device) -> Part:
        return Part(self.voxels.to(device), self.weights.to(device))


VOI = tuple[Part, ...]
"""Parts whose means are averaged without weights."""


def primary_vois(tracer: str, grid: Grid) -> Mapping[str, VOI]:
    """The regions reported first for a tracer, drawn on the template.

    For early stopping and for the card, which need one fixed measure, not each participant's
    own labels: after normalisation to the template these differ by a voxel. Regions that need a
    mask of their own (the Centiloid cortex) are left out, as is what a coarse grid does not show.

    Parameters
    ----------
    tracer
        Canonical name.
    grid
        In an MNI152 space; the millimetre or two between its versions do not matter here.

    Raises
    ------
    DataError
        The grid shows no region of the tracer.
    """
    head = template_head(grid)
    grey = np.zeros(grid.shape, dtype=np.float32)
    grey[head.mask] = head.gm
    by_name = {voi.voi: voi for voi in voi_sets()}
    found = {}
    for name in tracers()[tracer].primary_vois:
        voi = by_name[name]
        sets = [by_name[part].labels for part in voi.parts] or [voi.labels]
        parts = (_part(np.isin(head.gm_label, labels), grey) for labels in sets)
        shown = tuple(part for part in parts if len(part.voxels))
        if voi.kind != "mask" and shown:
            found[name] = shown
    if not found:
        raise DataError(
            f"the network's grid shows none of the regions of {tracer} "
            f"({', '.join(tracers()[tracer].primary_vois)}). Look at grid.affine."
        )
    return found


def _part(inside: NDArray[np.bool_], grey: NDArray[np.float32]) -> Part:
    voxels = np.flatnonzero(inside & (grey > 0))
    return Part(torch.from_numpy(voxels), torch.from_numpy(grey.ravel()[voxels]))


@dataclass(frozen=True, eq=False)
class RegionalError:
    """Mean absolute error of SUVr over the primary regions of each tracer.

    Parameters
    ----------
    cohort
        Participants who are asked about.
    outputs
        Tracers of the network, in the PET contract suvr-fixed.
    vois
        Canonical tracer -> its regions.
    """

    cohort: Cohort
    outputs: Sequence[TracerOutput]
    vois: Mapping[str, Mapping[str, VOI]]
    workers: int

    @torch.inference_mode()
    def __call__(self, answer: Answer, device: torch.device) -> dict[str, float]:
        """Canonical tracer -> SUVr, over regions and scans; without a scan it is not there."""
        errors: dict[str, list[float]] = {}
        for batch in loader(self.cohort, batch_size=1, workers=self.workers):
            batch = batch.to(device)
            said = answer(batch.mri)
            for output in self.outputs:
                if batch.available[0, output.index]:
                    errors.setdefault(output.name, []).extend(self._of_scan(said, batch, output))
        return {name: float(np.nanmean(values)) for name, values in errors.items()}

    def _of_scan(self, said: Tensor, batch: Batch, output: TracerOutput) -> list[float]:
        # From -1 to +1 are suvr_max SUVr.
        off = (said - batch.pet)[0, output.index] * cast(float, output.suvr_max) / 2
        vois = self.vois[output.name].values()
        means = (
            torch.stack([part.to(off.device).mean(off, batch.mask[0, 0]) for part in voi]).mean()
            for voi in vois
        )
        return [float(mean.abs()) for mean in means]


def regional_error(recipe: Recipe, cohort: Cohort) -> RegionalError | None:
    """The regional error of a recipe's tracers in a cohort.

    None where regions are not known: outside the MNI152 spaces.

    Raises
    ------
    ConfigError
        They are not known, and early stopping needs them.
    DataError
        As :func:`primary_vois`.
    """
    if not recipe.grid.space.startswith("MNI152"):
        if recipe.watches:
            raise ConfigError(
                "early stopping looks at regions, which are known in MNI152 spaces; the grid is "
                f"in {recipe.grid.space}. Train in an MNI152 space, or set watch.every to 0."
            )
        return None
    vois = {tracer.name: primary_vois(tracer.name, grid_of(recipe)) for tracer in recipe.tracers}
    return RegionalError(cohort, recipe.tracers, vois, recipe.train.workers)


def pictures(
    cohort: Cohort, grid: Grid, outputs: Sequence[TracerOutput]
) -> Callable[[Model], Mapping[str, NDArray[np.float32]]]:
    """How a model sees the first of a cohort: T1w, truth and answer side by side, by tracer.

    An axial slice through the middle of the brain, the participant's left on the left and the
    front at the top, (H, 3 W) in [0, 1]; tracers that were not scanned are not shown.
    """

    @torch.inference_mode()
    def draw(model: Model) -> dict[str, NDArray[np.float32]]:
        sample = cohort[0]
        mri = collate([sample]).mri.to(device_of(model))
        inside = to_canonical(sample.mask.astype(np.float32), grid.affine).data > 0
        middle = int(np.rint(np.nonzero(inside)[2].mean()))

        def slice_of(image: NDArray[np.floating]) -> NDArray[np.float32]:
            volume = to_canonical(image, grid.affine).data
            return np.asarray((volume[:, ::-1, middle].T + 1) / 2, dtype=np.float32)

        drawn = {}
        for output in outputs:
            if sample.available[output.index]:
                said = model.predict(mri, output.index)[0, 0].float().cpu().numpy()
                images = (sample.mri[0], sample.pet[output.index], said)
                drawn[output.name] = np.hstack([slice_of(image) for image in images]).clip(0, 1)
        return drawn

    return draw


def device_of(model: Model) -> torch.device:
    return next(iter(model.state_dict().values())).device
