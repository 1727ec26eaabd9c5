"""Telling a brain alone from a head, with clean, noisy and rippled backgrounds."""

import numpy as np
import pytest
from scipy import ndimage

from relad_bids.core.brain_checks import dice
from relad_bids.core.grid import Grid
from relad_bids.mri.resample import like, reference_image
from relad_bids.mri.stripped import is_stripped, stripped_brain

SHAPE, SPACING_MM = (60, 62, 58), 4.0


def ball(volume_ml, *, centre=(29.5, 30.5, 28.5)):
    """Return a noisy ball of tissue in exact zeros."""
    grid = Grid(SHAPE, np.diag([SPACING_MM] * 3 + [1.0]))
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    radius_mm = (volume_ml * 1000 * 3 / 4 / np.pi) ** (1 / 3)
    inside = np.linalg.norm((index - np.array(centre)) * SPACING_MM, axis=-1) < radius_mm
    noise = np.random.default_rng(5).uniform(50, 100, grid.shape)
    return like(reference_image(grid), inside * noise)


def noise(level):
    """The magnitude of complex noise, as a scanner's air."""
    rng = np.random.default_rng(6)
    return level * np.hypot(rng.standard_normal(SHAPE), rng.standard_normal(SHAPE))


BACKGROUNDS = {
    "zeros": lambda v: v,
    "halo": lambda v: np.where(v == 0, ndimage.gaussian_filter(v, 0.35), v),
    "negative": lambda v: np.where(v == 0, -30.0, v),
    "noise": lambda v: v + noise(2.0),
    "much noise": lambda v: v + noise(5.0),
    "ripples": lambda v: v + np.sin(np.indices(SHAPE).sum(axis=0) / 1.7),
}


@pytest.mark.parametrize("name", BACKGROUNDS)
@pytest.mark.parametrize(("volume_ml", "stripped"), [(2000, True), (2250, False)])
def test_a_brains_worth_of_tissue_is_a_stripped_image(name, volume_ml, stripped):
    image = ball(volume_ml)
    assert is_stripped(like(image, BACKGROUNDS[name](image.numpy()))) is stripped


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_the_brain_of_a_stripped_image_is_its_tissue_with_the_ventricles(name):
    image = ball(1400)
    values = image.numpy().copy()
    values[28:32, 29:33, 27:31] = 0
    found = stripped_brain(like(image, BACKGROUNDS[name](values)))
    # Opening rounds the steps of a ball of 17 voxels' radius.
    least = 0.999 if name in ("zeros", "negative") else 0.96
    assert dice(found, image.numpy() > 0) > least
    assert found[28:32, 29:33, 27:31].all()


def test_a_head_is_not_stripped(head):
    assert not is_stripped(head)


def test_a_head_in_noise_is_not_stripped(head):
    rng = np.random.default_rng(2)
    values = head.numpy() + np.abs(rng.normal(0, 1.5, head.shape))
    assert not is_stripped(like(head, values))


def test_tissue_that_leaves_a_noisy_image_is_a_head():
    """A neck: a ball cut by the image where it is 60 % of its largest slice."""
    image = ball(1500, centre=(29.5, 30.5, 11.0))
    assert not is_stripped(like(image, image.numpy() + noise(2.0)))


def test_too_little_tissue_in_noise_is_no_brain():
    image = ball(400)
    assert not is_stripped(like(image, image.numpy() + noise(2.0)))
