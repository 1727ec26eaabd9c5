import tracemalloc

import numpy as np
import pandas as pd
import pytest

from relad_bids.core.regions import VOI
from relad_bids.core.samples import Moments, has_spread, spread_of
from relad_bids.core.suvr import reference_of, voi_table

SHAPE = (6, 7, 5)


@pytest.fixture
def rng():
    return np.random.default_rng(83)


def moments_of(images):
    found = Moments()
    for image in images:
        found.add(image)
    return found


@pytest.mark.parametrize("n", [2, 3, 8])
def test_as_if_all_images_were_held(rng, n):
    """An offset of 1e4 SD: the textbook sum of squares would have lost eight digits."""
    images = 1e4 + rng.normal(size=(n, *SHAPE))
    found = moments_of(images)
    np.testing.assert_allclose(found.sd, images.std(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(found.mean, images.mean(0), rtol=1e-7)  # float32
    assert found.sd.dtype == found.mean.dtype == np.float32


def test_the_mean_of_one_is_that_one(rng):
    """Bit for bit, so that a network with one answer is not touched by the averaging."""
    image = rng.normal(size=SHAPE).astype(np.float32)
    np.testing.assert_array_equal(moments_of([image]).mean, image)


def test_images_are_not_kept(rng):
    """Two of float64 and what one step needs; sixteen of float32 would be 8 of these."""
    shape = (50, 60, 40)
    size = np.prod(shape) * 8
    tracemalloc.start()
    moments_of(rng.normal(size=shape) for _ in range(16))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 7 * size


def test_images_are_not_changed(rng):
    images = rng.normal(size=(3, *SHAPE))
    before = images.copy()
    moments_of(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(("n", "enough"), [(1, False), (7, False), (8, True), (20, True)])
def test_fewest_samples_for_a_spread(n, enough):
    assert has_spread(n) is enough


def tables(samples, labels, vois):
    for sample in samples:
        reference = reference_of(sample, labels == 8, voxel_volume_mm3=1.0)
        yield voi_table(sample, labels, vois, reference, voxel_volume_mm3=1.0)


@pytest.fixture
def labels(rng):
    return rng.choice([0, 1, 2, 8], size=SHAPE, p=[0.1, 0.2, 0.3, 0.4])


VOIS = (VOI("f", "one", (1,)), VOI("f", "both", (1, 2), "L"), VOI("ref", "r", (8,)))


def test_spread_is_that_of_the_regional_means(rng, labels):
    samples = rng.uniform(1, 3, size=(8, *SHAPE))
    found = spread_of(tables(samples, labels, VOIS)).set_index(["family", "voi", "hemi"])
    reference = samples[:, labels == 8].mean(1)
    for key, numbers in ((("f", "one", "B"), (1,)), (("f", "both", "L"), (1, 2))):
        means = samples[:, np.isin(labels, numbers)].mean(1) / reference
        assert found.loc[key, "suvr_sd_samples"] == pytest.approx(means.std(ddof=1), rel=1e-5)
    assert found.loc[("ref", "r", "B"), "suvr_sd_samples"] == pytest.approx(0, abs=1e-7)


def test_each_sample_has_its_own_reference(rng, labels):
    """Samples that differ by a gain alone are one SUVr: min-max networks draw such."""
    one = rng.uniform(1, 3, size=SHAPE)
    found = spread_of(tables([gain * one for gain in range(1, 9)], labels, VOIS))
    np.testing.assert_allclose(found["suvr_sd_samples"], 0, atol=1e-7)


def test_a_region_that_one_sample_lacks_has_no_spread(rng, labels):
    samples = rng.uniform(1, 3, size=(8, *SHAPE))
    samples[3, labels == 1] = np.nan
    found = spread_of(tables(samples, labels, VOIS)).set_index("voi")["suvr_sd_samples"]
    assert np.isnan(found["one"])
    assert np.isfinite(found[["both", "r"]]).all()


def test_rows_are_those_of_the_tables(rng, labels):
    samples = rng.uniform(1, 3, size=(2, *SHAPE))
    found = spread_of(tables(samples, labels, VOIS))
    assert list(found) == ["family", "voi", "hemi", "suvr_sd_samples"]
    assert isinstance(found, pd.DataFrame)
    assert found["voi"].tolist() == ["one", "both", "r"]
