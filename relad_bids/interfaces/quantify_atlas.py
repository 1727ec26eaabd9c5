"""A table of one more atlas, divided by the reference regions of the PET's own table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

from relad_bids.core.columns import complete, joined, shared_flags
from relad_bids.core.grid import Grid
from relad_bids.core.intervals import with_intervals
from relad_bids.core.rows import (
    over_another,
    primary_rows,
    referred,
    second_rows,
    with_instability,
)
from relad_bids.core.samples import KEYS, spread_of
from relad_bids.core.suvr import Reference, reference_of_parts, voi_table
from relad_bids.files import read_table, write_table
from relad_bids.interfaces.base import load, load_on, naming_files, out_path
from relad_bids.interfaces.quantify import (
    reference_region,
    seen_on,
    unstable_on,
    warped_onto,
    without_spread,
)
from relad_bids.vois import atlas_vois

REFERENCE = ("ref_region", "ref_method", "ref_mean", "ref_volume_mm3", "ref_cov")


class _AtlasInputSpec(BaseInterfaceInputSpec):
    atlas = File(exists=True, mandatory=True, desc="labels of the atlas in T1w space")
    regions = traits.List(traits.Tuple, mandatory=True, desc="number and name of each region")
    dseg = File(exists=True, mandatory=True, desc="parcellation the reference is drawn from")
    inferior = File(exists=True, mandatory=True, desc="inferior cerebellum in T1w space")
    ref_region = traits.Str(mandatory=True, desc="reference region by name")
    min_coverage = traits.Range(0.0, 1.0, mandatory=True, desc="least share of a VOI in view")


class _MeasureAtlasSpreadInputSpec(_AtlasInputSpec):
    samples = traits.List(File(exists=True), mandatory=True, desc="activities, network's grid")
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    mni_to_t1w = File(exists=True, mandatory=True, desc="ITK transform, resamples MNI onto T1w")


class _MeasureAtlasSpreadOutputSpec(TraitedSpec):
    table = File(exists=True, desc="spread of each region's SUVr over the samples")


class MeasureAtlasSpread(SimpleInterface):
    """Quantify every sample by itself in the regions of an atlas; say how far they differ."""

    input_spec = _MeasureAtlasSpreadInputSpec
    output_spec = _MeasureAtlasSpreadOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        onto = (given.t1w, [given.mni_to_t1w])
        inside = seen_on(runtime, given.samples[0], onto)

        def tables() -> Iterator[pd.DataFrame]:
            for sample in given.samples:
                activity, grid = warped_onto(runtime, sample, onto, inside)
                with naming_files(sample=sample, atlas=given.atlas):
                    yield _table(given, activity, _own_reference(given, activity, grid), grid)

        write_table(out_path(runtime, "spread.tsv"), spread_of(tables()))
        self._results["table"] = str(out_path(runtime, "spread.tsv"))
        return runtime


class _QuantifyAtlasInputSpec(_AtlasInputSpec):
    activity = File(exists=True, mandatory=True, desc="activity in T1w space, true zero")
    table = File(exists=True, mandatory=True, desc="table of QuantifyPET of the same activity")
    context = traits.Dict(mandatory=True, desc="columns with one value for the whole table")
    suv_factor = traits.Float(desc="g/mL per unit of the activity; left out if unknown")
    spread = File(exists=True, desc="table of MeasureAtlasSpread; left out where there is none")
    intervals = traits.Dict(desc="`factors` and `times` of with_intervals; left out if unknown")
    corrected = File(exists=True, desc="activity corrected in these regions, T1w space")
    unstable = File(exists=True, desc="where it is not to be trusted; goes with `corrected`")
    pvc = traits.Dict(desc="columns `pvc` and `pvc_fwhm_mm` of the corrected rows")


class _QuantifyAtlasOutputSpec(TraitedSpec):
    table = File(exists=True, desc="VOI table, tab-separated")


class QuantifyAtlas(SimpleInterface):
    """Average over the regions of an atlas; denominators and flags are those of the PET.

    The rows are those of the PET's own table: primary ones, those over a second reference
    region, and corrected ones over their own, corrected reference.
    """

    input_spec = _QuantifyAtlasInputSpec
    output_spec = _QuantifyAtlasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        activity, grid = load(given.activity)
        own = read_table(Path(given.table))
        with naming_files(activity=given.activity, atlas=given.atlas):
            blocks = list(_blocks(given, activity, own, grid))
        write_table(out_path(runtime, "voi.tsv"), joined(blocks))
        self._results["table"] = str(out_path(runtime, "voi.tsv"))
        return runtime


def _blocks(
    given: Any, activity: NDArray[np.float32], own: pd.DataFrame, grid: Grid
) -> Iterator[pd.DataFrame]:
    main = primary_rows(own)
    main = main[main["ref_region"] == given.ref_region]  # those of masks have theirs
    reference, told = _told(main)
    plain = _table(given, activity, reference, grid)
    suv = given.suv_factor if isdefined(given.suv_factor) else np.nan
    plain = plain.assign(suv_mean=suv * plain["mean"])
    first = plain
    if isdefined(given.spread):
        first = first.merge(read_table(Path(given.spread)), on=KEYS, validate="1:1")
    if isdefined(given.intervals) and given.intervals:
        first = with_intervals(first, **given.intervals)
    flags = shared_flags(main["qc_flags"])
    yield complete(first, {**given.context, **told}, flags=flags)
    for _, rows in second_rows(own).groupby("ref_region", sort=False):
        second, told = _told(rows)
        again = over_another(plain, second, name=told["ref_region"], method=told["ref_method"])
        again = again.assign(flags=plain["flags"])  # the rows that are copied from have them
        shared = shared_flags(rows["qc_flags"])
        yield complete(again, {**given.context, **told}, flags=shared)
    if isdefined(given.corrected):
        context = {**given.context, **given.pvc}
        corrected = _corrected(given, grid, method=main["ref_method"].iloc[0])
        yield complete(corrected, context, flags=flags)


def _told(rows: pd.DataFrame) -> tuple[Reference, dict[str, Any]]:
    """The reference region that rows of a written table were divided by, and its columns."""
    told = {name: rows[name].iloc[0] for name in REFERENCE}
    return Reference(told["ref_mean"], told["ref_volume_mm3"], told["ref_cov"], np.nan), told


def _corrected(given: Any, grid: Grid, *, method: str) -> pd.DataFrame:
    """Means of the corrected image over its own, corrected reference."""
    activity = load_on(grid, given.corrected, ours="activity", theirs="corrected")
    reference = _own_reference(given, activity, grid)
    table = referred(
        _table(given, activity, reference, grid), reference, name=given.ref_region, method=method
    )
    unstable = unstable_on(given.unstable, activity, grid)
    shares = _table(given, unstable, reference, grid)["mean"]
    region = np.logical_or.reduce(reference_region(given, given.ref_region, grid)[0])
    share = float(np.nanmean(unstable[region]))
    table = with_instability(table, shares, reference_share=share)
    return without_spread(table, given.pvc["pvc"])


def _own_reference(given: Any, activity: NDArray[np.float32], grid: Grid) -> Reference:
    parts, _, _ = reference_region(given, given.ref_region, grid)
    return reference_of_parts(activity, parts, voxel_volume_mm3=grid.voxel_volume_mm3)


def _table(
    given: Any, activity: NDArray[np.float32], reference: Reference, grid: Grid
) -> pd.DataFrame:
    """One row per region of the atlas."""
    labels = load_on(grid, given.atlas, ours="activity", theirs="atlas").astype(np.int32)
    return voi_table(
        activity, labels, atlas_vois(given.regions), reference,
        voxel_volume_mm3=grid.voxel_volume_mm3, min_coverage=given.min_coverage,
    )  # fmt: skip
