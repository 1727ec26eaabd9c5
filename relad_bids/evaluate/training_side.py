"""A look back at those who were learned from: the floor of age and sex, and what inputs were seen.

Nobody here is asked about. Their PET gives what age and sex foretell, their MRI the statistics
by which the input of somebody new is called unusual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from relad_bids.core.floors import trained_floor
from relad_bids.core.ood import (
    fit_ood,
    histogram_distance,
    input_features,
    input_histograms,
    mean_histograms,
)
from relad_bids.evaluate.cases import Case
from relad_bids.evaluate.regions import Regions
from relad_bids.evaluate.score import AGE_SEX, truth_rows

COVARIATES = ("age", "female")


@dataclass(frozen=True, eq=False)
class TrainingSide:
    """What is kept of the training participants."""

    truth: pd.DataFrame
    """``participant_id tracer voi truth age female``."""
    ood: Mapping[str, Any]
    """From :func:`relad_bids.core.ood.fit_ood`."""


def look_back(
    cases: Sequence[Case], regions: Regions, *, report: Callable[[], object] = lambda: None
) -> TrainingSide:
    """Walk once through training participants, one at a time.

    Raises
    ------
    DataError
        There are fewer of them than statistics can be made of.
    """
    truth, features, histograms = [], [], []
    for case in cases:
        images = case.images()
        for tracer in case.tracers:
            rows = pd.DataFrame(truth_rows(images, regions, tracer))
            truth.append(
                rows.assign(participant_id=case.participant_id, tracer=tracer, **case.covariates)
            )
        seen = (images.sequences, images.mask)
        features.append(input_features(*seen, regions.voxel_mm, regions.labels))
        histograms.append(input_histograms(*seen))
        report()
    shown = mean_histograms(histograms)
    for one, histogram in zip(features, histograms, strict=True):
        for suffix, mean in shown.items():
            name = f"{suffix.lower()}_histogram_distance"
            one[name] = histogram_distance(histogram[suffix], mean)
    known = pd.concat(truth, ignore_index=True).reindex(
        columns=["participant_id", "tracer", "voi", "truth", *COVARIATES]
    )
    return TrainingSide(known, fit_ood(pd.DataFrame(features), histograms=shown))


def demographics(pairs: pd.DataFrame, side: TrainingSide, cases: Sequence[Case]) -> pd.Series:
    """The floor ``age_sex`` of the regional rows of one model; NaN where it is not known."""
    of_person = {case.participant_id: case.covariates for case in cases}
    known = {
        name: pairs["participant_id"].map(lambda who, n=name: of_person[who].get(n, np.nan))
        for name in COVARIATES
    }
    return trained_floor(side.truth, pairs.assign(**known), COVARIATES).rename(AGE_SEX)
