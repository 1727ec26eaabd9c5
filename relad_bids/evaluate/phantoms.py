"""Simulated participants to ask about, made when their turn comes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from relad_bids.core.grid import Grid
from relad_bids.evaluate.cases import Case, Images
from relad_bids.phantom.latent import Preset, draw_subject
from relad_bids.phantom.prepared import simulate_prepared
from relad_bids.phantom.regions import TRACERS


def phantom_label(seed: int, index: int) -> str:
    """One label for one simulated person, whatever the preset: ``phantom7x0003``."""
    return f"phantom{seed}x{index:04}"


def phantom_cases(
    grid: Grid,
    *,
    preset: Preset,
    seed: int,
    indices: Sequence[int],
    tracers: Sequence[str],
    residual_mm: float = 1.0,
) -> tuple[Case, ...]:
    """Phantoms in template space on a grid, the same whenever they are asked for.

    Parameters
    ----------
    grid
        In MNI152NLin2009cAsym.
    indices
        Numbers of the participants of this seed.
    tracers
        Canonical names; those that phantoms have no uptake of are left out.
    residual_mm
        What the registration left.
    """
    return tuple(
        _case(grid, preset, seed, index, tuple(t for t in tracers if t in TRACERS), residual_mm)
        for index in indices
    )


def _case(
    grid: Grid, preset: Preset, seed: int, index: int, tracers: tuple[str, ...], residual_mm: float
) -> Case:
    person = draw_subject(index, seed=seed, preset=preset)
    return Case(
        subject=phantom_label(seed, index),
        session=None,
        tracers=tracers,
        images=partial(_images, grid, preset, seed, index, tracers, residual_mm),
        covariates={"age": person.age, "female": float(person.sex == "F")},
    )


def _images(
    grid: Grid, preset: Preset, seed: int, index: int, tracers: tuple[str, ...], residual_mm: float
) -> Images:
    """As :class:`relad_bids.cohorts.phantoms.PhantomMaker`, before any contract."""
    subject = draw_subject(index, seed=seed, preset=preset)
    chance = np.random.default_rng([seed, index])
    # All tracers are made, whichever are asked for: the chance of the later ones depends on it.
    made = simulate_prepared(subject, grid, chance, residual_mm=residual_mm)
    return Images(made.t1w, made.flair, made.mask, {name: made.pet[name] for name in tracers})
