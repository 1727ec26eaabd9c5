"""In which order a training meets its participants."""

from __future__ import annotations

import numpy as np


def training_order(n_train: int, length: int, *, seed: int) -> list[int]:
    """Participants in training order: all of them once, then again in another order."""
    n_epochs = -(-length // n_train)
    orders = [
        np.random.default_rng([seed, epoch]).permutation(n_train) for epoch in range(n_epochs)
    ]
    return [int(index) for order in orders for index in order][:length]
