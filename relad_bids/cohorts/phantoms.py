"""Simulated participants as training samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from relad_bids import __version__
from relad_bids.cohorts.kept import digest
from relad_bids.core.grid import Grid
from relad_bids.core.intensity import MRIContract, normalise_mri, stack_mri, suvr_to_network
from relad_bids.model.data import Sample
from relad_bids.model.learning.paired import SEQUENCES
from relad_bids.phantom.latent import draw_subject
from relad_bids.phantom.prepared import simulate_prepared

VALIDATION_SEED = 1_000_003
"""Added to the recipe's seed: validation phantoms share no draw with those of training."""


@dataclass(frozen=True)
class PhantomMaker:
    """Make participant ``index`` of a simulated cohort, the same whenever it is asked for."""

    grid: Grid
    preset: str
    seed: int
    residual_mm: float
    suvr_max: Mapping[str, float]
    mri: MRIContract

    def __call__(self, index: int) -> Sample:
        subject = draw_subject(index, seed=self.seed, preset=self.preset)  # type: ignore[arg-type]
        generator = np.random.default_rng([self.seed, index])
        made = simulate_prepared(subject, self.grid, generator, residual_mm=self.residual_mm)
        sequences = {
            "T1w": normalise_mri(made.t1w, made.mask, self.mri).data,
            "FLAIR": normalise_mri(made.flair, made.mask, self.mri).data,
        }
        pet = np.stack(
            [suvr_to_network(made.pet[name], suvr_max=s) for name, s in self.suvr_max.items()]
        )
        return Sample(
            mri=stack_mri(sequences, SEQUENCES),
            pet=pet,
            available=np.ones(len(pet), dtype=bool),
            mask=made.mask,
        )

    def key(self, index: int) -> str:
        """Name of a phantom that no phantom with other voxels has."""
        return f"phantom-{index:04}_{digest(self.__dict__ | {'version': __version__})}"
