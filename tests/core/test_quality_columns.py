import math

import pytest

from relad_bids.core.columns import COLUMNS
from relad_bids.core.qc import QC_COLUMNS
from relad_bids.core.quality_columns import (
    FIGURES,
    Figure,
    quality_columns,
    quality_flags,
    quality_warnings,
)

BOUNDS = [
    pytest.param(name, bound, sign, id=f"{name}-{bound:g}")
    for name, figure in FIGURES.items()
    for bound, sign in ((figure.low, -1), (figure.high, 1))
    if bound is not None
]


@pytest.mark.parametrize(("name", "bound", "sign"), BOUNDS)
def test_both_sides_of_each_bound(name, bound, sign):
    """A value at the bound is usual, a little beyond it is flagged."""
    figure = FIGURES[name]
    beyond = bound + sign * max(abs(bound), 1) * 1e-6
    assert figure.state(bound) == "usual"
    assert figure.state(beyond) == "unusual"
    assert quality_flags({name: bound}) == []
    assert quality_flags({name: beyond}) == ([figure.flag] if figure.flag else [])


def test_what_is_not_known_is_no_flag():
    assert quality_flags({}) == []
    assert quality_flags(dict.fromkeys(FIGURES)) == []
    assert quality_flags(dict.fromkeys(FIGURES, math.nan)) == []
    assert FIGURES["t1w_cnr"].state(None) == "not known"


def test_a_flag_stands_once():
    found = quality_flags({"wm_dice": 0.1, "gm_dice": 0.1, "brain_in_fov": 0.2, "colour": 3})
    assert sorted(found) == ["brain_cut", "tissue_mismatch"]


def test_the_dictionary_says_the_range():
    """In words and as numbers; both come from the same two bounds."""
    column = QC_COLUMNS["cerebellum_in_fov"]
    figure = FIGURES["cerebellum_in_fov"]
    assert column["UsualRange"] == {"Minimum": figure.low, "Maximum": figure.high}
    assert f"Usual range: {figure.range_text()}." in column["Description"]
    assert "Outside of it: `cerebellum_cut`." in column["Description"]
    assert "UsualRange" not in QC_COLUMNS["t1w_efc"]
    assert "told, not judged" in QC_COLUMNS["t1w_efc"]["Description"]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (None, None, "none: told, not judged"),
        (1, None, "at least 1 mm"),
        (None, 2.5, "at most 2.5 mm"),
        (1, 2.5, "1 to 2.5 mm"),
    ],
)
def test_ranges_in_words(low, high, text):
    figure = Figure(about="T1w", title="t", description="d", low=low, high=high, units="mm")
    assert figure.range_text() == text
    assert figure.column()["Units"] == "mm"


def test_every_column_and_flag_is_described():
    assert set(quality_columns()) <= set(QC_COLUMNS)
    assert quality_warnings().items() <= QC_COLUMNS["flags"]["Levels"].items()
    assert quality_warnings().items() <= COLUMNS["qc_flags"]["Levels"].items()
    for figure in FIGURES.values():
        assert bool(figure.flag) == bool(figure.warning)
        assert not figure.flag or figure.low is not None or figure.high is not None
    meanings = {}
    for figure in FIGURES.values():
        assert meanings.setdefault(figure.flag, figure.warning) == figure.warning
