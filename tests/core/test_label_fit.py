import numpy as np
import pytest

from relad_bids.core.label_fit import MIN_INSIDE, MIN_WHITE_DICE, LabelFit, label_fit
from relad_bids.errors import DataError


def sheets(shift=0):
    """White matter in sheets of 4 voxels between cortex of 6; a cerebellum, white there as well.

    Overlap of sheets shifted along them is known: 1 - shift / 4.
    """
    labels = np.zeros((40, 20, 12), int)
    labels[:, :12] = np.where(np.arange(40) % 10 < 4, 2, 1003)[:, None, None]
    labels[:, 12:16] = 7
    return np.roll(labels, shift, axis=0)


@pytest.mark.parametrize(("shift", "dice"), [(0, 1.0), (1, 0.75), (2, 0.5), (3, 0.25)])
def test_overlap_of_white_matter_falls_with_the_shift(shift, dice):
    labels = sheets()
    white = np.isin(labels, (2, 7))
    fit = label_fit(sheets(shift), labels > 0, white)
    assert fit.white_dice == pytest.approx(dice)
    assert fit.inside == 1.0
    assert (fit.flags() == ["labels_suspect"]) is (dice < MIN_WHITE_DICE)


def test_labels_outside_the_brain_are_refused():
    labels = sheets()
    mask = np.ones(labels.shape, bool)
    mask[:5] = False
    fit = label_fit(labels, mask, labels == 2)
    assert fit.inside == pytest.approx(35 / 40)
    with pytest.raises(DataError, match=r"88% of the given labels lie inside .* needed are 90%"):
        fit.require_inside()
    LabelFit(MIN_INSIDE, 0.0).require_inside()


def test_no_label_at_all_is_refused():
    nothing = np.zeros((3, 4, 5), int)
    fit = label_fit(nothing, nothing == 0, nothing == 0)
    with pytest.raises(DataError, match="0% of the given labels"):
        fit.require_inside()
