"""What an evaluation teaches a checkpoint about itself: written into its card."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from relad_bids.evaluate.contender import Contender, Fold, Question
from relad_bids.evaluate.tables import LEVEL
from relad_bids.files import write_text
from relad_bids.model.checkpoint import CARD


def calibration_of(
    contender: Contender, conformal: pd.DataFrame, question: Question, *, cohort: str
) -> dict[str, Any]:
    """What the card says of the intervals around regional SUVr.

    Parameters
    ----------
    conformal
        The table ``desc-voi_conformal``.
    cohort
        Whom the factors were measured in. They hold for others like them, and are too good for
        these themselves.

    Returns
    -------
    dict
        ``level``; ``cohort``; ``n_samples`` and ``steps`` of the answers; ``times``, what the
        factors multiply; ``factors``, tracer -> VOI -> factor and ``n`` participants. A VOI with
        too few participants for the level is left out.
    """
    mine = conformal[(conformal["model"] == contender.name) & np.isfinite(conformal["factor"])]
    factors: dict[str, dict[str, dict[str, float]]] = {}
    for row in mine.itertuples():
        of_tracer = factors.setdefault(str(row.tracer), {})
        of_tracer[str(row.voi)] = {"factor": float(row.factor), "n": int(row.n)}
    return {
        "level": LEVEL,
        "cohort": cohort,
        "n_samples": question.n_samples if contender.draws else 1,
        "steps": question.steps if contender.draws else None,
        "times": str(mine["times"].iloc[0]) if len(mine) else None,
        "factors": factors,
    }


def write_card(fold: Fold, calibration: dict[str, Any]) -> None:
    """Put calibration and input statistics into the card of a checkpoint; weights stay."""
    if fold.folder is None:
        return
    card = replace(fold.predictor.card, calibration=calibration, ood=fold.ood)
    write_text(fold.folder / CARD, card.to_json())
