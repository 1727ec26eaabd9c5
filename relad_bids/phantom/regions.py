"""Which uptake every label has: the published group values, spread over FreeSurfer labels.

The numbers stand in ``data/phantom_uptake.tsv`` (measured fits and stated assumptions, relative
to cerebellar grey matter). This module only says which row of that table serves which label, and
fills what the table does not list.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from relad_bids.errors import UsageError

TRACERS = ("flortaucipir", "pib", "pbr28")

MENINGES = 257
"""FreeSurfer number ``CSF_ExtraCerebral``: here the meningeal ring outside the brain."""
HEAD = 258
"""FreeSurfer number ``Head_ExtraCerebral``: scalp, muscle and fat."""
WMH = 77
"""FreeSurfer number ``WM-hypointensities``."""

CEREBELLUM_GM = (8, 47)
DEEP_GM = (10, 11, 12, 13, 17, 18, 26, 28, 49, 50, 51, 52, 53, 54, 58, 60)
CHOROID_PLEXUS = (31, 63)
VENTRICLES = (4, 5, 14, 15, 43, 44)
CSF_LABELS = (*VENTRICLES, 24)
WM_LABELS = (2, 41, 7, 46, 16, 30, 62, 80, 85, 251, 252, 253, 254, 255)

_WM = "cerebral-wm"
_LABELS_OF_AREA = {
    "hippocampus": (17, 53),
    "amygdala": (18, 54),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "caudate": (11, 50, 26, 58),
    "thalamus": (10, 49, 28, 60),
    "choroid-plexus": CHOROID_PLEXUS,
    _WM: (2, 41, 30, 62, 77, 80, 85, 251, 252, 253, 254, 255),
    "cerebellum-wm": (7, 46),
    "cerebellum-gm": CEREBELLUM_GM,
    "brainstem": (16,),
    "csf": CSF_LABELS,
    "meninges-ring": (MENINGES,),
    "head": (HEAD,),
}
"""Labels below 1000, by the area whose uptake they share (ventral DC with the thalamus,
accumbens with the caudate, vessels, optic chiasm and callosum with white matter)."""

_FRONTAL = (
    "caudalmiddlefrontal",
    "lateralorbitofrontal",
    "medialorbitofrontal",
    "parsopercularis",
    "parsorbitalis",
    "parstriangularis",
    "rostralmiddlefrontal",
    "superiorfrontal",
    "frontalpole",
)
_CINGULATE = (
    "caudalanteriorcingulate",
    "isthmuscingulate",
    "posteriorcingulate",
    "rostralanteriorcingulate",
)
_PARIETAL = ("inferiorparietal", "superiorparietal", "supramarginal")
_SENSORIMOTOR = ("paracentral", "postcentral", "precentral", "transversetemporal")
_OCCIPITAL = ("cuneus", "lateraloccipital", "lingual", "pericalcarine")
_TEMPORAL = (
    "bankssts",
    "inferiortemporal",
    "middletemporal",
    "superiortemporal",
    "temporalpole",
    "insula",
)
_MEDIAL_TEMPORAL = ("amygdala", "entorhinal", "parahippocampal")
_STRIATUM = ("putamen", "pallidum", "caudate")

# Area -> row of the table, where the table has no row of that name: the nearest neighbour of
# the same Braak group (tau) or lobe (amyloid, TSPO). Primary areas follow the precentral row.
_ROW_OF_AREA: dict[str, dict[str, str]] = {
    "flortaucipir": {
        "bankssts": "superiortemporal",
        "transversetemporal": "superiortemporal",
        "temporalpole": "middletemporal",
        "caudalanteriorcingulate": "insula",
        "rostralanteriorcingulate": "insula",
        "isthmuscingulate": "posteriorcingulate",
        "superiorparietal": "inferiorparietal",
        "supramarginal": "inferiorparietal",
        "paracentral": "precentral",
        "lateralorbitofrontal": "rostralmiddlefrontal",
        "medialorbitofrontal": "superiorfrontal",
        "caudalmiddlefrontal": "superiorfrontal",
        "parsopercularis": "rostralmiddlefrontal",
        "parsorbitalis": "rostralmiddlefrontal",
        "parstriangularis": "rostralmiddlefrontal",
        "frontalpole": "rostralmiddlefrontal",
    },
    "pib": {
        **dict.fromkeys(_FRONTAL, "frontal-association"),
        **dict.fromkeys(_CINGULATE, "cingulate"),
        **dict.fromkeys(_PARIETAL, "parietal-association"),
        **dict.fromkeys(_SENSORIMOTOR, "precentral"),
        **dict.fromkeys((*_OCCIPITAL, "fusiform"), "occipital"),
        **dict.fromkeys(_TEMPORAL, "temporal-lateral"),
        **dict.fromkeys(_MEDIAL_TEMPORAL, "hippocampus"),
        **dict.fromkeys(_STRIATUM, "striatum"),
    },
    "pbr28": {
        **dict.fromkeys((*_FRONTAL, "precentral", "paracentral"), "lobe-frontal"),
        **dict.fromkeys((*_CINGULATE, *_PARIETAL, *_OCCIPITAL), "global-brain"),
        **dict.fromkeys(("precuneus", "postcentral"), "global-brain"),
        **dict.fromkeys((*_TEMPORAL, *_MEDIAL_TEMPORAL), "lobe-temporal"),
        **dict.fromkeys(("fusiform", "transversetemporal", "hippocampus"), "lobe-temporal"),
        **dict.fromkeys(_STRIATUM, "striatum"),
    },
}

# (mean, SD), the same in health and disease; domain knowledge, no source re-read.
_ASSUMED = {
    "flortaucipir": {"brainstem": (1.15, 0.08), "cerebellum-wm": (0.95, 0.06)},
    "pib": {
        "brainstem": (1.70, 0.10),
        "choroid-plexus": (1.20, 0.15),
        "meninges-ring": (0.55, 0.05),
    },
    "pbr28": {
        "brainstem": (1.08, 0.08),
        _WM: (0.72, 0.05),
        "cerebellum-wm": (0.80, 0.05),
        "cerebellum-gm": (1.0, 0.0),
        "choroid-plexus": (1.40, 0.15),
        "csf": (0.35, 0.05),
        "meninges-ring": (0.60, 0.06),
    },
}
_HEAD_UPTAKE = {"flortaucipir": 0.35, "pib": 0.25, "pbr28": 0.45}
_TSPO_IN_DISEASE = 0.15
"""Temporoparietal TSPO is 10-20 % higher in Alzheimer's disease; others a third of it."""


class LabelUptake(NamedTuple):
    """What one label takes up, relative to cerebellar grey matter."""

    negative: float
    """Mean without pathology."""
    gain: float
    """Added per unit of the label's pathological load (mean of the positives: load 1)."""
    scatter: float
    """Between-subject SD without pathology."""


@lru_cache(maxsize=1)
def label_areas() -> MappingProxyType[int, str]:
    """Return label -> area name, for every label the phantom can hold."""
    areas = {label: area for area, labels in _LABELS_OF_AREA.items() for label in labels}
    for row in _read("labels_fs.tsv").itertuples():
        if row.tissue == "cortex":
            areas[int(row.index)] = row.name.split("-", 2)[2]
    return MappingProxyType(areas)


@lru_cache(maxsize=1)
def braak_groups() -> MappingProxyType[int, str]:
    """Return label -> ``braak1`` ... ``braak6``, for the labels that have a stage."""
    table = _read("labels_fs.tsv").dropna(subset=["braak"])
    return MappingProxyType(dict(zip(table["index"].astype(int), table["braak"], strict=True)))


@lru_cache(maxsize=len(TRACERS))
def label_uptake(tracer: str) -> MappingProxyType[int, LabelUptake]:
    """Return label -> :class:`LabelUptake` of one tracer, complete over :func:`label_areas`.

    Raises
    ------
    UsageError
        The phantom has no uptake table for ``tracer``.
    """
    if tracer not in TRACERS:
        raise UsageError(
            f"the phantom was asked for tracer {tracer!r}; it knows {', '.join(TRACERS)}."
        )
    rows = _rows(tracer)
    return MappingProxyType(
        {label: _area_uptake(tracer, area, rows) for label, area in label_areas().items()}
    )


def _area_uptake(tracer: str, area: str, rows: dict[str, LabelUptake]) -> LabelUptake:
    if area == "head":
        return LabelUptake(_HEAD_UPTAKE[tracer], 0.0, 0.05)
    if area == "cerebellum-gm":  # the unit of all values: no scatter of its own
        return LabelUptake(1.0, 0.0, 0.0)
    if area in _ASSUMED[tracer]:
        return LabelUptake(_ASSUMED[tracer][area][0], 0.0, _ASSUMED[tracer][area][1])
    row = rows[area if area in rows else _ROW_OF_AREA[tracer][area]]
    if tracer != "pbr28":
        return row
    temporoparietal = _ROW_OF_AREA[tracer].get(area) == "lobe-temporal" or area in _PARIETAL
    effect = _TSPO_IN_DISEASE if temporoparietal else _TSPO_IN_DISEASE / 3
    return row._replace(gain=row.negative * effect)


def _rows(tracer: str) -> dict[str, LabelUptake]:
    table = _read("phantom_uptake.tsv").query("tracer == @tracer")
    table = table.assign(mean_pos=table["mean_pos"].fillna(table["mean_neg"]))
    return {
        row.voi: LabelUptake(row.mean_neg, row.mean_pos - row.mean_neg, row.sd_neg)
        for row in table.itertuples()
    }


def _read(name: str) -> pd.DataFrame:
    text = files("relad_bids.data").joinpath(name)
    with text.open(encoding="utf-8") as stream:
        return pd.read_csv(stream, sep="\t", na_values="n/a")
