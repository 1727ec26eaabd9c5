"""Regional quantification as Nipype steps; the same for synthetic and measured PET."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from numpy.typing import NDArray

from relad_bids.core.columns import complete, joined
from relad_bids.core.grid import Grid
from relad_bids.core.intervals import with_intervals
from relad_bids.core.rows import over_another, referred, with_instability
from relad_bids.core.samples import KEYS, Moments, spread_of
from relad_bids.core.suvr import Reference, reference_of_parts, to_suvr, voi_table
from relad_bids.files import read_table, write_table
from relad_bids.interfaces.base import (
    grid_of_file,
    load,
    load_on,
    naming_files,
    out_path,
    save,
)
from relad_bids.interfaces.mri import resample_file
from relad_bids.pet.frames import motion_flags
from relad_bids.vois import (
    quantified_vois,
    reference_method,
    reference_parts,
    ruled_labels,
    ruled_regions,
)


class _WarpActivityInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="activity on a grid of its own")
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    xfm = File(exists=True, desc="ITK transform onto T1w; left out where they share a space")


class _WarpActivityOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="activity in T1w space, NaN outside the field of view")


class WarpActivity(SimpleInterface):
    """Bring an activity image to T1w space; what was never seen becomes NaN, not 0."""

    input_spec = _WarpActivityInputSpec
    output_spec = _WarpActivityOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        through = [self.inputs.xfm] if isdefined(self.inputs.xfm) else []
        onto = (self.inputs.t1w, through)
        inside = seen_on(runtime, self.inputs.in_file, onto)
        data, grid = warped_onto(runtime, self.inputs.in_file, onto, inside)
        self._results["out_file"] = save(out_path(runtime, "activity.nii.gz"), data, grid)
        return runtime


Onto = tuple[str, list[str]]
"""T1w whose grid is wanted, and the transforms that lead there."""


def seen_on(runtime: Any, in_file: str, onto: Onto) -> NDArray[np.bool_]:
    """Where on the T1w grid the field of view of an image reaches."""
    grid = grid_of_file(in_file)
    ones = np.ones(grid.shape, dtype=np.uint8)
    ones_file = save(out_path(runtime, "ones.nii.gz"), ones, grid)
    seen = out_path(runtime, "seen.nii.gz")
    return load(resample_file(ones_file, *onto, seen, interpolation="nearest"))[0] > 0


def warped_onto(
    runtime: Any, in_file: str, onto: Onto, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], Grid]:
    """An activity image on the T1w grid, NaN where nothing was seen."""
    warped = out_path(runtime, "warped.nii.gz")
    data, grid = load(resample_file(in_file, *onto, warped, interpolation="linear"))
    return np.where(inside, data, np.nan).astype(np.float32), grid


class _MeasureSpreadInputSpec(BaseInterfaceInputSpec):
    samples = traits.List(File(exists=True), mandatory=True, desc="activities, network's grid")
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    mni_to_t1w = File(exists=True, mandatory=True, desc="ITK transform, resamples MNI onto T1w")
    dseg = File(exists=True, mandatory=True, desc="parcellation in T1w space")
    inferior = File(exists=True, mandatory=True, desc="inferior cerebellum in T1w space")
    numbers = traits.List(traits.Int, mandatory=True, desc="labels of the parcellation")
    ref_region = traits.Str(mandatory=True, desc="reference region by name")
    min_coverage = traits.Range(0.0, 1.0, mandatory=True, desc="least share of a VOI in view")


class _MeasureSpreadOutputSpec(TraitedSpec):
    table = File(exists=True, desc="spread of each VOI's SUVr over the samples")
    suvr_sd_mni = File(exists=True, desc="SD map of SUVr in template space")


class MeasureSpread(SimpleInterface):
    """Quantify every sample by itself; say how far they differ. One sample is held at a time."""

    input_spec = _MeasureSpreadInputSpec
    output_spec = _MeasureSpreadOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        first = self.inputs.samples[0]
        onto = (self.inputs.t1w, [self.inputs.mni_to_t1w])
        inside = seen_on(runtime, first, onto)
        voxels = Moments()

        def tables() -> Iterator[pd.DataFrame]:
            for sample in self.inputs.samples:
                activity, grid = warped_onto(runtime, sample, onto, inside)
                with naming_files(sample=sample, dseg=self.inputs.dseg):
                    measured = _measured(self.inputs, activity, grid)
                voxels.add(to_suvr(load(sample)[0], measured.reference))
                yield measured.table

        write_table(out_path(runtime, "spread.tsv"), spread_of(tables()))
        self._results["table"] = str(out_path(runtime, "spread.tsv"))
        path = out_path(runtime, "suvr_sd.nii.gz")
        self._results["suvr_sd_mni"] = save(path, voxels.sd, grid_of_file(first))
        return runtime


class _QuantifyPETInputSpec(BaseInterfaceInputSpec):
    activity = File(exists=True, mandatory=True, desc="activity in T1w space, true zero")
    activity_mni = File(exists=True, mandatory=True, desc="the same in template space")
    dseg = File(exists=True, mandatory=True, desc="parcellation in T1w space")
    inferior = File(exists=True, mandatory=True, desc="inferior cerebellum in T1w space")
    numbers = traits.List(traits.Int, mandatory=True, desc="labels of the parcellation")
    ref_region = traits.Str(mandatory=True, desc="reference region by name")
    min_coverage = traits.Range(0.0, 1.0, mandatory=True, desc="least share of a VOI in view")
    context = traits.Dict(mandatory=True, desc="columns with one value for the whole table")
    flags = traits.List(traits.Str, mandatory=True, desc="flags of the whole image")
    spread = File(exists=True, desc="table of MeasureSpread; left out where there is none")
    intervals = traits.Dict(desc="`factors` and `times` of with_intervals; left out if unknown")
    motion = traits.Dict(desc="facts of RealignPET; left out where there are no frames")
    suit = traits.Bool(False, usedefault=True, desc="`inferior` was drawn by SUIT's lobules")
    found_flags = traits.List(traits.Str, desc="flags that earlier steps found; measured PET")
    mri_flags = traits.List(traits.Str, desc="flags of the MRI that the labels rest on")
    suv_factor = traits.Float(desc="g/mL per unit of the activity; left out if unknown")
    second_refs = traits.List(traits.Str, desc="reference regions of further rows")
    corrected = File(exists=True, desc="activity corrected for partial volume, T1w space")
    unstable = File(exists=True, desc="where it is not to be trusted; goes with `corrected`")
    pvc = traits.Dict(desc="columns `pvc` and `pvc_fwhm_mm` of the corrected rows")
    template_rows = File(exists=True, desc="rows read out in template space (MeasureMasks)")


class _QuantifyPETOutputSpec(TraitedSpec):
    table = File(exists=True, desc="VOI table, tab-separated")
    suvr_t1w = File(exists=True, desc="SUVr map in T1w space")
    suvr_mni = File(exists=True, desc="SUVr map in template space")
    ref_mask = File(exists=True, desc="reference region as applied, T1w space")


class QuantifyPET(SimpleInterface):
    """Divide by the reference region, average over the VOIs."""

    input_spec = _QuantifyPETInputSpec
    output_spec = _QuantifyPETOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        activity, grid = load(given.activity)
        with naming_files(activity=given.activity, dseg=given.dseg):
            region, reference, table = _measured(given, activity, grid)
            write_table(out_path(runtime, "voi.tsv"), _rows(given, table, reference, grid))
        self._results["table"] = str(out_path(runtime, "voi.tsv"))
        self._results["ref_mask"] = save(
            out_path(runtime, "ref.nii.gz"), region.astype(np.uint8), grid
        )
        self._results["suvr_t1w"] = save(
            out_path(runtime, "suvr_t1w.nii.gz"), to_suvr(activity, reference), grid
        )
        mni, mni_grid = load(given.activity_mni)
        self._results["suvr_mni"] = save(
            out_path(runtime, "suvr_mni.nii.gz"), to_suvr(mni, reference), mni_grid
        )
        return runtime


def _rows(given: Any, table: pd.DataFrame, reference: Reference, grid: Grid) -> pd.DataFrame:
    """All rows of a table: the primary ones first, then those that stand beside them."""
    moved = motion_flags(**given.motion) if isdefined(given.motion) else []
    moved += given.found_flags if isdefined(given.found_flags) else []
    flags = [*given.flags, *moved, *(given.mri_flags if isdefined(given.mri_flags) else [])]
    suv = given.suv_factor if isdefined(given.suv_factor) else np.nan
    table = table.assign(suv_mean=suv * table["mean"])
    blocks = [
        complete(_primary(given, table, reference), given.context, flags=flags),
        *(complete(rows, given.context, flags=flags) for rows in _seconds(given, table, grid)),
    ]
    if isdefined(given.corrected):
        context = {**given.context, **given.pvc}
        blocks.append(complete(_corrected(given, grid), context, flags=flags))
    if isdefined(given.template_rows):
        blocks.append(read_table(Path(given.template_rows)))
    return joined(blocks)


def _primary(given: Any, table: pd.DataFrame, reference: Reference) -> pd.DataFrame:
    """The rows that everything else reads, with spread and interval where there are such."""
    if isdefined(given.spread):
        table = table.merge(read_table(Path(given.spread)), on=KEYS, validate="1:1")
    if isdefined(given.intervals) and given.intervals:
        table = with_intervals(table, **given.intervals)
    method = reference_method(given.ref_region, suit=given.suit)
    return referred(table, reference, name=given.ref_region, method=method)


def _seconds(given: Any, table: pd.DataFrame, grid: Grid) -> Iterator[pd.DataFrame]:
    """The same means over further reference regions."""
    activity = load(given.activity)[0]
    for name in given.second_refs if isdefined(given.second_refs) else ():
        parts, _, _ = reference_region(given, name, grid)
        reference = reference_of_parts(activity, parts, voxel_volume_mm3=grid.voxel_volume_mm3)
        method = reference_method(name, suit=given.suit)
        yield over_another(table, reference, name=name, method=method)


def _corrected(given: Any, grid: Grid) -> pd.DataFrame:
    """Means of a corrected image over its own, corrected reference, and which are doubtful."""
    activity = load_on(grid, given.corrected, ours="activity", theirs="corrected")
    region, reference, table = _measured(given, activity, grid)
    method = reference_method(given.ref_region, suit=given.suit)
    own = referred(table, reference, name=given.ref_region, method=method)
    unstable = unstable_on(given.unstable, activity, grid)
    shares = _measured(given, unstable, grid, reference=reference).table["mean"]
    own = with_instability(own, shares, reference_share=float(np.nanmean(unstable[region])))
    return without_spread(own, given.pvc["pvc"])


def unstable_on(unstable: str, corrected: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """1 where corrected values are not to be trusted, else 0, NaN where there are none."""
    share = load_on(grid, unstable, ours="corrected", theirs="unstable")
    return np.where(np.isfinite(corrected), share, np.nan).astype(np.float32)


def without_spread(table: pd.DataFrame, pvc: str) -> pd.DataFrame:
    """Leave out what a correction that gives each label one value says nothing of."""
    return table.assign(**dict.fromkeys(VOXELWISE, np.nan)) if pvc == "GTM" else table


VOXELWISE = ("median", "sd", "p05", "p95", "suvr_median", "suvr_sd", "ref_cov")
"""Columns that say nothing of a correction which gives each label one value."""


class _Measured(NamedTuple):
    region: NDArray[np.bool_]
    """Reference region as applied, T1w space."""
    reference: Reference
    table: pd.DataFrame
    """From :func:`relad_bids.core.suvr.voi_table`."""


def _measured(
    given: Any,
    activity: NDArray[np.float32],
    grid: Grid,
    *,
    reference: Reference | None = None,
) -> _Measured:
    """Quantify one activity image in T1w space with a step's labels and settings."""
    parts, labels, inferior = reference_region(given, given.ref_region, grid)
    volume_mm3 = grid.voxel_volume_mm3
    reference = reference or reference_of_parts(activity, parts, voxel_volume_mm3=volume_mm3)
    ruled, ruled_vois = ruled_regions(labels, inferior, voxel_mm=grid.voxel_mm)
    tables = [
        voi_table(
            activity, image, vois, reference,
            voxel_volume_mm3=volume_mm3, min_coverage=given.min_coverage,
        )
        for image, vois in ((labels, quantified_vois(given.numbers)), (ruled, ruled_vois))
    ]  # fmt: skip
    tables[1]["labels"] = tables[1]["voi"].map(ruled_labels)
    tables[1]["labels_missing"] = None
    table = pd.concat(tables, ignore_index=True)
    return _Measured(np.logical_or.reduce(parts), reference, table)


def reference_region(
    given: Any, name: str, grid: Grid
) -> tuple[list[NDArray[np.bool_]], NDArray[np.int32], NDArray[np.bool_]]:
    """The parts of a reference region, the labels they were drawn from, inferior cerebellum."""
    labels = load_on(grid, given.dseg, ours="activity", theirs="dseg").astype(np.int32)
    inferior = load_on(grid, given.inferior, ours="activity", theirs="inferior") > 0
    parts = reference_parts(name, labels, inferior, voxel_mm=grid.voxel_mm)
    return parts, labels, inferior
