from dataclasses import replace

import numpy as np
import pytest

from relad_bids.core.grid import Grid
from relad_bids.phantom.anatomy import subject_tissue
from relad_bids.phantom.mri import (
    FLAIR,
    T1W,
    add_rician_noise,
    bias_field,
    draw_contrast,
    render,
)


@pytest.fixture(scope="module")
def fine_tissue(subject, network_grid):
    spared = replace(subject, atrophy={})  # pure voxels of cortex
    return subject_tissue(spared, network_grid)


def _median(image, share):
    return float(np.median(image[share > 0.99]))


def test_contrasts_are_the_published_ones(fine_tissue):
    tissue = fine_tissue
    flair = render(tissue, FLAIR, deep_nuclei=False)
    healthy = (tissue.wm > 0.999) & (tissue.wmh == 0)
    assert flair[healthy].mean() == pytest.approx(1.0, abs=1e-3)
    cortex = (tissue.gm > 0.995) & (tissue.gm_label > 1000)
    assert np.median(flair[cortex]) == pytest.approx(1.25, abs=0.01)
    assert np.median(render(tissue, T1W, deep_nuclei=True)[cortex]) == pytest.approx(0.7, abs=0.01)
    assert _median(flair, tissue.csf) == pytest.approx(0.2, abs=0.01)


def test_lesions_are_bright_on_flair_and_dark_on_t1w(tissue):
    lesion = tissue.wmh > 0.6
    assert lesion.any()
    assert render(tissue, FLAIR, deep_nuclei=False)[lesion].mean() > 1.4
    assert render(tissue, T1W, deep_nuclei=True)[lesion].mean() < 0.9


def test_nothing_outside_the_brain(tissue):
    assert not render(tissue, T1W, deep_nuclei=True)[~tissue.mask].any()


def test_bias_keeps_within_its_amplitude():
    grid = Grid((40, 44, 36), np.diag([4.0, 4.0, 5.0, 1.0]))
    bias = bias_field(grid, np.random.default_rng(5), amplitude=0.2)
    assert 0.8 <= bias.min() < 0.93
    assert 1.07 < bias.max() <= 1.2


def test_rician_noise_of_nothing_is_rayleigh():
    """Mean sigma sqrt(pi/2) where there is no signal, sigma about a strong one."""
    generator = np.random.default_rng(9)
    air = add_rician_noise(np.zeros((40, 40, 30), dtype=np.float32), generator, sigma=0.03)
    assert air.mean() == pytest.approx(0.03 * np.sqrt(np.pi / 2), rel=0.01)
    signal = add_rician_noise(np.ones((40, 40, 30), dtype=np.float32), generator, sigma=0.03)
    assert signal.std() == pytest.approx(0.03, rel=0.02)


def test_contrast_varies_a_little():
    drawn = np.array([draw_contrast(T1W, np.random.default_rng(k)) for k in range(200)])
    np.testing.assert_allclose(drawn.std(axis=0) / np.array(T1W), 0.03, rtol=0.25)
