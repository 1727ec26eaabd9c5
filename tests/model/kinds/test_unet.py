import pytest
import torch

from relad_bids.model.networks.grids import pad_to_multiple


@pytest.fixture
def mri():
    generator = torch.Generator().manual_seed(4)
    return torch.rand((2, 2, 9, 12, 11), generator=generator) * 2 - 1


@pytest.mark.parametrize(
    ("shape", "multiple", "padded"),
    [((9, 12, 11), 4, (12, 12, 12)), ((8, 4, 16), 4, (8, 4, 16)), ((7, 5, 3), 1, (7, 5, 3))],
)
def test_padding_is_background_and_is_cropped_back(shape, multiple, padded):
    x = torch.arange(float(torch.tensor(shape).prod())).reshape(1, 1, *shape)
    wide, crop = pad_to_multiple(x, multiple)
    assert wide.shape[-3:] == padded
    assert torch.equal(wide[(..., *crop)], x)
    outside = torch.ones(padded, dtype=torch.bool)
    outside[crop] = False
    assert torch.all(wide[0, 0][outside] == -1)


@pytest.mark.parametrize("shape", [(9, 12, 11), (8, 16, 4), (13, 7, 10)])
def test_answer_has_the_shape_of_the_grid(make_network, shape):
    network = make_network(shape=shape, channels=(2, 3, 4))
    assert network.forward_all(torch.zeros(1, 2, *shape)).shape == (1, 2, *shape)


def test_without_gain_the_answer_is_the_start(make_network, mri):
    network = make_network()
    network.start.prior.uniform_(-1, 1)
    network.gain.data.zero_()
    assert torch.equal(network.forward_all(mri), network.start(mri))


def test_the_start_is_seen_by_the_network(make_network, mri):
    """What it adds to the start depends on the start."""
    network = make_network().eval()
    before = network.forward_all(mri) - network.start(mri)
    network.start.prior.fill_(0.5)
    assert (network.forward_all(mri) - network.start(mri) - before).abs().max() > 1e-3


def test_a_new_network_starts_from_background(make_network):
    assert torch.all(make_network().start.prior == -1)


def test_tracer_chooses_its_own_channel(make_network, mri):
    network = make_network().eval()
    every = network.forward_all(mri)
    chosen = network(mri, torch.tensor([1, 0]))
    assert chosen.shape == (2, 1, 9, 12, 11)
    assert torch.equal(chosen[:, 0], torch.stack([every[0, 1], every[1, 0]]))


def test_participants_of_a_batch_do_not_see_each_other(make_network, mri):
    """Group norm is per participant; float32 sums in another order differ in the last digits."""
    network = make_network().eval()
    torch.testing.assert_close(network.forward_all(mri)[:1], network.forward_all(mri[:1]))


def test_a_brighter_brain_is_another_brain(make_network):
    """Everywhere darker (atrophy) or brighter (lesions) is information, no nuisance."""
    network = make_network().eval()
    shape = (1, 2, 9, 12, 11)
    low, high = (network.forward_all(torch.full(shape, value)) for value in (-0.5, 0.5))
    assert (low - high).abs().max() > 1e-3


def test_position_has_meaning(make_network):
    """The same intensities give another answer elsewhere: the corners are told apart."""
    network = make_network().eval()
    answer = network.forward_all(torch.zeros(1, 2, 9, 12, 11))[0, 0]
    assert (answer[4, 6, 1] - answer[4, 6, 9]).abs() > 1e-4


def test_position_travels_with_no_checkpoint(make_network):
    assert "position" not in make_network().state_dict()
