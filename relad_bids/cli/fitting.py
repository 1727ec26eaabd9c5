"""Which sessions fit into the memory there is, by the headers of their images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from relad_bids.bids.headers import read_header
from relad_bids.config import Config
from relad_bids.core.memory import least_gb, memory_factor
from relad_bids.errors import MemoryShortError
from relad_bids.interfaces.network import network_mem_gb
from relad_bids.model.card import Card
from relad_bids.plan import Left, Plan, Unit


@dataclass(frozen=True)
class Need:
    """What a session takes."""

    gb: float
    """Below which it cannot end; steps are planned with more."""
    factor: float
    """By how much its images exceed a head of 1 mm: see :mod:`relad_bids.core.memory`."""
    why: str
    """In words: the image, or the network."""


def need_of(unit: Unit, card: Card, config: Config) -> Need:
    """Estimate from headers alone, in a millisecond an image."""
    from relad_workflows.quantify import CORRECT_MEM_GB

    sizes = {path: _shape(path) for path in _images(unit)}
    largest = max(sizes, key=lambda path: math.prod(sizes[path]))
    n_voxels = math.prod(sizes[largest])
    factor, gb = memory_factor(n_voxels), least_gb(n_voxels)
    if config.pvc != "none":
        gb = max(gb, factor * CORRECT_MEM_GB)
    shape = " x ".join(map(str, sizes[largest]))
    need = Need(gb, factor, f"{largest} has {shape} voxels")
    if not unit.tracers:
        return need
    at_once = min(config.omp_nthreads, len(unit.tracers))
    network_gb = network_mem_gb(card.shape, at_once=at_once)
    if network_gb <= need.gb:
        return need
    grid = " x ".join(map(str, card.shape))
    return Need(network_gb, factor, f"{card.name} makes {at_once} images of {grid} voxels at once")


def fitting(plan: Plan, needs: Mapping[str, Need], config: Config) -> Plan:
    """Leave out the sessions that cannot fit, whatever else runs; needs are by label."""
    given_gb = config.mem_mb / 1024
    units = tuple(unit for unit in plan.units if needs[unit.label].gb <= given_gb)
    large = [unit for unit in plan.units if needs[unit.label].gb > given_gb]
    left = tuple(_too_large(unit, needs[unit.label], given_gb) for unit in large)
    return replace(plan, units=units, left=(*plan.left, *left))


def _too_large(unit: Unit, need: Need, given_gb: float) -> Left:
    ask = math.ceil(need.gb)
    reason = (
        f"needs about {need.gb:.1f} GB of memory ({need.why}), given are {given_gb:.1f} GB. "
        f"Nothing of it was started. Give it more: --mem {ask}G, and {ask} GB of the scheduler or "
        "the container, if one sets the limit."
    )
    code = MemoryShortError.exit_code
    return Left(unit.label, unit.subject, unit.session, "memory_short", reason, code)


def _images(unit: Unit) -> list[Path]:
    scans = (unit.t1w, unit.flair, *(pet.path for pet in unit.measured))
    return [path for path in scans if path]


def _shape(path: Path) -> tuple[int, ...]:
    """Of one volume: frames are read one by one."""
    return tuple(map(int, read_header(path).get_data_shape()[:3]))
