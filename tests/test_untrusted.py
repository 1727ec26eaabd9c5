import json
import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relad_bids.untrusted import MAX_BYTES, read_json, read_text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON)
def test_what_was_written_is_read(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_json(path) == value


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    path.write_bytes(content)
    with suppress(ValueError):
        read_json(path)


@pytest.mark.parametrize("text", ["[" * 500_000, '{"a":' * 500_000, "[" * 99_999 + "]" * 99_999])
def test_deep_nesting(tmp_path, text):
    (tmp_path / "deep.json").write_text(text)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep.json")


def test_a_gigabyte_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large.json"
    path.touch()
    os.truncate(path, 10**9)
    with pytest.raises(ValueError, match="holds 1000 MB, at most 34"):
        read_text(path)


@pytest.mark.parametrize("extra", [0, 1])
def test_both_sides_of_the_largest_size(tmp_path, extra):
    path = tmp_path / "text"
    path.touch()
    os.truncate(path, MAX_BYTES + extra)
    if extra:
        with pytest.raises(ValueError, match="at most"):
            read_text(path)
    else:
        assert len(read_text(path)) == MAX_BYTES


def test_no_pipe_is_waited_for_and_no_device_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(OSError, match="a pipe or a device"):
            read_text(tmp_path / name)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none")
