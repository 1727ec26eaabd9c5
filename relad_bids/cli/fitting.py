"""Which sessions fit into the memory there is, by the headers of their images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from relad_bids.bids.headers import read_header
from relad_bids.config import Config
from relad_bids.core.memory import least_gb, memory_factor
from relad_bids.errors import MemoryShortError
from relad_bids.interfaces.network import network_mem_gb
from relad_bids.model.card import Card
from relad_bids.sessions import Left, Plan, Unit


@dataclass(frozen=True)
class Need:
    """What a session takes."""

    gb: float
    """Below which it cannot end; steps are planned with more."""
    why: str
    """In words: the image, or the network."""


def need_of(unit: Unit, card: Card, config: Config) -> Need:
    """Estimate from headers alone, in a millisecond an image."""
    path, shape = _largest(unit)
    need = Need(least_gb(math.prod(shape)), f"{path} has {_by(shape)} voxels")
    if not unit.tracers:
        return need
    at_once = min(config.omp_nthreads, len(unit.tracers))
    network_gb = network_mem_gb(card.shape, at_once=at_once)
    if network_gb <= need.gb:
        return need
    return Need(
        network_gb, f"{card.name} makes images of {_by(card.shape)} voxels, {at_once} at once"
    )


def fitting(plan: Plan, card: Card, config: Config) -> Plan:
    """Leave out the sessions that cannot fit into ``config.mem_mb``, whatever else runs."""
    given_gb = config.mem_mb / 1024
    needs = {unit.label: need_of(unit, card, config) for unit in plan.units}
    units = tuple(unit for unit in plan.units if needs[unit.label].gb <= given_gb)
    large = [unit for unit in plan.units if needs[unit.label].gb > given_gb]
    left = tuple(_too_large(unit, needs[unit.label], given_gb) for unit in large)
    return replace(plan, units=units, left=(*plan.left, *left))


def memory_factors(units: Sequence[Unit]) -> dict[str, float]:
    """By how much the images of each session exceed a head of 1 mm, by the name of its graph."""
    return {unit.graph_name: memory_factor(math.prod(_largest(unit)[1])) for unit in units}


def _too_large(unit: Unit, need: Need, given_gb: float) -> Left:
    ask = math.ceil(need.gb)
    reason = (
        f"needs about {need.gb:.1f} GB of memory ({need.why}), given are {given_gb:.1f} GB. "
        f"Nothing of it was started. Give it more: --mem {ask}G, and {ask} GB of the scheduler or "
        "the container, if one sets the limit."
    )
    code = MemoryShortError.exit_code
    return Left(unit.label, unit.subject, unit.session, "memory_short", reason, code)


def _largest(unit: Unit) -> tuple[Path, tuple[int, ...]]:
    """The image with most voxels, of one volume: frames are read one by one."""
    scans = (unit.t1w, unit.flair, *(pet.path for pet in unit.measured))
    shapes = {path: _shape(path) for path in scans if path}
    return max(shapes.items(), key=lambda found: math.prod(found[1]))


def _shape(path: Path) -> tuple[int, ...]:
    return tuple(map(int, read_header(path).get_data_shape()[:3]))


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
