import numpy as np
import pytest
import torch

from relad_bids.model.networks.regional import (
    MIN_CORE,
    MRI_CELL,
    PET_CELL,
    RegionalRegression,
    cell_means,
    cells,
    inside,
    is_shown,
    spread_out,
)

SHAPE = (17, 20, 24)
COARSE, FINE = (3, 3, 3), (5, 5, 6)


@pytest.fixture
def chance():
    return torch.Generator().manual_seed(12)


@pytest.fixture
def core():
    core = torch.zeros(SHAPE, dtype=torch.bool)
    core[1:16, 2:19, 1:22] = True
    return core


@pytest.fixture
def regression(core, chance):
    """Random in every part; R = 2 tracers, S = 2 sequences, three patterns."""
    made = RegionalRegression(n_sequences=2, n_tracers=2, rank=3, shape=SHAPE)
    made.core.copy_(core)
    for name in ("prior", "centre", "loadings", "patterns"):
        buffer = getattr(made, name)
        buffer.copy_(torch.randn(buffer.shape, generator=chance))
    made.scale.copy_(torch.rand(made.scale.shape, generator=chance) + 0.5)
    return made


@pytest.fixture
def mri(chance):
    return torch.rand(2, 2, *SHAPE, generator=chance) * 2 - 1


@pytest.mark.parametrize(("edge", "n"), [(8, COARSE), (4, FINE), (1, SHAPE), (24, (1, 1, 1))])
def test_cells_cover_the_grid(edge, n):
    assert cells(SHAPE, edge) == n


def test_cell_means_against_a_loop(chance):
    """Sides 17 and 20 are no multiples of 8: the last cells are cut, not diluted."""
    x = torch.randn(2, 3, *SHAPE, generator=chance)
    weight = torch.rand(2, 1, *SHAPE, generator=chance)
    means, share = cell_means(x, weight, 8)
    assert means.shape == (2, 3, *COARSE)
    for i, j, k in np.ndindex(*COARSE):
        part = (..., *(slice(8 * n, 8 * n + 8) for n in (i, j, k)))
        w, values = weight[part].double(), x[part].double()
        expected = (values * w).sum((-3, -2, -1)) / w.sum((-3, -2, -1))
        torch.testing.assert_close(means[..., i, j, k].double(), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            share[..., i, j, k].double(), w.sum((-3, -2, -1)) / 512, atol=1e-6, rtol=1e-6
        )


def test_a_cell_without_weight_is_zero():
    x, weight = torch.full((1, 1, 8, 8, 16), 5.0), torch.ones(1, 1, 8, 8, 16)
    weight[..., 8:] = 0
    means, share = cell_means(x, weight, 8)
    assert means.flatten().tolist() == [5.0, 0.0]
    assert share.flatten().tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("voxels", "taken"), [(13, True), (12, False)])
def test_a_cell_is_taken_from_a_fifth_on(voxels, taken):
    """A fifth of 64 voxels is 12.8."""
    assert MIN_CORE == 0.2
    core = torch.zeros(4, 4, 4, dtype=torch.bool)
    core.view(-1)[:voxels] = True
    assert inside(core, 4).item() is taken


def test_a_missing_sequence_is_background_everywhere(mri):
    mri[0, 1] = -1
    mri[1, 0, 0] = -1
    assert is_shown(mri).tolist() == [[True, False], [True, True]]


def test_a_missing_sequence_says_nothing(regression, mri):
    mri[0, 1] = -1
    features = regression.features(mri)
    assert torch.all(features[0, 1] == 0)
    assert torch.any(features[0, 0] != 0)
    assert torch.any(features[1, 1] != 0)


def test_an_average_brain_gets_the_training_mean(regression):
    """MRI whose cell means are the centre: every feature is 0."""
    regression.centre.fill_(0.25)
    answer = regression(torch.full((1, 2, *SHAPE), 0.25))
    torch.testing.assert_close(answer[0], regression.prior)


def test_the_answer_is_linear_in_the_regional_means(regression, mri):
    """Twice as far from the centre, twice as far from the prior."""
    regression.centre.zero_()
    one, two = (regression(factor * mri) - regression.prior for factor in (0.5, 1.0))
    torch.testing.assert_close(two, 2 * one, atol=1e-3, rtol=1e-4)


def test_the_answer_by_hand(regression, mri):
    """Features, scores and patterns summed in float64 NumPy."""
    features = regression.features(mri).double().numpy()
    scores = np.tensordot(features, regression.loadings.double().numpy(), ([1, 2, 3, 4],) * 2)
    coarse = np.tensordot(scores, regression.patterns.double().numpy(), 1)
    assert coarse.shape == (2, 2, *FINE)
    expected = regression.prior + spread_out(torch.from_numpy(coarse).float(), regression.core)
    torch.testing.assert_close(regression(mri), expected, atol=1e-3, rtol=1e-4)


def test_half_precision_around_it_changes_no_bit(regression, mri):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside_autocast = regression(mri)
    assert torch.equal(inside_autocast, regression(mri))


def test_what_lies_outside_the_core_does_not_count(regression, mri):
    """Where a brain mask ends must not change the answer inside."""
    other = torch.where(regression.core, mri, torch.ones(()))
    assert torch.equal(regression(mri), regression(other))


def test_a_constant_stays_constant_up_to_the_edge(core):
    """The cells outside are 0 and would pull the edge down."""
    fine = spread_out(torch.full((1, 1, *FINE), 2.0), core)
    assert fine.shape == (1, 1, *SHAPE)
    torch.testing.assert_close(fine[0, 0][core], torch.full((int(core.sum()),), 2.0))


def test_a_ramp_stays_a_ramp_between_cell_centres():
    """Linear interpolation: cell c is centred on voxel 4 c + 1.5."""
    core = torch.ones(SHAPE, dtype=torch.bool)
    centres = 4 * torch.arange(6.0) + 1.5
    fine = spread_out(centres.expand(1, 1, *FINE), core)[0, 0]
    expected = torch.arange(24.0).expand(SHAPE)
    between = slice(2, 22)
    torch.testing.assert_close(fine[..., between], expected[..., between])


def test_a_new_regression_answers_background(mri):
    made = RegionalRegression(n_sequences=2, n_tracers=3, rank=1, shape=SHAPE)
    assert torch.all(made(mri) == -1)


def test_nothing_in_it_is_learned_by_gradient(regression):
    assert list(regression.parameters()) == []
    assert (MRI_CELL, PET_CELL) == (8, 4)
    assert set(regression.state_dict()) == {
        "prior", "core", "centre", "scale", "loadings", "patterns",
    }  # fmt: skip
