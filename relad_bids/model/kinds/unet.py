"""Networks, from MONAI's blocks, behind one call: MRI and tracer in, PET out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from relad_bids.model.base import OneAnswer, Turn
from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import crop_brain, of_tracer
from relad_bids.model.learning.chance import Chance
from relad_bids.model.learning.losses import Spread, relative_error
from relad_bids.model.learning.regional_fit import fit_regional
from relad_bids.model.networks.grids import pad_to_multiple, position_channels
from relad_bids.model.networks.regional import RegionalRegression


class PosteriorMeanUNet(OneAnswer):
    """A U-Net that estimates E[PET | MRI, tracer] in one pass (model key ``unet``).

    Trained with the squared error its best answer is the posterior mean, the estimate with
    the least error of all (method.md 4.1). The tracer chooses one of the last layer's
    channels; the trunk is shared, so a tracer with few scans learns from the others.

    The network starts from what a regression on regional means says
    (:class:`~relad_bids.model.networks.regional.RegionalRegression`) and learns what the MRI says
    beyond it. That start and the voxel's position enter as more channels: in template space both
    have meaning.

    Parameters
    ----------
    n_sequences
        MRI channels S.
    n_tracers
        Tracers R.
    channels
        Feature maps per level, from full to coarsest resolution.
    n_residual_units
        Residual units per level of MONAI's UNet.
    rank
        Patterns of the regression it starts from.
    shape
        (I, J, K) of the grid; the input is padded to multiples of ``2**(levels - 1)``.
    """

    learns_from_boxes = True
    position: Tensor

    def __init__(
        self,
        *,
        n_sequences: int,
        n_tracers: int,
        channels: Sequence[int],
        n_residual_units: int,
        rank: int,
        shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        levels = len(channels)
        self.multiple = 2 ** (levels - 1)
        self.unet = UNet(
            spatial_dims=3,
            in_channels=n_sequences + 3 + n_tracers,
            out_channels=n_tracers,
            channels=tuple(channels),
            strides=(2,) * (levels - 1),
            num_res_units=n_residual_units,
            # One group: the levels of the channels stay comparable with each other, and with
            # them "how much" (of atrophy, of lesions) as opposed to "where".
            norm=("group", {"num_groups": 1}),
        )
        # Small at first, so that training starts from the regression and not from noise.
        self.gain = nn.Parameter(torch.full((n_tracers, 1, 1, 1), 0.1))
        self.start = RegionalRegression(
            n_sequences=n_sequences, n_tracers=n_tracers, rank=rank, shape=shape
        )
        self.register_buffer("position", position_channels(shape), persistent=False)

    def forward_all(self, mri: Tensor) -> Tensor:
        """MRI (B, S, I, J, K) in [-1, 1] -> every tracer (B, R, I, J, K) in [-1, 1]."""
        position = self.position.expand(len(mri), -1, -1, -1, -1)
        return self.refine(mri, self.start(mri), position)

    def refine(self, mri: Tensor, start: Tensor, position: Tensor) -> Tensor:
        """Add what the MRI says beyond the regression's start; all of the grid, or boxes of it."""
        x, crop = pad_to_multiple(torch.cat([mri, position.to(mri), start], 1), self.multiple)
        return start + self.gain * self.unet(x)[(..., *crop)].float()

    def forward(self, mri: Tensor, tracer: Tensor) -> Tensor:
        """MRI (B, S, I, J, K) and tracer index (B,) int64 -> PET (B, 1, I, J, K) in [-1, 1]."""
        return of_tracer(self.forward_all(mri), tracer)

    def prepare(self, batches: Iterable[Batch], *, missing_flair: float) -> Spread:
        return fit_regional(self.start, batches, missing_flair=missing_flair)

    def linear_part(self) -> RegionalRegression:
        return self.start

    def fit(self, batch: Batch, turn: Turn) -> None:
        """Squared error in voxels and in coarse cells: the posterior mean has the least."""
        batch, start, position, prior = self.look(batch, turn.chance, turn)
        with turn.precision():
            answer = self.refine(batch.mri, start, position)
        loss = relative_error(answer, batch, turn.spread)
        # Some participants are far from the mean: only both on the same ones tell anything.
        log = {"error": loss, "mean's": relative_error(prior, batch, turn.spread)}
        turn.descend("network", loss, of=int(batch.available.sum()), log=log)

    def look(
        self, batch: Batch, chance: Chance, turn: Turn
    ) -> tuple[Batch, Tensor, Tensor, Tensor]:
        """What is learned from: images, the regression's start, position and training mean.

        Of the whole grid, or of a box for each participant; the regression sees all in any case.
        """
        known = (self.position, self.start.prior[None])
        images = [
            batch.mri, batch.pet, batch.mask, self.start(batch.mri),
            *(image.expand(len(batch.mri), -1, -1, -1, -1) for image in known),
        ]  # fmt: skip
        mri, pet, mask, start, position, prior = crop_brain(
            images, batch.mask, edge=turn.patch, chance=chance
        )
        return Batch(mri, pet, batch.available, mask), start, position, prior

    def answer(self, mri: Tensor, tracer: int) -> Tensor:
        return self(mri, torch.full((len(mri),), tracer, device=mri.device))
