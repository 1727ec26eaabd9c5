"""Where participants come from: those who are asked about, and those who were learned from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from relad_bids.bids.pairs import find_pairs
from relad_bids.data.template import SPACE
from relad_bids.errors import NothingSelectedError, UsageError
from relad_bids.evaluate.cases import Case
from relad_bids.evaluate.contender import Contender, Fold
from relad_bids.evaluate.pairs import pair_case
from relad_bids.evaluate.phantoms import phantom_cases
from relad_bids.model.card import Card
from relad_bids.phantom.latent import Preset
from relad_bids.phantom.regions import TRACERS
from relad_bids.records import resolution_label

SHOWN = 5
"""Sessions named in a note before it stops."""


@dataclass(frozen=True, eq=False)
class Found:
    """Participants on the grid of a network."""

    label: str
    """In words, for tables and pages."""
    cases: tuple[Case, ...]
    """Who is asked about."""
    real: bool
    """Whether they are people."""
    others: tuple[Case, ...] = ()
    """Who is at hand beside them, to be looked back at if they were learned from."""
    notes: tuple[str, ...] = ()


def simulated(card: Card, tracers: Sequence[str], *, n: int, preset: Preset, seed: int) -> Found:
    """The first ``n`` phantoms of a seed.

    Raises
    ------
    UsageError
        The network works in another space than they do, or synthesises none of their tracers.
    """
    if card.space != SPACE:
        raise UsageError(
            f"the checkpoint {card.name} works in {card.space}, phantoms are made in {SPACE}. "
            "Evaluate it on people, with --pairs."
        )
    if not set(tracers) & set(TRACERS):
        raise UsageError(
            f"the models synthesise {', '.join(tracers)}; phantoms have uptake of "
            f"{', '.join(TRACERS)} only. Evaluate them on people, with --pairs."
        )
    cases = phantom_cases(card.grid, preset=preset, seed=seed, indices=range(n), tracers=tracers)
    return Found(f"{n} phantoms, preset {preset}, seed {seed}", cases, real=False)


def measured(
    root: Path,
    card: Card,
    tracers: Sequence[str],
    *,
    participants: Collection[str],
    covariates: Mapping[str, Mapping[str, float]],
    without_flair: bool,
) -> Found:
    """Participants with measured PET in derivatives of ``relad-bids``.

    Parameters
    ----------
    participants
        Who is asked about (``sub-01``); everybody if empty.
    covariates
        Age and sex by participant.
    without_flair
        Whether the models can do without a FLAIR; sessions without one are else left out.

    Raises
    ------
    InputError
        There is nobody.
    NothingSelectedError
        Somebody who was named is not there, or nobody is left.
    """
    found = find_pairs(
        root, grid=card.grid, space=card.space, resolution=resolution_label(card), tracers=tracers
    )
    usable = [pair for pair in found.pairs if without_flair or pair.flair]
    cases = [
        pair_case(pair, card.grid, covariates.get(f"sub-{pair.subject}", {})) for pair in usable
    ]
    known = {case.participant_id for case in cases}
    if missing := sorted(set(participants) - known):
        raise NothingSelectedError(
            f"{root} was searched for {', '.join(missing)}, of whom it has no MRI and measured "
            f"PET that could be used; it has {', '.join(sorted(known)[:SHOWN]) or 'nobody'} ..."
        )
    asked = [case for case in cases if not participants or case.participant_id in participants]
    if not asked:
        raise NothingSelectedError(
            f"all {len(found.pairs)} sessions of {root} lack a FLAIR, and a model was never "
            "trained without one. Give sessions with FLAIR, or other models."
        )
    others = tuple(case for case in cases if case not in asked)
    n_left = len(found.pairs) - len(usable)
    return Found(
        f"{len({case.participant_id for case in asked})} participants with measured PET",
        tuple(asked),
        real=True,
        others=others,
        notes=(
            *(f"{label}: {' '.join(why)}" for label, why in list(found.lacks.items())[:SHOWN]),
            *([f"{n_left} sessions without FLAIR were left out"] if n_left else []),
        ),
    )


def learned_from(fold: Fold, n: int, at_hand: Sequence[Case]) -> tuple[Case, ...]:
    """Up to ``n`` participants of a checkpoint's training, to be looked back at.

    Phantoms are made again; people are looked for among those at hand.
    """
    card = fold.predictor.card
    data = card.training.get("data", {})
    if data.get("source") != "phantom":
        return tuple(case for case in at_hand if case.participant_id in fold.seen.people)[:n]
    everybody = int(data["n_start"]) + int(data["n_train"])
    return phantom_cases(
        card.grid,
        preset=cast(Preset, data["preset"]),
        seed=int(card.training["seed"]),
        indices=range(min(n, everybody)),
        tracers=[tracer.name for tracer in card.tracers],
        residual_mm=float(data["residual_mm"]),
    )


def same_grid(contenders: Sequence[Contender]) -> list[list[Contender]]:
    """Group models by their grid, in order."""
    groups: dict[tuple, list[Contender]] = {}
    for contender in contenders:
        key = (contender.card.space, contender.card.shape, contender.card.affine)
        groups.setdefault(key, []).append(contender)
    return list(groups.values())
