"""Masks of Centiloid and CenTauR as a Nipype step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
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

from relad_bids.core.columns import complete, joined
from relad_bids.core.template_rows import mask_rows, scaled
from relad_bids.data.template import ATLAS_SPACE
from relad_bids.files import write_table
from relad_bids.interfaces.base import load, load_on, naming_files, out_path
from relad_bids.masks import OF_TARGET, Scale, scale_value
from relad_bids.pet.frames import motion_flags
from relad_bids.tables import tracers


class _MeasureMasksInputSpec(BaseInterfaceInputSpec):
    activity = File(exists=True, mandatory=True, desc="activity on the grid of the masks")
    masks = traits.Dict(mandatory=True, desc="name -> file, of targets and references")
    min_coverage = traits.Range(0.0, 1.0, mandatory=True, desc="least share of a VOI in view")
    context = traits.Dict(mandatory=True, desc="columns with one value for the whole table")
    flags = traits.List(traits.Str, mandatory=True, desc="flags of the whole image")
    motion = traits.Dict(desc="facts of RealignPET; left out where there are no frames")
    found_flags = traits.List(traits.Str, desc="flags that earlier steps found; measured PET")
    mri_flags = traits.List(traits.Str, desc="flags of the MRI that the registration rests on")
    suv_factor = traits.Float(desc="g/mL per unit of the activity; left out if unknown")


class _MeasureMasksOutputSpec(TraitedSpec):
    table = File(exists=True, desc="rows of a VOI table, tab-separated")


class MeasureMasks(SimpleInterface):
    """Average over the masks of the tracer's scale; put what has an equation on that scale."""

    input_spec = _MeasureMasksInputSpec
    output_spec = _MeasureMasksOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given, tracer = self.inputs, self.inputs.context["tracer"]
        scale = OF_TARGET[tracers()[tracer].target]
        context = {
            **given.context, "atlas": scale.atlas, "voi_source": "mni", "voi_space": ATLAS_SPACE,
        }  # fmt: skip
        moved = motion_flags(**given.motion) if isdefined(given.motion) else []
        moved += given.found_flags if isdefined(given.found_flags) else []
        moved += given.mri_flags if isdefined(given.mri_flags) else []
        suv = given.suv_factor if isdefined(given.suv_factor) else np.nan
        blocks = [
            complete(table.assign(suv_mean=suv * table["mean"]), context,
                     flags=[*given.flags, *moved])
            for table in _tables(given, scale, tracer)
        ]  # fmt: skip
        self._results["table"] = str(out_path(runtime, "masks.tsv"))
        write_table(out_path(runtime, "masks.tsv"), joined(blocks))
        return runtime


def _tables(given: Any, scale: Scale, tracer: str) -> Iterator[pd.DataFrame]:
    """Yield the rows over each reference region, on the scale where it has an equation."""
    activity, grid = load(given.activity)
    with naming_files(activity=given.activity, masks=", ".join(given.masks.values())):
        masks = {
            name: load_on(grid, file, ours="activity", theirs=name) > 0.5
            for name, file in given.masks.items()
        }
        tables = mask_rows(
            activity,
            {name: masks[name] for name in scale.targets},
            {name: masks[name] for name in scale.references},
            family=scale.family,
            voxel_volume_mm3=grid.voxel_volume_mm3,
            min_coverage=given.min_coverage,
        )
        value = partial(scale_value, scale=scale, tracer=tracer)
        yield from (scaled(table, value, columns=scale.columns) for table in tables)
