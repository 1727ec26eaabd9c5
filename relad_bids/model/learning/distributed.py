"""Several processes that train one model together, each on its own share of every step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from relad_bids.errors import ConfigError

PATIENCE = timedelta(days=1)
"""How long a process waits for the others: the first one fits what has a closed form alone. If one
fails, torchrun ends the others at once."""

_TRAININGS = count()
T = TypeVar("T")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; by default there is no other."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and reports."""
        return self.rank == 0

    def share(self, content: T) -> T:
        """What the first process has, of tensors on the CPU, numbers and text."""
        if self.size == 1:
            return content
        box = [content]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def gather(self, content: T) -> list[T]:
        """What each process has, in the same order everywhere."""
        if self.size == 1:
            return [content]
        found = [content] * self.size
        distributed.all_gather_object(found, content)
        return found

    def add(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sum over all processes of each tensor, float32; in one message."""
        flat = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
        if self.size > 1:
            distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    Parameters
    ----------
    device
        ``cuda``: each process of a machine takes the GPU of its number there.

    Raises
    ------
    ConfigError
        The machine has fewer GPUs than processes, or no GPU.
    """
    size = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    own = _own_device(device, int(os.environ.get("LOCAL_RANK", "0")) if size > 1 else None)
    if size == 1:
        yield Processes(device=own)
        return
    store, rank, size = _meeting()
    # What an earlier training left at the meeting must not be taken for news of this one.
    place = PrefixStore(f"training {next(_TRAININGS)}", store)
    backend, gpu = ("nccl", own) if own.type == "cuda" else ("gloo", None)
    distributed.init_process_group(
        backend, store=place, rank=rank, world_size=size, timeout=PATIENCE, device_id=gpu
    )
    try:
        yield Processes(rank, size, own)
        # Nobody leaves while others still wait for what they say.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


@cache
def _meeting() -> tuple[Any, int, int]:
    """A store where processes find each other, this one's rank and their number, by torchrun."""
    return next(rendezvous("env://", timeout=PATIENCE))


def _own_device(device: str, place: int | None) -> torch.device:
    """The device of a process, ``place`` its number on this machine; None for the only one."""
    asked = torch.device(device)
    if asked.type != "cuda":
        return asked
    needed, there = (place or 0) + 1, torch.cuda.device_count()
    if there < needed:
        raise ConfigError(
            f"train.device is {device!r} and this machine shows {there} GPUs, {needed} are "
            "needed. Start no more processes than GPUs (torchrun --nproc-per-node), or train on "
            "the device cpu."
        )
    if place is None:
        return asked
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


def own_share(per_step: int, processes: Processes) -> range:
    """Positions within a step of the participants whom this process reads.

    Raises
    ------
    ConfigError
        The participants of a step cannot be shared evenly.
    """
    each, rest = divmod(per_step, processes.size)
    if rest:
        raise ConfigError(
            f"a step has {per_step} participants (train.batch_size * train.accumulate), which "
            f"{processes.size} processes cannot share evenly. Make it a multiple of "
            f"{processes.size}, or start another number of processes."
        )
    return range(processes.rank * each, (processes.rank + 1) * each)
