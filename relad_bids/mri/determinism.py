"""One ITK thread and one seed: the same inputs give the same bytes.

antsRegistration with two threads sums metric values in the order in which the threads finish,
so a repeated run differs in the last digits and, through the optimiser, by tenths of a
millimetre. ITK reads both settings from the environment when its first filter runs, which is
why they are made before ``import ants``.
"""

from __future__ import annotations

import os

SEED = 20260221
"""Seed of the metric's random samples where the environment names none."""


def pin_itk() -> int:
    """Put seed and thread count into ``os.environ`` and return the seed.

    The thread count is forced to 1, whatever the environment asks for; a seed that the user
    chose (``ANTS_RANDOM_SEED``) is kept.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    return int(os.environ.setdefault("ANTS_RANDOM_SEED", str(SEED)))
