"""What a training step eats: one participant's MRI and whichever PET there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True, eq=False)
class Sample:
    """One participant on the network's grid."""

    mri: NDArray[np.float32]
    """(S, I, J, K) in [-1, 1]; a missing sequence is -1 everywhere."""
    pet: NDArray[np.float32]
    """(R, I, J, K) in [-1, 1], by tracer index; any value where there is no scan."""
    available: NDArray[np.bool_]
    """(R,) whether the participant has that tracer."""
    mask: NDArray[np.bool_]
    """(I, J, K) brain; outside it nothing is learned."""


@dataclass(frozen=True, eq=False)
class Batch:
    mri: Tensor
    """(B, S, I, J, K)."""
    pet: Tensor
    """(B, R, I, J, K)."""
    available: Tensor
    """(B, R) bool."""
    mask: Tensor
    """(B, 1, I, J, K) bool."""

    def with_scans(self) -> Batch:
        """Only the participants who have at least one scan."""
        has = self.available.any(1)
        return Batch(self.mri[has], self.pet[has], self.available[has], self.mask[has])

    def to(self, device: torch.device) -> Batch:
        return Batch(
            *(part.to(device) for part in (self.mri, self.pet, self.available, self.mask))
        )


class Cohort(Dataset[Sample]):
    """Participants made or read one by one, by their index: memory does not grow with them."""

    def __init__(self, make: Callable[[int], Sample], indices: Sequence[int]) -> None:
        self.make, self.indices = make, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Sample:
        return self.make(self.indices[position])


def collate(samples: Sequence[Sample]) -> Batch:
    return Batch(
        mri=torch.from_numpy(np.stack([s.mri for s in samples])),
        pet=torch.from_numpy(np.stack([s.pet for s in samples])),
        available=torch.from_numpy(np.stack([s.available for s in samples])),
        mask=torch.from_numpy(np.stack([s.mask for s in samples]))[:, None],
    )


def loader(cohort: Cohort, *, batch_size: int, workers: int) -> DataLoader:
    """Batches in the order of the cohort's indices: chance is in the indices, not in here."""
    places = range(len(cohort))
    starts = range(0, len(cohort), batch_size)
    return load_groups(cohort, [places[a : a + batch_size] for a in starts], workers=workers)


def load_groups(cohort: Cohort, groups: Iterable[Sequence[int]], *, workers: int) -> DataLoader:
    """A batch of each group of places in the cohort, in this order; nobody else is read."""
    return DataLoader(
        cohort,
        batch_sampler=[list(group) for group in groups],
        num_workers=workers,
        collate_fn=collate,
        prefetch_factor=2 if workers else None,
    )
