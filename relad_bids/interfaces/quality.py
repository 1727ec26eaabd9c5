"""Quality figures of prepared MRI as Nipype steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from relad_bids.bids.headers import read_header
from relad_bids.bids.orientation import swaps_sides
from relad_bids.core.below_zero import below_zero
from relad_bids.data.template import SPACES
from relad_bids.interfaces.base import load, naming_files
from relad_bids.interfaces.mri import import_ants


class _MeasureT1wInputSpec(BaseInterfaceInputSpec):
    source = File(exists=True, mandatory=True, desc="T1w of the dataset, for its header")
    scanned = File(exists=True, desc="T1w before the bias field was divided out, if at hand")
    t1w = File(exists=True, mandatory=True, desc="T1w after it")
    mask = File(exists=True, mandatory=True, desc="its brain mask")
    gm = File(exists=True, mandatory=True, desc="probability of grey matter")
    wm = File(exists=True, mandatory=True, desc="probability of white matter")
    forward = File(exists=True, mandatory=True, desc="ITK: resamples T1w onto the template")
    affine = File(exists=True, desc="linear first guess of the same, if there was one")
    space = traits.Enum(*SPACES, usedefault=True, desc="template space of `forward`")


class _FiguresOutputSpec(TraitedSpec):
    figures = traits.Dict(desc="column of the QC table -> value; None: not known")


class MeasureT1w(SimpleInterface):
    """Say how good a T1w is, how it lies on the template and how much of the brain it holds."""

    input_spec = _MeasureT1wInputSpec
    output_spec = _FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.quality import t1w_figures, template_figures

        given = self.inputs
        with naming_files(t1w=given.t1w, mask=given.mask):
            images = {n: ants.image_read(getattr(given, n)) for n in ("t1w", "mask", "gm", "wm")}
            scanned = ants.image_read(given.scanned) if isdefined(given.scanned) else None
            quality = t1w_figures(scanned, **images)
            quality |= template_figures(
                **images,
                forward=[Path(given.forward)],
                affine_file=Path(given.affine) if isdefined(given.affine) else None,
                space=given.space,
            )
        quality["t1w_below_zero"] = below_zero(load(given.source)[0])
        quality["t1w_sides_contradicted"] = float(swaps_sides(read_header(Path(given.source))))
        self._results["figures"] = quality
        return runtime


class _MeasureFlairInputSpec(BaseInterfaceInputSpec):
    source = File(exists=True, mandatory=True, desc="FLAIR of the dataset, for its header")
    scanned = File(exists=True, desc="FLAIR before the bias field was divided out, if at hand")
    flair = File(exists=True, mandatory=True, desc="FLAIR after it, in its own voxels")
    flair_t1w = File(exists=True, mandatory=True, desc="the same on the T1w grid")
    xfm = File(exists=True, mandatory=True, desc="ITK: resamples the FLAIR onto the T1w")
    t1w = File(exists=True, mandatory=True, desc="T1w without bias field")
    mask = File(exists=True, mandatory=True, desc="its brain mask")
    gm = File(exists=True, mandatory=True, desc="probability of grey matter")
    wm = File(exists=True, mandatory=True, desc="probability of white matter")


class MeasureFlair(SimpleInterface):
    """Say how good a FLAIR is and how it lies on the T1w."""

    input_spec = _MeasureFlairInputSpec
    output_spec = _FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        ants = import_ants()
        from relad_bids.mri.quality import flair_figures

        given = self.inputs
        with naming_files(flair=given.flair, t1w=given.t1w):
            names = ("flair", "flair_t1w", "t1w", "mask", "gm", "wm")
            images = [ants.image_read(getattr(given, name)) for name in names]
            scanned = ants.image_read(given.scanned) if isdefined(given.scanned) else None
            quality = flair_figures(*images, xfm=Path(given.xfm), scanned=scanned)
        quality["flair_below_zero"] = below_zero(load(given.source)[0])
        quality["flair_sides_contradicted"] = float(swaps_sides(read_header(Path(given.source))))
        self._results["figures"] = quality
        return runtime
