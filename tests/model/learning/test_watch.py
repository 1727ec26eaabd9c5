import math

import pytest
import torch
from torch import nn

from relad_bids.errors import ConfigError, DataError
from relad_bids.model.learning.watch import Lookout, Watch


def looked(*errors):
    """A lookout after some looks, at weights that tell which look they were of."""
    lookout, model = Lookout(), nn.Linear(1, 1, bias=False)
    for n, error in enumerate(errors, start=1):
        model.weight.data.fill_(n)
        lookout.note(10 * n, error, model)
    return lookout


@pytest.mark.parametrize(
    ("errors", "best"),
    [([3.0], 1), ([3, 2, 1], 3), ([3, 1, 2], 2), ([1, 1, 1], 1), ([math.inf, 5, 6], 2)],
)
def test_the_weights_of_the_smallest_error_are_kept(errors, best):
    lookout = looked(*errors)
    assert lookout.best["weight"].item() == best
    assert lookout.errors == [(10 * n, e) for n, e in enumerate(errors, start=1)]


@pytest.mark.parametrize(
    ("errors", "patience", "enough"),
    [
        ([], 1, False),
        ([1.0], 1, False),
        ([1, 2], 1, True),
        ([1, 2], 2, False),
        ([1, 2, 3], 2, True),
        ([1, 1, 1], 2, True),  # as small is not smaller
        ([2, 3, 1, 4], 2, False),  # it counts from the smallest
        ([2, 3, 1, 4, 1.5], 2, True),
        ([1, 2, 3, 4, 5], 0, False),
    ],
)
def test_patience_counts_looks_since_the_smallest_error(errors, patience, enough):
    assert looked(*errors).has_seen_enough(patience) is enough


def test_what_was_seen_survives_a_file(tmp_path):
    before = looked(3.0, 1.0, 2.0)
    torch.save(before.content(), tmp_path / "seen.pt")
    after = Lookout()
    after.load(torch.load(tmp_path / "seen.pt", weights_only=True))
    assert after.errors == before.errors
    assert torch.equal(after.best["weight"], before.best["weight"])


def test_an_error_that_is_no_number_is_no_error():
    with pytest.raises(DataError, match="measured the error nan after 20 steps; look for NaN"):
        looked(1.0, math.nan)


@pytest.mark.parametrize(("every", "patience"), [(0, 1), (1, -1)])
def test_a_watch_must_look_and_cannot_wait_less_than_nothing(every, patience):
    with pytest.raises(
        ConfigError, match=rf"look every {every} steps with a patience of {patience}"
    ):
        Watch(lambda model: 0.0, every=every, patience=patience)


def test_bounds_of_a_watch():
    assert Watch(lambda model: 0.0, every=1, patience=0).patience == 0
