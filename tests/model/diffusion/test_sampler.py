"""The sampler against data whose perfect denoiser is known in closed form.

If clean images are N(MEAN, STD^2), the posterior mean is linear in x_t and the probability
flow an affine map of the noise. No network, no training, no golden file.
"""

import math
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from relad_bids.errors import UsageError
from relad_bids.model.diffusion.sampler import (
    LEAST_LOG_SNR,
    Method,
    Spacing,
    sample,
    timestep_pairs,
)
from relad_bids.model.diffusion.schedule import BETAS, build_schedule

MEAN, STD = 0.3, 0.5
METHODS, SPACINGS = get_args(Method), get_args(Spacing)
FLOW = ["ddim", "dpmpp2m"]
GRIDS = ["log_snr", "karras"]
KINDS = [(name, zero) for name in BETAS for zero in (False, True)]
IDS = [name + "-zero" * zero for name, zero in KINDS]


def build(name="scaled_linear", zero=False, *, n_steps=1000, prediction="sample", clip=False):
    """A schedule in use; with another number of timesteps the same one, cut otherwise."""
    betas = {"beta_start": 0.5 / n_steps, "beta_end": 19.5 / n_steps}
    betas = {"cosine": {}, "vp": {"beta_min": 0.1, "beta_max": 20.0}}.get(name, betas)
    return build_schedule(
        {
            "name": name, "n_steps": n_steps, "zero_terminal_snr": zero,
            "prediction": prediction, "clip": clip, **betas,
        }
    )  # fmt: skip


def perfect(schedule):
    """E[x0 | x_t], in the dtype of x_t."""

    def denoise(x, t):
        kept = schedule.alphas_cumprod[t].to(x)[:, None, None, None, None]
        return MEAN + STD**2 * kept.sqrt() / (kept * STD**2 + 1 - kept) * (x - kept.sqrt() * MEAN)

    return denoise


def run(schedule, noise, method, steps, spacing="log_snr", *, denoise=None, seed=0):
    return sample(
        denoise or perfect(schedule), noise, schedule, method=method, steps=steps,
        spacing=spacing, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def watch(denoise):
    """The same denoiser, and the list of what it is shown."""
    seen = []

    def watched(x, t):
        seen.append((x, t))
        return denoise(x, t)

    return watched, seen


def normal(n, *, seed=1):
    return torch.randn(n, 1, 1, 1, 1, generator=torch.Generator().manual_seed(seed))


def error_of_flow(schedule, method, steps, spacing):
    """Largest difference from the probability flow's exact end over noise of -2 to 2."""
    noise = torch.linspace(-2, 2, 5, dtype=torch.float64).reshape(5, 1, 1, 1, 1)
    kept = schedule.alphas_cumprod[-1]
    exact = MEAN + STD * (noise - kept.sqrt() * MEAN) / (kept * STD**2 + 1 - kept).sqrt()
    return float((run(schedule, noise, method, steps, spacing) - exact).abs().max())


@pytest.fixture(scope="module", params=KINDS, ids=IDS)
def schedule(request):
    return build(*request.param)


@pytest.fixture(scope="module", params=KINDS, ids=IDS)
def fine(request):
    """So fine that neither rounding to timesteps nor the noise at t = 0 counts."""
    return build(*request.param, n_steps=1_000_000)


@pytest.fixture
def noise():
    shape = (2, 1, 3, 4, 5)
    return torch.randn(shape, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 1000])
def test_pairs_fall_from_most_noise_to_clean(schedule, spacing, steps):
    pairs = timestep_pairs(schedule, steps, spacing)
    assert 1 <= len(pairs) <= steps
    assert pairs[0][0] == 999
    assert pairs[-1][1] == -1
    assert all(t > t_next for t, t_next in pairs)
    assert all(before[1] == after[0] for before, after in pairwise(pairs))
    assert all(type(t) is int for pair in pairs for t in pair)


@pytest.mark.parametrize(
    ("n_steps", "steps", "path"),
    [
        (1000, 1000, range(999, -1, -1)),
        (1000, 4, [999, 749, 499, 249]),
        (10, 3, [9, 6, 2]),
        (10, 7, [9, 8, 6, 5, 3, 2, 0]),
    ],
)
def test_trailing_is_even_in_time(n_steps, steps, path):
    """Lin et al. 2024, Table 2: round(T, T - T/steps, ...) - 1."""
    pairs = timestep_pairs(build("cosine", n_steps=n_steps), steps, "trailing")
    assert pairs == list(pairwise([*path, -1]))


@pytest.mark.parametrize("spacing", GRIDS)
def test_grids_are_even_in_their_own_measure(schedule, spacing):
    """Every timestep but the first, which is T - 1, is the one nearest to its place."""
    log_snr = schedule.log_snr().numpy()
    most, least = max(log_snr[-1], -2 * math.log(80)), log_snr[0]
    if spacing == "log_snr":
        places = np.linspace(most, least, 12)
    else:
        high, low = (math.exp(-end / 2) ** (1 / 7) for end in (most, least))
        places = -2 * np.log((high + np.arange(12) / 11 * (low - high)) ** 7)
    pairs = timestep_pairs(schedule, 12, spacing)
    assert len(pairs) == 12
    assert pairs[-1][0] == 0
    for (t, _), place in zip(pairs[1:], places[1:], strict=True):
        assert t == np.abs(log_snr - place).argmin()


def test_least_log_snr_leaves_the_published_schedule_alone():
    assert build().log_snr()[-1] > LEAST_LOG_SNR


def test_timesteps_that_round_together_are_taken_once():
    """Near t = 0 the grid is finer than the timesteps; twice the same one is 0 / 0."""
    assert len(timestep_pairs(build(), 20, "log_snr")) == 20
    assert len(timestep_pairs(build(), 50, "log_snr")) < 50
    assert math.isfinite(error_of_flow(build(), "dpmpp2m", 50, "log_snr"))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("steps", "fits"), [(0, False), (1, True), (10, True), (11, False)])
def test_as_many_steps_as_timesteps(spacing, steps, fits):
    schedule = build("cosine", n_steps=10)
    if fits:
        assert timestep_pairs(schedule, steps, spacing)
        return
    with pytest.raises(
        UsageError, match=rf"{steps} sampling steps .* has 10 timesteps\. Ask for 1 to 10\."
    ):
        timestep_pairs(schedule, steps, spacing)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_one_step_is_the_posterior_mean(schedule, method, spacing):
    """With no signal left in the noise, that is the mean of the data."""
    noise = normal(20)
    answer = run(schedule, noise, method, 1, spacing)
    assert torch.equal(answer, perfect(schedule)(noise, torch.full((20,), 999)))
    if schedule.alphas_cumprod[-1] == 0:
        assert torch.all(answer == np.float32(MEAN))


@pytest.mark.parametrize("method", ["ancestral", *FLOW])
def test_the_last_answer_is_the_result(schedule, noise, method):
    """No noise is added to it, nothing extrapolated from it."""
    answer = run(schedule, noise, method, 4, denoise=lambda x, t: torch.full_like(x, t[0] / 1000))
    assert torch.all(answer == 0)


@pytest.mark.parametrize("method", FLOW)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_noise_stays_the_same_noise(schedule, method, spacing):
    """A denoiser that knows the truth: every x_t is that truth with that noise, less of it."""
    eps = normal(10).double()
    truth = torch.full_like(eps, 0.4)
    denoise, seen = watch(lambda x, t: truth)
    kept = schedule.alphas_cumprod
    run(
        schedule, kept[-1].sqrt() * truth + (1 - kept[-1]).sqrt() * eps, method, 6, spacing,
        denoise=denoise,
    )  # fmt: skip
    assert len(seen) == 6
    for x, t in seen:
        expected = kept[t[0]].sqrt() * truth + (1 - kept[t[0]]).sqrt() * eps
        torch.testing.assert_close(x, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", FLOW)
@pytest.mark.parametrize("spacing", GRIDS)
def test_mean_and_spread_of_the_data(schedule, method, spacing):
    """An affine map: its value at 0 is the mean, its slope the standard deviation.

    20 steps: second order misses the spread by 4 % at most, first order loses up to 13 %.
    """
    at = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(2, 1, 1, 1, 1)
    low, high = run(schedule, at, method, 20, spacing).flatten().tolist()
    limit = 0.05 if method == "dpmpp2m" else 0.15
    assert high - low == pytest.approx(STD, rel=limit)
    # The flow's own mean: noise is centred on 0, where the schedule leaves it at alpha * MEAN.
    shift = STD * schedule.alphas_cumprod[-1].sqrt().item() * MEAN
    assert low == pytest.approx(MEAN - shift, abs=0.002 * STD)


@pytest.mark.parametrize(
    ("method", "spacing", "order"),
    [("ddim", spacing, 1) for spacing in SPACINGS]
    + [("dpmpp2m", spacing, 2) for spacing in GRIDS],
)
def test_order_of_convergence(fine, method, spacing, order):
    """Twice the steps: half the error at first order, a quarter at second.

    Evenly in time the second order method is of first order, too: its last step to the clean
    image starts at t = T / steps.
    """
    errors = [error_of_flow(fine, method, steps, spacing) for steps in (80, 160)]
    # 0.90 to 1.00 and 2.01 to 2.10 were measured; the next order is 1 away.
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_second_order_as_the_paper_writes_it(spacing):
    """DPM-Solver++, Alg. 2, in half log-SNR, for a denoiser that is not linear."""
    schedule = build()
    kept = schedule.alphas_cumprod
    alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
    lam = (alpha / sigma).log()

    def denoise(x, t):
        return torch.tanh(x + lam[t].reshape(-1, 1, 1, 1, 1))

    x = start = normal(10).double()
    clean, last = None, None
    for t, t_next in timestep_pairs(schedule, 9, spacing)[:-1]:
        earlier, clean = clean, denoise(x, torch.full((10,), t))
        h = lam[t_next] - lam[t]
        d = clean
        if earlier is not None:
            r = last / h
            d = (1 + 1 / (2 * r)) * clean - 1 / (2 * r) * earlier
        x = sigma[t_next] / sigma[t] * x - alpha[t_next] * torch.expm1(-h) * d
        last = h
    expected = denoise(x, torch.full((10,), t_next))
    answer = run(schedule, start, "dpmpp2m", 9, spacing, denoise=denoise)
    torch.testing.assert_close(answer, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", BETAS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_nothing_is_extrapolated_from_pure_noise(name, spacing):
    """The step from pure noise is infinitely long in log-SNR, so the one after is first order."""
    start = normal(10).double()
    for zero, steps, equal in ((True, 3, True), (True, 4, False), (False, 3, False)):
        first, second = (run(build(name, zero), start, m, steps, spacing) for m in FLOW)
        assert torch.isfinite(second).all()
        assert torch.equal(first, second) is equal


@pytest.mark.parametrize("steps", [2, 5])
def test_draws_have_the_joint_distribution_of_noising(schedule, steps):
    """Knowing the truth, every x_t is distributed as if that truth had been noised to t.

    Mean, variance and covariance of neighbours, each to four standard errors of 40,000 draws.
    """
    n, truth = 40_000, 0.4
    kept = schedule.alphas_cumprod
    denoise, seen = watch(lambda x, t: torch.full_like(x, truth))
    start = kept[-1].sqrt() * truth + (1 - kept[-1]).sqrt() * normal(n).double()
    run(schedule, start, "ancestral", steps, "trailing", denoise=denoise)
    walk = torch.stack([x.flatten() for x, _ in seen])
    level = kept[[int(t[0]) for _, t in seen]]
    sigma = (1 - level).sqrt()
    limit = 4 / math.sqrt(n)
    assert torch.all((walk.mean(1) - level.sqrt() * truth).abs() < limit * sigma)
    assert torch.all((walk.var(1) / sigma**2 - 1).abs() < math.sqrt(2) * limit)
    residual = walk - walk.mean(1, keepdim=True)
    for i in range(steps - 1):
        covariance = (residual[i] * residual[i + 1]).mean()
        expected = (level[i] / level[i + 1]).sqrt() * sigma[i + 1] ** 2
        assert (covariance - expected).abs() < limit * sigma[i] * sigma[i + 1] * math.sqrt(2)


def test_the_whole_chain_has_the_distribution_of_the_data(schedule):
    """1000 steps: the spread they still miss is 1 %, chance is 0.7 % of it and 1 % in the mean."""
    n = 10_000
    answer = run(schedule, normal(n), "ancestral", 1000, "trailing")
    assert answer.mean().item() == pytest.approx(MEAN, abs=3 * STD / math.sqrt(n))
    assert answer.std().item() == pytest.approx(STD, rel=0.03)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_the_whole_chain_is_that_of_monai(noise, prediction):
    """Step for step and draw for draw, with a network's answer that is not linear."""
    schedule = build(n_steps=100, prediction=prediction, clip=True)

    def network(x, t):
        return torch.sin(3 * x + t.reshape(-1, 1, 1, 1, 1) / 25)

    theirs = DDPMScheduler(
        100, schedule="scaled_linear_beta", beta_start=0.005, beta_end=0.195,
        prediction_type=prediction, clip_sample=True,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(8)
    x = noise
    for t in range(99, -1, -1):
        x, _ = theirs.step(network(x, torch.full((2,), t)), t, x, generator=generator)
    answer = run(
        schedule, noise, "ancestral", 100, "trailing", seed=8,
        denoise=lambda x, t: schedule.clean(x, network(x, t), t),
    )  # fmt: skip
    # Their coefficients are rounded to float32 a hundred times.
    torch.testing.assert_close(answer, x, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("method", "draws"), [("ancestral", 4), ("ddim", 0), ("dpmpp2m", 0)])
def test_only_the_posterior_draws(noise, method, draws):
    """One field of the noise's shape per step, none for the last of five."""
    used, expected = (torch.Generator().manual_seed(3) for _ in range(2))
    sample(
        perfect(build()), noise, build(), method=method, steps=5, spacing="trailing",
        generator=used,
    )  # fmt: skip
    for _ in range(draws):
        torch.randn(noise.shape, generator=expected)
    assert torch.equal(used.get_state(), expected.get_state())


def test_the_seed_decides(noise):
    first, again, other = (run(build(), noise, "ancestral", 5, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_denoiser_sees_every_timestep_once(noise, method, dtype):
    steps = 1 if method == "one-pass" else 6
    denoise, seen = watch(perfect(build()))
    start = noise.to(dtype)
    answer = run(build(), start, method, steps, "karras", denoise=denoise)
    assert answer.shape == start.shape
    assert answer.dtype == dtype
    assert torch.equal(start, noise.to(dtype)), "the noise was changed in place"
    assert [t.tolist() for _, t in seen] == [
        [t, t] for t, _ in timestep_pairs(build(), steps, "karras")
    ]
    assert all(t.dtype == torch.int64 for _, t in seen)


@pytest.mark.parametrize("method", ["ancestral", *FLOW])
def test_the_walk_stays_on_its_device(method):
    """``meta`` stands for any device that is not the CPU; the generator is on the CPU."""
    denoise, seen = watch(lambda x, t: x)
    answer = run(build(), torch.empty(2, 1, 3, 4, 5, device="meta"), method, 4, denoise=denoise)
    assert answer.device.type == "meta"
    assert {t.device.type for _, t in seen} == {"meta"}


def test_no_gradient_is_kept(noise):
    """A thousand steps of a network's graph fit in no memory."""
    weight = torch.ones(1, requires_grad=True)
    assert not run(build(), noise, "ddim", 3, denoise=lambda x, t: weight * x).requires_grad


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"method": "euler"}, r"the method 'euler' was asked for; choose ancestral, ddim, "),
        ({"spacing": "linspace"}, r"the spacing 'linspace' was asked for; choose trailing, log_"),
        ({"method": "one-pass"}, r"one-pass was asked for 4 steps and takes 1; ask for one step"),
        ({"steps": 1001}, r"1001 sampling steps were asked for; the schedule scaled_linear has"),
    ],
)
def test_what_is_not_offered(noise, asked, message):
    with pytest.raises(UsageError, match=message):
        run(build(), noise, **{"method": "ddim", "steps": 4, "spacing": "trailing", **asked})


@pytest.mark.parametrize(
    ("name", "same"), [("scaled_linear_float32", True), ("scaled_linear", False)]
)
def test_the_published_chain_step_by_step(name, same):
    """MONAI's ancestral steps with its own float32 numbers, the noise estimate made up.

    Rounded alike both end within float32 sums of each other; with exact numbers 1e-5 apart.
    """
    theirs = DDPMScheduler(
        1000, "scaled_linear_beta", beta_start=5e-4, beta_end=1.95e-2, clip_sample=True
    )
    schedule = build_schedule(
        {
            "name": name, "n_steps": 1000, "beta_start": 5e-4, "beta_end": 1.95e-2,
            "zero_terminal_snr": False, "prediction": "epsilon", "clip": True,
        }
    )  # fmt: skip
    start = torch.randn(1, 1, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    x, chance = start, torch.Generator().manual_seed(2)
    for t in range(999, -1, -1):
        x, _ = theirs.step(0.4 * x, t, x, generator=chance)
    ours = sample(
        lambda x_t, t: schedule.clean(x_t, 0.4 * x_t, t), start, schedule, method="ancestral",
        steps=1000, spacing="trailing", generator=torch.Generator().manual_seed(2),
    )  # fmt: skip
    assert ((ours - x).abs().max().item() < 4e-6) is same
