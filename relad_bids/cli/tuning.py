"""What ``relad train --finetune`` takes from the checkpoint it goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relad_bids.cohorts.gather import Cohorts
from relad_bids.errors import DataError, UsageError
from relad_bids.model.base import ClosedForm, Model
from relad_bids.model.card import Card
from relad_bids.model.checkpoint import load_checkpoint
from relad_bids.model.data import loader
from relad_bids.model.learning.floor import spread_around, training_mean
from relad_bids.model.learning.losses import Spread
from relad_bids.model.learning.recipe import PairData, PhantomData, Recipe
from relad_bids.model.learning.splits import PARTICIPANT, SHOWN
from relad_bids.model.registry import build_model
from relad_bids.seen_list import seen_participants


@dataclass(frozen=True, eq=False)
class Base:
    """A checkpoint that is fine-tuned: weights, regression and training mean stay as the start."""

    card: Card
    answering: Model
    """As it answers, without what only training needs."""
    seen: tuple[str, ...] | None
    """Participants who had a say in it; None if their list did not come with it."""

    def network(self, recipe: Recipe) -> Model:
        """Build the network for training, with the checkpoint's weights.

        A critic, which no checkpoint holds, starts anew.
        """
        network = build_model(
            recipe.kind, recipe.architecture, shape=recipe.grid.shape, diffusion=recipe.diffusion,
            sampler=recipe.sampler, objective=recipe.objective, training=True,
        )  # fmt: skip
        network.load_state_dict({**network.state_dict(), **self.answering.answering_state()})
        return network

    def spread(self, cohorts: Cohorts, recipe: Recipe) -> Spread:
        """What the checkpoint's training mean leaves unexplained in those it now learns from.

        The unit of the errors, so that each tracer weighs as in a training from the start.
        """
        batches = loader(cohorts.train, batch_size=1, workers=recipe.train.workers)
        regression = self.answering.linear_part()
        mean = training_mean(batches)[0] if regression is None else regression.prior
        return spread_around(mean, batches)

    def require_unseen(self, cohorts: Cohorts, data: PairData | PhantomData) -> None:
        """Refuse to ask about people who had a say in the checkpoint.

        Raises
        ------
        DataError
            Names them.
        """
        if cohorts.sides is None or not isinstance(data, PairData) or data.other_people:
            return
        asked = {*cohorts.sides.validation, *cohorts.sides.test}
        if known := sorted(asked & set(self.seen or ())):
            more = f", ... ({len(known)} in all)" if len(known) > SHOWN else ""
            raise DataError(
                f"{PARTICIPANT} {', '.join(known[:SHOWN])}{more} would be held out, but the "
                f"checkpoint {self.card.label} has learned from them. Leave them out "
                "(data.leave_out); or, if these are other people whose labels are the same, say "
                "so with data.other_people = true."
            )

    def seen_before(self, cohorts: Cohorts, data: PairData | PhantomData) -> set[str]:
        """Labels that stay those of people who had a say, in the new checkpoint, too."""
        labels = set(self.seen or ())
        if cohorts.sides is not None and isinstance(data, PairData) and data.other_people:
            labels -= set(cohorts.sides.table()[PARTICIPANT])  # here they are other people
        return labels

    def require_same_references(self, cohorts: Cohorts) -> None:
        """Refuse PET on another scale than that of the checkpoint.

        Raises
        ------
        DataError
            Names tracers and reference regions.
        """
        theirs = self.card.training.get("data", {}).get("reference_regions", {})
        ours = cohorts.facts.get("reference_regions", {})
        if wrong := [
            f"{tracer} by {region}, the checkpoint by {theirs[tracer]}"
            for tracer, region in ours.items()
            if theirs.get(tracer, region) != region
        ]:
            raise DataError(
                f"the measured PET was divided by other reference regions than that of the "
                f"checkpoint {self.card.label}: {'; '.join(wrong)}. Quantify the sessions again "
                "(--ref-region), or train anew."
            )

    def facts(self) -> dict[str, Any]:
        """What the new card says of the old one."""
        return {
            "label": self.card.label,
            "sha256": self.card.sha256,
            "training": dict(self.card.training),
        }


def read_base(folder: Path) -> Base:
    """Read the checkpoint that is to be fine-tuned.

    Raises
    ------
    UsageError
        It has nothing that could be learned further.
    """
    network, card = load_checkpoint(folder)
    if isinstance(network, ClosedForm):
        raise UsageError(
            f"the checkpoint {card.label} is of the kind {card.kind}, which has a closed form "
            "and nothing to fine-tune. Give one of another kind, or train anew."
        )
    return Base(card, network, seen_participants(folder, card))
