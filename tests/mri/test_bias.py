import ants
import numpy as np
import pytest

from relad_bids.errors import ImageError
from relad_bids.mri.bias import UPPER_HEAD_MM, correct_bias, foreground, upper_head
from relad_bids.mri.resample import like


def shaded(head, strength=1.0):
    """Return the head times a smooth field that runs from 1 to 1 + strength along one axis."""
    ramp = np.linspace(0, np.pi / 2, head.shape[1])[None, :, None]
    return like(head, head.numpy() * (1 + strength * np.sin(ramp) ** 2))


def spread(values):
    return values.std() / values.mean()


def test_known_field_is_divided_out(head):
    white = head.numpy() == 90.0
    before = shaded(head).numpy()[white]
    after = correct_bias(shaded(head)).numpy()[white]
    assert spread(before) > 0.08
    assert spread(after) < 0.4 * spread(before)


def test_a_mask_is_heeded(head):
    brain = like(head, (head.numpy() > 20) & (head.numpy() != 80))
    after = correct_bias(shaded(head), brain).numpy()[head.numpy() == 90.0]
    assert spread(after) < 0.03


def test_gain_does_not_matter(head):
    one = correct_bias(shaded(head)).numpy()
    thousand = correct_bias(like(head, 1000 * shaded(head).numpy())).numpy()
    np.testing.assert_allclose(thousand / 1000, one, rtol=2e-3, atol=1e-2)


def test_negative_and_missing_voxels_become_zero(head):
    values = head.numpy()
    values[0, 0, 0], values[1, 0, 0] = -5.0, np.nan
    corrected = correct_bias(like(head, values)).numpy()
    assert corrected[0, 0, 0] == corrected[1, 0, 0] == 0
    assert corrected.min() >= 0
    assert np.isfinite(corrected).all()


def test_constant_image_is_refused(head):
    with pytest.raises(ImageError, match="holds the value 0 everywhere"):
        correct_bias(like(head, np.zeros(head.shape)))


def test_foreground_keeps_dark_tissue():
    rng = np.random.default_rng(3)
    values = np.abs(rng.normal(0, 2, (30, 31, 32))).astype(np.float32)
    values[5:25, 5:25, 5:25] = 100.0
    values[10:15, 10:15, 10:15] = 1000.0
    found = foreground(values)
    assert found[5:25, 5:25, 5:25].all()
    assert found.mean() < 0.35


@pytest.mark.parametrize("axes", ["LPS", "PSR", "LIA", "ASL"])
def test_the_order_in_which_voxels_are_stored_does_not_matter(head, axes):
    """To the last bit: the same voxels are looked at, in the same order."""
    image = shaded(head)
    stored = ants.reorient_image2(image, axes)
    assert stored.shape != image.shape or not np.array_equal(stored.numpy(), image.numpy())
    back = ants.reorient_image2(correct_bias(stored), ants.get_orientation(image))
    np.testing.assert_array_equal(back.numpy(), correct_bias(image).numpy())


def test_air_around_the_head_does_not_matter(head):
    wide = ants.pad_image(shaded(head), pad_width=[(5, 3), (2, 7), (4, 6)])
    kept = correct_bias(wide).numpy()[5:-3, 2:-7, 4:-6]
    np.testing.assert_array_equal(kept, correct_bias(shaded(head)).numpy())


def test_the_neck_does_not_matter(head):
    """To the last bit: whether the field of view ends below the cerebellum or at the shoulders."""
    image = shaded(head)
    assert image.shape[2] * image.spacing[2] + 5 > UPPER_HEAD_MM  # the neck lies below the window
    long = np.pad(image.numpy(), [(0, 0), (0, 0), (40, 0)], mode="edge")
    whole = correct_bias(ants.from_numpy(long, spacing=image.spacing)).numpy()
    for cut, same in ((9, True), (30, True), (50, False)):
        fewer = ants.from_numpy(np.ascontiguousarray(long[:, :, cut:]), spacing=image.spacing)
        assert np.array_equal(correct_bias(fewer).numpy(), whole[:, :, cut:]) == same


def test_where_the_image_ends_below_does_not_move_what_is_looked_at():
    """The voxels that are looked at are counted from the vertex, whatever is missing below."""
    rng = np.random.default_rng(2)
    at = np.indices((60, 62, 80)) / np.array([60, 62, 80]).reshape(3, 1, 1, 1) - 0.5
    tissue = np.where((at**2).sum(axis=0) < 0.23, rng.choice([30.0, 70.0, 100.0], at[0].shape), 0)
    whole = (tissue * (1 + at[1])).astype(np.float32)

    def even(cut):
        image = np.ascontiguousarray(whole[:, :, cut:])
        return correct_bias(ants.from_numpy(image, spacing=(2.0, 2.0, 2.0))).numpy()[
            :, :, 40 - cut :
        ]

    upper = whole[:, :, 40:] > 0
    # Two voxels, half a step: 0.001 of the logarithm if they were counted from below.
    np.testing.assert_array_equal(even(4)[upper], even(6)[upper])


def test_specks_above_the_head_are_not_the_vertex():
    values = np.zeros((40, 42, 150), np.float32)
    values[5:35, 5:35, :100] = 50.0 + np.arange(100)
    values[20, 20, 140] = 100.0
    seen = upper_head(values, slice_mm=2.0)
    lowest = np.nonzero(seen)[2].min()
    assert lowest == 99 - UPPER_HEAD_MM / 2


def test_a_window_without_contrast_is_all_head():
    values = np.zeros((10, 11, 120), np.float32)
    values[:, :, 20:] = 7.0
    assert upper_head(values, slice_mm=2.0)[:, :, 60:].all()
