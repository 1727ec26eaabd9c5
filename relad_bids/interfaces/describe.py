"""Tables that describe a session: its parcellation and its quality."""

from __future__ import annotations

from collections.abc import Sequence
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

from relad_bids.core.coregistration import Coregistration
from relad_bids.core.qc import qc_row
from relad_bids.core.quality_columns import quality_flags
from relad_bids.files import write_table
from relad_bids.interfaces.base import load_labels, out_path
from relad_bids.pet.frames import motion_flags
from relad_bids.tables import label_names

MASK_FIGURES = ("symmetry", "overlap", "cut", "kept")
"""Of :meth:`relad_bids.mri.brain.BrainMask.facts`, for the QC table."""


class _DescribeParcellationInputSpec(BaseInterfaceInputSpec):
    dseg = File(exists=True, mandatory=True, desc="parcellation in T1w space")
    numbers = traits.List(traits.Int, mandatory=True, desc="labels of the parcellation")


class _DescribeParcellationOutputSpec(TraitedSpec):
    names = File(exists=True, desc="index and name of each label")
    morph = File(exists=True, desc="volume and voxel count of each label")


class DescribeParcellation(SimpleInterface):
    """Write the label table and the regional volumes."""

    input_spec = _DescribeParcellationInputSpec
    output_spec = _DescribeParcellationOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        labels, grid = load_labels(self.inputs.dseg)
        known = label_names()
        numbers = [n for n in self.inputs.numbers if n in known]
        names = [known[n].name for n in numbers]
        tables = describe_labels(labels, numbers, names, grid.voxel_volume_mm3)
        for key, table in tables.items():
            self._results[key] = str(out_path(runtime, f"{key}.tsv"))
            write_table(out_path(runtime, f"{key}.tsv"), table)
        return runtime


def describe_labels(
    labels: NDArray[np.integer],
    numbers: Sequence[int],
    names: Sequence[str],
    voxel_volume_mm3: float,
) -> dict[str, pd.DataFrame]:
    """Tables ``names`` and ``morph`` of a label image: what each number is, how large."""
    known = pd.DataFrame({"index": list(numbers), "name": list(names)})
    counts = np.bincount(labels.ravel(), minlength=max(numbers) + 1)[list(numbers)]
    volumes = {"volume-mm3": counts * voxel_volume_mm3}
    return {"names": known, "morph": known.assign(n_voxels=counts, **volumes)}


class _FlagMRIInputSpec(BaseInterfaceInputSpec):
    brain = traits.Dict(mandatory=True, desc="facts of ExtractBrain")
    t1w_figures = traits.Dict(mandatory=True, desc="figures of MeasureT1w")
    flair = traits.Dict(desc="facts of RegisterFlair; left out without FLAIR")
    flair_figures = traits.Dict(desc="figures of MeasureFlair; left out without FLAIR")


class _FlagMRIOutputSpec(TraitedSpec):
    t1w_flags = traits.List(traits.Str, desc="what is odd about T1w, brain and registration")
    flags = traits.List(traits.Str, desc="the same and what is odd about the FLAIR")


class FlagMRI(SimpleInterface):
    """Say in flags what of a session's MRI is unusual, for every table that rests on it."""

    input_spec = _FlagMRIInputSpec
    output_spec = _FlagMRIOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        t1w = [*given.brain["flags"], *quality_flags(given.t1w_figures)]
        flair = dict(given.flair_figures) if isdefined(given.flair_figures) else {}
        if isdefined(given.flair):
            flair["flair_cost"] = given.flair.get("cost")
        self._results["t1w_flags"] = t1w
        self._results["flags"] = [*t1w, *quality_flags(flair)]
        return runtime


class _CollectQCInputSpec(BaseInterfaceInputSpec):
    known = traits.Dict(mandatory=True, desc="columns known before the run")
    mri_flags = traits.List(traits.Str, desc="flags of FlagMRI")
    brain = traits.Dict(mandatory=True, desc="facts of ExtractBrain")
    flair = traits.Dict(desc="facts of RegisterFlair")
    lesion = traits.Dict(desc="facts of AdoptLesion")
    flags = traits.List(traits.Str, mandatory=True, desc="flags known before the run")
    t1w_figures = traits.Dict(desc="figures of MeasureT1w")
    flair_figures = traits.Dict(desc="figures of MeasureFlair")
    pet_scores = traits.List(traits.Dict, desc="facts of ScorePET of each measured PET")
    pet_motions = traits.List(traits.Dict, desc="facts of RealignPET of each measured PET")
    label_flags = traits.List(traits.Str, desc="flags of the parcellation")


class _CollectQCOutputSpec(TraitedSpec):
    table = File(exists=True, desc="one row")
    flags = traits.List(traits.Str, desc="all flags")


class CollectQC(SimpleInterface):
    """Gather what the steps found into the session's QC row."""

    input_spec = _CollectQCInputSpec
    output_spec = _CollectQCOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        brain = self.inputs.brain
        flair = self.inputs.flair if isdefined(self.inputs.flair) else {}
        lesion = self.inputs.lesion if isdefined(self.inputs.lesion) else {}
        labels = self.inputs.label_flags if isdefined(self.inputs.label_flags) else []
        mri = self.inputs.mri_flags if isdefined(self.inputs.mri_flags) else []
        measured, found = self._measured()
        quality = {"brain_volume_ml": brain["volume_ml"], "flair_cost": flair.get("cost")}
        for figures in (self.inputs.t1w_figures, self.inputs.flair_figures):
            quality |= figures if isdefined(figures) else {}
        flags = [*self.inputs.flags, *mri, *labels, *found]
        row = qc_row(
            {
                **self.inputs.known,
                **measured,
                **quality,
                "status": "ok",
                "flags": ";".join(flags) or "ok",
                "mask_method": brain["method"],
                **{f"mask_{name}": brain.get(name) for name in MASK_FIGURES},
                "lesion_volume_ml": lesion.get("volume_ml"),
                "flair_init": flair.get("init"),
            }
        )
        write_table(out_path(runtime, "qc.tsv"), row)
        self._results["table"] = str(out_path(runtime, "qc.tsv"))
        self._results["flags"] = flags
        return runtime

    def _measured(self) -> tuple[dict[str, str], list[str]]:
        """Columns on measured PET, its scans in the order of the column ``pet``; their flags."""
        given = self.inputs
        if not isdefined(given.pet_scores):
            return {}, []
        scores = [Coregistration.from_facts(facts) for facts in given.pet_scores]
        flags = [flag for score in scores for flag in score.flags()]
        flags += [flag for motion in given.pet_motions for flag in motion_flags(**motion)]
        columns = {
            "pet_nmi": [score.nmi for score in scores],
            "pet_nmi_margin": [score.margin for score in scores],
            "pet_dice": [score.dice for score in scores],
            "pet_shift_mm": [score.shift_mm for score in scores],
            "pet_motion_mm": [motion["max_shift_mm"] for motion in given.pet_motions],
            "pet_motion_deg": [motion["max_rotation_deg"] for motion in given.pet_motions],
        }
        texts = {key: ";".join(f"{v:.4g}" for v in values) for key, values in columns.items()}
        return texts, list(dict.fromkeys(flags))
