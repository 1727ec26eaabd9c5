"""The table of a measured PET that missed its window, as a Nipype step."""

from __future__ import annotations

from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from relad_bids.core.columns import complete
from relad_bids.core.rows import without_values
from relad_bids.core.suvr import Reference, voi_table
from relad_bids.files import write_table
from relad_bids.interfaces.base import load, out_path
from relad_bids.vois import quantified_vois

NO_REFERENCE = Reference(mean=np.nan, volume_mm3=np.nan, cov=np.nan, fov_fraction=np.nan)


class _TellMissedInputSpec(BaseInterfaceInputSpec):
    dseg = File(exists=True, mandatory=True, desc="parcellation in T1w space")
    numbers = traits.List(traits.Int, mandatory=True, desc="labels of the parcellation")
    ref_region = traits.Str(mandatory=True, desc="reference region by name")
    context = traits.Dict(mandatory=True, desc="columns with one value for the whole table")
    flags = traits.List(traits.Str, mandatory=True, desc="flags of the whole image")


class _TellMissedOutputSpec(TraitedSpec):
    table = File(exists=True, desc="VOI table without values, tab-separated")


class TellMissed(SimpleInterface):
    """Write the rows that a PET would have had, n/a, with its window and the flag of it."""

    input_spec = _TellMissedInputSpec
    output_spec = _TellMissedOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        data, grid = load(given.dseg)
        labels = np.rint(data).astype(np.int32)
        sizes = voi_table(
            np.ones(grid.shape), labels, quantified_vois(given.numbers), NO_REFERENCE,
            voxel_volume_mm3=grid.voxel_volume_mm3,
        )  # fmt: skip
        rows = without_values(sizes).assign(ref_region=given.ref_region)
        path = out_path(runtime, "voi.tsv")
        write_table(path, complete(rows, given.context, flags=given.flags))
        self._results["table"] = str(path)
        return runtime
