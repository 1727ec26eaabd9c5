"""Ask all models about all participants: one at a time, keeping rows and no images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.core.ood import input_features, ood_score
from relad_bids.errors import ReladError
from relad_bids.evaluate.cases import Case, Images
from relad_bids.evaluate.contender import Contender, Fold, Question, ask
from relad_bids.evaluate.regions import Regions
from relad_bids.evaluate.score import PERMUTED, Held, image_rows, texture_rows_of, voi_rows
from relad_bids.model.predictor import Predictor

KEYS = ("model", "participant_id", "session_id", "tracer")
Keys = dict[str, Any]
Rows = dict[str, pd.DataFrame]
"""What is kept of everybody, by table: ``voi``, ``image`` and ``texture`` with ``model
participant_id session_id tracer`` and the columns that :mod:`relad_bids.evaluate.score` gives,
``input`` with ``model participant_id session_id ood_score ood_flag ood_reasons``."""


def walk(
    contenders: Sequence[Contender],
    cases: Sequence[Case],
    regions: Regions,
    question: Question,
    *,
    suvr_range: Mapping[str, float],
    report: Callable[[], object] = lambda: None,
) -> Rows:
    """Ask all models on one grid about all participants.

    Participants come in an order drawn by the seed. The floor ``permuted`` is the model's answer
    about whoever came before, so that two answers of each model and tracer are all that is kept;
    those who come last are asked about once before the first, too.

    Parameters
    ----------
    cases
        A model is not asked about those whom all its checkpoints have seen.
    suvr_range
        Tracer -> L of PSNR and SSIM.
    report
        Called after each case.

    Returns
    -------
    dict
        Models and participants in the order of the arguments.
    """
    walker = _Walker(contenders, regions, question, suvr_range)
    ordered = _shuffled(cases, np.random.default_rng(question.seed))
    for case in _last_of_each_tracer(ordered):
        for _ in walker.answers(case, case.images()):
            pass
    kept: dict[str, list[pd.DataFrame]] = {"voi": [], "image": [], "texture": [], "input": []}
    for case in ordered:
        images = case.images()
        for keys, held in walker.answers(case, images):
            for name, rows in walker.scores(held, keys["tracer"]).items():
                kept[name].append(pd.DataFrame(rows).assign(**keys))
        kept["input"].append(pd.DataFrame(walker.inputs(case, images)))
        report()
    return {name: _in_order(found, contenders, cases) for name, found in kept.items()}


class _Others:
    """Answers about the last two people, by model and tracer; NaN outside their brains."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], dict[str, NDArray[np.float32]]] = {}

    def keep(self, key: tuple[str, str], person: str, estimate: NDArray[np.float32]) -> None:
        known = self._kept.setdefault(key, {})
        known.pop(person, None)
        known[person] = estimate
        if len(known) > 2:
            del known[next(iter(known))]

    def before(self, key: tuple[str, str], person: str) -> NDArray[np.float32] | None:
        """The latest answer about somebody else."""
        others = [image for name, image in self._kept.get(key, {}).items() if name != person]
        return others[-1] if others else None


@dataclass(frozen=True, eq=False)
class _Walker:
    contenders: Sequence[Contender]
    regions: Regions
    question: Question
    suvr_range: Mapping[str, float]
    others: _Others = field(default_factory=_Others)

    def answers(self, case: Case, images: Images) -> Iterator[tuple[Keys, Held]]:
        """Everything that is said of one case, each with the keys of its rows."""
        for contender in self.contenders:
            fold = contender.for_participant(case.participant_id)
            for tracer in case.tracers:
                if fold is None or tracer not in contender.tracers:
                    continue
                keys = {**_keys(contender, case), "tracer": tracer}
                yield keys, self._held(contender, fold, case, images, tracer)

    def inputs(self, case: Case, images: Images) -> Iterator[Keys]:
        """How unusual the MRI is for each model that can say."""
        for contender in self.contenders:
            fold = contender.for_participant(case.participant_id)
            if fold is None or fold.ood is None:
                continue
            features = input_features(
                images.sequences, images.mask, self.regions.voxel_mm, self.regions.labels,
                histograms=fold.ood["histograms"],
            )  # fmt: skip
            score, flag, reasons = ood_score(features, fold.ood)
            yield {
                **_keys(contender, case),
                "ood_score": score,
                "ood_flag": flag,
                "ood_reasons": "; ".join(reasons) or None,
            }

    def scores(self, held: Held, tracer: str) -> dict[str, list[dict[str, Any]]]:
        """The rows of one answer, by table."""
        suvr_range = self.suvr_range[tracer]
        return {
            "voi": list(voi_rows(held, self.regions, tracer)),
            "image": list(image_rows(held, self.regions, tracer, suvr_range=suvr_range)),
            "texture": list(texture_rows_of(held, self.regions, tracer)),
        }

    def _held(
        self, contender: Contender, fold: Fold, case: Case, images: Images, tracer: str
    ) -> Held:
        asked = (case, images, tracer, self.question)
        with _naming(contender, case, tracer):
            answer = ask(fold.predictor, *asked)
            floors = {
                name: ask(floor, *asked).estimate
                for name, floor in self._closed_forms(fold, case, tracer).items()
            }
        key = (contender.name, tracer)
        if (other := self.others.before(key, case.participant_id)) is not None:
            # Where the other brain does not reach, no answer is no answer of 0.
            floors[PERMUTED] = np.where(np.isnan(other), floors.get("mean", 0), other)
        shown = np.where(images.mask, answer.estimate, np.float32(np.nan))
        self.others.keep(key, case.participant_id, shown)
        return Held(answer, images.suvr[tracer], floors, images.mask, contender.in_suvr)

    def _closed_forms(self, fold: Fold, case: Case, tracer: str) -> Mapping[str, Predictor]:
        """The floors of a checkpoint; of one that has none, those of the first that has."""
        lenders = (
            lender
            for contender in self.contenders
            if tracer in contender.tracers and contender.in_suvr
            if (lender := contender.for_participant(case.participant_id)) and lender.floors
        )
        return fold.floors or getattr(next(lenders, None), "floors", {})


def _keys(contender: Contender, case: Case) -> Keys:
    return {
        "model": contender.name,
        "participant_id": case.participant_id,
        "session_id": f"ses-{case.session}" if case.session else None,
    }


@contextmanager
def _naming(contender: Contender, case: Case, tracer: str) -> Iterator[None]:
    """Say in an error who was asked about whom."""
    try:
        yield
    except ReladError as error:
        error.add_note(f"{case.label}, {tracer}, model {contender.name}")
        raise


def _shuffled(cases: Sequence[Case], rng: np.random.Generator) -> list[Case]:
    """People in an order by chance; the sessions of one stay together."""
    by_person: dict[str, list[Case]] = {}
    for case in cases:
        by_person.setdefault(case.participant_id, []).append(case)
    people = list(by_person)
    return [case for index in rng.permutation(len(people)) for case in by_person[people[index]]]


def _last_of_each_tracer(cases: Sequence[Case]) -> list[Case]:
    """Who comes before the first, were the order a circle."""
    last = {tracer: position for position, case in enumerate(cases) for tracer in case.tracers}
    return [cases[position] for position in sorted(set(last.values()))]


def _in_order(
    found: Sequence[pd.DataFrame], contenders: Sequence[Contender], cases: Sequence[Case]
) -> pd.DataFrame:
    """Join what was found in the order of the walk, by model and participant."""
    table = pd.concat([part for part in found if len(part)] or [pd.DataFrame(columns=KEYS)])
    table = table.reset_index(drop=True)
    models = {contender.name: place for place, contender in enumerate(contenders)}
    people = {case.participant_id: place for place, case in enumerate(cases)}
    order = pd.DataFrame(
        {"model": table["model"].map(models), "person": table["participant_id"].map(people)}
    )
    table = table.loc[order.sort_values(["model", "person"], kind="stable").index]
    first = [name for name in KEYS if name in table]
    return table[[*first, *(name for name in table if name not in KEYS)]].reset_index(drop=True)
