"""Regional quantification as Nipype steps; the same for synthetic and measured PET."""

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
from relad_bids.core.regions import cut_by_tissue, inferior_cerebellum
from relad_bids.core.suvr import reference_of, to_suvr, voi_table
from relad_bids.data.template import template_file
from relad_bids.files import write_table
from relad_bids.interfaces.base import (
    grid_of_file,
    load,
    load_labels,
    load_on,
    naming_files,
    out_path,
    save,
)
from relad_bids.interfaces.mri import resample_file
from relad_bids.tables import label_names
from relad_bids.vois import quantified_vois, reference_mask, reference_method


class _WarpParcellationInputSpec(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    mni_to_t1w = File(exists=True, mandatory=True, desc="ITK transform, resamples MNI onto T1w")
    csf = File(exists=True, mandatory=True, desc="CSF probability in T1w space")
    gm = File(exists=True, mandatory=True, desc="grey matter probability")
    wm = File(exists=True, mandatory=True, desc="white matter probability")


class _WarpParcellationOutputSpec(TraitedSpec):
    dseg = File(exists=True, desc="FreeSurfer numbers in T1w space, cut by tissue")
    inferior = File(exists=True, desc="geometric inferior cerebellum in T1w space, 0 / 1")
    numbers = traits.List(traits.Int, desc="labels of the parcellation before cutting")


class WarpParcellation(SimpleInterface):
    """Bring the packaged aparc+aseg to the participant and cut it by their own tissue."""

    input_spec = _WarpParcellationInputSpec
    output_spec = _WarpParcellationOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        atlas = template_file("aparcaseg")
        labels, atlas_grid = load_labels(str(atlas))
        below = inferior_cerebellum(labels, atlas_grid).astype(np.uint8)
        inferior_mni = save(out_path(runtime, "inferior_mni.nii.gz"), below, atlas_grid)
        onto = (self.inputs.t1w, [self.inputs.mni_to_t1w])
        inferior = resample_file(
            inferior_mni, *onto, out_path(runtime, "inferior.nii.gz"), interpolation="nearest"
        )
        warped = resample_file(
            str(atlas), *onto, out_path(runtime, "warped.nii.gz"), interpolation="genericLabel"
        )
        numbers, grid = load_labels(warped)
        tissue = {
            name: load_on(grid, getattr(self.inputs, name), ours="t1w", theirs=name)
            for name in ("csf", "gm", "wm")
        }
        tissue_of = {number: label.tissue for number, label in label_names().items()}
        cut = cut_by_tissue(numbers, tissue_of, **tissue)
        self._results["dseg"] = save(out_path(runtime, "dseg.nii.gz"), cut, grid)
        self._results["inferior"] = inferior
        self._results["numbers"] = [int(n) for n in np.unique(labels) if n > 0]
        return runtime


class _WarpActivityInputSpec(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="activity on the network's grid")
    t1w = File(exists=True, mandatory=True, desc="T1w whose grid is wanted")
    mni_to_t1w = File(exists=True, mandatory=True, desc="ITK transform, resamples MNI onto T1w")


class _WarpActivityOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="activity in T1w space, NaN outside the field of view")


class WarpActivity(SimpleInterface):
    """Bring an activity image to T1w space; what the network never saw becomes NaN, not 0."""

    input_spec = _WarpActivityInputSpec
    output_spec = _WarpActivityOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        grid = grid_of_file(self.inputs.in_file)
        onto = (self.inputs.t1w, [self.inputs.mni_to_t1w])
        seen_mni = save(
            out_path(runtime, "seen_mni.nii.gz"), np.ones(grid.shape, dtype=np.uint8), grid
        )
        seen = resample_file(
            seen_mni, *onto, out_path(runtime, "seen.nii.gz"), interpolation="nearest"
        )
        warped = resample_file(
            self.inputs.in_file, *onto, out_path(runtime, "warped.nii.gz"), interpolation="linear"
        )
        data, t1w_grid = load(warped)
        inside = load(seen)[0] > 0
        data = np.where(inside, data, np.nan).astype(np.float32)
        self._results["out_file"] = save(out_path(runtime, "activity.nii.gz"), data, t1w_grid)
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
        with naming_files(activity=given.activity, dseg=given.dseg):
            activity, grid = load(given.activity)
            labels = load_on(grid, given.dseg, ours="activity", theirs="dseg").astype(np.int32)
            inferior = load_on(grid, given.inferior, ours="activity", theirs="inferior") > 0
            region = reference_mask(given.ref_region, labels, inferior)
            volume_mm3 = grid.voxel_volume_mm3
            reference = reference_of(activity, region, voxel_volume_mm3=volume_mm3)
            table = voi_table(
                activity, labels, quantified_vois(given.numbers), reference,
                voxel_volume_mm3=volume_mm3, min_coverage=given.min_coverage,
            )  # fmt: skip
        context = {**given.context, **reference.columns(given.ref_region)}
        context["ref_method"] = reference_method(given.ref_region)
        full = complete(table, context, flags=[*given.flags, *reference.flags()])
        write_table(out_path(runtime, "voi.tsv"), full)
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
