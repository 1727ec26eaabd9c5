"""A loaded checkpoint that answers: normalised MRI and a tracer in, PET out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relad_bids.config import Device
from relad_bids.errors import CheckpointError, DataError, DeviceMemoryError, UsageError
from relad_bids.model.base import Model
from relad_bids.model.card import Card
from relad_bids.model.checkpoint import load_checkpoint
from relad_bids.model.diffusion.sampler import timestep_pairs
from relad_bids.model.diffusion.schedule import build_schedule
from relad_bids.model.registry import KINDS

LOGGER = logging.getLogger("relad_bids")

OWN_WALK = frozenset({"ddgan"})
"""Kinds that learned the steps of one walk and take no other number."""


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
        DeviceMemoryError
            The device cannot even hold what one sample takes.
        """
        expected = (len(self.card.sequences), *self.card.shape)
        if mri.shape != expected:
            raise DataError(f"the network takes MRI of shape {expected}, got {mri.shape}.")
        x: Tensor = torch.from_numpy(mri)[None].to(self.device)
        ask = partial(self.network.predict, x, self.card.tracer(tracer).index, steps=steps)
        return self._within_memory(ask, n_samples, generator)

    def _within_memory(
        self, ask: Callable[..., Tensor], n_samples: int, generator: torch.Generator | None
    ) -> NDArray[np.float32]:
        """Ask for all samples at once, or for fewer at a time where memory runs out.

        Chance begins where it began, so that the samples are the same ones. With one at a time
        the least is asked for twice, as what torch kept for reuse is given back in between.
        """
        before = generator.get_state() if generator else None
        shortage = ""
        for at_once in _ever_fewer(n_samples):
            if shortage:
                LOGGER.warning(
                    "the memory of %s ran out; asking again for the same, %d of %d at a time",
                    self.device, at_once, n_samples,
                )  # fmt: skip
            try:
                parts = [
                    ask(n_samples=n, generator=generator).float().cpu().numpy()
                    for n in _shares(n_samples, at_once)
                ]
                return np.concatenate(parts)
            except torch.OutOfMemoryError as error:
                shortage = str(error)  # the error itself would keep the tensors of the attempt
            torch.cuda.empty_cache()
            if generator is not None and before is not None:
                generator.set_state(before)
        raise DeviceMemoryError(
            f"the memory of {self.device} is too small for {self.card.name} on "
            f"{' x '.join(map(str, self.card.shape))} voxels ({shortage}). Use --device cpu, "
            "another GPU, or end what else runs on this one."
        )

    def draws(
        self,
        mri: NDArray[np.float32],
        tracer: str,
        *,
        n_samples: int,
        steps: int | None = None,
        seed: int,
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the samples of :meth:`predict`, (I, J, K) each, so that one is held at a time.

        One is asked for at a time: the smallest batch there is.
        They depend on ``seed`` and on nothing that was drawn before for others.
        """
        generator = torch.Generator().manual_seed(seed)
        for _ in range(n_samples):
            yield self.predict(mri, tracer, steps=steps, generator=generator)[0, 0]


def _ever_fewer(n: int) -> Iterator[int]:
    """``8`` -> 8, 4, 2, 1, 1"""
    while n > 1:
        yield n
        n = (n + 1) // 2
    yield from (1, 1)


def _shares(n: int, at_once: int) -> list[int]:
    """``7, 3`` -> 3, 3, 1"""
    return [min(at_once, n - begun) for begun in range(0, n, at_once)]


def sampling_steps(card: Card, *, n_samples: int, steps: int | None) -> int:
    """Say how often the network is called for each draw, before anything is computed.

    Parameters
    ----------
    n_samples, steps
        As the user asked; the card's own number of steps if None.

    Raises
    ------
    CheckpointError
        The card names a kind of model that this version does not know.
    UsageError
        The checkpoint cannot draw so many samples in so many steps, or they would say nothing.
    """
    if card.kind not in KINDS:
        raise CheckpointError(
            f"the checkpoint {card.name} is of the kind {card.kind!r}; this version knows "
            f"{', '.join(KINDS)}. Use the version that it was made with."
        )
    if not KINDS[card.kind].stochastic:
        return _one_pass(card, n_samples, steps)
    own = int(card.sampler["steps"])
    steps = own if steps is None else steps
    fixed = card.kind in OWN_WALK or card.sampler["name"] == "one-pass"
    if fixed and steps != own:
        raise UsageError(
            f"--sampling-steps {steps} was asked for; {card.name} walks {own} and no other number "
            "of steps. Leave --sampling-steps out."
        )
    if card.diffusion is not None:
        schedule = build_schedule(card.diffusion)
        timestep_pairs(schedule, steps, card.sampler["spacing"])
        if steps == 1 and schedule.prediction == "epsilon":
            raise UsageError(
                f"one sampling step was asked for; {card.name} predicts noise, which says nothing "
                "of the image where there is noise alone. Give --sampling-steps 15 or more."
            )
    if steps == 1 and n_samples > 1:
        raise UsageError(
            f"--n-samples {n_samples} was asked for in one step each; one step from pure noise "
            f"is the mean of what {card.name} could draw, and so are {n_samples} of them. Give "
            "--sampling-steps 15 for draws that show what is uncertain, or leave --n-samples out."
        )
    return steps


def _one_pass(card: Card, n_samples: int, steps: int | None) -> int:
    if n_samples > 1 or steps not in (None, 1):
        raise UsageError(
            f"--n-samples {n_samples} and --sampling-steps {steps or 1} were asked for; "
            f"{card.name} is of the kind {card.kind}, which has one answer, made in one pass. "
            "Leave both out, or give a checkpoint that draws with --model-dir."
        )
    return 1


def resolve_device(asked: Device) -> Device:
    """Decide once where the network runs; never fall back in silence.

    Raises
    ------
    UsageError
        A GPU was asked for that torch does not see.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return "cuda" if n_gpus else "cpu"
    number = int(asked.partition(":")[2] or 0)
    if asked != "cpu" and number >= n_gpus:
        raise UsageError(
            f"--device {asked} was asked for and torch sees {n_gpus or 'no'} "
            f"GPU{'s' if n_gpus > 1 else ''}. Use --device cpu, or start the container with "
            "--gpus all (Docker) or --nv (Apptainer)."
        )
    return asked


def device_text(device: str) -> str:
    """A device in words, for the log: with the name and memory of a GPU."""
    if not device.startswith("cuda"):
        return device
    gpu = torch.cuda.get_device_properties(torch.device(device))
    return f"{device} ({gpu.name}, {gpu.total_memory / 2**30:.0f} GiB)"
