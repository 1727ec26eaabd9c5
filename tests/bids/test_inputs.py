import json
import time

import pytest

from relad_bids.bids.inputs import find_scans
from relad_bids.errors import InputError, NotBIDSError, NothingSelectedError

DESCRIPTION = {"Name": "Toy", "BIDSVersion": "1.10.0"}


@pytest.fixture
def make_dataset(tmp_path):
    """Write a dataset of empty files; paths are relative to its root."""

    def make(*paths, description=DESCRIPTION, root=tmp_path / "ds"):
        root.mkdir(parents=True, exist_ok=True)
        if description is not None:
            (root / "dataset_description.json").write_text(json.dumps(description))
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        return root

    return make


def images(subject, *, session=None, suffixes=("T1w", "FLAIR"), extra=""):
    stem = f"sub-{subject}_ses-{session}" if session else f"sub-{subject}"
    for suffix in suffixes:
        kind = "pet" if suffix == "pet" else "anat"
        yield f"{stem.replace('_', '/')}/{kind}/{stem}{extra}_{suffix}.nii.gz"


def names(dataset):
    return [scan.path.name for scan in dataset.scans]


def test_every_usable_image_is_found_with_its_entities(make_dataset):
    name = "sub-01/ses-a/pet/sub-01_ses-a_trc-11CPIB_rec-acdyn_run-01_pet.nii"
    dataset = find_scans(make_dataset(*images("01", session="a"), name))
    assert dataset.name == "Toy"
    assert dataset.participants == ("01",)
    assert names(dataset) == [
        "sub-01_ses-a_FLAIR.nii.gz",
        "sub-01_ses-a_T1w.nii.gz",
        "sub-01_ses-a_trc-11CPIB_rec-acdyn_run-01_pet.nii",
    ]
    assert dataset.scans[2].path == dataset.root / name
    assert dataset.scans[2].entities == {
        "subject": "01",
        "session": "a",
        "tracer": "11CPIB",
        "reconstruction": "acdyn",
        "run": "01",
        "suffix": "pet",
        "datatype": "pet",
        "extension": ".nii",
    }


def test_what_the_name_does_not_say_is_not_there(make_dataset):
    scan = find_scans(make_dataset("sub-01/anat/sub-01_T1w.nii.gz")).scans[0]
    assert scan.entities.keys() == {"subject", "suffix", "datatype", "extension"}


@pytest.mark.parametrize(
    "path",
    [
        "derivatives/old/sub-01/anat/sub-01_T1w.nii.gz",
        "sourcedata/sub-01/anat/sub-01_T1w.nii.gz",
        "code/sub-01/anat/sub-01_T1w.nii.gz",
        ".git/sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-01/anat/sub-01_T1w.json",
        "sub-01/anat/sub-02_FLAIR.nii.gz",
        "sub-01/func/sub-01_T1w.nii.gz",
        "sub-01/pet/sub-01_FLAIR.nii.gz",
        "sub-01/anat/old/sub-01_FLAIR.nii.gz",
        "T1w.nii.gz",
    ],
)
def test_everything_else_is_left_alone(make_dataset, path):
    assert names(find_scans(make_dataset("sub-01/anat/sub-01_T1w.nii.gz", path))) == [
        "sub-01_T1w.nii.gz"
    ]


def test_folders_above_the_dataset_do_not_pass_for_entities(make_dataset, tmp_path):
    """pybids alone reads subject ``study`` and session ``9`` here."""
    root = tmp_path / "sub-study" / "ses-9" / "ds"
    scan = find_scans(make_dataset(*images("01", suffixes=["T1w"]), root=root)).scans[0]
    assert scan.entities["subject"] == "01"
    assert "session" not in scan.entities


def test_a_link_whose_content_was_not_fetched_is_still_a_scan(make_dataset):
    root = make_dataset(*images("01", suffixes=["T1w"]))
    (root / "sub-01/anat/sub-01_FLAIR.nii.gz").symlink_to("../.git/annex/objects/gone")
    assert names(find_scans(root)) == ["sub-01_FLAIR.nii.gz", "sub-01_T1w.nii.gz"]


@pytest.mark.parametrize("asked", [["01"], ["sub-01"], ["sub-01/"], ["01", "sub-01"]])
def test_participants_with_and_without_prefix(make_dataset, asked):
    dataset = find_scans(make_dataset(*images("01"), *images("1")), participants=asked)
    assert dataset.participants == ("01",)
    assert {scan.entities["subject"] for scan in dataset.scans} == {"01"}


def test_participants_from_a_file(make_dataset, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("sub-03\n\n# left out: 02\n01\n")
    root = make_dataset(*images("01"), *images("02"), *images("03"))
    assert find_scans(root, participants=[str(file)]).participants == ("01", "03")


def test_a_participant_without_images_stays_in_the_list(make_dataset):
    dataset = find_scans(make_dataset(*images("01"), "sub-02/func/sub-02_bold.nii.gz"))
    assert dataset.participants == ("01", "02")


def test_01_and_1_differ(make_dataset):
    root = make_dataset(*(path for n in range(12) for path in images(f"{n:02}")))
    with pytest.raises(
        NothingSelectedError,
        match=r"no folder for participant 1, x\. Asked for: 1, 05, x\. "
        r"Found: 00, 01, .*, 09, \.\.\. \(12 in all\)\. .* 01 and 1 differ",
    ):
        find_scans(root, participants=["1", "05", "x"])


@pytest.mark.parametrize(
    ("n", "shown"), [(10, r"08, 09\. Labels"), (11, r"09, \.\.\. \(11 in all")]
)
def test_a_message_lists_ten_labels(make_dataset, n, shown):
    root = make_dataset(*(path for i in range(n) for path in images(f"{i:02}")))
    with pytest.raises(NothingSelectedError, match=shown):
        find_scans(root, participants=["x"])


def test_sessions_are_cut_to_those_asked_for(make_dataset):
    root = make_dataset(*images("01", session="a"), *images("01", session="b"))
    dataset = find_scans(root, sessions=["ses-b"])
    assert {scan.entities["session"] for scan in dataset.scans} == {"b"}


def test_an_image_outside_any_session_serves_the_sessions_of_its_participant(make_dataset):
    """As in OpenNeuro ds004869: T1w below ``sub-01/anat``, PET below ``sub-01/ses-*/pet``."""
    pet = [
        *images("01", session="a", suffixes=["pet"]),
        *images("01", session="b", suffixes=["pet"]),
    ]
    root = make_dataset(*images("01", suffixes=["T1w"]), *pet, *images("02", suffixes=["T1w"]))
    assert names(find_scans(root, sessions=["a"])) == [
        "sub-01_T1w.nii.gz",
        "sub-01_ses-a_pet.nii.gz",
    ]


def test_unknown_session(make_dataset):
    root = make_dataset(*images("01", session="01"))
    with pytest.raises(
        NothingSelectedError, match=r"in session 1\. Asked for: 1\. Found: 01\..*--session-label"
    ):
        find_scans(root, sessions=["1"])


def test_a_filter_touches_only_its_kind_of_image(make_dataset):
    root = make_dataset(*images("01", extra="_run-1"), *images("01", extra="_run-2"))
    assert names(find_scans(root, filters={"t1w": {"run": "02"}})) == [
        "sub-01_run-1_FLAIR.nii.gz",
        "sub-01_run-2_FLAIR.nii.gz",
        "sub-01_run-2_T1w.nii.gz",
    ]


def test_filter_session_and_session_labels_are_both_obeyed(make_dataset):
    root = make_dataset(*(path for s in "abc" for path in images("01", session=s)))
    found = find_scans(root, sessions=["a", "b"], filters={"t1w": {"session": ["b", "c"]}})
    assert names(found) == [
        "sub-01_ses-a_FLAIR.nii.gz",
        "sub-01_ses-b_FLAIR.nii.gz",
        "sub-01_ses-b_T1w.nii.gz",
    ]


def test_a_filter_that_selects_nothing(make_dataset):
    root = make_dataset(*images("01", extra="_acq-mprage"), *images("02"))
    with pytest.raises(
        NothingSelectedError,
        match=r"'t1w' \{\"acquisition\": \"mp2rage\"\} selects none of the 2 T1w images\. "
        r"Found: acquisition \(none\), mprage\.",
    ):
        find_scans(root, filters={"t1w": {"acquisition": "mp2rage"}})


def test_a_filter_for_images_that_are_not_there_is_no_error(make_dataset):
    root = make_dataset(*images("01"))
    assert len(find_scans(root, filters={"pet": {"tracer": "11CPIB"}}).scans) == 2


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"looked for at .*/nowhere and nothing was found"):
        find_scans(tmp_path / "nowhere")


def test_a_file_is_no_dataset(tmp_path):
    (tmp_path / "ds.zip").touch()
    with pytest.raises(InputError, match=r"ds\.zip and a file was found"):
        find_scans(tmp_path / "ds.zip")


def test_no_description(make_dataset):
    root = make_dataset(*images("01"), description=None)
    with pytest.raises(NotBIDSError, match=r"no dataset_description\.json.*Write dataset_desc"):
        find_scans(root)


def test_a_participant_folder_given_as_dataset(make_dataset):
    root = make_dataset(*images("01"))
    with pytest.raises(NotBIDSError, match=r"Give the folder above, .*/ds\."):
        find_scans(root / "sub-01")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds a list, needed is an object"),
        ("{}", "no Name and no BIDSVersion"),
        ('{"Name": "x"}', "has no BIDSVersion"),
        ('{"Name": "", "BIDSVersion": "1.8.0"}', "has no Name"),
        ('{"Name": "x", "BIDSVersion": "1", "DatasetType": "derivative"}', "says .*'derivative'"),
    ],
)
def test_a_description_that_will_not_do(make_dataset, text, message):
    root = make_dataset(*images("01"), description=None)
    (root / "dataset_description.json").write_text(text)
    with pytest.raises(NotBIDSError, match=message):
        find_scans(root)


def test_a_byte_order_mark_does_no_harm(make_dataset):
    root = make_dataset(*images("01"), description=None)
    text = "\ufeff" + json.dumps(DESCRIPTION)
    (root / "dataset_description.json").write_text(text, encoding="utf-8")
    assert find_scans(root).name == "Toy"


def test_no_participants(make_dataset):
    with pytest.raises(InputError, match="participant folders and found none"):
        find_scans(make_dataset())


def test_no_usable_images(make_dataset):
    with pytest.raises(InputError, match=r"images of 01 and found none\. Needed are"):
        find_scans(make_dataset("sub-01/func/sub-01_bold.nii.gz"))


def test_other_participants_cost_nothing(make_dataset):
    """200 crowded folders; measured 0.1 s, allowed 2 s on a busy machine."""
    others = (f"sub-{n:03}/func/f{i}" for n in range(200) for i in range(10))
    root = make_dataset(*images("x"), *others)
    start = time.perf_counter()
    assert len(find_scans(root, participants=["x"]).scans) == 2
    assert time.perf_counter() - start < 2
