import torch
from torch import nn

from relad_bids.model.learning.buffers import RunningValues
from relad_bids.model.learning.distributed import Processes


class Moving(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([1.0, 2.0]))
        self.register_buffer("calls", torch.tensor(4))
        self.register_buffer("still", torch.tensor([True, False]))

    def see(self, value):
        self.mean.lerp_(torch.tensor(value), 0.5)
        self.calls.add_(1)


def test_parts_start_from_the_first_values_and_leave_their_mean():
    """1 participant at (3, 2), 3 at (7, -2): halfway from (1, 2) to their mean (6, -1)."""
    model = Moving()
    running = RunningValues(model)
    for n, value in ((1, [3.0, 2.0]), (3, [7.0, -2.0])):
        model.see(value)
        running.part_is_done(n)
        assert model.mean.tolist() == [1, 2]
        assert model.calls.item() == 4
    running.settle(Processes())
    torch.testing.assert_close(model.mean, torch.tensor([3.5, 0.5]))
    assert model.calls.item() == 5
    assert model.calls.dtype == torch.int64
    assert model.still.tolist() == [True, False]


def test_a_part_that_moved_nothing_does_not_hold_back():
    """A critic that was not asked in one part has gone its whole way in the other."""
    model = Moving()
    running = RunningValues(model)
    model.see([3.0, 2.0])
    moved = model.mean.clone()
    running.part_is_done(1)
    running.part_is_done(7)
    running.settle(Processes())
    assert torch.equal(model.mean, moved)


def test_where_nothing_moved_nothing_is_left():
    model = Moving()
    running = RunningValues(model)
    running.part_is_done(2)
    running.settle(Processes())
    assert model.mean.tolist() == [1, 2]
