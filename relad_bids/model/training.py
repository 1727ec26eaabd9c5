"""The training loop of the posterior-mean network; all chance comes in as an argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from relad_bids.errors import DataError
from relad_bids.model.data import Batch, Cohort, loader
from relad_bids.model.losses import Spread, relative_error, squared_errors
from relad_bids.model.networks import PosteriorMeanUNet
from relad_bids.model.regional_fit import fit_regional


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to optimise; counted in steps so that a change of cohort changes no schedule."""

    steps: int = 1000
    batch_size: int = 2
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    ema: float = 0.995
    """Share of the running average kept at each step (Karras et al. 2024, section 3)."""
    clip_norm: float = 1.0
    """Longest gradient; a cohort with few, far-off participants learns them slowly if short."""
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
        if not 0 <= self.missing_flair < 1:
            found.append(f"missing_flair {self.missing_flair} is not in [0, 1)")
        if not 0 <= self.ema < 1:
            found.append(f"ema {self.ema} is not in [0, 1)")
        if self.precision not in ("bf16", "fp32"):
            found.append(f"precision {self.precision!r} is not one of bf16, fp32")
        if not self.clip_norm > 0:
            found.append(f"clip_norm {self.clip_norm} is not above 0")
        if not self.learning_rate > 0:
            found.append(f"learning_rate {self.learning_rate} is not above 0")
        return found


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def drop_flair(
    batch: Batch, *, share: float, generator: torch.Generator, channel: int = 1
) -> Batch:
    """Replace the FLAIR of some participants by background, as a missing one is shown."""
    dropped = torch.rand(len(batch.mri), generator=generator) < share
    mri = batch.mri.clone()
    mri[dropped, channel] = -1.0
    return Batch(mri, batch.pet, batch.available, batch.mask)


def train(
    network: PosteriorMeanUNet,
    cohort: Cohort,
    config: TrainConfig,
    *,
    start_from: Cohort,
    seed: int,
    state_file: Path,
    report: Callable[[int, float, float], None] = lambda step, loss, floor: None,
) -> nn.Module:
    """Fit the network; return the running average of its weights, in evaluation mode.

    ``report`` gets the step, its loss, and the loss of the training mean on the same
    participants: some are far from the mean, so only the two together tell anything.

    The regression that the network starts from is fitted to the participants ``start_from``.
    They must not be those of ``cohort``: the regression knows its own too well, and a network
    that learns from it there trusts it too much elsewhere.

    The cohort's indices are walked in order, ``batch_size`` a step. With ``state_file``
    present the run goes on where it stopped and ends with the same bits as one that was
    never stopped: participants, dropped FLAIR and learning rate depend on the step alone.

    Raises
    ------
    DataError
        The cohort is shorter than the training asks for, the regression cannot be fitted, or
        the loss is not finite.
    """
    need = config.steps * config.batch_size
    if len(cohort) < need:
        raise DataError(
            f"training asks for {config.steps} steps of {config.batch_size} participants, the "
            f"cohort's walk has {len(cohort)}; lower the steps or give more participants."
        )
    device = torch.device(config.device)
    network.to(device).train()
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
    optimiser = Adam(network.parameters())
    step, spread = _resume(state_file, network, average, optimiser, device)
    if spread is None:
        batches = loader(start_from, batch_size=config.batch_size, workers=config.workers)
        spread = fit_regional(network.start, batches, missing_flair=config.missing_flair)
        spread = Spread(spread.voxel.to(device), spread.coarse.to(device))
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
    rest = Cohort(cohort.make, cohort.indices[step * config.batch_size : need])
    for batch in loader(rest, batch_size=config.batch_size, workers=config.workers):
        batch = batch.to(device)
        with torch.no_grad():
            floor = float(relative_error(network.start.prior.expand_as(batch.pet), batch, spread))
        loss = _step(network, batch, spread, optimiser, config, step=step, seed=seed)
        average.update_parameters(network)
        step += 1
        report(step, loss, floor)
        if step % config.save_every == 0 or step == config.steps:
            _save(state_file, step, network, average, optimiser, spread)
    module: nn.Module = average.module
    return module.eval()


def _step(
    network: PosteriorMeanUNet,
    batch: Batch,
    spread: Spread,
    optimiser: Adam,
    config: TrainConfig,
    *,
    step: int,
    seed: int,
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, config)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    batch = drop_flair(batch, share=config.missing_flair, generator=generator)
    optimiser.zero_grad()
    with torch.autocast(config.device, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
        predicted = network.forward_all(batch.mri)
    loss = relative_error(predicted, batch, spread)
    if not torch.isfinite(loss):
        raise DataError(
            f"the training loss is {loss.item()} at step {step}; look for NaN in the images or "
            "lower learning_rate."
        )
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
    optimiser.step()
    return float(loss.detach())


def _save(
    path: Path,
    step: int,
    network: nn.Module,
    average: AveragedModel,
    optimiser: Adam,
    spread: Spread,
) -> None:
    part = path.with_name(f"{path.name}.part")
    torch.save(
        {
            "step": step,
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "spread": {"voxel": spread.voxel, "coarse": spread.coarse},
        },
        part,
    )
    part.replace(path)


def _resume(
    path: Path,
    network: nn.Module,
    average: AveragedModel,
    optimiser: Adam,
    device: torch.device,
) -> tuple[int, Spread | None]:
    if not path.is_file():
        return 0, None
    state = torch.load(path, map_location=device, weights_only=True)
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"]), Spread(state["spread"]["voxel"], state["spread"]["coarse"])


@torch.inference_mode()
def skill(network: PosteriorMeanUNet, cohort: Cohort, *, workers: int) -> dict[str, Tensor]:
    """Skill over coarse cells per tracer (R,): 1 - squared error over the training mean's.

    Of the ``network``, and of the ``regression`` that it starts from.
    """
    errors: dict[str, list[Tensor]] = {"network": [], "regression": [], "mean": []}
    for loaded in loader(cohort, batch_size=1, workers=workers):
        batch = loaded.to(network.start.prior.device)
        for name, answer in (
            ("network", network.forward_all(batch.mri)),
            ("regression", network.start(batch.mri)),
            ("mean", network.start.prior.expand_as(batch.pet)),
        ):
            errors[name].append(squared_errors(answer, batch)[1])
    mean = {name: torch.cat(parts).mean(0) for name, parts in errors.items()}
    return {name: 1 - mean[name] / mean["mean"] for name in ("network", "regression")}
