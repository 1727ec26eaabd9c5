"""What one answer is worth: rows of one participant and tracer, after which no image is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from relad_bids.core.calibration import fair_crps, rank_of
from relad_bids.core.image_metrics import image_metrics, on_references, paper_compat
from relad_bids.core.regions import VOI
from relad_bids.core.suvr import reference_of, voi_table
from relad_bids.core.texture import texture_rows
from relad_bids.evaluate.cases import Answer, Images
from relad_bids.evaluate.regions import GREY, WHITE, Regions
from relad_bids.tables import label_names

Image = NDArray[np.floating]

PERMUTED, AGE_SEX = "permuted", "age_sex"
FLOORS: Mapping[str, str] = {
    "mean": "mean PET of the training participants",
    "ridge": "ridge regression on regional MRI means, from the training participants",
    PERMUTED: "the model's own answer about another participant; the training mean where that "
    "brain does not reach",
    AGE_SEX: "regression on age and sex, from the training participants; regional only",
}
"""Columns beside every score -> what they are."""

OWN, REAL, NEITHER = "own", "real", "extremes"
"""By whose reference mean both images are divided: each by its own, both by the real one's, or
by none (``paper_compat``)."""

ESTIMATE, SAMPLE = "estimate", "one-sample"
"""Whose texture: that of the mean of the samples (or of the only answer), or of one of them."""


@dataclass(frozen=True, eq=False)
class Held:
    """An answer beside the truth, on one grid; activity whose zero is true zero."""

    answer: Answer
    truth: Image
    """(I, J, K); NaN outside the field of view."""
    floors: Mapping[str, Image]
    """Some of :data:`FLOORS`, each (I, J, K)."""
    mask: NDArray[np.bool_]
    """Brain."""
    one_unit: bool
    """Whether answer and truth have one unit; otherwise only ratios to their own reference
    regions can be compared."""

    @property
    def ways(self) -> tuple[str, ...]:
        return (OWN, REAL) if self.one_unit else (OWN,)


def voi_rows(held: Held, regions: Regions, tracer: str) -> Iterator[dict[str, Any]]:
    """Regional SUVr of answer, truth and floors: a row per VOI and way of dividing.

    Of several samples there are also ``spread`` (SD of the samples' SUVr, with M - 1), ``crps``
    and ``rank``.

    Raises
    ------
    EmptyRegionError
        An image has no positive mean in the reference region.
    """
    measure = _measure(regions, held.mask, tracer)
    truth, estimate = measure(held.truth), measure(held.answer.estimate)
    floors = {name: measure(image) for name, image in held.floors.items()}
    samples = [measure(sample) for sample in held.answer.samples]
    for way in held.ways:
        real = truth.reference if way == REAL else None
        columns = {"estimate": estimate.suvr(real), "truth": truth.suvr(real)}
        columns |= {name: floor.suvr(real) for name, floor in floors.items()}
        if len(samples) > 1:
            columns |= _spread(np.stack([one.suvr(real) for one in samples]), columns["truth"])
        for index, voi in enumerate(measure.vois):
            values = {name: column[index] for name, column in columns.items()}
            yield {"voi": voi.name, "divided_by": way, **values}


def truth_rows(images: Images, regions: Regions, tracer: str) -> Iterator[dict[str, Any]]:
    """Regional SUVr of the real PET alone: ``voi truth``."""
    measure = _measure(regions, images.mask, tracer)
    found = measure(images.suvr[tracer]).suvr(None)
    for voi, value in zip(measure.vois, found, strict=True):
        yield {"voi": voi.name, "truth": value}


@dataclass(frozen=True, eq=False)
class _Measured:
    means: NDArray[np.float64]
    """(V,) mean activity of each VOI."""
    reference: float

    def suvr(self, by: float | None) -> NDArray[np.float64]:
        return self.means / (self.reference if by is None else by)


@dataclass(frozen=True, eq=False)
class _Measure:
    """Measure an activity image as the VOI tables of the app are measured."""

    vois: Sequence[VOI]
    labels: NDArray[np.int32]
    region: NDArray[np.bool_]
    voxel_volume_mm3: float

    def __call__(self, activity: Image) -> _Measured:
        size = self.voxel_volume_mm3
        reference = reference_of(activity, self.region, voxel_volume_mm3=size)
        table = voi_table(activity, self.labels, self.vois, reference, voxel_volume_mm3=size)
        return _Measured(table["mean"].to_numpy(dtype=np.float64), reference.mean)


def _measure(regions: Regions, mask: NDArray[np.bool_], tracer: str) -> _Measure:
    return _Measure(
        regions.vois(tracer),
        np.where(mask, regions.labels, 0),
        regions.reference(tracer) & mask,
        regions.grid.voxel_volume_mm3,
    )


def _spread(
    samples: NDArray[np.float64], truth: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """What M samples (M, V) of regional SUVr say of the truth (V,)."""
    rank = np.where(np.isnan(truth), np.nan, rank_of(samples, truth))
    return {"spread": samples.std(0, ddof=1), "crps": fair_crps(samples, truth), "rank": rank}


def image_rows(
    held: Held, regions: Regions, tracer: str, *, suvr_range: float
) -> Iterator[dict[str, Any]]:
    """Image metrics of the answer, each with the same metric of the floors beside it.

    Parameters
    ----------
    suvr_range
        L of PSNR and SSIM: one number per tracer, for all models.
    """
    images = {"value": held.answer.estimate, **held.floors}
    tissue = {GREY: regions.grey, WHITE: regions.white}
    reference = regions.reference(tracer) & held.mask
    divided = {name: on_references(image, held.truth, reference) for name, image in images.items()}
    for way in held.ways:
        yield from _beside(
            {
                name: image_metrics(*found[way], held.mask, suvr_range=suvr_range, regions=tissue)
                for name, found in divided.items()
            },
            {"divided_by": way},
        )
    compat = {name: paper_compat(image, held.truth, held.mask) for name, image in images.items()}
    yield from _beside(compat, {"divided_by": NEITHER})


def texture_rows_of(held: Held, regions: Regions, tracer: str) -> Iterator[dict[str, Any]]:
    """Texture of the estimate and, of several samples, of the first alone; the ridge's beside.

    The training mean is taken from all images before their spectra, and so is no floor here.
    VOIs are single labels, by name.
    """
    reference = regions.reference(tracer) & held.mask
    labels = np.where(held.mask, regions.labels, 0)

    def own(image: Image) -> tuple[Image, Image]:
        return on_references(image, held.truth, reference)[OWN]

    mean = held.floors.get("mean")
    common = None if mean is None else own(mean)[0]

    def texture(image: Image) -> pd.DataFrame:
        found = texture_rows(
            *own(image), held.mask, labels, voxel_mm=regions.voxel_mm, mean=common
        )
        return found.assign(voi=found["voi"].map(_label_name))

    ridge = {name: texture(held.floors[name]) for name in ("ridge",) if name in held.floors}
    answers = {ESTIMATE: held.answer.estimate}
    if len(held.answer.samples) > 1:
        answers[SAMPLE] = held.answer.samples[0]
    for answer, image in answers.items():
        yield from _beside({"value": texture(image), **ridge}, {"answer": answer})


def _label_name(voi: str) -> str:
    return label_names()[int(voi)].name if voi.isdigit() else voi


def _beside(
    tables: Mapping[str, pd.DataFrame], keys: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """One row per metric: what each image has of it, by the image's name."""
    first = tables["value"]
    values = {name: table["value"].to_numpy() for name, table in tables.items()}
    for index, row in enumerate(first.drop(columns="value").to_dict("records")):
        yield {**row, **keys, **{name: column[index] for name, column in values.items()}}
