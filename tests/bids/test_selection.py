import json

import pytest

from relad_bids.bids.selection import matches, read_filters, read_labels
from relad_bids.errors import ConfigError, InputError, UsageError


def test_labels_keep_their_order_and_their_zeros():
    assert read_labels(["sub-10", "01", "1", "01"]) == ("10", "01", "1")


def test_only_its_own_prefix_is_taken_off():
    assert read_labels(["ses-01", "02"], prefix="ses-") == ("01", "02")
    with pytest.raises(UsageError, match="'ses-01' is not a BIDS label"):
        read_labels(["ses-01"], prefix="sub-")


@pytest.mark.parametrize("text", ["01,02", "sub-", "", "a b", "sub_01", "../x"])
def test_what_is_no_label(text):
    with pytest.raises(UsageError, match=r"is not a BIDS label.*separated by spaces"):
        read_labels([text])


def test_labels_and_files_mix(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("\ufeffsub-02\r\n\r\n# note\r\n 03 \r\n", encoding="utf-8")
    assert read_labels(["01", str(file), "02"]) == ("01", "02", "03")


def test_a_label_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"list\.txt cannot be read: No such file"):
        read_labels([str(tmp_path / "list.txt")])


def test_an_empty_label_file(tmp_path):
    (tmp_path / "list.txt").write_text("# nobody\n")
    with pytest.raises(UsageError, match="holds no label"):
        read_labels([str(tmp_path / "list.txt")])


@pytest.fixture
def write(tmp_path):
    def _write(content):
        path = tmp_path / "filter.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return _write


def test_filters_of_other_programs_are_left_out(write):
    content = {"t1w": {"acquisition": None, "session": ["01"]}, "bold": {"task": "rest"}}
    assert read_filters(write(content)) == {"t1w": {"acquisition": None, "session": ["01"]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ([], "holds no object"),
        ({"T1w": {}}, r"'T1w' is no kind of image it knows; use t1w, flair, pet"),
        ({"t1w": "01"}, "'t1w' holds '01'; needed is an object"),
        ({"pet": {"trc": "11CPIB"}}, "'trc', which is no entity; use acquisition, .*tracer"),
        ({"pet": {"run": {"a": 1}}}, "'run' as {'a': 1}; use text, a number, null"),
        ({"pet": {"run": [[1]]}}, "use text, a number, null"),
    ],
)
def test_filters_nobody_can_honour(write, content, message):
    with pytest.raises(ConfigError, match=message):
        read_filters(write(content))


def test_every_problem_of_a_filter_file_is_named_at_once(write):
    with pytest.raises(ConfigError, match=r"(?s)'T1w' is.*'acq', which"):
        read_filters(write({"T1w": {}, "flair": {"acq": "x"}}))


def test_a_filter_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"filter file .* cannot be read"):
        read_filters(tmp_path / "no.json")


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({}, True),
        ({"session": "01"}, True),
        ({"session": "ses-01"}, True),
        ({"session": "1"}, False),
        ({"session": ["02", "01"]}, True),
        ({"session": []}, False),
        ({"run": 1}, True),
        ({"run": "01"}, True),
        ({"run": 2}, False),
        ({"acquisition": None}, True),
        ({"acquisition": "Query.NONE"}, True),
        ({"acquisition": "*"}, False),
        ({"acquisition": ["mprage", None]}, True),
        ({"acquisition": "mprage"}, False),
        ({"session": None}, False),
        ({"session": "Query.ANY"}, True),
        ({"session": "Query.OPTIONAL", "acquisition": "Query.OPTIONAL"}, True),
        ({"session": "01", "run": 2}, False),
    ],
)
def test_matches(query, fits):
    """A text is never taken letter by letter: session ``01`` is not session ``0``."""
    assert matches({"session": "01", "run": "1", "suffix": "T1w"}, query) is fits
