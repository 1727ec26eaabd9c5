"""What will be made, decided before any graph exists.

Every "if this image exists" of the program is here: a unit that leaves this module has all
that its graph needs, and everything else has become a line that says why not.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from relad_bids.config import MissingFlair, RunChoice
from relad_bids.errors import ImageError, InputError, ReladError
from relad_bids.pet.reading import Reading
from relad_bids.pet.sharpness import UNKNOWN, Sharpness
from relad_bids.runs import Choice, Measure, choose_run, differing, repeats


@dataclass(frozen=True)
class Scan:
    """One file of the dataset and the BIDS entities in its name."""

    path: Path
    entities: Mapping[str, str]
    """Long names (``subject``, ``session``, ``run``, ``suffix`` ...) -> text as in the file
    name; what the name does not say is not there."""


@dataclass(frozen=True)
class Measured:
    """One measured PET scan that is quantified."""

    path: Path
    subject: str
    session: str | None
    """Of the PET; its MRI may lie in another one."""
    tracer: str
    """Canonical name."""
    entities: Mapping[str, str]
    """``trc``, and ``rec`` and ``run`` where the scan has them: what its derivatives are named by.
    """
    reading: Reading
    """What its sidecar decides."""
    sharpness: Sharpness = UNKNOWN
    """How sharp it is, and what it is smoothed to."""

    @property
    def label(self) -> str:
        return session_label(self.subject, self.session)

    @property
    def node_name(self) -> str:
        """Its name in the session's graph."""
        session = f"ses_{self.session}_" if self.session else ""
        return f"{session}{self.tracer}".replace("+", "__")


@dataclass(frozen=True)
class Unread:
    """A measured PET scan that cannot be quantified, and why."""

    label: str
    """Of its session."""
    path: Path
    reason: str


@dataclass(frozen=True)
class Labels:
    """The user's own parcellation of a T1w, in FreeSurfer numbers."""

    path: Path
    source: str
    """``freesurfer``, ``fastsurfer``, or the name of the derivatives: column ``voi_source``."""
    atlas: str
    """Label of the BIDS entity ``atlas-``."""
    uri: str
    """Its BIDS URI, in which no folder of the machine is named."""


@dataclass(frozen=True)
class Atlas:
    """One more parcellation, of which every PET gets a table of its own."""

    path: Path
    space: str
    """Template space in which it lies."""
    entities: Mapping[str, str]
    """``atlas``, and ``seg`` and ``scale`` where it has them: what its files are named by."""
    regions: tuple[tuple[int, str], ...]
    """Label numbers and their names."""
    uri: str
    """Its BIDS URI, in which no folder of the machine is named."""

    @property
    def label(self) -> str:
        """``atlas-Schaefer2018_seg-100Parcels7Networks``"""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items())

    @property
    def node_name(self) -> str:
        """Its name in a session's graph."""
        return "_".join(self.entities.values()).replace("+", "__")


@dataclass(frozen=True)
class Lesion:
    """Voxels that a registration and a scale of intensities should not follow."""

    path: Path
    on: Literal["T1w", "FLAIR"]
    """The image on which it was drawn."""
    uri: str
    """Its BIDS URI, in which no folder of the machine is named."""


@dataclass(frozen=True)
class Derived:
    """A file of somebody's derivatives."""

    path: Path
    source: str
    """Name of the dataset."""
    uri: str


@dataclass(frozen=True)
class Reused:
    """Files that take the place of own steps; None where the own step is done."""

    t1w: Derived | None = None
    """Corrected T1w, in place of N4."""
    mask: Derived | None = None
    """Brain of it, in place of the brain extraction."""
    to_template: Derived | None = None
    from_template: Derived | None = None
    """ITK composites from the T1w to the checkpoint's space and back, in place of SyN; both or
    none."""

    def steps(self) -> dict[str, Derived]:
        """Replaced step -> what replaces it."""
        named = {"bias-correction": self.t1w, "brain-mask": self.mask, "warp": self.to_template}
        return {name: derived for name, derived in named.items() if derived}


NOTHING_REUSED = Reused()


@dataclass(frozen=True)
class Unit:
    """One participant's session: what is prepared once, for all tracers."""

    subject: str
    session: str | None
    t1w: Path
    flair: Path | None
    tracers: tuple[str, ...]
    """To be synthesised; empty for a session whose measured PET alone is quantified."""
    measured: tuple[Measured, ...] = ()
    unread: tuple[Unread, ...] = ()
    """Measured PET of the session that is left alone."""
    flair_missing: bool = False
    """Whether it lacks the FLAIR that its synthesis would have seen."""
    flair_problem: str = ""
    """Why the FLAIR that is there is not used; empty where there is none, or it is used."""
    labels: Labels | None = None
    """The user's own labels; None where the packaged ones are warped onto the T1w."""
    atlases: tuple[Atlas, ...] = ()
    """More parcellations; each is one job of the session."""
    suit: Atlas | None = None
    """Lobules of the cerebellum, by which its inferior part is drawn where the user has them."""
    t1w_choice: Choice | None = None
    flair_choice: Choice | None = None
    """Where the session has several runs of it."""
    lesion: Lesion | None = None
    reused: Reused = NOTHING_REUSED

    @property
    def anatomy(self) -> Path:
        """The T1w that is prepared: of the dataset, or of derivatives."""
        return self.reused.t1w.path if self.reused.t1w else self.t1w

    @property
    def label(self) -> str:
        """``sub-01_ses-a``: the head of every file name and the name in every message."""
        return session_label(self.subject, self.session)

    @property
    def graph_name(self) -> str:
        """``sub_01_ses_a_wf``; Nipype's names take no ``+``, which BIDS allows in a label."""
        return self.label.replace("-", "_").replace("+", "__") + "_wf"

    def seed(self, base: int, tracer: str) -> int:
        """Give each synthesis its own seed, the same on every machine and in any order.

        ``hash()`` would differ from one Python process to the next.
        """
        digest = hashlib.sha256(f"{base}/{self.label}_trc-{tracer}".encode()).digest()
        return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True)
class Left:
    """A session that is not processed, and why."""

    label: str
    subject: str
    session: str | None
    flag: str
    """One word for the QC table: ``flair_missing``, ``t1w_missing``, ``image_unusable`` ..."""
    reason: str
    exit_code: int
    """0 where leaving it out is what the user asked for."""


@dataclass(frozen=True)
class Plan:
    units: tuple[Unit, ...]
    left: tuple[Left, ...]
    unread: tuple[Unread, ...] = ()
    """Measured PET that is left alone, though its session may be processed."""
    partly: tuple[Left, ...] = ()
    """What failed of sessions that are among the units all the same: their measured PET is
    quantified, and their row of the QC table is their own."""


def with_labels(plan: Plan, labels: Mapping[str, Labels]) -> Plan:
    """Give sessions the parcellations that were found for them, by label."""
    units = (replace(unit, labels=labels.get(unit.label)) for unit in plan.units)
    return replace(plan, units=tuple(units))


def with_atlases(plan: Plan, atlases: Sequence[Atlas], suit: Atlas | None = None) -> Plan:
    """Give every session the atlases that the user adds."""
    units = (replace(unit, atlases=tuple(atlases), suit=suit) for unit in plan.units)
    return replace(plan, units=tuple(units))


def with_prepared(
    plan: Plan,
    *,
    reused: Mapping[str, Reused],
    lesions: Mapping[str, Lesion],
    refused: Mapping[str, str],
) -> Plan:
    """Give sessions what was found for them, by label, and leave out those refused, with why."""
    units = tuple(
        replace(
            unit,
            reused=reused.get(unit.label, NOTHING_REUSED),
            lesion=lesions.get(unit.label),
        )
        for unit in plan.units
        if unit.label not in refused
    )
    left = [
        _leave(
            unit.subject, unit.session, "derivatives_unusable", refused[unit.label],
            ImageError.exit_code,
        )
        for unit in plan.units
        if unit.label in refused
    ]  # fmt: skip
    return replace(plan, units=units, left=(*plan.left, *left))


def with_flair_problems(
    plan: Plan, problems: Mapping[str, str], *, missing_flair: MissingFlair
) -> Plan:
    """Do without the FLAIR of sessions in which it turned out to be damaged.

    Parameters
    ----------
    problems
        Session label -> what is wrong with the file.
    """
    changed = {
        unit.label: _without_flair(unit, problems[unit.label], missing_flair)
        for unit in plan.units
        if unit.label in problems
    }
    units = tuple(changed.get(unit.label, unit) for unit in plan.units)
    return _with_flair_failures(replace(plan, units=units), changed)


def _without_flair(unit: Unit, problem: str, missing_flair: MissingFlair) -> Unit:
    """Treat a FLAIR that cannot be read as missing; it goes into no step of the session."""
    return replace(
        unit,
        flair=None,
        flair_choice=None,
        flair_missing=True,
        flair_problem=problem,
        tracers=unit.tracers if missing_flair == "t1w-only" else (),
        lesion=unit.lesion if unit.lesion and unit.lesion.on == "T1w" else None,
    )


def _with_flair_failures(plan: Plan, changed: Mapping[str, Unit]) -> Plan:
    """Say which sessions failed for their FLAIR: wholly, or but for their measured PET."""
    failed = [unit for unit in changed.values() if not unit.tracers]
    left = [_flair_failure(unit) for unit in failed if not unit.measured]
    partly = [_flair_failure(unit) for unit in failed if unit.measured]
    gone = {one.label for one in left}
    return replace(
        plan,
        units=tuple(unit for unit in plan.units if unit.label not in gone),
        left=(*plan.left, *left),
        partly=(*plan.partly, *partly),
    )


def _flair_failure(unit: Unit) -> Left:
    reason = f"{unit.flair_problem} Nothing is synthesised from this session: mend the FLAIR, or "
    reason += "do without it with --missing-flair t1w-only."
    reason += " Its measured PET is quantified." if unit.measured else ""
    code = ImageError.exit_code
    return _leave(unit.subject, unit.session, "flair_unusable", reason, code)


def session_label(subject: str, session: str | None) -> str:
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")


def plan_units(
    scans: Iterable[Scan],
    *,
    participants: Sequence[str],
    tracers: Sequence[str],
    missing_flair: MissingFlair,
    check: Callable[[Path], object] = lambda path: None,
    measured: Sequence[Measured] = (),
    unread: Sequence[Unread] = (),
    require_pet: bool = False,
    run_choice: RunChoice = "first",
    measure_run: Measure = lambda path: None,
) -> Plan:
    """Pair up the MRI of each session; say of every other session why it is left out.

    A session that is left out of the synthesis because it has no FLAIR keeps its measured PET,
    which needs a T1w only. Where nothing is synthesised at all, FLAIR is not looked at, and a
    session without measured PET has nothing to do.

    Parameters
    ----------
    scans
        T1w, FLAIR and PET files.
    participants
        Every participant selected, so that one without any scan is named, too.
    tracers
        Canonical names, the same for each session; none to quantify measured PET alone.
    missing_flair
        What to do with a session without FLAIR.
    check
        Raises a :class:`ReladError` when a file's header cannot be used. A FLAIR of which that
        is so counts as missing where the user goes on without (``t1w-only``); elsewhere the
        session fails, but for its measured PET.
    measured
        PET to be quantified on the MRI of its session; that of a session without MRI goes with
        the one session that has it.
    unread
        PET that cannot be quantified.
    require_pet
        Whether a session without measured PET to quantify fails.
    run_choice, measure_run
        Which of several runs is used, and what ``quality`` judges them by
        (:func:`relad_bids.runs.choose_run`).
    """
    scans = tuple(scans)
    sessions = _by_session(scans, participants)
    units, left = [], []
    for (subject, session), found in sessions.items():
        try:
            one = _Chooser(subject, session, run_choice, measure_run)
            units.append(_unit(found, one, tuple(tracers), missing_flair, check))
        except _Unusable as error:
            left.append(error.left)
        except ReladError as error:
            left.append(_leave(subject, session, "image_unusable", str(error), error.exit_code))
    homes = {pet.path: _home(pet, units) for pet in measured}
    lost = [_homeless(pet, units) for pet in measured if homes[pet.path] is None]
    every = (*unread, *lost)
    units = [
        replace(
            unit,
            measured=tuple(pet for pet in measured if homes[pet.path] == unit.label),
            unread=tuple(pet for pet in every if pet.label == unit.label),
        )
        for unit in units
    ]
    damaged = {unit.label: unit for unit in units if unit.flair_problem}
    plan = _with_flair_failures(Plan(tuple(units), tuple(left), every), damaged)
    idle = [unit for unit in plan.units if not (unit.tracers or unit.measured)]
    plan = _left_out(plan, [_nothing_to_do(unit) for unit in idle])
    if require_pet:
        plan = _left_out(plan, [_without_pet(u) for u in plan.units if not u.measured])
    return plan


def _left_out(plan: Plan, more: Sequence[Left]) -> Plan:
    gone = {one.label for one in more}
    units = tuple(unit for unit in plan.units if unit.label not in gone)
    return replace(plan, units=units, left=(*plan.left, *more))


def _without_pet(unit: Unit) -> Left:
    reasons = " ".join(pet.reason for pet in unit.unread)
    reason = "has no measured PET that can be quantified, and --real-pet require asks for one. "
    reason += reasons or "Add the scan, or use --real-pet auto."
    return _leave(unit.subject, unit.session, "pet_missing", reason, InputError.exit_code)


def _unit(
    found: Mapping[str, list[Scan]],
    one: _Chooser,
    tracers: tuple[str, ...],
    missing_flair: MissingFlair,
    check: Callable[[Path], object],
) -> Unit:
    """Choose and check the MRI of one session."""
    t1w, t1w_choice = one.of(found["T1w"], "T1w")
    flair, flair_choice = one.flair(found["FLAIR"], missing_flair) if tracers else (None, None)
    check(t1w)
    lacking = bool(tracers) and flair is None
    synthesised = () if lacking and missing_flair == "skip" else tracers
    unit = Unit(
        one.subject, one.session, t1w, flair, synthesised, flair_missing=lacking,
        t1w_choice=t1w_choice, flair_choice=flair_choice,
    )  # fmt: skip
    try:
        if flair:
            check(flair)
    except ReladError as error:
        return _without_flair(unit, str(error), missing_flair)
    return unit


def _nothing_to_do(unit: Unit) -> Left:
    if unit.flair_missing:
        flag, reason = "flair_missing", _NO_FLAIR
    else:
        flag, reason = "pet_missing", "has no measured PET to quantify, and nothing else was asked"
        reason += " for (--synth-tracers none). "
        reason += " ".join(pet.reason for pet in unit.unread) or "Leave it out, or add the scan."
    return _leave(unit.subject, unit.session, flag, reason, 0)


def _home(pet: Measured, units: Sequence[Unit]) -> str | None:
    """Label of the session on whose MRI a PET is quantified.

    Its own one, else the only one there is; one with all MRI goes before one without FLAIR.
    """
    own = [unit for unit in units if unit.subject == pet.subject]
    same = [unit for unit in own if unit.session in (pet.session, None)]
    homes = same or [unit for unit in own if not unit.flair_missing] or own
    return homes[0].label if len(homes) == 1 else None


def _homeless(pet: Measured, units: Sequence[Unit]) -> Unread:
    own = [unit.label for unit in units if unit.subject == pet.subject]
    found = f"usable T1w are in {', '.join(own)}" if own else "no T1w of the participant is usable"
    reason = (
        f"{pet.path}: needed is one T1w to lay the PET on; its session has none, and {found}. "
    )
    reason += "Add a T1w to the session, or name one MRI session with --session-label."
    return Unread(pet.label, pet.path, reason)


_Key = tuple[str, str | None]


def _by_session(
    scans: Iterable[Scan], participants: Sequence[str]
) -> dict[_Key, dict[str, list[Scan]]]:
    """Sort the scans into sessions; an MRI outside any session serves those that lack one.

    A session that holds PET only is none of its own: its MRI lies elsewhere.
    """
    found: dict[_Key, dict[str, list[Scan]]] = defaultdict(lambda: defaultdict(list))
    for scan in sorted(scans, key=lambda s: str(s.path)):
        key = (scan.entities["subject"], scan.entities.get("session"))
        found[key][scan.entities["suffix"]].append(scan)
    for subject in participants:
        own = [key for key in found if key[0] == subject]
        with_mri = [key for key in own if found[key]["T1w"] or found[key]["FLAIR"]]
        in_sessions = [key for key in with_mri if key[1]]
        shared = found.pop((subject, None), {}) if in_sessions else {}
        for key in in_sessions:
            for suffix, images in shared.items():
                found[key][suffix] = found[key][suffix] or images
        for key in set(own) - set(with_mri):
            found.pop(key, None)
        if not with_mri:
            found[subject, None]["T1w"] = []
    return dict(sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or "")))


class _Unusable(Exception):
    def __init__(self, left: Left) -> None:
        super().__init__(left.reason)
        self.left = left


def _leave(subject: str, session: str | None, flag: str, reason: str, code: int) -> Left:
    return Left(session_label(subject, session), subject, session, flag, reason, code)


@dataclass(frozen=True)
class _Chooser:
    """Finds the one image of a kind that a session is prepared from."""

    subject: str
    session: str | None
    rule: RunChoice
    measure: Measure

    def of(self, scans: Sequence[Scan], suffix: str) -> tuple[Path, Choice | None]:
        """The image, and how it was chosen where there are several runs."""
        if len(scans) == 1:
            return scans[0].path, None
        if not scans:
            reason = f"has no {suffix} image; one is needed. Add it, or leave the session out "
            reason += "with --participant-label or --session-label."
            raise self._unusable(f"{suffix.lower()}_missing", reason)
        if repeats(scans):
            choice = choose_run(scans, rule=self.rule, measure=self.measure)
            return choice.used, choice
        raise self._unusable(f"{suffix.lower()}_ambiguous", _ambiguous(scans, suffix))

    def flair(
        self, scans: Sequence[Scan], rule: MissingFlair
    ) -> tuple[Path | None, Choice | None]:
        if scans:
            return self.of(scans, "FLAIR")
        if rule != "error":
            return None, None
        raise self._unusable("flair_missing", _NO_FLAIR)

    def _unusable(self, flag: str, reason: str) -> _Unusable:
        return _Unusable(_leave(self.subject, self.session, flag, reason, InputError.exit_code))


def _ambiguous(scans: Sequence[Scan], suffix: str) -> str:
    """Say why images are not chosen among, and how to say which."""
    names = ", ".join(scan.path.name for scan in scans)
    entities = differing(scans)
    key = entities[0] if entities else "run"
    value = next((v for scan in scans if (v := scan.entities.get(key))), "1")
    apart = f"differ in {', '.join(entities)}" if entities else "have no run number of their own"
    return (
        f"has {len(scans)} {suffix} images ({names}); exactly one is needed, and these {apart}: "
        "runs of one protocol are chosen among (--run-choice), other images are not. Say which "
        f'with --bids-filter-file, for example {{"{suffix.lower()}": {{"{key}": "{value}"}}}}.'
    )


_NO_FLAIR = (
    "has no FLAIR image and is left out; the network was trained on T1w and FLAIR. "
    "--missing-flair t1w-only runs it with the network's 'no FLAIR' input, and --synth-tracers "
    "none quantifies measured PET alone."
)
