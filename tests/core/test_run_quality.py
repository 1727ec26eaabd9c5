import numpy as np
import pytest
from scipy import ndimage

from relad_bids.core.run_quality import RunQuality, run_quality


@pytest.fixture
def head():
    """A ball with folds, in noise: (60, 60, 40)."""
    index = np.stack(np.meshgrid(*map(np.arange, (60, 60, 40)), indexing="ij"))
    radius = np.sqrt((((index.T - [30, 30, 20]) / [25, 25, 17]) ** 2).sum(-1)).T
    folds = 60 + 40 * np.sin(index[0] / 2) * np.sin(index[1] / 2)
    noise = np.abs(np.random.default_rng(1).normal(0, 1, radius.shape))
    return np.where(radius < 1, folds, 0) + noise


def ghosted(image, share, lines=7):
    """Every other line of k-space in another place: copies of the head along the phase axis."""
    k = np.fft.fftn(image)
    k[:, ::2] *= np.exp(2j * np.pi * np.fft.fftfreq(image.shape[0])[:, None, None] * lines * share)
    return np.abs(np.fft.ifftn(k))


def test_motion_raises_it_step_by_step(head):
    found = [run_quality(ghosted(head, share), (1, 1, 1)) for share in (0, 0.5, 1.0)]
    assert found == sorted(found)
    assert found[0].entropy < found[1].entropy < found[2].entropy


def test_the_unit_does_not_count(head):
    assert run_quality(head * 1e4, (1, 1, 1)).entropy == pytest.approx(
        run_quality(head, (1, 1, 1)).entropy
    )


def test_the_largest_edge_counts_first_and_headers_round(head):
    thick = run_quality(head, (0.9, 0.9, 3.0))
    assert thick.edge_mm == 3.0
    assert run_quality(ndimage.gaussian_filter(head, 3), (1, 1, 1)) < thick
    assert run_quality(head, (1.0000012, 1, 0.99998)).edge_mm == 1.0
    assert RunQuality(1.0, 0.9) < RunQuality(1.1, 0.1)


def test_voxels_that_are_no_numbers_count_as_nothing(head):
    spoiled = head.copy()
    spoiled[0, 0, 0] = np.nan
    spoiled[0, 0, 1] = np.inf
    assert np.isfinite(run_quality(spoiled, (1, 1, 1)).entropy)
