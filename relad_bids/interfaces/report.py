"""The session's page as a Nipype step."""

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

from relad_bids.data.template import SPACES, template_file
from relad_bids.interfaces.base import voxel_text


class _WriteReportInputSpec(BaseInterfaceInputSpec):
    out_html = traits.Str(mandatory=True, desc="final path of the page")
    facts = traits.Dict(mandatory=True, desc="what is known before the run")
    t1w = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    brain_facts = traits.Dict(mandatory=True)
    t1w_mni = File(exists=True, mandatory=True)
    space = traits.Enum(*SPACES, usedefault=True, desc="template space of t1w_mni")
    flair = File(exists=True, desc="in its original voxels; left out where there is none")
    flair_t1w = File(exists=True, desc="on the T1w grid; left out where there is none")
    dseg = File(exists=True, mandatory=True)
    suvr_maps = traits.List(File(exists=True), mandatory=True)
    tables = traits.List(File(exists=True), mandatory=True)
    ref_masks = traits.List(File(exists=True), mandatory=True)
    flags = traits.List(traits.Str, mandatory=True)
    qc = File(exists=True, mandatory=True, desc="the session's QC row")
    scores = traits.List(traits.Dict, desc="facts of ScorePET of each measured PET")
    traces = traits.List(traits.Dict, desc="trace of RealignPET of each measured PET")


class _WriteReportOutputSpec(TraitedSpec):
    out_html = traits.Str(desc="the page")


class WriteReport(SimpleInterface):
    """Draw the figures and write one self-contained HTML page."""

    input_spec = _WriteReportInputSpec
    output_spec = _WriteReportOutputSpec

    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        from relad_bids.reports.page import PetEntry, SessionPage, write_session_page
        from relad_bids.reports.quality_rows import quality_rows

        given, facts = self.inputs, dict(self.inputs.facts)
        pets = tuple(
            PetEntry(suvr_t1w=Path(suvr), table=Path(table), ref_mask=Path(mask), **pet, **more)
            for pet, suvr, table, mask, more in zip(
                facts.pop("pets"), given.suvr_maps, given.tables, given.ref_masks,
                self._found(len(given.tables)), strict=True,
            )
        )  # fmt: skip
        used = facts.pop("used")
        used["T1w voxels"] = voxel_text(given.t1w)
        if isdefined(given.flair):
            used["FLAIR voxels"] = voxel_text(given.flair)
        used["Brain volume"] = f"{given.brain_facts['volume_ml']:.0f} mL"
        used["Brain mask"] = given.brain_facts["method"]
        page = SessionPage(
            **facts,
            t1w=Path(given.t1w),
            mask=Path(given.mask),
            t1w_mni=Path(given.t1w_mni),
            template=template_file("T1w", space=given.space),
            flair_t1w=Path(given.flair_t1w) if isdefined(given.flair_t1w) else None,
            dseg=Path(given.dseg),
            pets=pets,
            facts=used,
            flags=tuple(given.flags),
            quality=quality_rows(Path(given.qc)),
        )
        write_session_page(Path(given.out_html), page)
        self._results["out_html"] = given.out_html
        return runtime

    def _found(self, n_pets: int) -> list[dict[str, Any]]:
        """What was found of each PET; those that were measured are the last of them."""
        from relad_bids.reports.motion import Motion

        given = self.inputs
        if not isdefined(given.scores):
            return [{}] * n_pets
        measured = []
        for score, trace in zip(given.scores, given.traces, strict=True):
            files: dict[str, Any] = {
                k: Path(v) if isinstance(v, str) else v for k, v in trace.items()
            }
            measured.append({"score": score, "motion": Motion(**files) if trace else None})
        return [{}] * (n_pets - len(measured)) + measured
