import numpy as np
import pytest

from relad_bids.mri.information import binned, mutual_information


def test_an_image_tells_all_about_itself():
    """Closed form: the entropy of 4 equally frequent bins is log 4."""
    bins = np.repeat([0, 5, 9, 15], 100)
    assert mutual_information(bins, bins) == pytest.approx(np.log(4))


def test_independent_images_tell_nothing():
    first, second = np.meshgrid(np.arange(16), np.arange(16))
    assert mutual_information(first.ravel(), second.ravel()) == pytest.approx(0.0, abs=1e-12)


def test_inverting_the_contrast_loses_nothing():
    rng = np.random.default_rng(7)
    first = rng.integers(0, 16, 5000)
    second = np.clip(first + rng.integers(-1, 2, 5000), 0, 15)
    assert mutual_information(first, 15 - second) == pytest.approx(
        mutual_information(first, second)
    )


def test_bins_end_in_an_open_one():
    assert binned(np.array([0.0, 0.99, 1.0, 7.0]), top=1.0, bins=4).tolist() == [0, 3, 3, 3]
