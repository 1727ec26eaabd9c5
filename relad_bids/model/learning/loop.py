"""The training loop of every kind of model; all chance comes in as an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from relad_bids.errors import ConfigError, DataError, UsageError
from relad_bids.model.base import Model, Turn
from relad_bids.model.data import Batch, Cohort, load_groups, loader
from relad_bids.model.learning.buffers import RunningValues
from relad_bids.model.learning.chance import Chance
from relad_bids.model.learning.config import TrainConfig, learning_rate
from relad_bids.model.learning.descent import Descent
from relad_bids.model.learning.distributed import Processes, joined, own_share
from relad_bids.model.learning.events import Events
from relad_bids.model.learning.losses import Spread
from relad_bids.model.learning.precision import around_networks
from relad_bids.model.learning.recompute import recomputed
from relad_bids.model.learning.state import State, read_state
from relad_bids.model.learning.watch import Watch

Report = Callable[[int, Mapping[str, float]], None]
Preview = Callable[[Model], Mapping[str, NDArray[Any]]]
WATCHED = "watch error"


def drop_flair(batch: Batch, *, share: float, chance: Chance, channel: int = 1) -> Batch:
    """Replace the FLAIR of some participants by background, as a missing one is shown."""
    dropped = chance.uniform() < share
    mri = batch.mri.clone()
    mri[dropped, channel] = -1.0
    return Batch(mri, batch.pet, batch.available, batch.mask)


def train(
    model: Model,
    cohort: Cohort,
    config: TrainConfig,
    *,
    start_from: Cohort | None = None,
    seed: int,
    state_file: Path,
    report: Report = lambda step, log: None,
    watch: Watch | None = None,
    events: Path | None = None,
    preview: Preview | None = None,
    spread: Spread | None = None,
) -> Model:
    """Fit the model; return the running average of its weights, in evaluation mode.

    The cohort's indices are walked in order, ``config.per_step`` a step. A step is the same
    however it is divided, into batches one after the other (``config.accumulate``) and over the
    processes that torchrun started, up to the rounding of sums; except for what compares the
    participants of a batch with each other (BatchNorm, the pairs of ``cyclegan``).

    With ``state_file`` present the run goes on where it stopped and ends with the same bits as
    one that was never stopped: participants, their chance and the learning rate depend on the
    step alone.

    Parameters
    ----------
    start_from
        Participants to whom is fitted what has a closed form (the training mean, a regression).
        They must not be those of ``cohort``: a regression knows its own too well, and a network
        that learns from it there trusts it too much elsewhere. None where ``spread`` is given.
    state_file
        Read and written by the first of several processes alone.
    report
        Gets the number of steps done and what the model says of the last one, and the error
        where it was watched; in the first process.
    watch
        Early stopping: the weights that had the smallest error are returned.
    events
        Folder for TensorBoard: all that is reported, learning rates, lengths of the gradients.
    preview
        Asked for pictures for TensorBoard, (H, W) or (3, H, W) in [0, 1], whenever ``watch``
        looks.
    spread
        What the training mean leaves unexplained, where the model comes with all that has a
        closed form (fine-tuning): then nothing is fitted in advance.

    Raises
    ------
    DataError
        The cohort is shorter than the training asks for, what has a closed form cannot be
        fitted, or a loss is not finite.
    ConfigError
        The kind of model cannot learn from boxes, the device lacks the precision or is not
        there, or the processes cannot share a step evenly.
    UsageError
        Neither participants to start from nor a spread were given.
    """
    _require_walk(cohort, config)
    _require_boxes(model, config)
    with joined(config.device) as processes:
        own = own_share(config.per_step, processes)
        casts = around_networks(config.precision, processes.device)
        model.to(processes.device).train()
        if processes.first and not state_file.is_file():
            spread = spread or _prepared(model, start_from, config)
            # What was fitted just now is no weight, and is averaged by nobody.
            State(model, config, spread, processes.device).save(state_file)
        state = State.of(
            processes.share(read_state(state_file) if processes.first else {}),
            model, config, processes.device,
        )  # fmt: skip
        steps = _Steps(state, cohort, config, processes, own, casts, seed)
        recomputing = recomputed(model) if config.checkpointing else nullcontext()
        shown = Events(events if processes.first else None, done=state.step)
        with recomputing, shown:
            # What has a closed form has nothing to learn step by step.
            while state.optimisers and state.step < config.steps and not _is_enough(state, watch):
                log, details = steps.take()
                last = state.step == config.steps
                if watch and (last or state.step % watch.every == 0):
                    log[WATCHED] = _look(state, watch, processes)
                    if preview and processes.first:
                        shown.images(state.step, preview(state.answering))
                shown.scalars(state.step, {**log, **details})
                if processes.first:
                    report(state.step, log)
                done = last or _is_enough(state, watch)
                if processes.first and (done or state.step % config.save_every == 0):
                    shown.flush()
                    state.save(state_file)
        if watch and state.lookout.best is not None:
            state.answering.load_state_dict(state.lookout.best)
        return state.answering


def _require_walk(cohort: Cohort, config: TrainConfig) -> None:
    if len(cohort) < config.steps * config.per_step:
        raise DataError(
            f"training asks for {config.steps} steps of {config.per_step} participants, the "
            f"cohort's walk has {len(cohort)}; lower the steps or give more participants."
        )


def _require_boxes(model: Model, config: TrainConfig) -> None:
    if config.patch_voxels and not model.learns_from_boxes:
        raise ConfigError(
            f"train.patch_voxels is {config.patch_voxels}, and a {type(model).__name__} cannot "
            "learn from boxes: it needs the whole of each participant. Set it to 0, or choose "
            "another kind."
        )


def _prepared(model: Model, start_from: Cohort | None, config: TrainConfig) -> Spread:
    if start_from is None:
        raise UsageError(
            "a training was given neither participants to start from nor what the training mean "
            "leaves unexplained; give start_from, or spread in fine-tuning."
        )
    batches = loader(start_from, batch_size=config.batch_size, workers=config.workers)
    return model.prepare(batches, missing_flair=config.missing_flair)


class _Steps:
    """Takes one step after the other, each from the parts that its participants are divided into.

    Parameters
    ----------
    own
        Positions within a step of those whom this process reads.
    casts
        What is to be put around the calls of a network.
    """

    def __init__(
        self,
        state: State,
        cohort: Cohort,
        config: TrainConfig,
        processes: Processes,
        own: range,
        casts: Callable[[], AbstractContextManager[None]],
        seed: int,
    ) -> None:
        self.state, self.config, self.processes = state, config, processes
        self.casts, self.seed = casts, seed
        size = config.batch_size
        self.parts = [own[begin : begin + size] for begin in range(0, len(own), size)]
        self.batches = self._read(cohort, state.step)

    def take(self) -> tuple[dict[str, float], dict[str, float]]:
        """Learn from the next participants; return the log, and how the step was taken."""
        state, config = self.state, self.config
        rates = {
            part: learning_rate(state.step, config, full=full)
            for part, full in (("network", config.learning_rate), ("critic", config.critic_rate))
        }
        descent = Descent(
            state.optimisers, state.scaler, step=state.step, per_step=config.per_step
        )
        self._listen(descent)
        log, lengths = descent.take(self.processes, rates=rates, clip_norm=config.clip_norm)
        state.average.update_parameters(state.model)
        state.step += 1
        return log, {
            **{f"learning rate/{part}": rates[part] for part in state.optimisers},
            **{f"gradient norm/{part}": length for part, length in lengths.items()},
        }

    def _listen(self, descent: Descent) -> None:
        """Show the model its participants; let it say where to descend."""
        divided = len(self.parts) > 1 or self.processes.size > 1
        running = RunningValues(self.state.model) if divided else None
        for places in self.parts:
            batch = next(self.batches)
            # Who has no scan teaches nothing, and a batch of them has no mean.
            if n := int(batch.available.any(1).sum()):
                self.state.model.fit(*self._turn(batch, places, descent))
                if running:
                    running.part_is_done(n)
        if running:
            running.settle(self.processes)

    def _turn(self, batch: Batch, places: range, descent: Descent) -> tuple[Batch, Turn]:
        state, config = self.state, self.config
        chance = Chance.of_step(seed=self.seed, step=state.step, positions=places)
        batch = drop_flair(batch, share=config.missing_flair, chance=chance)
        turn = Turn(state.step, chance, state.spread, self.casts, descent, config.patch_voxels)
        return batch.to(self.processes.device), turn

    def _read(self, cohort: Cohort, first_step: int) -> Iterator[Batch]:
        """The batches of all steps to come, one for each part; nothing before it is asked for."""
        n = self.config.per_step
        groups = [
            [step * n + place for place in part]
            for step in range(first_step, self.config.steps)
            for part in self.parts
        ]
        yield from load_groups(cohort, groups, workers=self.config.workers)


@torch.no_grad()
def _look(state: State, watch: Watch, processes: Processes) -> float:
    error = float(watch.error(state.answering)) if processes.first else 0.0
    error = processes.share(error)
    state.lookout.note(state.step, error, state.answering)
    return error


def _is_enough(state: State, watch: Watch | None) -> bool:
    return watch is not None and state.lookout.has_seen_enough(watch.patience)
