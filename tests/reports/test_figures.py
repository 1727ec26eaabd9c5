import io

import numpy as np
import pytest
from PIL import Image

from relad_bids.reports.figures import (
    OUTLINE,
    REFERENCE,
    flair_figure,
    head_mosaic,
    mask_figure,
    pet_figure,
    registration_figure,
)
from relad_bids.reports.sheet import UNKNOWN
from relad_bids.reports.slices import Volume


def ball(shape=(30, 34, 32), zoom=2.0, radius_mm=24.0, shift=(0.0, 0.0, 0.0)):
    affine = np.diag([zoom, zoom, zoom, 1.0])
    affine[:3, 3] = -zoom * np.array(shape) / 2
    world = (np.indices(shape).T * zoom + affine[:3, 3]).T
    distance = np.linalg.norm(world.T - shift, axis=-1).T
    return Volume(np.clip((radius_mm - distance) / zoom + 0.5, 0, 1).astype(np.float32), affine)


@pytest.fixture
def mask():
    return ball()


@pytest.fixture
def t1w(mask):
    rng = np.random.default_rng(3)
    tissue = 40 + 60 * ball(radius_mm=16).data + rng.normal(0, 3, mask.data.shape)
    return Volume((tissue * mask.data).astype(np.float32), mask.affine)


def pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")).astype(int)


def near(picture, colour, tolerance=60):
    """Share of pixels that look like a colour; lossy coding moves thin lines a little."""
    wanted = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
    return float((np.abs(picture - wanted).max(axis=-1) < tolerance).mean())


def test_the_mask_is_outlined(t1w, mask):
    mosaic = head_mosaic(mask)
    without = Volume(np.zeros_like(mask.data), mask.affine)
    assert near(pixels(mask_figure(t1w, mask, mosaic)), OUTLINE) > 2e-3
    above_legend = pixels(mask_figure(t1w, without, mosaic))[:-40]
    assert near(above_legend, OUTLINE) == 0


def pet(suvr, mask, suvr_max=3.0):
    reference = ball(radius_mm=8, shift=(0, -8, -8))
    mosaic = head_mosaic(mask)
    return pixels(
        pet_figure(suvr, mask, reference, mosaic, tracer="flortaucipir", suvr_max=suvr_max)
    )


def test_the_colour_scale_is_fixed(mask):
    """Twice the uptake on twice the scale is the same picture, but for the numbers beside it."""
    once = pet(Volume(mask.data * 1.2, mask.affine), mask)
    twice = pet(Volume(mask.data * 2.4, mask.affine), mask, suvr_max=6.0)
    brighter = pet(Volume(mask.data * 2.4, mask.affine), mask)
    picture = slice(None, -40), slice(None, -120)
    assert np.abs(once[picture] - twice[picture]).mean() < 1
    assert np.abs(once[picture] - brighter[picture]).mean() > 10


def test_outside_the_field_of_view_is_not_zero(mask):
    data = mask.data.copy()
    data[:, :, :9] = np.nan
    seen, cut = pet(mask, mask), pet(Volume(data, mask.affine), mask)
    assert near(cut, UNKNOWN, 12) > near(seen, UNKNOWN, 12) + 0.02


def test_the_reference_region_is_outlined(mask):
    """Without uptake nothing but its line, and its key below, has its colour."""
    dark = Volume(mask.data * 0, mask.affine)
    assert near(pet(dark, mask)[:-40], REFERENCE) > 5e-4


def test_an_image_without_any_value_is_still_drawn(mask):
    nothing = Volume(np.full_like(mask.data, np.nan), mask.affine)
    assert near(pet(nothing, mask), UNKNOWN, 12) > 0.3
    assert pixels(mask_figure(nothing, mask, head_mosaic(mask))).size


def test_comparisons_have_two_rows_of_each(t1w, mask):
    """But for the legend, the picture of a pair is twice as high as that of one image."""
    single = pixels(mask_figure(t1w, mask, head_mosaic(mask))).shape[0]
    double = pixels(flair_figure(t1w, t1w, mask)).shape[0]
    assert double - 34 == pytest.approx(2 * (single - 34), abs=8)  # one more gap of 6


def test_head_and_template_may_have_grids_of_their_own(t1w):
    fine = ball(shape=(55, 51, 53), zoom=1.0)
    assert near(pixels(registration_figure(t1w, fine)), OUTLINE) > 2e-3


def test_the_chessboard_shows_a_shift(t1w, mask):
    """Equal images leave no squares: both halves of a picture that matches are one head."""
    moved = Volume(np.roll(t1w.data, 3, axis=0), t1w.affine)
    same, shifted = (pixels(flair_figure(flair, t1w, mask)) for flair in (t1w, moved))
    tile = head_mosaic(mask).tiles[3]
    lower = slice(tile.height + 6, 2 * tile.height + 6), slice(tile.left, tile.left + tile.width)
    upper = tile.window
    inner = slice(24, -24), slice(24, -24)  # clear of the letters, the names and the outline
    assert np.abs(same[lower][inner] - shifted[lower][inner]).mean() > 5
    plain = pixels(mask_figure(t1w, mask, head_mosaic(mask)))
    assert np.abs(same[lower][inner] - plain[upper][inner]).mean() < 5
