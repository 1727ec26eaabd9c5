"""The wide table: one row per image, a column per region, named as ADNI's users know them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from relad_bids.core.columns import COLUMNS
from relad_bids.core.reference_outliers import FAR, reference_outliers
from relad_bids.core.scales import NO_CORRECTION
from relad_bids.group.scans import REGION, SCAN, Scans, primary_voi
from relad_bids.group.written import Table

STEMS: Mapping[str, str] = {
    "metatemporal": "META_TEMPORAL",
    "amyloid-composite": "SUMMARY",
    "cerebellum-whole": "WHOLECEREBELLUM",
    "cerebellum-inferior-gm": "INFERIORCEREBELLUM",
    "wm-eroded": "ERODED_SUBCORTICALWM",
}
"""VOI -> ADNI's name for it, where upper case alone does not give it."""

OUTLIER = "ref_outlier"
FAIL = frozenset({"window_mismatch"})
PARTIAL = frozenset(
    {
        *("window_partial", "window_assumed", "motion_high", "coreg_suspect", "ref_fov"),
        *("ref_small", OUTLIER, "voi_fov", "lowres", "ood", "flair_missing"),
        *("labels_suspect", "decay_unknown", "min_nonzero", "negative_voxels"),
    }
)
WARNING = frozenset(
    {"pseudo_reference", "ligand_undeclared", "window_partial", "window_assumed",
     "window_mismatch"}
)  # fmt: skip

HEAD: Mapping[str, dict[str, Any]] = {
    **{name: dict(COLUMNS[name]) for name in ("participant_id", "session_id", "run")},
    "TRACER": dict(COLUMNS["tracer"]),
    "SOURCE": dict(COLUMNS["source"]),
    "CHECKPOINT_ID": dict(COLUMNS["checkpoint_id"]),
    "REF_REGION": dict(COLUMNS["ref_region"]),
    "qc_flag": {
        "Description": "Quality by the flags of the tracer's first primary region",
        "Levels": {
            "2": "pass",
            "1": f"partial: one of {', '.join(sorted(PARTIAL))}",
            "0": f"fail: no value, or {', '.join(sorted(FAIL))}",
            "-1": "not assessed: no primary region",
        },
    },
    "TRACER_SUVR_WARNING": {
        "Description": "Whether SUVr of this image must be read with care",
        "Levels": {"1": f"one of {', '.join(sorted(WARNING))}", "0": "none of them"},
    },
    "QC_FLAGS": {
        **COLUMNS["qc_flags"],
        "Levels": {
            **cast("Mapping[str, str]", COLUMNS["qc_flags"]["Levels"]),
            OUTLIER: f"mean of the reference region more than {FAR:g} scaled MAD from the median "
            "of the tracer's images in that unit; in this table alone, since it needs a cohort",
        },
    },
    "CENTILOIDS": {**COLUMNS["centiloid"], "Units": "CL"},
    "CENTAURZ": dict(COLUMNS["centaurz"]),
}


def wide_table(scans: Scans) -> Table:
    """Turn regions into columns; secondary values get a suffix, so that no column mixes them."""
    primary, secondary = scans.primary, scans.secondary
    every = pd.concat([primary, secondary]) if len(secondary) else primary
    head = _head(primary, every)
    place = pd.Index(head.pop("scan"))
    suvr, told = _spread(primary, "suvr_mean", place, _stem, "SUVR")
    both, told_both = _both_sides(primary, place)
    volume, told_volume = _spread(primary, "volume_mm3", place, _stem, "VOLUME")
    more, told_more = _spread(secondary, "suvr_mean", place, _stem_secondary, "SUVR")
    frame = pd.concat([head.rename(columns=str), suvr, both, more, volume], axis=1)
    frame = frame.rename(columns={"tracer": "TRACER", "source": "SOURCE"})
    columns = {**HEAD, **told, **told_both, **told_more, **told_volume}
    facts = {
        "Note": "SUVR columns are divided by REF_REGION already, and are not to be divided again "
        "by a cerebellar column. Values corrected for partial volume or divided by a second "
        "reference region have the suffix _PVC_<method> or _REF_<region>."
    }
    return Table("wide", frame[list(columns)], columns, facts)


def stem(voi: str, hemi: str, family: str) -> str:
    """Name of a region.

    >>> stem("ctx-lh-entorhinal", "L", "label"), stem("hippocampus", "L", "tspo")
    ('CTX_LH_ENTORHINAL', 'LEFT_HIPPOCAMPUS')
    """
    name = STEMS.get(voi) or re.sub(r"[^A-Z0-9]+", "_", voi.upper()).strip("_")
    if family == "label" or hemi not in ("L", "R"):
        return name
    return f"{'LEFT' if hemi == 'L' else 'RIGHT'}_{name}"


def _stem(row: Mapping[str, str]) -> tuple[str, str]:
    return stem(row["voi"], row["hemi"], row["family"]), ""


def _stem_secondary(row: Mapping[str, str]) -> tuple[str, str]:
    pvc, region = row["pvc"], re.sub(r"[^A-Z0-9]+", "_", row["ref_region"].upper())
    corrected = f"_PVC_{pvc.upper()}" if pvc not in ("nan", NO_CORRECTION) else ""
    second = f"_REF_{region}" if "second_reference" in row["qc_flags"].split(";") else ""
    return stem(row["voi"], row["hemi"], row["family"]), corrected + second


def _spread(
    rows: pd.DataFrame, value: str, place: pd.Index, name: Any, what: str
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Put a column of the rows into a matrix of images by regions; the first of a name counts."""
    keys = [*REGION] if name is _stem else [*REGION, "pvc", "ref_region", "qc_flags"]
    kind = rows.groupby(keys, observed=True, sort=False, dropna=False).ngroup().to_numpy()
    _, first = np.unique(kind, return_index=True)
    kinds = rows.iloc[first][keys].astype(object).fillna("nan").to_dict("records")
    names = [f"{name(row)[0]}_{what}{name(row)[1]}" for row in kinds]
    told: dict[str, dict[str, Any]] = {}
    for column, row in zip(names, kinds, strict=True):
        told.setdefault(column, _entry(row, what, value))
    at = pd.Index(list(told)).get_indexer(names)
    matrix = np.full((len(place), len(told)), np.nan)
    scan = place.get_indexer(rows["scan"])
    order = np.arange(len(rows))[::-1]  # the first of a name is written last
    matrix[scan[order], at[kind[order]]] = rows[value].to_numpy(dtype=np.float64)[order]
    return pd.DataFrame(matrix, columns=list(told)), told


def _entry(row: Mapping[str, str], what: str, value: str) -> dict[str, Any]:
    side = {"L": "left", "R": "right"}.get(row["hemi"], "both sides, or midline")
    words = {"SUVR": "SUVr, mean", "VOLUME": "Volume"}[what]
    more = "".join(
        f", {key} {row[key]}" for key in ("pvc", "ref_region") if row.get(key, "nan") != "nan"
    )
    return {
        "Description": f"{words} of {row['voi']} ({row['family']}), {side}{more}",
        "Units": COLUMNS[value]["Units"],
    }


def _both_sides(
    primary: pd.DataFrame, place: pd.Index
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Both sides of each cortical label: the mean of all its voxels inside the field of view."""
    text = primary["voi"].astype(str)
    cortex = primary[(primary["family"] == "label") & text.str.match(r"ctx-[lr]h-")]
    region = cortex["voi"].astype(str).str.slice(7)
    weight = (cortex["n_voxels"] * cortex["fov_fraction"]).to_numpy(dtype=np.float64)
    scan = place.get_indexer(cortex["scan"])
    names = list(dict.fromkeys(region))
    at = pd.Index(names, dtype=object).get_indexer(region)
    total, weights, sides = (np.zeros((len(place), len(names))) for _ in range(3))
    suvr = cortex["suvr_mean"].to_numpy(dtype=np.float64)
    known = np.isfinite(suvr) & (weight > 0)
    where = (scan[known], at[known])
    np.add.at(total, where, suvr[known] * weight[known])
    np.add.at(weights, where, weight[known])
    np.add.at(sides, where, 1)
    mean = np.where(sides == 2, total / np.where(weights > 0, weights, 1), np.nan)
    columns = [f"{stem('ctx-' + name, 'B', 'label')}_SUVR" for name in names]
    told = {
        column: {"Description": f"SUVr, mean of all voxels of {name}, both sides",
                 "Units": COLUMNS["suvr_mean"]["Units"]}
        for column, name in zip(columns, names, strict=True)
    }  # fmt: skip
    return pd.DataFrame(mean, columns=columns), told


def _head(primary: pd.DataFrame, every: pd.DataFrame) -> pd.DataFrame:
    """One row per image: keys, quality and scales."""
    head = primary.drop_duplicates("scan")[["scan", *SCAN, "checkpoint_id", "ref_region"]]
    head = head.astype({name: object for name in head if name != "scan"}).reset_index(drop=True)
    place = pd.Index(head["scan"])
    flags = _primary_flags(primary, place)
    head = head.rename(columns={"checkpoint_id": "CHECKPOINT_ID", "ref_region": "REF_REGION"})
    head["qc_flag"], head["TRACER_SUVR_WARNING"] = flags["qc_flag"], flags["warning"]
    head["QC_FLAGS"] = flags["qc_flags"]
    for column, value in (("CENTILOIDS", "centiloid"), ("CENTAURZ", "centaurz")):
        known = every.dropna(subset=[value]).drop_duplicates("scan")
        found = np.full(len(head), np.nan)
        found[place.get_indexer(known["scan"])] = known[value]
        head[column] = found
    return head


def _primary_flags(primary: pd.DataFrame, place: pd.Index) -> pd.DataFrame:
    """Flags of the tracer's first primary region, and what they amount to, per image."""
    whole = primary[primary["hemi"] == "B"]
    voi = {
        str(tracer): primary_voi(str(tracer), group["voi"].drop_duplicates())
        for tracer, group in whole.groupby("tracer", observed=True)
    }
    wanted = whole["tracer"].astype(object).map(voi)
    rows = whole[whole["voi"].astype(object) == wanted].drop_duplicates("scan")
    rows = rows.assign(qc_flags=_with_outliers(rows))
    judged = [
        _judged(str(flags), bool(np.isfinite(value)))
        for flags, value in zip(rows["qc_flags"], rows["suvr_mean"], strict=True)
    ]
    found = pd.DataFrame({"qc_flag": -1, "warning": 0, "qc_flags": None}, index=range(len(place)))
    at = place.get_indexer(rows["scan"])
    if len(at):
        found.loc[at, ["qc_flag", "warning"]] = np.array(judged)
        found.loc[at, "qc_flags"] = rows["qc_flags"].astype(object).to_numpy()
    return found


def _with_outliers(rows: pd.DataFrame) -> pd.Series:
    """Flags of images, with that of a reference region unlike the cohort's."""
    flags = rows["qc_flags"].astype(object)
    alike = rows.groupby(["tracer", "source", "unit"], observed=True)["ref_mean"]
    far = alike.transform(lambda means: reference_outliers(means.to_numpy())).astype(bool)
    told = flags.where(flags != "ok", "") + ";" + OUTLIER
    return flags.mask(far, told.str.lstrip(";"))


def _judged(flags: str, known: bool) -> tuple[int, int]:
    words = set(flags.split(";"))
    quality = 0 if not known or words & FAIL else 1 if words & PARTIAL else 2
    return quality, int(bool(words & WARNING))
