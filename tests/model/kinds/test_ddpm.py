from dataclasses import replace

import pytest
import small_models as kinds
import torch
from toy_turns import Ear, a_turn

from relad_bids.model.data import Batch
from relad_bids.model.diffusion.noising import Draw, choose_tracer, draw
from relad_bids.model.learning.chance import Chance
from relad_bids.model.learning.losses import Spread

SHAPE = kinds.SHAPE
S = (0.2, 0.05)
"""SD of the residual of both tracers."""
NOBODYS = Chance([])
"""For losses, which draw nothing."""


@pytest.fixture
def model():
    """A DDPM whose network says nothing yet, around a regression that is not flat."""
    torch.manual_seed(2)
    made = kinds.small("ddpm")
    for weights in made.network.parameters():
        weights.data.zero_()
    made.regression.prior.copy_(0.3 * torch.rand(made.regression.prior.shape) - 0.5)
    made.sd.copy_(torch.tensor(S))
    made.residuals.log_power.copy_(2 * torch.tensor(S).log()[:, None])  # white
    return made


def answer_of(model, x_t, m, mri, t, index):
    return model.clean(x_t, m, model.expected(x_t, m, mri, t, index), mri, t, index)


@pytest.fixture
def mri():
    return torch.rand(2, 2, *SHAPE, generator=torch.Generator().manual_seed(3)) * 2 - 1


def gaussian_batch(model, mri, n=8, seed=5):
    """PET that is exactly what the model assumes: the regression plus white noise of SD s."""
    generator = torch.Generator().manual_seed(seed)
    mri = mri[:1].expand(n, -1, -1, -1, -1)
    noise = torch.randn(n, 2, *SHAPE, generator=generator)
    pet = model.regression(mri) + noise * torch.tensor(S)[:, None, None, None]
    mask = torch.ones(n, 1, *SHAPE, dtype=torch.bool)
    return Batch(mri, pet, torch.ones(n, 2, dtype=torch.bool), mask)


def turn(descend):
    spread = Spread(torch.tensor(S).square(), torch.tensor(S).square() / 64)
    return replace(a_turn(32, descend, seed=8), spread=spread)


@pytest.mark.parametrize("t", [0, 10, 400, 900, 999])
def test_a_silent_network_leaves_the_exact_denoiser_of_gaussian_residuals(model, mri, t):
    """E[x0 | x_t] of N(m, s^2), written with precisions instead of c_skip; float32."""
    index, when = torch.tensor([0, 1]), torch.full((2,), t)
    m = model.estimate(mri, index)
    x_t = torch.randn(m.shape, generator=torch.Generator().manual_seed(6))
    clean, c_out = answer_of(model, x_t, m, mri, when, index)
    a = model.schedule.alphas_cumprod[t].item()
    for b, s in enumerate(S):
        prior, data = 1 / s**2, a / (1 - a) if a < 1 else float("inf")
        expected = (prior * m[b].double() + (data / a**0.5 if a else 0) * x_t[b].double()) / (
            prior + data
        )
        torch.testing.assert_close(clean[b].double(), expected, atol=2e-5, rtol=2e-5)
        assert c_out[b].item() == pytest.approx((prior + data) ** -0.5, rel=1e-3)


def test_one_pass_of_a_silent_network_is_the_regression(model, mri):
    model.eval()
    for tracer in (0, 1):
        answer = model.predict(mri[:1], tracer)
        expected = model.regression(mri[:1])[:, tracer : tracer + 1]
        torch.testing.assert_close(answer, expected, atol=1e-6, rtol=1e-6)


def test_draws_of_a_silent_network_have_the_residuals_spread(model, mri):
    """2 x 2184 voxels: the SD is known to 1.1 %, and 25 steps of the solver to 2 %."""
    model.eval()
    draws = model.predict(
        mri[:1], 0, n_samples=2, steps=25, generator=torch.Generator().manual_seed(1)
    )
    residual = draws - model.regression(mri[:1])[:, :1]
    assert residual.std().item() == pytest.approx(S[0], rel=0.05)
    assert residual.mean().item() == pytest.approx(0, abs=4 * S[0] / residual.numel() ** 0.5)


def test_background_stays_background(model, mri):
    mri = mri.clone()
    mri[..., :4] = -1
    draws = model.eval().predict(mri[:1], 0, n_samples=2, steps=4)
    assert torch.all(draws[..., :4] == -1)
    assert torch.all(draws[..., 4:].std() > 0)


def test_a_silent_network_has_the_error_one(model, mri):
    """By construction: in units of what the exact denoiser leaves, at every timestep.

    96 images of 2184 voxels; t is drawn, so the only error is that of the mean square.
    """
    ear = Ear(model)
    model.fit(gaussian_batch(model, mri, n=32), turn(ear))
    log = ear.log
    assert ear.losses.keys() == {"network"}
    assert log["voxel"] == pytest.approx(1, abs=4 * (2 / (32 * 2184)) ** 0.5)
    # White noise in 27 cells of at most 64 voxels; some are cut: within 25 % of 1.
    assert log["coarse"] == pytest.approx(1, rel=0.35)
    assert ear.losses["network"] == pytest.approx(sum(log.values()), rel=1e-5)


def terms(model, mri, t, **objective):
    model.objective = type(model).Objective(**objective)
    batch = gaussian_batch(model, mri, n=2)
    index = torch.tensor([0, 0])
    pet = batch.pet[:, :1]
    t = torch.tensor(t)
    noise = torch.randn(pet.shape, generator=torch.Generator().manual_seed(7))
    drawn = Draw(
        batch.mri,
        pet,
        batch.mask,
        index,
        t,
        noise,
        model.schedule.add_noise(pet, noise, t),
        NOBODYS,
    )
    m = model.estimate(drawn.mri, index)
    clean, c_out = answer_of(model, drawn.noisy, m, drawn.mri, t, index)
    return model.terms(drawn, clean, c_out, turn(None)), drawn, clean


def test_l1_looks_only_where_the_clean_prediction_is_informed(model, mri):
    """Half of 1000 timesteps: 499 is seen, 500 is not."""
    assert "l1" not in terms(model, mri, [500, 999], l1=1.0)[0]
    both, drawn, clean = terms(model, mri, [499, 500], l1=2.0)
    error = (clean - drawn.pet).abs()[0].mean() / S[0]
    assert both["l1"].item() == pytest.approx(2.0 * error.item() / 2, rel=1e-4)


def test_weights_of_nothing_are_left_out(model, mri):
    assert terms(model, mri, [100, 700], coarse=0.0)[0].keys() == {"voxel"}


def test_outside_the_brain_nothing_is_learned(model, mri):
    got, drawn, clean = terms(model, mri, [100, 700], l1=1.0)
    mask = drawn.mask.clone()
    mask[..., :6] = False
    spoilt = torch.where(mask, clean, 9.0)
    drawn = Draw(
        drawn.mri, drawn.pet, mask, drawn.tracer, drawn.t, drawn.noise, drawn.noisy, NOBODYS
    )
    c_out = torch.ones(2, 1, 1, 1, 1)
    one, other = (
        model.terms(drawn, image, c_out, turn(None))
        for image in (spoilt, torch.where(mask, clean, 0))
    )
    assert got.keys() == one.keys()
    assert all(one[name].item() == pytest.approx(other[name].item(), rel=1e-6) for name in one)


def test_the_tracer_is_drawn_among_those_there_are():
    available = torch.tensor([[True, False], [False, True], [True, True]])
    drawn = torch.stack(
        [
            choose_tracer(
                available, torch.ones(2), Chance.of_step(seed=seed, step=0, positions=range(3))
            )
            for seed in range(200)
        ]
    )
    assert torch.all(drawn[:, 0] == 0)
    assert torch.all(drawn[:, 1] == 1)
    # Binomial with n = 200, p = 1/2: four standard deviations are 28.
    assert drawn[:, 2].sum().item() == pytest.approx(100, abs=28)


def test_a_rare_tracer_is_drawn_as_often():
    """Everyone has the first, one in four the second: weights 1 and 4 make them even."""
    available = torch.tensor([[True, i % 4 == 0] for i in range(400)])
    weight = 1 / available.sum(0)
    chosen = choose_tracer(available, weight, Chance.of_step(seed=0, step=0, positions=range(400)))
    # 100 people choose with odds 4 : 1; binomial SD 4.
    assert chosen.sum().item() == pytest.approx(80, abs=16)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.001), (0.25, 0.25), (1.0, 1.0)])
def test_timesteps_cover_the_schedule_with_a_share_at_the_end(model, mri, share, expected):
    batch = Batch(
        torch.zeros(2000, 2, 1, 1, 1), torch.zeros(2000, 2, 1, 1, 1),
        torch.ones(2000, 2, dtype=torch.bool), torch.ones(2000, 1, 1, 1, 1, dtype=torch.bool),
    )  # fmt: skip
    drawn = draw(
        batch, model.schedule, weight=torch.ones(2), share_at_end=share,
        chance=Chance.of_step(seed=2, step=0, positions=range(2000)),
    )  # fmt: skip
    at_end = (drawn.t == 999).float().mean().item()
    assert at_end == pytest.approx(expected, abs=0.04)  # four SD of 2000 draws
    if share < 1:
        rest = drawn.t[drawn.t < 999].float()
        assert rest.min() < 20
        assert rest.mean().item() == pytest.approx(499, abs=35)


def test_participants_without_a_scan_are_left_out(model, mri):
    batch = gaussian_batch(model, mri, n=3)
    batch.available[1] = False
    drawn = draw(
        batch, model.schedule, weight=torch.ones(2), share_at_end=0.0,
        chance=Chance.of_step(seed=2, step=0, positions=range(3)),
    )  # fmt: skip
    assert len(drawn.pet) == 2
    expected = batch.pet[[0, 2]][torch.arange(2), drawn.tracer][:, None]
    assert torch.equal(drawn.pet, expected)
    torch.testing.assert_close(
        drawn.noisy, model.schedule.add_noise(drawn.pet, drawn.noise, drawn.t)
    )
