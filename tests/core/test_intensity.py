import numpy as np
import pytest

from relad_bids.core.intensity import (
    BACKGROUND,
    MRIContract,
    activity_from_network,
    normalise_mri,
    stack_mri,
    suvr_to_network,
)
from relad_bids.errors import DataError

SHAPE = (9, 11, 7)
PLAIN = MRIContract(lower_percentile=0, upper_percentile=100)


@pytest.fixture
def rng():
    return np.random.default_rng(20260222)


@pytest.fixture
def image(rng):
    return rng.uniform(100, 900, SHAPE)


@pytest.fixture
def mask(rng):
    return rng.uniform(size=SHAPE) < 0.6


def test_suvr_comes_back_below_the_clip(rng):
    """float32 near 1 has steps of 6e-8; the way there and back costs a few of them times S."""
    suvr = rng.uniform(0, 5, SHAPE)
    x = suvr_to_network(suvr, suvr_max=5.0)
    back = activity_from_network(x, contract="suvr-fixed", suvr_max=5.0)
    np.testing.assert_allclose(back, suvr, atol=1e-6)


@pytest.mark.parametrize(
    ("suvr", "x", "back"),
    [(-0.5, -1, 0), (0, -1, 0), (1.5, 0, 1.5), (3, 1, 3), (3.1, 1, 3), (9, 1, 3)],
)
def test_ends_of_the_fixed_scale(suvr, x, back):
    seen = suvr_to_network(np.array([suvr]), suvr_max=3.0)
    assert seen == x
    assert activity_from_network(seen, contract="suvr-fixed", suvr_max=3.0) == back


@pytest.mark.parametrize(("contract", "suvr_max"), [("suvr-fixed", 4.0), ("minmax", None)])
def test_zero_of_the_network_is_zero_activity(contract, suvr_max):
    x = np.array([-1.3, -1.0], dtype=np.float32)
    back = activity_from_network(x, contract=contract, suvr_max=suvr_max)
    np.testing.assert_array_equal(back, 0)


def test_ratio_of_a_minmax_network_is_exact(rng):
    """(x_voi + 1) / (x_ref + 1) whatever the scale was; powers of two make float32 exact."""
    activity = 2.0 ** rng.integers(-6, 0, SHAPE)
    x = np.asarray(2 * activity - 1, dtype=np.float32)
    back = activity_from_network(x, contract="minmax")
    np.testing.assert_array_equal(back / back[0, 0, 0], activity / activity[0, 0, 0])


def test_the_fixed_scale_must_be_known():
    with pytest.raises(DataError, match="suvr-fixed needs suvr_max"):
        activity_from_network(np.zeros(3), contract="suvr-fixed")


def test_percentiles_become_the_ends(image, mask):
    made = normalise_mri(image, mask, PLAIN)
    assert (made.data[mask].min(), made.data[mask].max()) == (-1, 1)
    assert (made.lower, made.upper) == (image[mask].min(), image[mask].max())
    assert made.data.dtype == np.float32


def test_scale_is_written_so_that_it_can_be_undone(image, mask):
    made = normalise_mri(image, mask, PLAIN)
    undone = (made.data.astype(float) + 1) / 2 * (made.upper - made.lower) + made.lower
    np.testing.assert_allclose(undone[mask], image[mask], rtol=1e-6)


def test_what_lies_outside_the_brain_does_not_matter(image, mask):
    bright = np.where(mask, image, 1e6)
    np.testing.assert_array_equal(
        normalise_mri(bright, mask, MRIContract()).data,
        normalise_mri(image, mask, MRIContract()).data,
    )
    assert np.all(normalise_mri(bright, mask, MRIContract()).data[~mask] == BACKGROUND)


def test_gain_and_offset_of_the_scanner_cancel(image, mask):
    """float64 inside, float32 out: two steps of float32 near 1."""
    np.testing.assert_allclose(
        normalise_mri(7.0 * image - 40.0, mask, MRIContract()).data,
        normalise_mri(image, mask, MRIContract()).data,
        atol=2.5e-7,
    )


def test_a_spike_does_not_set_the_scale(image):
    """1 voxel of 693 is 0.14 %: above the 99.9th percentile, but it is the maximum."""
    mask = np.ones(SHAPE, dtype=bool)
    spiked = image.copy()
    spiked[4, 4, 4] = 1e5
    steady = MRIContract(lower_percentile=1, upper_percentile=99)
    assert normalise_mri(spiked, mask, PLAIN).upper == 1e5
    assert normalise_mri(spiked, mask, steady).upper < 900


def test_the_published_code_masks_first_and_scales_then(image, mask):
    """Method.md 2.1: v <- 2 (v - min v) / (max v - min v) - 1 of the masked volume."""
    assert image[mask].min() > 1  # its darkest voxel is not what becomes -1
    masked = np.where(mask, image, 0)
    expected = 2 * (masked - masked.min()) / (masked.max() - masked.min()) - 1
    contract = MRIContract(lower_percentile=0, upper_percentile=100, background_counts=True)
    made = normalise_mri(image, mask, contract)
    np.testing.assert_allclose(made.data, expected, atol=1e-6)
    assert (made.lower, made.upper) == (0, image[mask].max())


def test_an_empty_mask(image):
    with pytest.raises(DataError, match="brain mask is empty"):
        normalise_mri(image, np.zeros(SHAPE, dtype=bool), MRIContract())


def test_a_brain_of_one_intensity(mask):
    with pytest.raises(DataError, match=r"one intensity only \(5\) between .* 0\.1 and 99\.9"):
        normalise_mri(np.full(SHAPE, 5.0), mask, MRIContract())


@pytest.mark.parametrize(
    ("lower", "upper", "fine"),
    [(0, 100, True), (-0.1, 99, False), (1, 100.1, False), (50, 50, False), (49.9, 50, True)],
)
def test_bounds_of_the_percentiles(lower, upper, fine):
    contract = MRIContract(lower_percentile=lower, upper_percentile=upper)
    assert (contract.problems() == []) is fine


def test_missing_flair_is_background_everywhere(image):
    t1w = image.astype(np.float32)
    stacked = stack_mri({"T1w": t1w, "FLAIR": None}, ("T1w", "FLAIR"))
    assert stacked.shape == (2, *SHAPE)
    np.testing.assert_array_equal(stacked[0], t1w)
    np.testing.assert_array_equal(stacked[1], -1)


def test_channels_follow_the_order_asked_for(image):
    t1w, flair = image.astype(np.float32), -image.astype(np.float32)
    stacked = stack_mri({"T1w": t1w, "FLAIR": flair}, ("FLAIR", "T1w"))
    np.testing.assert_array_equal(stacked, [flair, t1w])


def test_the_first_sequence_must_be_there(image):
    with pytest.raises(DataError, match="needs T1w, and it is missing"):
        stack_mri({"T1w": None, "FLAIR": image.astype(np.float32)}, ("T1w", "FLAIR"))


@pytest.mark.parametrize("background_counts", [False, True])
def test_the_sidecar_tells_how_to_repeat_the_scale(background_counts):
    """Percentiles and intensities as told give back what the network saw."""
    rng = np.random.default_rng(6)
    image = rng.gamma(2.0, 40.0, (9, 8, 7))
    mask = rng.random(image.shape) < 0.5
    contract = MRIContract(
        lower_percentile=2.0, upper_percentile=97.0, background_counts=background_counts
    )
    made = normalise_mri(image, mask, contract)
    told = made.told(contract)
    counted = np.where(mask, image, 0) if "whole grid" in told["PercentilesOf"] else image[mask]
    ends = np.percentile(counted, [told["LowerPercentile"], told["UpperPercentile"]])
    assert ends.tolist() == [told["LowerIntensity"], told["UpperIntensity"]]
    scaled = 2 * (image - ends[0]) / (ends[1] - ends[0]) - 1
    np.testing.assert_allclose(made.data[mask], np.clip(scaled, -1, 1)[mask], atol=1e-6)


def test_a_lesion_sets_no_scale_and_is_scaled():
    """Bright voxels, excluded: the rest gets the numbers it has without them."""
    rng = np.random.default_rng(8)
    image = rng.uniform(100, 200, (12, 10, 8))
    mask = np.ones(image.shape, bool)
    lesion = np.zeros_like(mask)
    lesion[3:6, 2:5, 2:5] = True
    spoiled = np.where(lesion, 900.0, image)
    contract = MRIContract(lower_percentile=1, upper_percentile=99)
    told = normalise_mri(spoiled, mask, contract, exclude=lesion)
    blind = normalise_mri(spoiled, mask, contract)
    apart = normalise_mri(image, mask & ~lesion, contract)
    np.testing.assert_allclose(told.data[~lesion], apart.data[~lesion])
    assert (told.lower, told.upper) == (apart.lower, apart.upper)
    assert blind.upper > 2 * told.upper
    assert np.all(told.data[lesion] == 1), "clipped like any other bright voxel"


def test_a_lesion_sets_no_scale_of_the_whole_grid_either():
    image, mask = np.full((6, 6, 6), 50.0), np.zeros((6, 6, 6), bool)
    mask[1:5, 1:5, 1:5] = True
    image[2, 2, 2], image[3, 3, 3] = 400.0, 80.0
    contract = MRIContract(lower_percentile=0, upper_percentile=100, background_counts=True)
    told = normalise_mri(image, mask, contract, exclude=image > 100)
    assert (told.lower, told.upper) == (0, 80)


def test_a_brain_that_is_all_lesion_is_refused():
    mask = np.ones((4, 4, 4), bool)
    with pytest.raises(DataError, match="nothing to normalise"):
        normalise_mri(np.ones((4, 4, 4)), mask, MRIContract(), exclude=mask)


def test_lesions_of_the_white_matter_keep_their_contrast():
    """One straight line for all tissue: no histogram is matched to anybody's."""
    image = np.full((10, 10, 10), 100.0)  # white matter of a FLAIR
    image[:5], image[7:, :3, :3] = 130.0, 160.0  # grey matter, a hyperintensity
    contract = MRIContract(lower_percentile=0, upper_percentile=100)
    made = normalise_mri(image, np.ones(image.shape, bool), contract).data
    white, grey, lesion = made[6, 9, 9], made[0, 0, 0], made[9, 0, 0]
    assert (lesion - white) / (grey - white) == pytest.approx(2.0)
