from pathlib import Path

import pytest

from relad_bids.core.run_quality import RunQuality
from relad_bids.errors import ImageError
from relad_bids.pet.reading import Reading
from relad_bids.plan import plan_units, with_flair_problems, with_prepared
from relad_bids.sessions import Derived, Lesion, Measured, Plan, Reused, Scan, Unit, Unread


def scan(suffix, subject="01", session="a", run=None):
    label = f"sub-{subject}" + (f"_ses-{session}" if session else "")
    name = label + (f"_run-{run}" if run else "") + f"_{suffix}.nii.gz"
    entities = {"subject": subject, "session": session, "run": run, "suffix": suffix}
    return Scan(Path("/data", name), {k: v for k, v in entities.items() if v})


def pair(subject="01", session="a"):
    return [scan("T1w", subject, session), scan("FLAIR", subject, session)]


def plan(scans, **settings):
    subjects = sorted({s.entities["subject"] for s in scans})
    return plan_units(
        scans,
        **{"participants": subjects, "tracers": ["pib"], "missing_flair": "skip", **settings},
    )


def test_one_unit_per_session_with_all_it_needs():
    made = plan([*pair("02", "b"), *pair(), *pair("01", "b")], tracers=["pib", "pbr28"])
    assert [unit.label for unit in made.units] == ["sub-01_ses-a", "sub-01_ses-b", "sub-02_ses-b"]
    assert made.units[0] == Unit(
        "01", "a", Path("/data/sub-01_ses-a_T1w.nii.gz"), Path("/data/sub-01_ses-a_FLAIR.nii.gz"),
        ("pib", "pbr28"),
    )  # fmt: skip
    assert made.left == ()


def test_order_of_the_files_does_not_matter():
    scans = [*pair(), *pair("01", "b"), *pair("02", None)]
    assert plan(scans) == plan(scans[::-1])


def test_no_session():
    assert [unit.label for unit in plan(pair(session=None)).units] == ["sub-01"]


@pytest.mark.parametrize(
    ("rule", "flag", "code"), [("skip", "flair_missing", 0), ("error", "flair_missing", 66)]
)
def test_a_session_without_flair_is_left_out(rule, flag, code):
    made = plan([scan("T1w"), *pair("02")], missing_flair=rule)
    (left,) = made.left
    assert [unit.subject for unit in made.units] == ["02"]
    assert (left.label, left.flag, left.exit_code) == ("sub-01_ses-a", flag, code)
    assert "has no FLAIR image" in left.reason
    assert "--missing-flair t1w-only" in left.reason


def test_a_session_without_flair_runs_when_that_is_asked_for():
    (unit,) = plan([scan("T1w")], missing_flair="t1w-only").units
    assert unit.flair is None


@pytest.mark.parametrize("suffix", ["T1w", "FLAIR"])
def test_one_of_two_runs_is_used_and_the_other_is_named(suffix):
    other = "FLAIR" if suffix == "T1w" else "T1w"
    (unit,) = plan([scan(suffix, run="2"), scan(suffix, run="1"), scan(other)]).units
    choice = {"T1w": unit.t1w_choice, "FLAIR": unit.flair_choice}
    assert choice.pop(suffix).left == (Path(f"/data/sub-01_ses-a_run-2_{suffix}.nii.gz"),)
    assert list(choice.values()) == [None]
    used = unit.t1w if suffix == "T1w" else unit.flair
    assert used.name == f"sub-01_ses-a_run-1_{suffix}.nii.gz"


def test_the_better_run_where_that_is_asked_for():
    def measure(path):
        return RunQuality(1.0, 0.4 if "run-2" in path.name else 0.5)

    scans = [scan("T1w", run="1"), scan("T1w", run="2"), scan("FLAIR")]
    (unit,) = plan(scans, run_choice="quality", measure_run=measure).units
    assert unit.t1w.name == "sub-01_ses-a_run-2_T1w.nii.gz"


@pytest.mark.parametrize("suffix", ["T1w", "FLAIR"])
def test_images_that_differ_in_more_than_the_run_are_not_chosen_among(suffix):
    other = "FLAIR" if suffix == "T1w" else "T1w"
    post = scan(suffix, run="2")
    post = Scan(post.path, {**post.entities, "ceagent": "gad"})
    (left,) = plan([scan(suffix, run="1"), post, scan(other)], missing_flair="t1w-only").left
    assert left.flag == f"{suffix.lower()}_ambiguous"
    assert left.exit_code == 66
    assert f"2 {suffix} images (sub-01_ses-a_run-1_{suffix}.nii.gz, " in left.reason
    assert "these differ in ceagent" in left.reason
    assert f'{{"{suffix.lower()}": {{"ceagent": "gad"}}}}' in left.reason


def test_one_image_stored_twice_is_not_chosen_among():
    twice = [scan("T1w"), scan("T1w")]
    (left,) = plan([*twice, scan("FLAIR")]).left
    assert "these have no run number of their own" in left.reason


def test_what_was_prepared_elsewhere_is_given_to_its_session():
    made = plan([*pair(), *pair("02"), *pair("03")])
    lesion = Lesion(Path("/data/x"), "T1w", "bids:raw:x")
    reused = Reused(t1w=Derived(Path("/prep/t1w"), "fmriprep", "bids:fmriprep:x"))
    made = with_prepared(
        made,
        reused={"sub-02_ses-a": reused},
        lesions={"sub-01_ses-a": lesion},
        refused={"sub-03_ses-a": "the mask does not fit"},
    )
    assert [unit.lesion for unit in made.units] == [lesion, None]
    assert [unit.reused for unit in made.units] == [Reused(), reused]
    assert [unit.anatomy for unit in made.units] == [made.units[0].t1w, Path("/prep/t1w")]
    (left,) = made.left
    assert (left.label, left.flag, left.exit_code, left.reason) == (
        "sub-03_ses-a", "derivatives_unusable", 65, "the mask does not fit",
    )  # fmt: skip


def test_a_session_without_t1w():
    (left,) = plan([scan("FLAIR")]).left
    assert (left.flag, left.exit_code) == ("t1w_missing", 66)
    assert "has no T1w image; one is needed" in left.reason


def test_a_participant_without_any_image_is_named():
    made = plan(pair(), participants=["01", "09"])
    assert [left.label for left in made.left] == ["sub-09"]


def test_an_image_outside_sessions_serves_those_that_lack_one():
    scans = [scan("T1w"), scan("T1w", session="b"), scan("FLAIR", session="b")]
    scans.append(scan("FLAIR", session=None))
    units = plan(scans).units
    assert [unit.flair.name for unit in units] == [
        "sub-01_FLAIR.nii.gz",
        "sub-01_ses-b_FLAIR.nii.gz",
    ]
    assert [unit.session for unit in units] == ["a", "b"]


def test_mri_outside_sessions_and_pet_inside_is_one_unit():
    made = plan([*pair(session=None), scan("pet", session="p1"), scan("pet", session="p2")])
    assert [unit.label for unit in made.units] == ["sub-01"]
    assert made.left == ()


def test_a_participant_with_pet_alone_is_left_out():
    made = plan([scan("pet")])
    assert made.units == ()
    assert [(left.label, left.flag) for left in made.left] == [("sub-01", "t1w_missing")]


def test_an_unusable_image_costs_its_session_only():
    def check(path):
        if path.name == "sub-01_ses-a_T1w.nii.gz":
            raise ImageError(f"{path}: the image is cut short")

    made = plan([*pair(), *pair("02")], check=check)
    (left,) = made.left
    assert (left.flag, left.exit_code) == ("image_unusable", 65)
    assert left.reason == "/data/sub-01_ses-a_T1w.nii.gz: the image is cut short"
    assert [unit.subject for unit in made.units] == ["02"]


def test_images_that_are_not_used_are_not_checked():
    seen = []
    plan([*pair(), scan("pet")], check=lambda path: seen.append(path.name))
    assert seen == ["sub-01_ses-a_T1w.nii.gz", "sub-01_ses-a_FLAIR.nii.gz"]


def test_nothing_at_all():
    assert plan([]) == Plan((), ())


UNIT = Unit("01", "a", Path("t1w"), Path("flair"), ("pib",))


def test_seeds_are_pinned():
    """Literals, so that a change of recipe cannot pass unseen."""
    assert UNIT.seed(0, "pib") == 1549944146
    assert UNIT.seed(1, "pib") == 912589828
    assert Unit("01", None, Path("t"), None, ()).seed(0, "pib") == 94847978


def test_every_synthesis_has_its_own_seed():
    others = [Unit("02", "a", Path("t"), None, ()), Unit("01", "b", Path("t"), None, ())]
    seeds = {UNIT.seed(0, "pib"), UNIT.seed(0, "pbr28"), *(o.seed(0, "pib") for o in others)}
    assert len(seeds) == 4


@pytest.mark.parametrize(
    ("subject", "session", "name"),
    [
        ("01", None, "sub_01_wf"),
        ("01", "a", "sub_01_ses_a_wf"),
        ("0+1", None, "sub_0__1_wf"),
        ("0", "1+a", "sub_0_ses_1__a_wf"),
    ],
)
def test_name_of_the_graph_is_one_that_nipype_takes(subject, session, name):
    assert Unit(subject, session, Path("t"), None, ()).graph_name == name


READING = Reading((1.0,), "Bq/mL", None, "", {}, 1, (), "")


def pet(session="a", tracer="pib", subject="01"):
    path = Path(f"/data/sub-{subject}_ses-{session}_trc-{tracer}_pet.nii.gz")
    return Measured(path, subject, session, tracer, {"trc": tracer}, READING)


def test_measured_pet_goes_with_the_mri_of_its_session():
    scans = [*pair(), *pair("01", "b"), *pair("02")]
    made = plan(scans, measured=[pet("b"), pet(), pet(tracer="pbr28"), pet(subject="02")])
    assert [[one.path for one in unit.measured] for unit in made.units] == [
        [pet().path, pet(tracer="pbr28").path], [pet("b").path], [pet(subject="02").path],
    ]  # fmt: skip
    assert made.unread == ()


@pytest.mark.parametrize("session", [None, "a"])
def test_pet_of_a_session_without_mri_goes_with_the_only_one(session):
    (unit,) = plan(pair(session=session), measured=[pet("late")]).units
    assert [one.label for one in unit.measured] == ["sub-01_ses-late"]
    assert [one.node_name for one in unit.measured] == ["ses_late_pib"]


def test_pet_between_two_mri_is_left_alone():
    made = plan([*pair(), *pair("01", "b")], measured=[pet("c")])
    assert [unit.measured for unit in made.units] == [(), ()]
    (left,) = made.unread
    assert left.label == "sub-01_ses-c"
    assert "usable T1w are in sub-01_ses-a, sub-01_ses-b" in left.reason
    assert "--session-label" in left.reason


def test_pet_of_a_participant_whose_mri_is_left_out_is_told():
    made = plan([scan("FLAIR"), *pair("02")], measured=[pet()])
    (left,) = made.unread
    assert "no T1w of the participant is usable" in left.reason


def test_missing_flair_does_not_take_measured_pet_with_it():
    """A PET needs a T1w; the session says of itself why nothing is synthesised."""
    made = plan([scan("T1w"), *pair("02")], measured=[pet()])
    assert (made.left, made.unread) == ((), ())
    first, second = made.units
    assert (first.tracers, first.flair, first.flair_missing) == ((), None, True)
    assert [one.tracer for one in first.measured] == ["pib"]
    assert (second.tracers, second.flair_missing) == (("pib",), False)


def test_missing_flair_as_an_error_stops_the_whole_session():
    made = plan([scan("T1w"), *pair("02")], measured=[pet()], missing_flair="error")
    assert [left.label for left in made.left] == ["sub-01_ses-a"]
    assert [one.path for one in made.unread] == [pet().path]


def test_pet_without_mri_goes_to_the_session_that_has_all_of_it():
    """Not to the one that lacks FLAIR, unless its participant has no other."""
    made = plan([scan("T1w"), *pair("01", "b")], measured=[pet("c")])
    assert [(unit.session, len(unit.measured)) for unit in made.units] == [("b", 1)]
    assert [left.flag for left in made.left] == ["flair_missing"]
    (unit,) = plan([scan("T1w")], measured=[pet("c")]).units
    assert [one.session for one in unit.measured] == ["c"]


@pytest.mark.parametrize("rule", ["skip", "t1w-only", "error"])
def test_measured_pet_alone_needs_no_flair(rule):
    scans = [scan("T1w"), scan("FLAIR", run="1"), scan("FLAIR", run="2"), scan("T1w", "02")]
    made = plan(scans, measured=[pet()], tracers=[], missing_flair=rule)
    (unit,) = made.units
    assert (unit.tracers, unit.flair, unit.flair_missing) == ((), None, False)
    (left,) = made.left
    assert (left.label, left.flag, left.exit_code) == ("sub-02_ses-a", "pet_missing", 0)
    assert "--synth-tracers none" in left.reason


def test_a_session_knows_which_of_its_pet_was_left_alone():
    one, other = Unread("sub-01_ses-a", Path("/x"), "why"), Unread("sub-02_ses-a", Path("/y"), "")
    units = plan([*pair(), *pair("02")], unread=[one, other]).units
    assert [unit.unread for unit in units] == [(one,), (other,)]


@pytest.mark.parametrize("needed", [True, False])
def test_measured_pet_may_be_required(needed):
    unread = [Unread("sub-02_ses-a", Path("/y"), "its sidecar is broken.")]
    made = plan([*pair(), *pair("02")], measured=[pet()], unread=unread, require_pet=needed)
    assert [unit.subject for unit in made.units] == (["01"] if needed else ["01", "02"])
    if needed:
        (left,) = made.left
        assert (left.label, left.flag, left.exit_code) == ("sub-02_ses-a", "pet_missing", 66)
        assert "--real-pet require asks for one. its sidecar is broken." in left.reason


def broken(path):
    if path.name.endswith("_FLAIR.nii.gz"):
        raise ImageError(f"{path}: holds 3 MB of 9 MB.")


@pytest.mark.parametrize("when", ["planned", "read to the end"])
@pytest.mark.parametrize("rule", ["skip", "error", "t1w-only"])
@pytest.mark.parametrize("with_pet", [False, True])
def test_a_damaged_flair(when, rule, with_pet):
    """Missing where the user goes on without; else an error that spares what needs a T1w only."""
    pets = [pet()] if with_pet else []
    check = {"check": broken} if when == "planned" else {}
    made = plan([*pair(), *pair("02")], missing_flair=rule, measured=pets, **check)
    if when == "read to the end":
        names = [unit.label for unit in made.units]
        problems = {name: f"/data/{name}_FLAIR.nii.gz: holds 3 MB of 9 MB." for name in names}
        made = with_flair_problems(made, problems, missing_flair=rule)
    if rule == "t1w-only":
        assert [(u.tracers, u.flair, u.flair_missing) for u in made.units] == [
            (("pib",), None, True)
        ] * 2
        assert all("FLAIR.nii.gz: holds" in u.flair_problem for u in made.units)
        assert (made.left, made.partly) == ((), ())
        return
    failed = {left.label: left for left in (*made.left, *made.partly)}
    assert {left.exit_code for left in failed.values()} == {65}
    assert {left.flag for left in failed.values()} == {"flair_unusable"}
    assert "sub-01_ses-a_FLAIR.nii.gz: holds" in failed["sub-01_ses-a"].reason
    assert "--missing-flair t1w-only" in failed["sub-01_ses-a"].reason
    assert [left.label for left in made.partly] == (["sub-01_ses-a"] if with_pet else [])
    assert [(u.label, u.tracers) for u in made.units] == (
        [("sub-01_ses-a", ())] if with_pet else []
    )


def test_a_damaged_flair_takes_its_lesion_mask_with_it_and_nobody_else():
    made = plan([*pair(), *pair("02")])
    lesions = {label: Lesion(Path("/x"), on, "bids:x") for label, on in
               (("sub-01_ses-a", "FLAIR"), ("sub-02_ses-a", "T1w"))}  # fmt: skip
    made = with_prepared(made, reused={}, lesions=lesions, refused={})
    problems = dict.fromkeys(lesions, "damaged")
    first, second = with_flair_problems(made, problems, missing_flair="t1w-only").units
    assert (first.lesion, second.lesion.on) == (None, "T1w")
    one = with_flair_problems(made, {"sub-01_ses-a": "damaged"}, missing_flair="skip")
    assert one.units == made.units[1:]


def test_a_flair_nobody_needs_may_be_damaged():
    (unit,) = plan(pair(), tracers=(), measured=[pet()], check=broken).units
    assert (unit.flair_problem, unit.flair_missing) == ("", False)
