"""Nothing that a dataset holds commands the terminal on which it is told."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relad_bids.cli.telling import Printable, tell
from relad_bids.untrusted import printable


@given(st.text())
def test_what_is_told_is_printable(text):
    told = printable(text)
    assert all(one.isprintable() or one in "\n\t" for one in told)
    if all(one.isprintable() for one in text):
        assert told == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sub-01_acq-\x1b[2J_T1w.nii.gz", r"sub-01_acq-\x1b[2J_T1w.nii.gz"),
        ("gpj.\u202egz", r"gpj.\u202egz"),  # read from the right it would end in .jpg
        ("\x07\r\x9b", r"\x07\r\x9b"),
        ("Grüße, 漢字: 'a b' \"c\"", "Grüße, 漢字: 'a b' \"c\""),
        ("two\n  lines", "two\n  lines"),
    ],
)
def test_escapes(text, told):
    assert printable(text) == told


def test_lines_and_records(capsys):
    tell("a\x1b[0m", ValueError("b\x07"))
    assert capsys.readouterr().err == "a\\x1b[0m\n  b\\x07\n"
    record = logging.LogRecord("relad_bids", 20, "x", 1, "%s", ("\x1b]0;title\x07",), None)
    assert Printable("%(message)s").format(record) == "\\x1b]0;title\\x07"
