"""Tables of a cohort that somebody made to do harm: they become text, or one clear error."""

import os
import re
import time

import pytest
from cohort import Cohort, people

from relad_bids.errors import ReladError
from relad_bids.files import read_table, write_table
from relad_bids.group.run import run
from relad_bids.group.settings import GroupSettings

EVIL = (
    "$\\frac$", "<img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "=cmd|' /C calc'!A0", "\x1b[2J",
    "../../etc", "a\u202eb", "%s%n", "$x_{y$", "'; drop table",
)  # fmt: skip
"""For matplotlib, a page, a template, a spreadsheet, a terminal, a path, a reader."""


def cohort(root, n=9):
    whole = people(n)
    made = Cohort(root)
    for one in whole:
        made.session(one, "pib")
    return made, whole


def group(root):
    settings = GroupSettings(output_dir=root, n_draws=100, n_permutations=19, unseen=True)
    return list(run(settings.checked()))


def error_of(root):
    """What a mendable error says; empty where there is none, any other goes on."""
    try:
        group(root)
    except ReladError as error:
        return str(error)
    return ""


def test_texts_of_participants_reach_pages_and_figures_as_text(tmp_path):
    root = tmp_path / "out"
    made, whole = cohort(root, n=2 * len(EVIL))
    made.participants(whole)
    table = read_table(root / "participants.tsv")
    for name in ("site", "diagnosis"):
        table[name] = [EVIL[i // 2] for i in range(len(table))]
    write_table(root / "participants.tsv", table)
    *_, page = group(root)
    html = page.read_text()
    assert "<img" not in re.sub(r'<img (alt="[^"]*" )?src="data:', "", html)
    assert "{{ 7 * 7 }}" in html or "49" not in html
    inside = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert inside == {"out"}


@pytest.mark.parametrize("size", [10**9, 10**10])
def test_a_participants_table_of_gigabytes(tmp_path, size):
    """It holds a hole, and no disk is needed; a reader would take it all into memory."""
    root = tmp_path / "out"
    made, whole = cohort(root, n=3)
    made.participants(whole)
    os.truncate(root / "participants.tsv", size)
    start = time.monotonic()
    with pytest.raises(ReladError, match=r"participants.tsv.*holds \d+ MB"):
        group(root)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"\xff\xfe\x00p", b"participant_id\n" + b'"' * 99,
     b"participant_id\tage\n01\n\x00", b"participant_id\t" * 5000, b"a\tb\n1\t2\t3\n",
     b"\x1f\x8b\x08\x00zzzz"],
)  # fmt: skip
def test_a_participants_table_of_any_bytes(tmp_path, content):
    """Used, or refused by an error that names it."""
    root = tmp_path / "out"
    cohort(root, n=3)
    (root / "participants.tsv").write_bytes(content)
    told = error_of(root)
    assert told == "" or "participants.tsv" in told


def test_a_pipe_for_a_table(tmp_path):
    """It is no file, so that there is no table; nobody waits for it."""
    root = tmp_path / "out"
    cohort(root, n=3)
    os.mkfifo(root / "participants.tsv")
    assert error_of(root) == ""


def test_a_table_of_a_session_that_is_damaged_names_its_file(tmp_path):
    root = tmp_path / "out"
    cohort(root, n=3)
    path = next(root.glob("sub-*/pet/*_kinpar.tsv"))
    path.write_bytes(b"\xff\xfe\x00\x00" * 99)
    with pytest.raises(ReladError, match=re.escape(path.name)):
        group(root)
