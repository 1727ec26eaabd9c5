"""The brain mask of a program of the user's."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import ants
import numpy as np
from ants import ANTsImage
from numpy.typing import NDArray

from relad_bids.engines import engine_arguments, engine_command, engine_problem
from relad_bids.errors import DataError, InputError

TIMEOUT_S = 3600
"""HD-BET takes some minutes on a CPU; an hour means that it hangs."""

SAME_MM = 0.01
"""How far origin and voxel sizes of the mask may differ from the T1w's (header rounding)."""


def engine_mask(t1w: ANTsImage, engine: str, *, timeout_s: float = TIMEOUT_S) -> NDArray[np.bool_]:
    """Run ``hd-bet`` or ``synthstrip`` on a T1w and return its mask, (I, J, K) bool.

    Both run on the CPU.

    Raises
    ------
    InputError
        The program is not on ``PATH``.
    DataError
        It failed, took too long, or wrote no mask on the T1w's grid.
    """
    command = engine_command(engine)
    if command is None:
        raise InputError(f"{engine_problem(engine)}.")
    with tempfile.TemporaryDirectory() as folder:
        image, mask = Path(folder) / "t1w.nii.gz", Path(folder) / "brain_bet.nii.gz"
        ants.image_write(t1w, str(image))
        _run(engine, engine_arguments(engine, command, image, mask), timeout_s)
        if not mask.is_file():
            raise DataError(
                f"{engine} ended without error and wrote no mask ({command}). Check that it is a "
                f"version whose command line this program knows: HD-BET 2, SynthStrip 1."
            )
        made = ants.image_read(str(mask))
    _require_grid(made, t1w, engine)
    return np.asarray(made.numpy() > 0.5)


def _run(engine: str, arguments: list[str], timeout_s: float) -> None:
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise DataError(
            f"{engine} was stopped after {timeout_s:g} s without an answer ({arguments[0]}). Run "
            f"it by hand on the T1w, or leave --skull-strip-engine out."
        ) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing")[-500:]
        raise DataError(
            f"{engine} failed with exit code {done.returncode} ({' '.join(arguments)}). It said: "
            f"{said}. Mend its installation, or leave --skull-strip-engine out."
        )


def _require_grid(made: ANTsImage, t1w: ANTsImage, engine: str) -> None:
    """Raise if the mask does not lie on the T1w's voxels."""
    same = made.shape == t1w.shape and all(
        np.allclose(getattr(made, name), getattr(t1w, name), atol=SAME_MM)
        for name in ("origin", "spacing", "direction")
    )
    if not same:
        raise DataError(
            f"the mask of {engine} has {made.shape} voxels of {made.spacing} mm from "
            f"{made.origin}, the T1w {t1w.shape} of {t1w.spacing} mm from {t1w.origin}. Its mask "
            f"must lie on the T1w's grid: run {engine} by hand and look."
        )
