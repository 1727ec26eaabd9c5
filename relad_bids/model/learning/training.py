"""The training loop of every kind of model; all chance comes in as an argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from relad_bids.errors import DataError
from relad_bids.model.base import Model, Turn
from relad_bids.model.data import Batch, Cohort, loader
from relad_bids.model.learning.losses import Spread, squared_errors


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to optimise; counted in steps so that a change of cohort changes no schedule."""

    steps: int = 1000
    batch_size: int = 2
    learning_rate: float = 1e-3
    critic_rate: float = 1e-3
    """Learning rate of a critic, where the model has one."""
    warmup_steps: int = 50
    ema: float = 0.995
    """Share of the running average kept at each step (Karras et al. 2024, section 3)."""
    clip_norm: float = 1.0
    """Longest gradient of each part; few, far-off participants are learned slowly if short."""
    missing_flair: float = 0.2
    """Share of participants shown without FLAIR, so that T1w-only users are served."""
    workers: int = 1
    save_every: int = 100
    device: str = "cpu"
    precision: str = "bf16"
    """``bf16`` (autocast; weights and loss stay float32) or ``fp32``."""

    def problems(self) -> list[str]:
        found = [
            f"{name} {getattr(self, name)} is below 1"
            for name in ("steps", "batch_size", "save_every")
            if getattr(self, name) < 1
        ]
        found += [
            f"{name} {getattr(self, name)} is below 0"
            for name in ("warmup_steps", "workers")
            if getattr(self, name) < 0
        ]
        found += [
            f"{name} {getattr(self, name)} is not in [0, 1)"
            for name in ("missing_flair", "ema")
            if not 0 <= getattr(self, name) < 1
        ]
        if self.precision not in ("bf16", "fp32"):
            found.append(f"precision {self.precision!r} is not one of bf16, fp32")
        found += [
            f"{name} {getattr(self, name)} is not above 0"
            for name in ("clip_norm", "learning_rate", "critic_rate")
            if not getattr(self, name) > 0
        ]
        return found


def learning_rate(step: int, config: TrainConfig, *, full: float | None = None) -> float:
    """Linear warm-up to ``full``, then half a cosine down to zero at the last step."""
    full = config.learning_rate if full is None else full
    if step < config.warmup_steps:
        return full * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return full * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def drop_flair(
    batch: Batch, *, share: float, generator: torch.Generator, channel: int = 1
) -> Batch:
    """Replace the FLAIR of some participants by background, as a missing one is shown."""
    dropped = torch.rand(len(batch.mri), generator=generator) < share
    mri = batch.mri.clone()
    mri[dropped, channel] = -1.0
    return Batch(mri, batch.pet, batch.available, batch.mask)


def train(
    model: Model,
    cohort: Cohort,
    config: TrainConfig,
    *,
    start_from: Cohort,
    seed: int,
    state_file: Path,
    report: Callable[[int, Mapping[str, float]], None] = lambda step, log: None,
) -> Model:
    """Fit the model; return the running average of its weights, in evaluation mode.

    What has a closed form (the training mean, a regression) is fitted to the participants
    ``start_from``. They must not be those of ``cohort``: a regression knows its own too well,
    and a network that learns from it there trusts it too much elsewhere.

    The cohort's indices are walked in order, ``batch_size`` a step. With ``state_file``
    present the run goes on where it stopped and ends with the same bits as one that was
    never stopped: participants, dropped FLAIR and learning rate depend on the step alone.
    ``report`` gets the number of steps done and what the model says of the last one.

    Raises
    ------
    DataError
        The cohort is shorter than the training asks for, what has a closed form cannot be
        fitted, or a loss is not finite.
    """
    need = config.steps * config.batch_size
    if len(cohort) < need:
        raise DataError(
            f"training asks for {config.steps} steps of {config.batch_size} participants, the "
            f"cohort's walk has {len(cohort)}; lower the steps or give more participants."
        )
    device = torch.device(config.device)
    model.to(device).train()
    average = _average(model, config)
    optimisers = {name: Adam(weights) for name, weights in model.parts().items()}
    state = _State(model, average, optimisers)
    step, spread = state.load(state_file, device)
    if spread is None:
        batches = loader(start_from, batch_size=config.batch_size, workers=config.workers)
        spread = model.prepare(batches, missing_flair=config.missing_flair)
        spread = Spread(spread.voxel.to(device), spread.coarse.to(device))
        # What was fitted just now is no weight, and is averaged by nobody.
        state.average = average = _average(model, config)
        state.save(state_file, step, spread)
    last = config.steps if optimisers else step
    rest = Cohort(cohort.make, cohort.indices[step * config.batch_size : last * config.batch_size])
    for batch in loader(rest, batch_size=config.batch_size, workers=config.workers):
        log = _step(model, batch.to(device), spread, optimisers, config, step=step, seed=seed)
        average.update_parameters(model)
        step += 1
        report(step, log)
        if step % config.save_every == 0 or step == config.steps:
            state.save(state_file, step, spread)
    return cast(Model, average.module).eval()


def _average(model: Model, config: TrainConfig) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema))


def _step(
    model: Model,
    batch: Batch,
    spread: Spread,
    optimisers: Mapping[str, Adam],
    config: TrainConfig,
    *,
    step: int,
    seed: int,
) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    batch = drop_flair(batch, share=config.missing_flair, generator=generator)
    rates = {"network": config.learning_rate, "critic": config.critic_rate}

    def descend(part: str, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise DataError(
                f"the training loss of the {part} is {loss.item()} at step {step}; look for NaN "
                "in the images or lower the learning rate."
            )
        optimiser = optimisers[part]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config, full=rates[part])
        # A game leaves gradients in the opponent, too: each part starts from none of its own.
        optimiser.zero_grad()
        loss.backward()
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, config.clip_norm)
        optimiser.step()

    precision = partial(
        torch.autocast,
        config.device,
        dtype=torch.bfloat16,
        enabled=config.precision == "bf16",
    )
    return model.fit(batch, Turn(step, generator, spread, precision, descend))


@dataclass(eq=False)
class _State:
    """What a stopped run needs to go on."""

    model: Model
    average: AveragedModel
    optimisers: Mapping[str, Adam]

    def save(self, path: Path, step: int, spread: Spread) -> None:
        part = path.with_name(f"{path.name}.part")
        content = {
            "step": step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": {name: value.state_dict() for name, value in self.optimisers.items()},
            "spread": {"voxel": spread.voxel, "coarse": spread.coarse},
        }
        torch.save(content, part)
        part.replace(path)

    def load(self, path: Path, device: torch.device) -> tuple[int, Spread | None]:
        if not path.is_file():
            return 0, None
        content = torch.load(path, map_location=device, weights_only=True)
        self.model.load_state_dict(content["model"])
        self.average.load_state_dict(content["average"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(content["optimisers"][name])
        spread = Spread(content["spread"]["voxel"], content["spread"]["coarse"])
        return int(content["step"]), spread


def every_tracer(model: Model, n_tracers: int) -> Callable[[Tensor], Tensor]:
    """A model's answers for :func:`skill`, one draw each, made as its sampler says."""

    def answer(mri: Tensor) -> Tensor:
        return torch.stack([model.predict(mri, tracer)[:, 0] for tracer in range(n_tracers)], 1)

    return answer


@torch.inference_mode()
def skill(
    answer: Callable[[Tensor], Tensor], cohort: Cohort, *, mean: Tensor, workers: int
) -> Tensor:
    """Skill over coarse cells per tracer (R,): 1 - squared error over the training mean's.

    Parameters
    ----------
    answer
        MRI (1, S, I, J, K) -> every tracer (1, R, I, J, K).
    mean : (R, I, J, K)
        The training mean; NaN is the skill of a tracer that nobody in the cohort has.
    """
    ours, floor, has = [], [], []
    for batch in loader(cohort, batch_size=1, workers=workers):
        batch = batch.to(mean.device)
        ours.append(squared_errors(answer(batch.mri), batch)[1])
        floor.append(squared_errors(mean.expand_as(batch.pet), batch)[1])
        has.append(batch.available)
    scans = torch.cat(has)
    errors, floors = ((torch.cat(part) * scans).sum(0) for part in (ours, floor))
    return 1 - errors / floors
