import json

import numpy as np
import pytest

from relad_bids.errors import DataError
from relad_bids.pet.fields import Fields


@pytest.mark.parametrize("absent", [None, "", " ", "n/a", "N/A"])
def test_absent_in_every_way_that_it_is_written(absent):
    fields = Fields({"A": absent})
    assert fields.number("A", "seconds") is fields.numbers("A", "seconds") is None
    assert fields.text("A") is fields.truth("A") is Fields({}).text("A") is None


@pytest.mark.parametrize(
    ("value", "found"),
    [("0", "'0'"), ("10:00:00", "'10:00:00'"), (True, "True"), ([0], r"\[0\]"), (np.nan, "nan")],
)
def test_what_is_no_number(value, found):
    with pytest.raises(
        DataError, match=rf"^sub-01_pet\.json: ScanStart is {found}, needed is a number: seconds"
    ):
        Fields({"ScanStart": value}, "sub-01_pet.json").number("ScanStart", "seconds")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '"300"', "null", "false"])
def test_the_bad_one_of_a_list_is_named(text):
    """As JSON holds them, which in Python includes NaN."""
    fields = Fields(json.loads(f'{{"FrameDuration": [300, {text}, 300]}}'))
    with pytest.raises(DataError, match=r"FrameDuration\[1\] is .*, needed is a number: seconds"):
        fields.numbers("FrameDuration", "seconds")


def test_numbers_keep_their_order_and_a_bare_one_is_a_list():
    fields = Fields({"many": [3, 1.5, -2], "one": 7, "none": []})
    assert fields.numbers("many", "").tolist() == [3.0, 1.5, -2.0]
    assert fields.numbers("one", "").tolist() == [7.0]
    assert fields.numbers("none", "").tolist() == []
    assert fields.number("one", "") == 7.0


@pytest.mark.parametrize("value", ["true", 1, 0, [True]])
def test_what_is_neither_true_nor_false(value):
    with pytest.raises(DataError, match=r"ImageDecayCorrected is .* without quotation marks"):
        Fields({"ImageDecayCorrected": value}).truth("ImageDecayCorrected")


@pytest.mark.parametrize("value", [True, False])
def test_truth(value):
    assert Fields({"A": value}).truth("A") is value


def test_what_is_no_text():
    with pytest.raises(DataError, match=r"Units is \['Bq/mL'\], needed is text"):
        Fields({"Units": ["Bq/mL"]}).text("Units")
