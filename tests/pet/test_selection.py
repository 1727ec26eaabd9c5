import pytest

from relad_bids.errors import InputError, NothingSelectedError
from relad_bids.pet.selection import SHOWN, PETScan, require_single, select_scans


def scan(tracer=None, *, known=None, rec=None, run=None, subject="01", session="a"):
    given = {"sub": subject, "ses": session, "trc": tracer, "rec": rec, "run": run}
    name = "_".join(f"{key}-{value}" for key, value in given.items() if value)
    long = ("subject", "session", "tracer", "reconstruction", "run")
    told = {key: value for key, value in zip(long, given.values(), strict=True) if value}
    return PETScan(f"{name}_pet.nii.gz", told, known)


def paths(scans, **labels):
    return [kept.path for kept in select_scans(scans, **labels)]


def test_all_are_kept_in_their_order_where_nothing_is_asked():
    scans = [scan("b"), scan("a", rec="acdyn"), scan(run="2")]
    assert select_scans(scans) == tuple(scans)
    assert select_scans([]) == ()


@pytest.mark.parametrize("rec", ["nac", "nacdyn", "nacstat", "nacstat2", "NACdyn"])
def test_without_attenuation_correction_nothing_is_quantified(rec):
    scans = [scan("11CPIB", rec=rec), scan("11CPIB", rec="acdyn")]
    assert select_scans(scans) == (scans[1],)
    assert select_scans(scans[:1]) == ()
    with pytest.raises(
        NothingSelectedError, match=rf"--rec-label {rec} was looked for among 1 PET scans and "
        r"none has it\. Found: rec- acdyn\. Give labels that are there; rec-nac\*, .* is never",
    ):  # fmt: skip
        select_scans(scans, rec_labels=[rec])


@pytest.mark.parametrize("rec", [None, "acdyn", "anac", "osem"])
def test_other_reconstructions_are_none_of_these(rec):
    assert len(select_scans([scan("11CPIB", rec=rec)])) == 1


@pytest.mark.parametrize("label", ["acdyn", "rec-acdyn"])
def test_by_reconstruction(label):
    scans = [scan(rec="acdyn"), scan(rec="acstat"), scan()]
    assert paths(scans, rec_labels=[label]) == ["sub-01_ses-a_rec-acdyn_pet.nii.gz"]
    assert len(paths(scans, rec_labels=["acdyn", "acstat"])) == 2


@pytest.mark.parametrize("label", ["1", "01", "run-1", "run-001"])
def test_by_run_as_a_number(label):
    scans = [scan(run="01"), scan(run="2"), scan(run="11"), scan()]
    assert paths(scans, run_labels=[label]) == ["sub-01_ses-a_run-01_pet.nii.gz"]


@pytest.mark.parametrize("label", ["11CPIB", "trc-11CPIB", "pib", "PiB", "amyloid"])
def test_by_tracer_in_any_spelling(label):
    scans = [scan("11CPIB"), scan("18FAV1451")]
    assert paths(scans, tracer_labels=[label]) == ["sub-01_ses-a_trc-11CPIB_pet.nii.gz"]


def test_the_sidecar_tells_the_tracer_of_a_name_that_does_not():
    scans = [scan(known="pib"), scan("one", known="flortaucipir"), scan("two")]
    assert select_scans(scans, tracer_labels=["11CPIB"]) == (scans[0],)
    assert select_scans(scans, tracer_labels=["FTP"]) == (scans[1],)
    assert select_scans(scans, tracer_labels=["one"]) == (scans[1],)
    assert select_scans(scans, tracer_labels=["trc-two", "pib"]) == (scans[0], scans[2])


def test_the_sidecar_goes_before_the_name():
    with pytest.raises(NothingSelectedError, match="--tracer-label pib"):
        select_scans([scan("baseline", known="flortaucipir")], tracer_labels=["pib"])


def test_all_that_is_asked_must_hold():
    scans = [scan("11CPIB", run=run, rec=rec) for run in "12" for rec in ("acdyn", "acstat")]
    asked = {"tracer_labels": ["pib"], "rec_labels": ["acstat"], "run_labels": ["2"]}
    assert select_scans(scans, **asked) == (scans[3],)
    assert select_scans(select_scans(scans, **asked), **asked) == (scans[3],)


def test_nothing_left_says_what_was_asked_and_what_is_there():
    scans = [scan("11CPIB", run="1"), scan(known="flortaucipir"), scan("11CPIB", run="2")]
    with pytest.raises(
        NothingSelectedError, match=r"--tracer-label fdg pbr28, --run-label 7 was looked for "
        r"among 3 PET scans .*Found: trc- \(none\), 11CPIB, flortaucipir; run- \(none\), 1, 2\.",
    ):  # fmt: skip
        select_scans(scans, tracer_labels=["fdg", "pbr28"], run_labels=["7"])


def test_labels_without_any_scan():
    with pytest.raises(NothingSelectedError, match=r"among 0 PET scans .* Found: rec- nothing\."):
        select_scans([], rec_labels=["acdyn"])


@pytest.mark.parametrize(("n", "tail"), [(SHOWN, ""), (SHOWN + 1, r", \.\.\. \(11 in all\)")])
def test_long_lists_are_cut(n, tail):
    scans = [scan(run=f"{i:02}") for i in range(n)]
    with pytest.raises(NothingSelectedError, match=rf"Found: run- 00, 01, .*09{tail}\. Give"):
        select_scans(scans, run_labels=["99"])


@pytest.mark.parametrize(
    ("pair", "flags"),
    [
        (({"rec": "acdyn"}, {"rec": "acstat"}), "--rec-label acstat"),
        (({"run": "1"}, {"run": "2"}), "--run-label 2"),
        (({"run": "1", "rec": "a"}, {"run": "2", "rec": "b"}), "--rec-label b or --run-label 2"),
        (({}, {"run": "2"}), "--run-label 2"),
        (({"tracer": "x"}, {"tracer": "y"}), "--tracer-label y"),
        (({}, {}), "--bids-filter-file"),
    ],
)
def test_two_scans_of_one_tracer_are_not_chosen_among(pair, flags):
    first, second = (scan(known="pib", **settings) for settings in pair)
    with pytest.raises(InputError) as error:
        require_single([second, first])
    names = ", ".join(sorted([first.path, second.path]))
    assert str(error.value) == (
        f"sub-01_ses-a has 2 PET scans of pib ({names}); exactly one is needed. "
        f"Choose with {flags}."
    )


def test_what_the_message_says_leaves_one():
    scans = [scan(known="pib", rec="acdyn"), scan(known="pib", rec="acstat")]
    require_single(select_scans(scans, rec_labels=["acstat"]))


@pytest.mark.parametrize(
    "other",
    [
        scan(known="flortaucipir"),
        scan(known="pib", session="b"),
        scan(known="pib", session=None),
        scan(known="pib", subject="02"),
        scan(),
    ],
)
def test_scans_that_do_not_compete(other):
    require_single([scan(known="pib"), other])


def test_unknown_tracers_do_not_compete():
    require_single([scan(), scan()])


def test_a_participant_without_sessions():
    with pytest.raises(InputError, match=r"^sub-01 has 2 PET scans of pib \(sub-01_run-1_pet"):
        require_single([scan(known="pib", session=None, run=run) for run in "12"])
