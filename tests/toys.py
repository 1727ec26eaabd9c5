"""Small things that several tests make: oblique affines, a grid, a card, a network, a session."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import nibabel as nb
import numpy as np

from relad_bids.config import Config
from relad_bids.model.card import Card, TracerOutput
from relad_bids.pet.reading import Reading
from relad_bids.sessions import Measured, Unit
from relad_bids.tables import tracers

TRACERS = ("flortaucipir", "pbr28", "pib")
SHAPE = (16, 20, 24)
AFFINE = ((10.0, 0, 0, -75.0), (0, 9.0, 0, -105.0), (0, 0, 8.0, -75.0), (0, 0, 0, 1))
"""A network's grid around the MNI brain: three sides, three voxel sizes."""


def oblique(zooms=(1.0, 1.5, 2.0), *, degrees=20.0, origin=(-31.0, 17.5, 8.0)):
    """Voxel axes i, j, k towards A, S, R, turned by ``degrees`` about z, and shifted."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    affine[:3, :3] = turned @ np.eye(3)[:, [1, 2, 0]] * zooms
    affine[:3, 3] = origin
    return affine


def centres_mm(shape, affine):
    """RAS+ position of every voxel, shape (3, I, J, K)."""
    index = np.indices(shape)
    return np.einsum("ab,bijk->aijk", affine[:3, :3], index) + affine[:3, 3, None, None, None]


def save_nifti(path, data, affine):
    image = nb.Nifti1Image(data, affine)
    image.set_qform(affine, code=2)
    image.set_sform(affine, code=2)
    image.to_filename(path)
    return str(path)


def write_transform(path, shift_lps_mm=(0.0, 0.0, 0.0), *, stretch_x=1.0):
    """Write an ITK affine: a point of the fixed image, stretched and shifted, is in the moving."""
    shift = " ".join(map(str, shift_lps_mm))
    path.write_text(
        "#Insight Transform File V1.0\n#Transform 0\n"
        "Transform: AffineTransform_double_3_3\n"
        f"Parameters: {stretch_x} 0 0 0 1 0 0 0 1 {shift}\nFixedParameters: 0 0 0\n"
    )
    return str(path)


def tiny_card(**changes):
    """A card of three tracers and a grid of 16 x 20 x 24 voxels."""
    settings = {
        "name": "tiny",
        "version": "1",
        "kind": "unet",
        "architecture": {
            "n_sequences": 2,
            "n_tracers": len(TRACERS),
            "channels": [4, 8],
            "n_residual_units": 1,
            "rank": 2,
        },
        "space": "MNI152NLin2009cAsym",
        "shape": SHAPE,
        "affine": AFFINE,
        "tracers": tuple(
            TracerOutput(name=name, index=index, suvr_max=scale)
            for index, (name, scale) in enumerate(zip(TRACERS, (5.0, 3.0, 4.0), strict=True))
        ),
        "missing_flair": True,
        "statement": "A toy, for tests.",
        "training": {"seed": 3},
    }
    return Card(**{**settings, **changes})


def drawing_card(**changes):
    """A card like that of :func:`tiny_card` whose network draws: a diffusion in voxels."""
    return tiny_card(**{
        "name": "draws",
        "kind": "ddpm",
        "architecture": {
            "n_sequences": 2,
            "n_tracers": len(TRACERS),
            "rank": 2,
            "channels": [8, 8],
            "attention_levels": [False, False],
            "n_residual_units": 1,
            "norm_groups": 4,
        },
        "diffusion": {
            "name": "cosine", "n_steps": 50, "zero_terminal_snr": True, "prediction": "sample",
            "clip": True,
        },
        "sampler": {"name": "dpmpp2m", "steps": 2, "spacing": "log_snr"},
        **changes,
    })  # fmt: skip


def published_like_card(**changes):
    """A card of the contracts, space, tracers and kind of the published weights; all is small."""
    from relad_bids.model.published import published_card

    card = published_card(epoch=99, blob="0" * 40)
    architecture = {
        "n_sequences": 2, "n_tracer_classes": 4, "channels": [8, 8],
        "attention_levels": [False, False], "n_residual_units": 1, "norm_groups": 4,
    }  # fmt: skip
    return replace(card, architecture=architecture, shape=SHAPE, affine=AFFINE, **changes)


def drawing_network(card=None, *, spread=0.2, seed=3):
    """The network of :func:`drawing_card`; untrained it draws voxels around a prior.

    ``spread`` is their standard deviation, in the network's scale.
    """
    import torch

    from relad_bids.model.registry import build_model

    card = card or drawing_card()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_model(
            card.kind, card.architecture, shape=card.shape, diffusion=card.diffusion,
            sampler=card.sampler,
        )  # fmt: skip
        network.regression.prior.uniform_(-0.6, 0.2)
        network.sd.fill_(spread)
        network.residuals.log_power.fill_(2 * math.log(spread))
    return network.eval()


def tiny_network(card=None, *, seed=3):
    """The card's network with its first random weights, in evaluation mode."""
    import torch

    from relad_bids.model.registry import build_model

    card = card or tiny_card()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_model(card.kind, card.architecture, shape=card.shape)
        network.start.prior.uniform_(-0.6, 0.2)
    return network.eval()


def tiny_config(root: Path, **changes):
    settings = {
        "bids_dir": root / "bids",
        "output_dir": root / "out",
        "work_dir": root / "work",
        "model_dir": root / "checkpoint",
        "tracers": TRACERS,
        "device": "cpu",
    }
    return Config(**{**settings, **changes})


def tiny_measured(config, subject="01", session="a", *, tracer="pib", **reading):
    """A measured PET of ``config.bids_dir`` in two frames, not written."""
    label = f"sub-{subject}" + (f"_ses-{session}" if session else "")
    trc = tracers()[tracer].trc
    told = {
        "weights": (0.5, 0.5), "unit": "Bq/mL", "suv_factor": 2e-4, "suv_reason": "",
        "columns": {
            "window_start_min": 50.0, "window_end_min": 70.0, "window_coverage": 1.0,
            "window_status": "ok",
        },
        "n_frames": 2, "flags": (), "note": "",
    }  # fmt: skip
    return Measured(
        config.bids_dir / Path(*label.split("_")) / "pet" / f"{label}_trc-{trc}_pet.nii.gz",
        subject, session, tracer, {"trc": trc}, Reading(**{**told, **reading}),
    )  # fmt: skip


def tiny_unit(
    config, subject="01", session="a", *, flair=True, tracers=TRACERS, measured=(), **more
):
    """A session of ``config.bids_dir``, its images not written."""
    label = f"sub-{subject}" + (f"_ses-{session}" if session else "")
    anat = config.bids_dir / Path(*label.split("_")) / "anat"
    return Unit(
        subject,
        session,
        anat / f"{label}_T1w.nii.gz",
        anat / f"{label}_FLAIR.nii.gz" if flair else None,
        tuple(tracers),
        tuple(measured),
        flair_missing=not flair,
        **{key: tuple(value) if key == "atlases" else value for key, value in more.items()},
    )
