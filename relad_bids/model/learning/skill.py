"""How much of what the training mean leaves unexplained a model explains."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from relad_bids.model.base import Model
from relad_bids.model.data import Cohort, loader
from relad_bids.model.learning.losses import squared_errors


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
