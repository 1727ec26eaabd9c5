"""Partial volume correction as a Nipype step; the same for synthetic and measured PET."""

from __future__ import annotations

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
from nipype.utils.logger import logging as nipype_logging

from relad_bids.core.correction import NAMES, Head, correct, with_atlas
from relad_bids.core.grid import Grid
from relad_bids.core.suvr import reference_of
from relad_bids.errors import ReladError
from relad_bids.interfaces.base import load, load_on, out_path, save
from relad_bids.vois import reference_mask

LOGGER = nipype_logging.getLogger("nipype.interface")


class _CorrectPartialVolumeInputSpec(BaseInterfaceInputSpec):
    activity = File(exists=True, mandatory=True, desc="activity in T1w space, true zero")
    dseg = File(exists=True, mandatory=True, desc="parcellation in T1w space")
    atlas = File(exists=True, desc="another atlas, whose regions go before the parcellation's")
    inferior = File(exists=True, mandatory=True, desc="inferior cerebellum in T1w space")
    brain = File(exists=True, mandatory=True, desc="brain mask in T1w space")
    csf = File(exists=True, mandatory=True, desc="CSF probability in T1w space")
    gm = File(exists=True, mandatory=True, desc="grey matter probability")
    wm = File(exists=True, mandatory=True, desc="white matter probability")
    ref_region = traits.Str(mandatory=True, desc="reference region by name")
    method = traits.Enum(*NAMES, mandatory=True, desc="--pvc")
    fwhm_mm = traits.Float(mandatory=True, desc="point spread function of the image")
    brain_only = traits.Bool(mandatory=True, desc="whether the image says nothing outside")


class _CorrectPartialVolumeOutputSpec(TraitedSpec):
    out_file = File(exists=True, desc="corrected activity; undefined where it cannot be had")
    unstable = File(exists=True, desc="where the corrected values are not to be trusted")
    facts = traits.Dict(desc="PartialVolumeCorrection of the table's sidecar")


class CorrectPartialVolume(SimpleInterface):
    """Correct an image; where that cannot be, give the reason and go on without.

    Corrected values are secondary: what stops them must not cost the uncorrected ones.
    """

    input_spec = _CorrectPartialVolumeInputSpec
    output_spec = _CorrectPartialVolumeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        activity, grid = load(given.activity)
        told = {"Method": NAMES[given.method], "FullWidthHalfMaximum": given.fwhm_mm}
        try:
            head = _head(given, grid)
            seen = np.where(head.brain, activity, np.nan) if given.brain_only else activity
            made = correct(seen, head, method=given.method, fwhm_mm=given.fwhm_mm)
            volume_mm3 = grid.voxel_volume_mm3
            reference_of(made.image, head.reference, voxel_volume_mm3=volume_mm3)
            for name, image in (("out_file", made.image), ("unstable", made.unstable)):
                path = out_path(runtime, f"{name}.nii.gz")
                self._results[name] = save(path, image.astype(np.float32), grid)
            if made.condition:
                told["ConditionNumber"] = round(made.condition, 1)
        except ReladError as error:
            told |= {"Method": "none", "Reason": str(error)}
            LOGGER.warning("no partial volume correction of %s: %s", given.activity, error)
        self._results["facts"] = {"PartialVolumeCorrection": told}
        return runtime


def _head(given: Any, grid: Grid) -> Head:
    def on_grid(name: str) -> Any:
        return load_on(grid, getattr(given, name), ours="activity", theirs=name)

    labels = np.rint(on_grid("dseg")).astype(np.int32)
    head = Head(
        labels=labels,
        reference=reference_mask(
            given.ref_region, labels, on_grid("inferior") > 0, voxel_mm=grid.voxel_mm
        ),
        brain=on_grid("brain") > 0,
        csf=on_grid("csf"),
        gm=on_grid("gm"),
        wm=on_grid("wm"),
        voxel_mm=grid.voxel_mm,
    )
    if not isdefined(given.atlas):
        return head
    return with_atlas(head, np.rint(on_grid("atlas")).astype(np.int32))
