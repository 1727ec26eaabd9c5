"""Brain extraction by programs that the user has installed; nothing of them is shipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

_WEIGHTS = "models/synthstrip.1.pt"
"""Below ``FREESURFER_HOME``: where FreeSurfer keeps SynthStrip's weights."""


def _hd_bet(command: str, image: Path, mask: Path) -> list[str]:
    """HD-BET 2 (Isensee et al. 2019) writes ``<output>_bet.nii.gz`` beside its output."""
    output = mask.with_name(mask.name.replace("_bet.nii.gz", ".nii.gz"))
    return [
        *(command, "-i", str(image), "-o", str(output), "-device", "cpu"),
        *("--disable_tta", "--save_bet_mask", "--no_bet_image"),
    ]


def _synthstrip(command: str, image: Path, mask: Path) -> list[str]:
    """SynthStrip (Hoopes et al. 2022), FreeSurfer's or that of NiPreps, which needs weights."""
    weights = Path(os.environ.get("FREESURFER_HOME", "")) / _WEIGHTS
    ask = Path(command).name != "mri_synthstrip" and weights.is_file()
    return [
        command,
        "-i",
        str(image),
        "-m",
        str(mask),
        *(["--model", str(weights)] if ask else []),
    ]


ENGINES: Mapping[str, tuple[tuple[str, ...], Callable[[str, Path, Path], list[str]]]] = {
    "hd-bet": (("hd-bet",), _hd_bet),
    "synthstrip": (("mri_synthstrip", "nipreps-synthstrip", "synthstrip"), _synthstrip),
}
"""Engine -> commands that may be it, and how its command line is written."""


def engine_command(engine: str) -> str | None:
    """Return the path of the first command of ``engine`` on ``PATH``; None without one."""
    return next((path for name in ENGINES[engine][0] if (path := shutil.which(name))), None)


def engine_problem(engine: str) -> str | None:
    """Say what is missing to use ``engine``; None where nothing is."""
    if engine not in ENGINES or engine_command(engine):
        return None
    wanted = " or ".join(ENGINES[engine][0])
    return (
        f"skull_strip_engine {engine!r} needs the command {wanted}, and PATH has none: install "
        f"it, put its folder on PATH, or leave the engine out (template needs no other program)"
    )


def engine_arguments(engine: str, command: str, image: Path, mask: Path) -> list[str]:
    """Return the command line that makes ``mask`` (must end in ``_bet.nii.gz``) of ``image``."""
    return ENGINES[engine][1](command, image, mask)
