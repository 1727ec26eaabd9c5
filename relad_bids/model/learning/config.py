"""How to optimise: the settings of every training, and the learning rate by step."""

from __future__ import annotations

import math
from dataclasses import dataclass

PRECISIONS = ("fp32", "bf16", "fp16")
LEAST_BOX = 16
"""Edge in voxels of the smallest box to learn from: a critic and three levels find room in it."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to optimise; counted in steps so that a change of cohort changes no schedule."""

    steps: int = 1000
    batch_size: int = 2
    """Participants that a process holds in memory at once."""
    accumulate: int = 1
    """Such batches of which one step is made; processes share them, see :attr:`per_step`."""
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
    patch_voxels: int = 0
    """Edge of the box around some brain voxel, another one for each participant and step, that the
    networks and losses see; 0 is the whole grid. A regression on regional means sees all of it
    anyway. Sides that the network must pad (no multiples of 8, say) show it borders in the brain.
    """
    checkpointing: bool = False
    """Whether activations are worked out again on the way back, in place of being kept: about
    a third more time, and memory for the largest block and what lies between the blocks."""
    workers: int = 1
    save_every: int = 100
    device: str = "cpu"
    """``cpu`` or ``cuda``; under torchrun each process takes its own GPU."""
    precision: str = "bf16"
    """``bf16`` or ``fp16`` (autocast; weights and loss stay float32, fp16 with a scale for the
    gradients) or ``fp32``."""

    @property
    def per_step(self) -> int:
        """Participants of one step, however many processes share them."""
        return self.batch_size * self.accumulate

    def problems(self) -> list[str]:
        found = [
            f"{name} {getattr(self, name)} is below 1"
            for name in ("steps", "batch_size", "accumulate", "save_every")
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
        if self.patch_voxels and self.patch_voxels < LEAST_BOX:
            found.append(f"patch_voxels {self.patch_voxels} is neither 0 nor at least {LEAST_BOX}")
        if not isinstance(self.checkpointing, bool):
            found.append(f"checkpointing {self.checkpointing!r} is neither true nor false")
        if self.precision not in PRECISIONS:
            found.append(
                f"precision {self.precision!r} is not one of {', '.join(sorted(PRECISIONS))}"
            )
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
