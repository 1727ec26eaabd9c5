import dataclasses
import math
from itertools import accumulate

import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from relad_bids.errors import ConfigError
from relad_bids.model.diffusion.schedule import BETAS, PREDICTIONS, Schedule, build_schedule

PUBLISHED = {
    "name": "scaled_linear", "n_steps": 1000, "beta_start": 5e-4, "beta_end": 1.95e-2,
    "zero_terminal_snr": False, "prediction": "epsilon", "clip": True,
}  # fmt: skip
BETA_RANGE = ("beta_start", "beta_end")
RATES = {"cosine": {}, "vp": {"beta_min": 0.1, "beta_max": 20}}
"""What these take in place of the range."""
MONAI_NAMES = {
    "scaled_linear": "scaled_linear_beta",
    "scaled_linear_float32": "scaled_linear_beta",
    "linear": "linear_beta",
    "cosine": "cosine",
}
FLOAT32 = 1.2e-7
"""Relative distance of neighbouring float32 numbers."""


def settings(**changes):
    """Those of the published model with some changed, and with the betas that the name takes."""
    made = {**PUBLISHED, **changes}
    if made["name"] in RATES:
        made = {key: value for key, value in made.items() if key not in BETA_RANGE}
        made = {**RATES[made["name"]], **made}
    return made


def build(**changes):
    return build_schedule(settings(**changes))


@pytest.fixture
def images():
    """Clean images, noise, and a timestep for each: both ends and three between."""
    generator = torch.Generator().manual_seed(21)
    x0 = torch.rand(5, 1, 2, 3, 4, generator=generator) * 2 - 1
    eps = torch.randn(x0.shape, generator=generator)
    return x0, eps, torch.tensor([999, 0, 400, 7, 998])


@pytest.fixture(params=[False, True], ids=["as-is", "zero-terminal"])
def zero_terminal_snr(request):
    return request.param


@pytest.fixture(params=BETAS)
def schedule(request, zero_terminal_snr):
    return build(name=request.param, zero_terminal_snr=zero_terminal_snr, prediction="sample")


def test_levels_of_the_published_schedule():
    """To the three digits of method.md 2.3."""
    kept = build().alphas_cumprod[[0, 100, 300, 500, 700, 900, 999]]
    expected = torch.tensor([0.9995, 0.922, 0.599, 0.226, 0.0396, 0.00257, 0.00043]).double()
    torch.testing.assert_close(kept, expected, rtol=0.005, atol=0)


@pytest.mark.parametrize(("name", "power"), [("linear", 1), ("scaled_linear", 2)])
def test_betas_multiply_up(name, power):
    first, last = 5e-4 ** (1 / power), 1.95e-2 ** (1 / power)
    betas = [(first + (last - first) * t / 999) ** power for t in range(1000)]
    expected = list(accumulate((1 - beta for beta in betas), lambda a, b: a * b))
    # A thousand products in float64.
    torch.testing.assert_close(
        build(name=name).alphas_cumprod,
        torch.tensor(expected, dtype=torch.float64),
        rtol=1e-12,
        atol=0,
    )


def test_cosine_in_closed_form():
    """Up to the last step, whose beta is cut off at 0.999."""

    def signal(t):
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    kept = build(name="cosine").alphas_cumprod
    expected = torch.tensor([signal(t + 1) / signal(0) for t in range(999)], dtype=torch.float64)
    # Near the end the cosine is a difference of nearly equal numbers.
    torch.testing.assert_close(kept[:-1], expected, rtol=1e-10, atol=0)
    assert kept[-1] / kept[-2] == pytest.approx(0.001, rel=1e-12)


@pytest.mark.parametrize("n_steps", [4, 1000])
def test_vp_in_closed_form(n_steps):
    """The integral of the rate up to each step's end, whatever the number of steps."""
    kept = build(name="vp", n_steps=n_steps).alphas_cumprod
    ends = [(t + 1) / n_steps for t in range(n_steps)]
    expected = [math.exp(-0.1 * end - 19.9 / 2 * end**2) for end in ends]
    # A thousand products in float64.
    torch.testing.assert_close(
        kept, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("name", BETAS)
def test_data_of_another_sd_keep_their_signal_to_noise_ratio(name):
    """Twenty times less signal gets twenty times less noise, step by step."""
    plain, small = (build(name=name, **sd).log_snr() for sd in ({}, {"signal_sd": 0.05}))
    # Near pure noise the level is rounded at 1e-16 of 1, and the first step's noise likewise.
    torch.testing.assert_close(small, plain + 2 * math.log(20), rtol=0, atol=1e-6)
    assert torch.equal(build(name=name, signal_sd=1).log_snr(), plain)


def test_another_sd_keeps_pure_noise_at_the_end():
    made = build(signal_sd=0.05, zero_terminal_snr=True, prediction="sample")
    assert made.alphas_cumprod[-1] == 0
    assert made.alphas_cumprod[0] == pytest.approx(1 - 5e-4 * 0.05**2, abs=1e-7)


def test_rounded_betas_are_those_of_data_with_sd_1():
    """The betas of another SD follow from its levels."""
    assert build(name="scaled_linear_float32").betas is not None
    assert build(name="scaled_linear_float32", signal_sd=0.5).betas is None


@pytest.mark.parametrize("sd", [0, -0.1, True, "small", math.inf])
def test_the_sd_is_a_number_above_zero(sd):
    with pytest.raises(ConfigError, match=r"signal_sd is .*, must be a finite number above 0"):
        build(signal_sd=sd)


def test_vp_is_cut_as_published():
    """The betas of Xiao et al. 2022, their formula for step t of 1 to T; three digits by hand."""
    made = build(name="vp", n_steps=4)
    for t, by_hand in zip((1, 2, 3, 4), (0.476, 0.849, 0.956, 0.987), strict=True):
        published = 1 - math.exp(-0.1 / 4 - 0.5 * 19.9 * (2 * t - 1) / 4**2)
        assert made.beta(t - 1) == pytest.approx(published, rel=1e-12)
        assert made.beta(t - 1) == pytest.approx(by_hand, abs=5e-4)


@pytest.mark.parametrize("name", MONAI_NAMES)
def test_levels_are_those_of_monai(name):
    betas = {} if name == "cosine" else {"beta_start": 5e-4, "beta_end": 1.95e-2}
    expected = DDPMScheduler(1000, schedule=MONAI_NAMES[name], **betas).alphas_cumprod
    # MONAI multiplies in float32; its cosine loses a few digits where it is near 0.
    torch.testing.assert_close(
        build(name=name).alphas_cumprod.float(), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", BETAS)
def test_zero_terminal_snr_by_the_detour_of_the_paper(name):
    """Lin et al. 2024, Alg. 1 goes back to betas and multiplies them up again."""
    before = build(name=name).alphas_cumprod
    after = build(name=name, zero_terminal_snr=True, prediction="sample").alphas_cumprod
    root = before.sqrt()
    stretched = (root - root[-1]) * root[0] / (root[0] - root[-1])
    ratios = stretched[1:].square() / stretched[:-1].square()
    expected = torch.cat([stretched[:1].square(), ratios]).cumprod(0)
    torch.testing.assert_close(after, expected, rtol=1e-10, atol=0)
    assert after[0].item() == pytest.approx(before[0].item(), rel=1e-12)
    assert after[-1] == 0


def test_signal_and_noise_share_unit_power(schedule):
    t = torch.arange(1000)
    power = schedule.alpha(t).square() + schedule.sigma(t).square()
    torch.testing.assert_close(power, torch.ones(1000, 1, 1, 1, 1), rtol=4 * FLOAT32, atol=0)


def test_levels_are_one_number_per_image(schedule):
    t = torch.tensor([3, 990, 3])
    for level in (schedule.alpha(t), schedule.sigma(t)):
        assert level.shape == (3, 1, 1, 1, 1)
        assert level.dtype == torch.float32
        assert level[0] == level[2] != level[1]


def test_least_noise_has_all_its_digits():
    """Its variance is 1 - 0.9995: in float32 three digits would be lost."""
    assert build().sigma(torch.tensor([0])).item() == pytest.approx(5e-4**0.5, rel=2 * FLOAT32)


def test_log_snr_of_the_levels(schedule):
    """In float64 from the levels in float32: both share the digits of the latter."""
    t = torch.arange(999)
    ratio = (schedule.alpha(t).double() / schedule.sigma(t).double()).flatten()
    log_snr = schedule.log_snr()
    assert log_snr.dtype == torch.float64
    torch.testing.assert_close(log_snr[:-1], 2 * ratio.log(), rtol=0, atol=4 * FLOAT32)
    assert torch.all(log_snr.diff() < 0)


def test_log_snr_without_signal(schedule, zero_terminal_snr):
    log_snr = schedule.log_snr()
    assert torch.isfinite(log_snr[:-1]).all()
    assert (log_snr[-1].item() == -math.inf) is zero_terminal_snr


def test_noise_and_velocity_are_those_of_monai(images):
    x0, eps, t = images
    theirs = DDPMScheduler(1000, schedule="scaled_linear_beta", beta_start=5e-4, beta_end=1.95e-2)
    ours = build(prediction="v_prediction")
    # 1 - a_t in float32 at t = 0 has four digits less; its root, 0.02, is off by 1e-6.
    close = {"rtol": 1e-5, "atol": 5e-6}
    torch.testing.assert_close(ours.add_noise(x0, eps, t), theirs.add_noise(x0, eps, t), **close)
    torch.testing.assert_close(ours.target(x0, eps, t), theirs.get_velocity(x0, eps, t), **close)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip", [True, False])
def test_clean_prediction_is_that_of_monai(images, prediction, clip):
    """From one noisy image at a time, as theirs takes one timestep for all."""
    x_t, output, t = images
    theirs = DDPMScheduler(
        1000, schedule="scaled_linear_beta", beta_start=5e-4, beta_end=1.95e-2,
        prediction_type=prediction, clip_sample=clip,
    )  # fmt: skip
    expected = [theirs.step(output[[i]], int(t[i]), x_t[[i]])[1] for i in range(len(t))]
    # As above; at t = 999 an epsilon is magnified 48 times.
    torch.testing.assert_close(
        build(prediction=prediction, clip=clip).clean(x_t, output, t),
        torch.cat(expected),
        rtol=1e-5,
        atol=5e-6,
    )


def test_targets_by_name(images):
    x0, eps, t = images
    assert build(prediction="epsilon").target(x0, eps, t) is eps
    assert build(prediction="sample").target(x0, eps, t) is x0


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", ["scaled_linear", "linear"])
def test_the_perfect_answer_gives_the_image_back(images, name, prediction):
    x0, eps, t = images
    made = build(name=name, prediction=prediction, clip=False)
    x_t = made.add_noise(x0, eps, t)
    # Rounding of x_t, 3e-7, over the least signal level: 0.02 scaled linear, 0.007 linear.
    torch.testing.assert_close(made.clean(x_t, made.target(x0, eps, t), t), x0, rtol=0, atol=1e-4)


def test_the_noise_comes_back(schedule, images):
    x0, eps, t = images
    x_t = schedule.add_noise(x0, eps, t)
    # Rounding of x_t, 1e-7, over the least noise level: 0.02, cosine 0.006.
    torch.testing.assert_close(schedule.noise_of(x_t, x0, t), eps, rtol=0, atol=5e-5)


@pytest.mark.parametrize("name", BETAS)
@pytest.mark.parametrize(("prediction", "sign"), [("sample", 1), ("v_prediction", -1)])
def test_in_pure_noise_only_the_answer_counts(name, prediction, sign):
    made = build(name=name, zero_terminal_snr=True, prediction=prediction, clip=False)
    output, t = torch.linspace(-2, 2, 24).reshape(1, 1, 2, 3, 4), torch.tensor([999])
    assert torch.equal(made.clean(1e6 * torch.ones_like(output), output, t), sign * output)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_only_a_clipped_prediction_stays_in_the_range(prediction):
    x_t, t = torch.zeros(1, 1, 1, 1, 3), torch.tensor([999])
    level = build().sigma(t).item() / (build().alpha(t).item() if prediction == "epsilon" else 1)
    sign = 1 if prediction == "sample" else -1
    asked = torch.tensor([0.999, 1.001, -1.001]).reshape(x_t.shape)
    output = sign * asked / (1 if prediction == "sample" else level)
    free, clipped = (
        build(prediction=prediction, clip=clip).clean(x_t, output, t) for clip in (False, True)
    )
    torch.testing.assert_close(free, asked, rtol=4 * FLOAT32, atol=0)
    assert torch.equal(clipped, free.clamp(-1, 1))
    assert clipped.flatten()[1:].tolist() == [1, -1]


def test_levels_follow_the_device_of_the_timestep(schedule):
    """``meta`` stands for any device that is not the CPU."""
    t = torch.tensor([5], device="meta")
    assert schedule.alpha(t).device.type == schedule.sigma(t).device.type == "meta"


def test_what_the_settings_say_is_kept():
    made = build(prediction="v_prediction", clip=False, n_steps=17)
    assert (made.name, made.prediction, made.clip) == ("scaled_linear", "v_prediction", False)
    assert made.n_steps == len(made.alphas_cumprod) == 17
    assert made.alphas_cumprod.dtype == torch.float64


def test_frozen(schedule):
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.clip = True


@pytest.mark.parametrize("name", BETAS)
def test_epsilon_says_nothing_about_pure_noise(name):
    with pytest.raises(
        ConfigError,
        match=rf"{name} ends in pure noise \(zero terminal SNR\), where the prediction 'epsilon' "
        r"says nothing about the image; choose 'sample' or 'v_prediction'",
    ):
        build(name=name, zero_terminal_snr=True)


def test_two_steps_are_a_schedule():
    assert build(n_steps=2).n_steps == 2


@pytest.mark.parametrize("n_steps", [1, True, 2.5, "ten"])
def test_steps_that_cannot_be_counted(n_steps):
    with pytest.raises(
        ConfigError, match=rf"n_steps is '?{n_steps}'?, must be a whole number of at least 2"
    ):
        build(n_steps=n_steps)


def test_every_unknown_and_missing_key_is_named():
    asked = settings(beta_min=0.1, steps=1000)
    del asked["clip"], asked["beta_end"]
    with pytest.raises(ConfigError, match=r"the noise schedule cannot be built") as caught:
        build_schedule(asked)
    found = str(caught.value)
    assert "unknown keys: beta_min, steps; a schedule named 'scaled_linear' takes name," in found
    assert "missing keys: beta_end, clip; a schedule" in found


def test_every_bad_value_is_named():
    with pytest.raises(ConfigError, match=r"the noise schedule cannot be built") as caught:
        build(
            name="sigmoid", n_steps=True, beta_start=0.0, beta_end="high",
            zero_terminal_snr=1, prediction="noise", clip="no",
        )  # fmt: skip
    assert str(caught.value).splitlines()[1:] == [
        "  name is 'sigmoid', must be one of scaled_linear, scaled_linear_float32, linear, "
        "cosine, vp",
        "  n_steps is True, must be a whole number of at least 2",
        "  beta_start is 0.0, must be a number above 0 and below 1",
        "  beta_end is 'high', must be a number above 0 and below 1",
        "  zero_terminal_snr is 1, must be true or false",
        "  prediction is 'noise', must be one of epsilon, sample, v_prediction",
        "  clip is 'no', must be true or false",
    ]


@pytest.mark.parametrize("beta", [1.0, float("nan"), -0.1])
def test_a_beta_is_a_share(beta):
    with pytest.raises(ConfigError, match=r"beta_end is .*, must be a number above 0 and below 1"):
        build(beta_end=beta)


def test_cosine_has_no_betas_to_set():
    """A setting that does nothing would be believed."""
    with pytest.raises(
        ConfigError, match=r"unknown keys: beta_end, beta_start; a schedule named 'cosine' takes"
    ):
        build_schedule({**PUBLISHED, "name": "cosine"})


def test_vp_has_rates_in_place_of_betas():
    with pytest.raises(ConfigError, match=r"the noise schedule cannot be built") as caught:
        build_schedule({**PUBLISHED, "name": "vp"})
    found = str(caught.value)
    assert "unknown keys: beta_end, beta_start; a schedule named 'vp' takes name, n_steps" in found
    assert "missing keys: beta_max, beta_min; a schedule named 'vp' takes" in found


@pytest.mark.parametrize("rate", [0, -1.0, True, "high", math.inf, math.nan])
def test_a_rate_is_a_number_above_zero(rate):
    with pytest.raises(ConfigError, match=r"beta_max is .*, must be a finite number above 0"):
        build(name="vp", beta_max=rate)


@pytest.mark.parametrize("rate", [1, 1e-3, 700.0])
def test_a_rate_is_no_share(rate):
    """It may be above 1, and a whole number; e^-700 is not far from the least float64."""
    kept = build(name="vp", beta_min=rate, beta_max=rate).alphas_cumprod
    assert kept[-1].item() == pytest.approx(math.exp(-rate), rel=1e-9, abs=0)


def test_a_schedule_that_runs_out_of_signal():
    """The betas of a thousand steps over a hundred times as many: their product underflows."""
    assert build(n_steps=10_000).alphas_cumprod[-1] > 0
    with pytest.raises(ConfigError, match=r"goes from 0\.9995 to .* in 100000 steps; .* n_steps"):
        build(n_steps=100_000)


@pytest.mark.parametrize(
    "levels", [[0.5, 0.5, 0.1], [0.1, 0.5], [1.0, 0.5], [0.5, -0.1], [float("nan"), 0.1]]
)
def test_signal_falls_at_every_step(levels):
    with pytest.raises(ConfigError, match=r"must fall at every step and stay in \[0, 1\)"):
        Schedule("odd", torch.tensor(levels).double(), "sample", True)


def test_unknown_prediction():
    with pytest.raises(ConfigError, match=r"has the prediction 'noise'; choose one of epsilon, "):
        Schedule("odd", torch.tensor([0.5, 0.1]).double(), "noise", True)


def test_the_published_schedule_is_rounded_as_published():
    """Bit by bit MONAI's float32 numbers, betas and products; the exact ones are not."""
    theirs = DDPMScheduler(1000, "scaled_linear_beta", beta_start=5e-4, beta_end=1.95e-2)
    made = build(name="scaled_linear_float32")
    assert torch.equal(made.alphas_cumprod, theirs.alphas_cumprod.double())
    assert torch.equal(made.betas, theirs.betas.double())
    assert made.beta(7) == theirs.betas[7].item()
    assert not torch.equal(build().alphas_cumprod, theirs.alphas_cumprod.double())


def test_betas_are_what_the_levels_imply(schedule):
    """1 - a_t / a_(t-1); the first step starts from a clean image. Rounded ones: to float32."""
    kept = schedule.alphas_cumprod
    for t in (0, 1, 500, 999):
        before = kept[t - 1].item() if t else 1.0
        tolerance = 1e-12 if schedule.betas is None else 1.2e-7
        assert schedule.beta(t) == pytest.approx(1 - kept[t].item() / before, abs=tolerance)
