import numpy as np
import pytest

from relad_bids.core.reference_outliers import FAR, FEWEST, reference_outliers


@pytest.mark.parametrize(("times", "found"), [(0.98, False), (1.02, True)])
@pytest.mark.parametrize("side", [-1, 1])
def test_three_deviations(times, found, side):
    """Median 0 and MAD 1 by construction: of nine values four are 1 away and four 2 or more."""
    means = np.array([0.0, -1, 1, -0.5, 0.5, -1, 1, -2, 2])
    means[8 if side > 0 else 7] = side * times * FAR * 1.4826
    assert reference_outliers(means)[8 if side > 0 else 7] == found
    assert reference_outliers(means).sum() == found


def test_unit_and_offset_do_not_matter():
    means = np.linspace(0.8, 1.2, 40)
    means[7] = 2.5
    np.testing.assert_array_equal(reference_outliers(means), np.arange(40) == 7)
    np.testing.assert_array_equal(
        reference_outliers(3000 * means + 500), reference_outliers(means)
    )


def test_few_images_and_unknown_means():
    means = np.full(FEWEST, 1.0) + np.arange(FEWEST) / 100
    means[0] = 50.0
    assert reference_outliers(means)[0]
    assert not reference_outliers(means[:-1]).any()
    assert not reference_outliers(np.append(means[:-1], np.nan)).any()


def test_equal_means_have_no_outlier():
    assert not reference_outliers(np.append(np.ones(20), 5.0)).any()
