import numpy as np
import pytest

from relad_bids.errors import DataError
from relad_bids.pet.frames import motion_flags, weighted_sum


@pytest.fixture
def frames():
    return np.random.default_rng(3).uniform(0, 5000, (4, 3, 4, 5)).astype(np.float32)


def test_it_is_the_weighted_sum(frames):
    weights = [0.1, 0.25, 0.6, 0.05]
    made = weighted_sum(lambda i: frames[i], weights)
    assert made.dtype == np.float32
    # Summed in float64, so that rounding to float32 comes once: 6e-8 of the value.
    np.testing.assert_allclose(made, np.tensordot(weights, frames, 1), rtol=1.2e-7)


def test_frames_outside_the_window_are_not_read(frames):
    read = []

    def give(number):
        read.append(number)
        return frames[number]

    weighted_sum(give, [0, 0.5, 0.5, 0])
    assert read == [1, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_frame_that_counts_must_be_finite(frames, bad):
    frames[2, 1, 1, 1] = bad
    with pytest.raises(DataError, match=r"frame 3 of 4 has 1 voxels that are NaN or infinite"):
        weighted_sum(lambda i: frames[i], [0.25] * 4)
    assert np.isfinite(weighted_sum(lambda i: frames[i], [0.5, 0.5, 0, 0])).all()


@pytest.mark.parametrize("weights", [[0, 0, 0, 0], [1, 0, 0, 0]])
def test_an_empty_mean_is_refused(frames, weights):
    frames[0] = 0
    with pytest.raises(DataError, match="nowhere above 0"):
        weighted_sum(lambda i: frames[i], weights)


@pytest.mark.parametrize(
    ("shift_mm", "rotation_deg", "flags"),
    [(3.0, 3.0, []), (3.01, 0.0, ["motion_high"]), (0.0, 3.01, ["motion_high"])],
)
def test_motion_has_a_flag_from_three_on(shift_mm, rotation_deg, flags):
    assert motion_flags(shift_mm, rotation_deg) == flags
