"""Names and folders of the derivatives: the one place that knows them.

The patterns follow BIDS 1.11 where it speaks, and drafts BEP014 (``xfm``) and BEP023
(``mimap``, ``kinpar``, ``meas-``, ``model-``) where it does not; the latter stand in
``.bidsignore``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ORDER = (
    "sub", "ses", "trc", "rec", "run", "from", "to", "mode", "space", "atlas", "seg", "scale",
    "res", "label", "model", "meas", "stat", "desc",
)  # fmt: skip
"""Entities in the order they take in a file name (BIDS 1.11 schema; drafts put theirs before
``desc``, which is last by the specification)."""

_LABEL = re.compile(r"[A-Za-z0-9+.]*[A-Za-z0-9+]")
"""What the value of an entity may be, and a little more (``res-`` of some atlases has a point)."""

ATLAS = "DesikanKilliany"
"""Label of the packaged aparc+aseg parcellation, and of FreeSurfer's."""
DKT = "DKT"
"""Label of FastSurfer's, which lacks three of the cortical regions."""


@dataclass(frozen=True)
class Product:
    """How one kind of derivative is named."""

    folder: str
    suffix: str
    extension: str = ".nii.gz"
    entities: Mapping[str, str] = field(default_factory=dict)
    """Fixed entities; ``{space}`` and ``{res}`` stand for the checkpoint's."""


_MNI = {"space": "{space}", "res": "{res}"}
_SYNTH = {"meas": "SUVR", "desc": "synth"}
_MEASURED = {"meas": "SUVR", "desc": "measured"}

PRODUCTS: Mapping[str, Product] = {
    "t1w_preproc": Product("anat", "T1w", entities={"desc": "preproc"}),
    "brain_mask": Product("anat", "mask", entities={"desc": "brain"}),
    "lesion_mask": Product("anat", "mask", entities={"label": "lesion"}),
    "flair_preproc": Product("anat", "FLAIR", entities={"space": "T1w", "desc": "preproc"}),
    "t1w_mni": Product("anat", "T1w", entities={**_MNI, "desc": "preproc"}),
    "flair_mni": Product("anat", "FLAIR", entities={**_MNI, "desc": "preproc"}),
    "t1w_norm": Product("anat", "T1w", entities={**_MNI, "desc": "norm"}),
    "flair_norm": Product("anat", "FLAIR", entities={**_MNI, "desc": "norm"}),
    "mask_mni": Product("anat", "mask", entities={**_MNI, "desc": "brain"}),
    "t1w_to_mni_xfm": Product(
        "anat", "xfm", ".h5", {"from": "T1w", "to": "{space}", "mode": "image"}
    ),
    "mni_to_t1w_xfm": Product(
        "anat", "xfm", ".h5", {"from": "{space}", "to": "T1w", "mode": "image"}
    ),
    "flair_to_t1w_xfm": Product(
        "anat", "xfm", ".txt", {"from": "FLAIR", "to": "T1w", "mode": "image"}
    ),
    "dseg": Product("anat", "dseg", entities={"space": "T1w", "atlas": ATLAS}),
    "dseg_table": Product("anat", "dseg", ".tsv", {"space": "T1w", "atlas": ATLAS}),
    "morph": Product("anat", "morph", ".tsv", {"atlas": ATLAS}),
    "reference_mask": Product("anat", "mask", entities={"space": "T1w", "desc": "ref"}),
    "suvr_mni": Product("pet", "mimap", entities={**_MNI, **_SYNTH}),
    "suvr_t1w": Product("pet", "mimap", entities={"space": "T1w", **_SYNTH}),
    "suvr_sd_mni": Product("pet", "mimap", entities={**_MNI, **_SYNTH, "stat": "std"}),
    "kinpar": Product("pet", "kinpar", ".tsv", {"atlas": ATLAS, "model": "SUVR", "desc": "synth"}),
    "measured_mni": Product("pet", "mimap", entities={**_MNI, **_MEASURED}),
    "measured_t1w": Product("pet", "mimap", entities={"space": "T1w", **_MEASURED}),
    "measured_kinpar": Product(
        "pet", "kinpar", ".tsv", {"atlas": ATLAS, "model": "SUVR", "desc": "measured"}
    ),
    "petref": Product("pet", "petref", entities={"desc": "mean"}),
    "petref_to_t1w_xfm": Product(
        "pet", "xfm", ".txt", {"from": "petref", "to": "T1w", "mode": "image"}
    ),
    "qc": Product("", "qc", ".tsv", {"desc": "relad"}),
}

NO_ENTITIES: Mapping[str, str] = {}

GROUP_TABLES = ("kinpar", "measured_kinpar")
"""Products of a session that the group level joins; the table of all participants has their name
without what is of one scan."""
GROUP_QC = "desc-relad_qc.tsv"
GROUP_PAGE = "group.html"
GROUP_STATISTICS: Mapping[str, str] = {
    "wide": "group/desc-wide_voi.tsv",
    "paired": "group/desc-paired_voi.tsv",
    "agreement": "group/desc-agreement_stats.tsv",
    "skill": "group/desc-skill_stats.tsv",
    "ceiling": "group/desc-ceiling_stats.tsv",
    "positivity": "group/desc-positivity_stats.tsv",
    "positivity_folds": "group/desc-positivityfolds_stats.tsv",
    "cognition": "group/desc-cognition_stats.tsv",
    "change": "group/desc-change_stats.tsv",
    "retest": "group/desc-retest_stats.tsv",
    "subgroups": "group/desc-subgroups_stats.tsv",
    "combat": "group/desc-combat_voi.tsv",
    "combat_effects": "group/desc-combat_stats.tsv",
    "mixed": "group/desc-mixed_stats.tsv",
}
"""What the group level makes of the joined tables."""

BIDSIGNORE = (
    "*.html", "figures", "group", "log", "*_xfm.*", "*_mimap.*", "*_kinpar.*", "*_tacs.*",
    "*_morph.*", "*_petref.*", "*_qc.*",
)  # fmt: skip
"""Directory patterns without trailing slash: the validator needs ``figures``."""


def session_dir(label: str) -> Path:
    """``sub-01_ses-a`` -> ``sub-01/ses-a``."""
    return Path(*label.split("_"))


def file_name(entities: Mapping[str, str], suffix: str, extension: str) -> str:
    """Join entities in the order of the specification.

    >>> file_name({"desc": "norm", "sub": "01", "space": "T1w"}, "FLAIR", ".nii.gz")
    'sub-01_space-T1w_desc-norm_FLAIR.nii.gz'
    """
    unknown = set(entities) - set(ORDER)
    if unknown:
        raise KeyError(f"entities without a place in a file name: {sorted(unknown)}")
    if unfit := [value for value in entities.values() if not _LABEL.fullmatch(value)]:
        raise ValueError(f"labels that would lead out of the folder or break a name: {unfit}")
    parts = [f"{key}-{entities[key]}" for key in ORDER if key in entities]
    return "_".join([*parts, suffix]) + extension


def product_path(
    key: str, session: str, *, space: str, resolution: str, extra: Mapping[str, str] = NO_ENTITIES
) -> Path:
    """Where one derivative of a session lies, relative to the output folder.

    Parameters
    ----------
    key
        One of :data:`PRODUCTS`.
    session
        ``sub-01`` or ``sub-01_ses-a``.
    space, resolution
        The checkpoint's template space and ``res`` label.
    extra
        Entities of this file alone, e.g. ``trc``, ``label``.
    """
    product = PRODUCTS[key]
    fixed = {k: v.format(space=space, res=resolution) for k, v in product.entities.items()}
    head = dict(part.split("-", 1) for part in session.split("_"))
    name = file_name({**head, **fixed, **extra}, product.suffix, product.extension)
    return session_dir(session) / product.folder / name


def finished_path(session: str) -> Path:
    """The mark of a finished session, relative to the output folder."""
    return session_dir(session.split("_")[0]) / "log" / f"{session}_finished.json"


def session_files(root: Path, sessions: Collection[str]) -> list[Path]:
    """Every derivative of some sessions that stands below ``root``, pages included."""
    heads = tuple(f"{session}{end}" for session in sessions for end in "_.")
    subjects = {session.split("_")[0] for session in sessions}
    found = [path for subject in subjects for path in (root / subject).rglob("*")]
    found += root.glob("*.html")
    return [
        path
        for path in found
        if path.name.startswith(heads) and path.relative_to(root).parts[1:2] != ("log",)
        and path.is_file()
    ]  # fmt: skip


def sidecar_path(path: Path) -> Path:
    """The JSON beside a data file."""
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    return path.with_name(f"{stem}.json")


def bids_uri(path: Path) -> str:
    """Name a file of this derivative dataset, relative to its root, in a sidecar."""
    return f"bids::{path.as_posix()}"
