"""What will be made, decided before any graph exists.

Every "if this image exists" of the program is here: a unit that leaves this module has all
that its graph needs, and everything else has become a line that says why not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from relad_bids.config import MissingFlair, RunChoice
from relad_bids.errors import ImageError, InputError, ReladError
from relad_bids.runs import Choice, Measure, choose_run, differing, repeats
from relad_bids.sessions import (
    NOTHING_REUSED,
    Atlas,
    Labels,
    Left,
    Lesion,
    Measured,
    Plan,
    Reused,
    Scan,
    Unit,
    Unread,
    session_label,
)


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
