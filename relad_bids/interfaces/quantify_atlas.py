"""A table of one more atlas, divided by the reference region of the PET's own table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from relad_bids.core.columns import complete, shared_flags
from relad_bids.core.rows import primary_rows
from relad_bids.core.suvr import Reference, voi_table
from relad_bids.files import read_table, write_table
from relad_bids.interfaces.base import load, load_on, naming_files, out_path
from relad_bids.vois import atlas_vois

REFERENCE = ("ref_region", "ref_method", "ref_mean", "ref_volume_mm3", "ref_cov")


class _QuantifyAtlasInputSpec(BaseInterfaceInputSpec):
    activity = File(exists=True, mandatory=True, desc="activity in T1w space, true zero")
    dseg = File(exists=True, mandatory=True, desc="labels of the atlas in T1w space")
    table = File(exists=True, mandatory=True, desc="table of QuantifyPET of the same activity")
    regions = traits.List(traits.Tuple, mandatory=True, desc="number and name of each region")
    min_coverage = traits.Range(0.0, 1.0, mandatory=True, desc="least share of a VOI in view")
    context = traits.Dict(mandatory=True, desc="columns with one value for the whole table")
    suv_factor = traits.Float(desc="g/mL per unit of the activity; left out if unknown")


class _QuantifyAtlasOutputSpec(TraitedSpec):
    table = File(exists=True, desc="VOI table, tab-separated")


class QuantifyAtlas(SimpleInterface):
    """Average over the regions of an atlas; denominator and flags are those of the PET."""

    input_spec = _QuantifyAtlasInputSpec
    output_spec = _QuantifyAtlasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        activity, grid = load(given.activity)
        labels = load_on(grid, given.dseg, ours="activity", theirs="dseg").astype(np.int32)
        main = primary_rows(read_table(Path(given.table)))
        main = main[main["ref_region"] == main["ref_region"].iloc[0]]  # those of masks have theirs
        told = {name: main[name].iloc[0] for name in REFERENCE}
        reference = Reference(told["ref_mean"], told["ref_volume_mm3"], told["ref_cov"], np.nan)
        with naming_files(activity=given.activity, dseg=given.dseg):
            table = voi_table(
                activity, labels, atlas_vois(given.regions), reference,
                voxel_volume_mm3=grid.voxel_volume_mm3, min_coverage=given.min_coverage,
            )  # fmt: skip
        if isdefined(given.suv_factor):
            table = table.assign(suv_mean=given.suv_factor * table["mean"])
        full = complete(table, {**given.context, **told}, flags=shared_flags(main["qc_flags"]))
        write_table(out_path(runtime, "voi.tsv"), full)
        self._results["table"] = str(out_path(runtime, "voi.tsv"))
        return runtime
