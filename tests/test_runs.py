from pathlib import Path

import pytest

from relad_bids.core.run_quality import RunQuality
from relad_bids.runs import choose_run, differing, repeats
from relad_bids.sessions import Scan


def scan(run=None, **entities):
    named = {"subject": "01", "suffix": "T1w", "extension": ".nii.gz", **entities}
    return Scan(Path(f"run-{run}.nii.gz"), named | ({"run": run} if run else {}))


def choose(scans, rule="first", **figures):
    return choose_run(scans, rule=rule, measure=lambda path: figures.get(path.name[4]))


def test_runs_are_repeats_and_nothing_else_is():
    assert repeats([scan("1"), scan("2")])
    assert repeats([scan(), scan("2")])
    assert repeats([scan("1"), scan("2", extension=".nii")])
    assert not repeats([scan("1"), scan("1", extension=".nii")]), "one image, stored twice"
    for entity in ("acquisition", "ceagent", "reconstruction", "echo", "part"):
        scans = [scan("1"), scan("2", **{entity: "x"})]
        assert not repeats(scans)
        assert differing(scans) == (entity,)


def test_first_is_the_lowest_number_not_the_first_in_the_alphabet():
    choice = choose([scan("10"), scan("9"), scan("02")])
    assert choice.used.name == "run-02.nii.gz"
    assert [path.name for path in choice.left] == ["run-9.nii.gz", "run-10.nii.gz"]
    assert choice.text == "first of 3 runs"
    assert choice.figures == ()


def test_an_image_without_a_number_is_before_all_others():
    assert choose([scan("1"), scan()]).used.name == "run-None.nii.gz"


def test_the_first_is_not_read_to_be_chosen():
    def measure(path):
        raise AssertionError(path)

    choose_run([scan("1"), scan("2")], rule="first", measure=measure)


THIN, THICK = RunQuality(1.0, 0.5), RunQuality(3.0, 0.3)


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ({"1": THICK, "2": THIN}, "2"),  # slices before entropy
        ({"1": RunQuality(1.0, 0.51), "2": THIN}, "2"),
        ({"1": THIN, "2": THIN}, "1"),  # equals: the first
        ({"2": THICK}, "2"),  # the other cannot be used
        ({}, "1"),  # none can: the first will say why
    ],
)
def test_quality(figures, best):
    choice = choose([scan("1"), scan("2")], "quality", **figures)
    assert choice.used.name[4] == best
    assert choice.figures[0] == figures.get(best)
    assert len(choice.figures) == 2


def test_figures_are_told_in_the_order_of_the_files():
    choice = choose([scan("1"), scan("2"), scan("3")], "quality", **{"1": THICK, "2": THIN})
    assert choice.text == "best of 3 runs (1 mm 0.5000; 3 mm 0.3000; unusable)"


def test_order_of_the_files_does_not_matter():
    scans = [scan("1"), scan("2"), scan("3")]
    for rule in ("first", "quality"):
        assert choose(scans, rule, **{"3": THIN}) == choose(scans[::-1], rule, **{"3": THIN})
