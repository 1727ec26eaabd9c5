"""The quality figures: column, meaning, usual range and flag, in one table.

The dictionary of the QC table, the flags of a session and the figures on its page are all made
from :data:`FIGURES`; a range stands nowhere else. A value outside its range is no proof of a bad
scan, and one inside none of a good one: it says where to look first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from relad_bids.core.brain_checks import USUAL_ML

State = Literal["usual", "unusual", "not known"]
About = Literal["T1w", "T1w on the template", "FLAIR"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number that says something about the quality of a scan or of its preparation."""

    about: About
    title: str
    """A few words, for the page."""
    description: str
    low: float | None = None
    """Least usual value; None where lower is no worse."""
    high: float | None = None
    flag: str = ""
    """Word that a value outside the range puts among the flags; empty where another step flags
    it, or where the figure is told and decides nothing."""
    warning: str = ""
    """What the flag means, for those who read the page."""
    units: str = ""

    @property
    def judged(self) -> bool:
        """Whether there is a range at all."""
        return self.low is not None or self.high is not None

    def state(self, value: object) -> State:
        """Tell whether a value lies in the range; missing and NaN are not known."""
        number = float(value) if isinstance(value, (int, float)) else math.nan
        if math.isnan(number):
            return "not known"
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return "usual" if low <= number <= high else "unusual"

    def range_text(self) -> str:
        """Put the range into words, with its unit."""
        unit = f" {self.units}" if self.units else ""
        if not self.judged:
            return "none: told, not judged"
        if self.low is None:
            return f"at most {self.high:g}{unit}"
        if self.high is None:
            return f"at least {self.low:g}{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"

    def column(self) -> dict[str, object]:
        """Describe the column in the dictionary of the table."""
        flagged = f" Outside of it: `{self.flag}`." if self.flag else ""
        told = f"{self.description}. Usual range: {self.range_text()}.{flagged}"
        bounds = {"Minimum": self.low, "Maximum": self.high}
        known = {key: value for key, value in bounds.items() if value is not None}
        more: dict[str, object] = {"UsualRange": known} if known else {}
        return {"Description": told, **({"Units": self.units} if self.units else {}), **more}


_MISPLACED = (
    "the FLAIR lies badly on the T1w, is somebody else's, or has left and right swapped against it"
)

FIGURES: Mapping[str, Figure] = {
    "brain_volume_ml": Figure(
        about="T1w", title="brain volume", units="mL", low=USUAL_ML[0], high=USUAL_ML[1],
        description="Volume of the brain mask; outside of it: `mask_volume`",
    ),
    "t1w_voxel_mm": Figure(
        about="T1w", title="longest edge of a voxel", units="mm", high=2.0,
        flag="t1w_thick_slices",
        warning="T1w voxels are longer than 2 mm: small regions mix with their neighbours",
        description="Longest edge of a voxel of the T1w, by its header: an image that was "
        "resampled to finer voxels does not show its thick slices here",
    ),
    "t1w_below_zero": Figure(
        about="T1w", title="share below zero", high=0, flag="t1w_below_zero",
        warning="the T1w has tissue below zero: it was z-scored or shifted, and was lifted",
        description="Share of the voxels of the T1w file that lie below zero, deeper than the "
        "ripples of an interpolation. The image was then moved up by one number: its ratios "
        "are no longer those of the scanner",
    ),
    "t1w_sides_contradicted": Figure(
        about="T1w", title="header contradicts left and right", high=0,
        flag="sides_contradicted",
        warning="the header holds an unused orientation that swaps left and right: find out "
        "which is true",
        description="1 where the header of the T1w holds an orientation that is switched off "
        "and swaps left and right, else 0. Headers with two that are on and disagree are refused",
    ),
    "t1w_snr_wm": Figure(
        about="T1w", title="SNR of white matter", low=9, flag="t1w_noisy",
        warning="white matter of the T1w is noisy or uneven",
        description="Median of white matter over its standard deviation, after N4 (MRIQC; "
        "Magnotta 2006)",
    ),
    "t1w_snr_gm": Figure(
        about="T1w", title="SNR of grey matter",
        description="The same of grey matter; partial volume makes up most of its spread",
    ),
    "t1w_snr_air": Figure(
        about="T1w", title="SNR by the air (Dietrich)", low=10, flag="t1w_noisy",
        warning="white matter of the T1w is noisy or uneven",
        description="Median of white matter over the noise of a channel, told from the air "
        "(Dietrich 2007); n/a where the air was set to 0",
    ),
    "t1w_cnr": Figure(
        about="T1w", title="CNR of grey and white matter", low=1.2, flag="t1w_low_contrast",
        warning="grey and white matter of the T1w differ little",
        description="Difference of grey and white matter over the root of their variances and "
        "that of the air, where that was not set to 0 (MRIQC; Magnotta 2006)",
    ),
    "t1w_efc": Figure(
        about="T1w", title="entropy focus (EFC)",
        description="Entropy focus criterion over its largest value, 0 to 1 (Atkinson 1997); "
        "ghosts and blur raise it, and a tight field of view too: compare within a protocol. n/a "
        "where the air was set to 0",
    ),
    "t1w_fber": Figure(
        about="T1w", title="energy of head over air (FBER)",
        description="Median energy of the head over that of the air (MRIQC); n/a where the air "
        "was set to 0",
    ),
    "t1w_fwhm_mm": Figure(
        about="T1w", title="smoothness", units="mm", high=7.0, flag="t1w_blurred",
        warning="the T1w is blurred",
        description="Full width at half maximum of the Gaussian that would make noise as smooth "
        "as the brain of the T1w, mean of the axes (Forman 1995)",
    ),
    "t1w_inu_range": Figure(
        about="T1w", title="bias field", high=0.6, flag="t1w_uneven",
        warning="the coils saw the brain of the T1w very unevenly",
        description="95th minus 5th percentile of the field that N4 divided out, inside the "
        "brain, its median 1",
    ),
    "mask_dice": Figure(
        about="T1w on the template", title="Dice of the brain mask", low=0.96,
        flag="mask_mismatch",
        warning="brain mask and template brain overlap little after registration",
        description="Dice of the brain mask, warped onto the template, with the template's brain",
    ),
    "template_corr": Figure(
        about="T1w on the template", title="correlation with the template", low=0.55,
        flag="template_mismatch", warning="the T1w lies badly on the template",
        description="Correlation of the warped T1w with the template inside its brain",
    ),
    "template_nmi": Figure(
        about="T1w on the template", title="mutual information with the template", low=1.045,
        flag="template_mismatch", warning="the T1w lies badly on the template",
        description="Normalised mutual information of the same, 1 to 2",
    ),
    "gm_dice": Figure(
        about="T1w on the template", title="Dice of grey matter", low=0.66,
        flag="tissue_mismatch",
        warning="tissue of the T1w and of the template overlap little",
        description="Overlap of the warped grey matter with the template's prior "
        "(2 sum min / sum; Crum 2006)",
    ),
    "wm_dice": Figure(
        about="T1w on the template", title="Dice of white matter", low=0.65,
        flag="tissue_mismatch",
        warning="tissue of the T1w and of the template overlap little",
        description="The same of white matter",
    ),
    "jacobian_p01": Figure(
        about="T1w on the template", title="Jacobian, 1st percentile", low=0.35,
        flag="warp_suspect",
        warning="the warp to the template shrinks or stretches the brain unusually, or folds",
        description="1st percentile of the Jacobian determinant of the warp inside the brain "
        "(volume in the T1w per volume of the template), over its median",
    ),
    "jacobian_p99": Figure(
        about="T1w on the template", title="Jacobian, 99th percentile", high=4.0,
        flag="warp_suspect",
        warning="the warp to the template shrinks or stretches the brain unusually, or folds",
        description="99th percentile of the same; widened ventricles raise it",
    ),
    "jacobian_min": Figure(
        about="T1w on the template", title="Jacobian, least",
        description="Least value of the same",
    ),
    "jacobian_folded": Figure(
        about="T1w on the template", title="share of folded voxels", high=1e-4,
        flag="warp_suspect",
        warning="the warp to the template shrinks or stretches the brain unusually, or folds",
        description="Share of the brain's voxels whose determinant is not above 0",
    ),
    "brain_in_fov": Figure(
        about="T1w on the template", title="brain inside the image", low=0.98, high=1,
        flag="brain_cut",
        warning="a part of the brain lies outside the T1w image",
        description="Share of the template's brain that lies inside the field of view of the "
        "T1w, carried there by the linear registration; slabs of zeros count as outside",
    ),
    "cerebellum_in_fov": Figure(
        about="T1w on the template", title="cerebellum inside the image", low=0.97, high=1,
        flag="cerebellum_cut",
        warning="a part of the cerebellum lies outside the T1w image: reference regions in it "
        "are not whole, and ratios over them not to be trusted",
        description="The same of the cerebellum (labels 7, 8, 46 and 47 of aparc+aseg)",
    ),
    "t1w_left_right": Figure(
        about="T1w on the template", title="left and right",
        description="Correlation of the linearly registered T1w with the template, minus that "
        "of its mirror image. It decides nothing: two heads whose left and right were swapped, "
        "registered anew, stayed above 0",
    ),
    "flair_voxel_mm": Figure(
        about="FLAIR", title="longest edge of a voxel", units="mm", high=3.0,
        flag="flair_thick_slices",
        warning="FLAIR slices are thicker than 3 mm",
        description="Longest edge of a voxel of the FLAIR, by its header",
    ),
    "flair_below_zero": Figure(
        about="FLAIR", title="share below zero", high=0, flag="flair_below_zero",
        warning="the FLAIR has tissue below zero: it was z-scored or shifted, and was lifted",
        description="Share of the voxels of the FLAIR file that lie below zero, deeper than the "
        "ripples of an interpolation. The image was then moved up by one number: its ratios "
        "are no longer those of the scanner",
    ),
    "flair_sides_contradicted": Figure(
        about="FLAIR", title="header contradicts left and right", high=0,
        flag="sides_contradicted",
        warning="the header holds an unused orientation that swaps left and right: find out "
        "which is true",
        description="As t1w_sides_contradicted, of the FLAIR",
    ),
    "flair_cost": Figure(
        about="FLAIR", title="cost of its registration", units="nat", high=-0.22,
        flag="flair_misplaced", warning=_MISPLACED,
        description="Cost of the FLAIR to T1w registration: minus the mutual information; lower "
        "is better",
    ),
    "flair_nmi": Figure(
        about="FLAIR", title="mutual information with the T1w", low=1.045,
        flag="flair_misplaced", warning=_MISPLACED,
        description="Normalised mutual information of FLAIR and T1w inside the brain after "
        "registration, 1 to 2. Of a FLAIR that is mirrored against its T1w it stays below 1.03",
    ),
    "flair_snr_wm": Figure(
        about="FLAIR", title="SNR of white matter", low=5, flag="flair_noisy",
        warning="white matter of the FLAIR is noisy or uneven; lesions do that too",
        description="Median of white matter over its standard deviation, on the T1w grid",
    ),
    "flair_cnr": Figure(
        about="FLAIR", title="CNR of grey and white matter",
        description="As t1w_cnr, of the FLAIR on the T1w grid, without the air",
    ),
    "flair_inu_range": Figure(
        about="FLAIR", title="bias field", high=0.6, flag="flair_uneven",
        warning="the coils saw the head very unevenly in the FLAIR",
        description="As t1w_inu_range, of the FLAIR, inside the head",
    ),
    "flair_brain_in_fov": Figure(
        about="FLAIR", title="brain inside the image", low=0.98, high=1, flag="flair_cut",
        warning="a part of the brain lies outside the FLAIR image",
        description="Share of the brain mask that lies inside the field of view of the FLAIR",
    ),
}  # fmt: skip
"""Ranges by what eight real and four simulated heads have, undamaged and damaged on purpose
(benchmarks/quality_figures.py)."""


def quality_columns() -> dict[str, dict[str, object]]:
    """Columns of the QC table, in the order of :data:`FIGURES`."""
    return {name: figure.column() for name, figure in FIGURES.items()}


def quality_warnings() -> dict[str, str]:
    """Flag -> what it means."""
    return {figure.flag: figure.warning for figure in FIGURES.values() if figure.flag}


def quality_flags(values: Mapping[str, object]) -> list[str]:
    """Flags of the values outside their range, each once, in the order of :data:`FIGURES`."""
    found = [
        figure.flag
        for name, figure in FIGURES.items()
        if figure.flag and figure.state(values.get(name)) == "unusual"
    ]
    return list(dict.fromkeys(found))
