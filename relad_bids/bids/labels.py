"""The user's own parcellations: of FreeSurfer, FastSurfer, or among BIDS derivatives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from relad_bids.bids.outputs import ATLAS, DKT
from relad_bids.errors import InputError
from relad_bids.sessions import Labels, Unit, session_label

FASTSURFER = "mri/aparc.DKTatlas+aseg.deep.mgz"
FREESURFER = "mri/aparc+aseg.mgz"
"""Below the folder of a participant. The first goes before the second: FastSurfer's surface stage
leaves DKT labels under FreeSurfer's name, too."""

APARC = "*_desc-aparcaseg_dseg.nii.gz"
ASEG = "*_desc-aseg_dseg.nii.gz"


def find_labels(
    units: Sequence[Unit],
    *,
    fs_subjects_dir: Path | None,
    derivatives: Mapping[str, Path],
) -> tuple[dict[str, Labels], dict[str, str]]:
    """Look for the parcellation of each session's T1w.

    Those of a session go before those of its participant, which count only where the participant
    has one T1w here: with several, nobody knows which of them was parcellated. ``fs_subjects_dir``
    goes before ``derivatives``, and these in their order.

    Parameters
    ----------
    fs_subjects_dir
        Holds folders ``sub-01_ses-a``, ``sub-01`` or ``01`` as FreeSurfer and FastSurfer write.
    derivatives
        Name -> dataset of derivatives, such as those of sMRIPrep, fMRIPrep and PETPrep.

    Returns
    -------
    Session label -> what was found, and session label -> why nothing was.

    Raises
    ------
    InputError
        A folder is not there.
    """
    for folder in filter(None, (fs_subjects_dir, *derivatives.values())):
        if not folder.is_dir():
            raise InputError(
                f"parcellations were to be read from {folder}, and there is no such folder. "
                "Check the path (in a container: is it mounted?)."
            )
    many = {subject for subject, n in Counter(unit.subject for unit in units).items() if n > 1}
    found: dict[str, Labels] = {}
    lacking: dict[str, str] = {}
    for unit in units:
        labels = [*_candidates(unit.subject, unit.session, fs_subjects_dir, derivatives)]
        if own := [one for one, whole in labels if not (whole and unit.subject in many)]:
            found[unit.label] = own[0]
        else:
            lacking[unit.label] = _why(unit, bool(labels), fs_subjects_dir, derivatives)
    return found, lacking


def _candidates(
    subject: str,
    session: str | None,
    fs_subjects_dir: Path | None,
    derivatives: Mapping[str, Path],
) -> Iterator[tuple[Labels, bool]]:
    """Parcellations, the best first, and whether each is the participant's in all sessions."""
    levels = [session, None] if session else [None]
    for level in levels:
        whole = bool(session) and level is None
        if fs_subjects_dir:
            yield from ((one, whole) for one in _recon(fs_subjects_dir, subject, level))
        for name, root in derivatives.items():
            yield from ((one, whole) for one in _derived(name, root, subject, level))


def _recon(root: Path, subject: str, session: str | None) -> Iterator[Labels]:
    label = session_label(subject, session)
    for name in (label, *(() if session else (subject,))):
        for inside, source, atlas in (
            (FASTSURFER, "fastsurfer", DKT),
            (FREESURFER, "freesurfer", ATLAS),
        ):
            if (path := root / name / inside).is_file():
                yield Labels(path, source, atlas, _home(root, name, inside))


def _derived(name: str, root: Path, subject: str, session: str | None) -> Iterator[Labels]:
    head = session_label(subject, session)
    folder = root.joinpath(*head.split("_"), "anat")
    for path in sorted(folder.glob(f"{head}{APARC}")):
        # space- is written for every grid but that of the T1w itself.
        if "_space-" not in path.name or "_space-T1w_" in path.name:
            inside = path.relative_to(root).as_posix()
            yield Labels(path, name, ATLAS, f"bids:{name}:{inside}")


def _home(root: Path, name: str, inside: str) -> str:
    return f"bids:{root.name}:{name}/{inside}"


def _why(
    unit: Unit, elsewhere: bool, fs_subjects_dir: Path | None, derivatives: Mapping[str, Path]
) -> str:
    if elsewhere:
        return (
            "has several sessions and a parcellation of its participant only, which may be that "
            "of another T1w; the packaged labels are used. Parcellate each session by itself."
        )
    where = [str(folder) for folder in (fs_subjects_dir, *derivatives.values()) if folder]
    reason = f"no parcellation of it was found in {', '.join(where)}; the packaged labels are used"
    heads = {session_label(unit.subject, unit.session), f"sub-{unit.subject}"}
    aseg = [
        path.name
        for root in derivatives.values()
        for head in heads
        for path in root.joinpath(*head.split("_"), "anat").glob(ASEG)
    ]
    return f"{reason}. {aseg[0]} has no cortical regions." if aseg else f"{reason}."
