"""A loaded checkpoint that answers: normalised MRI and a tracer in, PET out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relad_bids.config import Device
from relad_bids.errors import DataError, UsageError
from relad_bids.model.base import Model
from relad_bids.model.card import Card
from relad_bids.model.checkpoint import load_checkpoint


class Predictor:
    """One network on one device, used for many participants."""

    def __init__(self, network: Model, card: Card, *, device: str) -> None:
        self.network = network.to(device)
        self.card = card
        self.device = torch.device(device)

    @classmethod
    def from_folder(cls, folder: Path, *, device: str = "cpu") -> Predictor:
        """Load a checkpoint; the hash of its weights is checked."""
        network, card = load_checkpoint(folder)
        return cls(network, card, device=device)

    @torch.inference_mode()
    def predict(
        self,
        mri: NDArray[np.float32],
        tracer: str,
        *,
        n_samples: int = 1,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> NDArray[np.float32]:
        """Synthesise one tracer.

        Parameters
        ----------
        mri : (S, I, J, K) float32
            In [-1, 1] by the card's contract, on the card's grid and in its order; a missing
            sequence is -1 everywhere.
        tracer
            Canonical name.
        n_samples, steps
            Draws, and network calls for each; the card's sampler says how many steps if None.
            A one-pass model has one answer.
        generator
            Source of chance of models that draw, on the CPU.

        Returns
        -------
        (n_samples, 1, I, J, K) float32
            In the scale of the PET contract.

        Raises
        ------
        DataError
            The MRI is not on the card's grid.
        UsageError
            The tracer is unknown, or more samples or steps are asked for than there are.
        """
        expected = (len(self.card.sequences), *self.card.shape)
        if mri.shape != expected:
            raise DataError(f"the network takes MRI of shape {expected}, got {mri.shape}.")
        x: Tensor = torch.from_numpy(mri)[None].to(self.device)
        index = self.card.tracer(tracer).index
        answer = self.network.predict(
            x, index, n_samples=n_samples, steps=steps, generator=generator
        )
        return np.asarray(answer.float().cpu().numpy())


def resolve_device(asked: Device) -> Device:
    """Decide once where the network runs; never fall back in silence.

    Raises
    ------
    UsageError
        ``cuda`` was asked for and none is visible.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device cuda was asked for and torch sees no GPU. Use --device cpu, or start the "
            "container with --gpus all (Docker) or --nv (Apptainer)."
        )
    return asked
