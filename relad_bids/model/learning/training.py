"""How every kind of model is trained, in one place to import from."""

from relad_bids.model.learning.config import TrainConfig, learning_rate
from relad_bids.model.learning.loop import drop_flair, train
from relad_bids.model.learning.skill import every_tracer, skill
from relad_bids.model.learning.watch import Watch

__all__ = [
    "TrainConfig",
    "Watch",
    "drop_flair",
    "every_tracer",
    "learning_rate",
    "skill",
    "train",
]
