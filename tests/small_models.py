"""Settings with which each kind of model is small, on the cohort of conftest."""

from relad_bids.model.registry import build_model

SHAPE = (13, 14, 12)
"""Sides of at least 12 voxels: less a critic cannot judge."""

REGIONAL = {"n_sequences": 2, "n_tracers": 2, "rank": 2}
NETWORK = {
    "channels": [8, 8],
    "attention_levels": [False, False],
    "n_residual_units": 1,
    "norm_groups": 4,
}
AUTOENCODER = {"channels": [4, 4, 4], "n_residual_units": 1, "norm_groups": 2}
CRITIC = {"critic_channels": 4}

KINDS = {
    "mean": ({"n_tracers": 2}, {}, None),
    "ridge": (REGIONAL, {}, None),
    "unet": ({**REGIONAL, "channels": [4, 6], "n_residual_units": 1}, {}, None),
    "pix2pix": ({**REGIONAL, "channels": [4, 6], "n_residual_units": 1}, CRITIC, None),
    "cyclegan": ({**REGIONAL, "channels": [4, 6], "n_residual_units": 1}, CRITIC, None),
    "ddpm": ({**REGIONAL, **NETWORK}, {}, None),
    "ficd": ({**REGIONAL, **NETWORK}, {}, None),
    "ddgan": (
        {**REGIONAL, **NETWORK},
        {**CRITIC, "penalty_every": 2},
        {
            "name": "vp", "n_steps": 3, "beta_min": 0.1, "beta_max": 20.0,
            "signal_sd": 0.05, "zero_terminal_snr": True, "prediction": "sample", "clip": True,
        },
    ),
    "rela": ({**REGIONAL, **NETWORK}, CRITIC, None),
    "rela-latent": (
        {**REGIONAL, **NETWORK, "autoencoder": AUTOENCODER},
        {**CRITIC, "autoencoder_steps": 1},
        None,
    ),
    "rela-published": (
        {**NETWORK, "n_sequences": 2, "n_tracer_classes": 3},
        {"adversarial_from": 1},
        {
            "name": "scaled_linear", "n_steps": 50, "beta_start": 5e-4, "beta_end": 1.95e-2,
            "zero_terminal_snr": False, "prediction": "epsilon", "clip": True,
        },
    ),
}  # fmt: skip


def small(kind, *, training=True, objective=None, shape=SHAPE, **changes):
    architecture, own, diffusion = KINDS[kind]
    return build_model(
        kind,
        {**architecture, **changes},
        shape=shape,
        diffusion=diffusion,
        objective={**own, **(objective or {})},
        training=training,
    )
