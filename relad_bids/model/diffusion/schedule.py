"""The forward process: how much signal and how much noise each training timestep holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relad_bids.errors import ConfigError

PREDICTIONS = ("epsilon", "sample", "v_prediction")
"""What a network may be trained to answer, by the names of MONAI and diffusers."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """A variance-preserving noise schedule and what the network's output means under it.

    A timestep ``t`` is (B,) int64, 0 the least and T - 1 the most noise; images are
    (B, C, I, J, K) float32 in [-1, 1].

    Raises
    ------
    ConfigError
        The signal does not fall at every step, or the prediction is unknown or says nothing
        about the image where no signal is left.
    """

    name: str
    alphas_cumprod: Tensor
    """(T,) float64, share of the signal's variance left, strictly falling within [0, 1)."""
    prediction: str
    """One of ``PREDICTIONS``."""
    clip: bool
    """Whether the clean prediction is clamped to [-1, 1]."""
    betas: Tensor | None = None
    """(T,) float64, noise variance added by each step, where it was rounded apart from
    ``alphas_cumprod``; by default what that implies."""

    def __post_init__(self) -> None:
        kept = self.alphas_cumprod
        if not (kept[0] < 1 and kept[-1] >= 0 and bool((kept.diff() < 0).all())):
            raise ConfigError(
                f"the noise schedule {self.name} goes from {kept[0]:g} to {kept[-1]:g} in "
                f"{len(kept)} steps; it must fall at every step and stay in [0, 1). Change "
                "n_steps or the betas: their product may be so large that nothing is left."
            )
        if self.prediction not in PREDICTIONS:
            raise ConfigError(
                f"the noise schedule {self.name} has the prediction {self.prediction!r}; choose "
                f"one of {', '.join(PREDICTIONS)}."
            )
        if self.prediction == "epsilon" and kept[-1] == 0:
            raise ConfigError(
                f"the noise schedule {self.name} ends in pure noise (zero terminal SNR), where "
                "the prediction 'epsilon' says nothing about the image; choose 'sample' or "
                "'v_prediction', or set zero_terminal_snr to false."
            )

    @property
    def n_steps(self) -> int:
        return len(self.alphas_cumprod)

    def beta(self, t: int) -> float:
        """Noise variance that the step to ``t`` adds."""
        if self.betas is not None:
            return float(self.betas[t])
        before = float(self.alphas_cumprod[t - 1]) if t else 1.0
        return 1 - float(self.alphas_cumprod[t]) / before

    def alpha(self, t: Tensor) -> Tensor:
        """Level of the signal at ``t``, (B, 1, 1, 1, 1) float32."""
        return _per_image(self.alphas_cumprod.to(t.device)[t].sqrt())

    def sigma(self, t: Tensor) -> Tensor:
        """Level of the noise at ``t``, (B, 1, 1, 1, 1) float32."""
        return _per_image((1 - self.alphas_cumprod.to(t.device)[t]).sqrt())

    def log_snr(self) -> Tensor:
        """Logarithm of signal over noise variance, (T,) float64; -inf where no signal is left."""
        return self.alphas_cumprod.log() - (1 - self.alphas_cumprod).log()

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Noise ``x0`` with standard normal ``eps`` to ``t``; Ho et al. 2020, Eq. 4."""
        return self.alpha(t) * x0 + self.sigma(t) * eps

    def target(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What the network should answer at ``t`` for ``x0`` noised with ``eps``."""
        if self.prediction == "epsilon":
            return eps
        if self.prediction == "sample":
            return x0
        return self.alpha(t) * eps - self.sigma(t) * x0  # Salimans & Ho 2022, section 4

    def clean(self, x_t: Tensor, output: Tensor, t: Tensor) -> Tensor:
        """Estimate of the clean image behind ``x_t``, from what the network answered."""
        if self.prediction == "epsilon":
            x0 = (x_t - self.sigma(t) * output) / self.alpha(t)
        elif self.prediction == "sample":
            x0 = output
        else:
            x0 = self.alpha(t) * x_t - self.sigma(t) * output
        return x0.clamp(-1, 1) if self.clip else x0

    def noise_of(self, x_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """Noise that makes ``x_t`` of ``x0``: the inverse of :meth:`add_noise` in ``eps``."""
        return (x_t - self.alpha(t) * x0) / self.sigma(t)


def build_schedule(settings: Mapping[str, Any]) -> Schedule:
    """Build the schedule that a card's ``diffusion`` describes.

    Parameters
    ----------
    settings
        ``name`` (a key of ``BETAS``), ``n_steps`` T, ``beta_start`` and ``beta_end`` (noise
        variance added by the first and last step; not for ``cosine``, whose betas follow from
        T), ``beta_min`` and ``beta_max`` (in their place for ``vp``: rates per unit of time,
        of which there is one, whatever T), ``zero_terminal_snr`` (whether the last timestep is
        rescaled to pure noise), ``prediction`` and ``clip`` as in :class:`Schedule`. All of
        them: a schedule that differs from that of the training ruins every image and raises no
        error. ``signal_sd``, 1 if not given, is the SD of what is diffused.

    Raises
    ------
    ConfigError
        Keys are unknown or missing, or values cannot be used; all of them are named.
    """
    found = _problems(settings)
    if found:
        raise ConfigError("the noise schedule cannot be built:\n  " + "\n  ".join(found))
    betas = BETAS[settings["name"]](settings)
    kept = _for_sd(torch.cumprod(1 - betas, 0).double(), settings.get("signal_sd", 1.0))
    if settings["zero_terminal_snr"]:
        kept = _without_terminal_signal(kept)
    as_rounded = not settings["zero_terminal_snr"] and settings.get("signal_sd", 1.0) == 1
    rounded = betas.dtype == torch.float32 and as_rounded
    return Schedule(
        name=settings["name"],
        alphas_cumprod=kept,
        prediction=settings["prediction"],
        clip=settings["clip"],
        betas=betas.double() if rounded else None,
    )


def _linear(settings: Mapping[str, Any]) -> Tensor:
    """Ho et al. 2020, section 4."""
    ends = settings["beta_start"], settings["beta_end"]
    return torch.linspace(*ends, settings["n_steps"], dtype=torch.float64)


def _scaled_linear(settings: Mapping[str, Any]) -> Tensor:
    """Betas with evenly rising square roots; Rombach et al. 2022, released configurations."""
    ends = settings["beta_start"] ** 0.5, settings["beta_end"] ** 0.5
    return torch.linspace(*ends, settings["n_steps"], dtype=torch.float64).square()


def _scaled_linear_float32(settings: Mapping[str, Any]) -> Tensor:
    """``scaled_linear`` rounded to float32 on the way, as MONAI and the published code do.

    Near t = 0 the noise variance is 5e-4 and its rounding 1e-4 of it: a chain of a thousand steps
    with the exact numbers ends 1e-4 away from the published one.
    """
    ends = settings["beta_start"] ** 0.5, settings["beta_end"] ** 0.5
    return torch.linspace(*ends, settings["n_steps"], dtype=torch.float32).square()


def _cosine(settings: Mapping[str, Any]) -> Tensor:
    """Nichol & Dhariwal 2021, Eq. 17, with their offset 0.008 and largest beta 0.999."""
    time = torch.linspace(0, 1, settings["n_steps"] + 1, dtype=torch.float64)
    signal = ((time + 0.008) / 1.008 * torch.pi / 2).cos().square()
    return (1 - signal[1:] / signal[:-1]).clamp_max(0.999)


def _vp(settings: Mapping[str, Any]) -> Tensor:
    """A rate that rises from ``beta_min`` to ``beta_max``, integrated over each of T equal steps.

    The variance-preserving process of Song et al. 2021 (score SDE, appendix C) as Xiao et al. 2022
    cut it: however few the steps, their levels are those of one process in continuous time.
    """
    low, high = settings["beta_min"], settings["beta_max"]
    time = torch.linspace(0, 1, settings["n_steps"] + 1, dtype=torch.float64)
    added = low * time + (high - low) * time.square() / 2
    return -torch.expm1(-added.diff())


BETAS: dict[str, Callable[[Mapping[str, Any]], Tensor]] = {
    "scaled_linear": _scaled_linear,
    "scaled_linear_float32": _scaled_linear_float32,
    "linear": _linear,
    "cosine": _cosine,
    "vp": _vp,
}
"""Name of a schedule -> its noise variances (T,), one per step, in the precision it is made in."""


def _for_sd(kept: Tensor, sd: float) -> Tensor:
    """Give data of SD ``sd`` the signal-to-noise ratios that were meant for data of SD 1.

    Where a signal is small against the noise's unit, most timesteps are as good as pure noise.
    The log-SNR is shifted by -2 ln(sd), as Hoogeboom et al. 2023 (simple diffusion, section 3.1)
    shift it for larger images.
    """
    return kept if sd == 1 else kept / (kept + (1 - kept) * sd**2)


def _without_terminal_signal(kept: Tensor) -> Tensor:
    """Shift and stretch the signal's level: first as it was, last 0; Lin et al. 2024, Alg. 1."""
    level = kept.sqrt()
    first, last = level[0].clone(), level[-1].clone()
    return ((level - last) * first / (first - last)).square()


def _per_image(level: Tensor) -> Tensor:
    return level.float()[:, None, None, None, None]


def _is_beta(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float)) and value is not True and 0 < value < math.inf


_NEEDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: value in tuple(BETAS), f"one of {', '.join(BETAS)}"),
    "n_steps": (
        lambda value: isinstance(value, int) and value >= 2,
        "a whole number of at least 2",
    ),
    "beta_start": (_is_beta, "a number above 0 and below 1"),
    "beta_end": (_is_beta, "a number above 0 and below 1"),
    "beta_min": (_is_rate, "a finite number above 0"),
    "beta_max": (_is_rate, "a finite number above 0"),
    "signal_sd": (_is_rate, "a finite number above 0"),
    "zero_terminal_snr": (lambda value: isinstance(value, bool), "true or false"),
    "prediction": (lambda value: value in PREDICTIONS, f"one of {', '.join(PREDICTIONS)}"),
    "clip": (lambda value: isinstance(value, bool), "true or false"),
}
"""Key -> whether a value can be used, and what is needed in words."""


def _problems(settings: Mapping[str, Any]) -> list[str]:
    name = str(settings.get("name"))
    own = {"cosine": (), "vp": ("beta_min", "beta_max")}.get(name, ("beta_start", "beta_end"))
    known = {key: need for key, need in _NEEDS.items() if key in own or "beta" not in key}
    found = [
        f"{problem}: {', '.join(sorted(keys))}; a schedule named {settings.get('name')!r} takes "
        f"{', '.join(known)}"
        for problem, keys in (
            ("unknown keys", set(settings) - set(known)),
            ("missing keys", set(known) - set(settings) - {"signal_sd"}),
        )
        if keys
    ]
    return found + [
        f"{key} is {settings[key]!r}, must be {need}"
        for key, (usable, need) in known.items()
        if key in settings and not usable(settings[key])
    ]
