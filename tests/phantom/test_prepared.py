import time

import numpy as np
import pytest

from relad_bids.phantom.latent import draw_subject
from relad_bids.phantom.pet import REFERENCE_LABELS, Scanner, reference_mean
from relad_bids.phantom.prepared import simulate_prepared
from relad_bids.phantom.regions import TRACERS


@pytest.fixture(scope="module")
def prepared(subject, network_grid):
    return simulate_prepared(subject, network_grid, np.random.default_rng(1))


def test_everything_is_on_the_grid_and_empty_outside_the_mask(prepared, network_grid):
    for image in (prepared.t1w, prepared.flair, *prepared.pet.values()):
        assert image.shape == network_grid.shape
        assert image.dtype == np.float32
        assert not image[~prepared.mask].any()
        assert np.isfinite(image).all()
    assert set(prepared.pet) == set(TRACERS)


@pytest.mark.parametrize("tracer", TRACERS)
def test_reference_region_is_near_one(prepared, tracer):
    """Exactly 1 over the true region; the mask's errors may cut its rim."""
    seen = prepared.mask & np.isin(prepared.labels, REFERENCE_LABELS[tracer])
    assert prepared.pet[tracer][seen].mean() == pytest.approx(1.0, abs=0.02)
    whole = reference_mean(prepared.pet[tracer], prepared.labels, tracer)
    assert 0.9 < whole <= 1.0 + 1e-5


def test_same_generator_same_images(subject, grid):
    first, second = (simulate_prepared(subject, grid, np.random.default_rng(4)) for _ in "ab")
    np.testing.assert_array_equal(first.flair, second.flair)
    np.testing.assert_array_equal(first.pet["pbr28"], second.pet["pbr28"])


def test_another_generator_is_another_session_of_the_same_person(subject, grid):
    first, second = (simulate_prepared(subject, grid, np.random.default_rng(k)) for k in (4, 5))
    assert not np.array_equal(first.t1w, second.t1w)
    both = first.mask & second.mask
    assert np.corrcoef(first.t1w[both], second.t1w[both])[0, 1] > 0.8


def test_another_scanner_changes_the_noise_alone(subject, grid):
    quiet = Scanner(fwhm_mm=6.0, counts=1e9, carbon=1.0)
    usual = simulate_prepared(subject, grid, np.random.default_rng(4))
    first, second = (
        simulate_prepared(subject, grid, np.random.default_rng(4), scanner=scanner)
        for scanner in (quiet, Scanner(fwhm_mm=6.0, counts=4e9, carbon=1.0))
    )
    np.testing.assert_array_equal(usual.mask, first.mask)
    np.testing.assert_array_equal(usual.labels, first.labels)
    # Counts of 1e9 leave 3e-5 of noise in a voxel before the blur; those of the scanner a tenth.
    np.testing.assert_allclose(first.pet["pib"], second.pet["pib"], atol=2e-4)
    assert np.abs(usual.pet["pib"] - first.pet["pib"])[usual.mask].mean() > 0.01


def test_pathology_shows(network_grid):
    """Meta-temporal SUVR of the simulated image follows that of the subject."""
    people = [draw_subject(k, seed=1, preset="strong") for k in range(60)]
    low, *_, high = sorted(people, key=lambda s: s.tau["braak4"])
    labels = (1009, 2009, 1015, 2015)
    seen = []
    for person in (low, high):
        scan = simulate_prepared(person, network_grid, np.random.default_rng(0))
        seen.append(scan.pet["flortaucipir"][np.isin(scan.labels, labels)].mean())
        true = np.mean([person.uptake["flortaucipir"][label] for label in labels])
        # thinned cortex loses up to 35 % to the point spread
        assert 0.65 * true < seen[-1] < 1.02 * true
    assert seen[1] > seen[0] + 0.3


def test_residual_zero_leaves_the_template_in_place(subject, grid, tissue):
    still = simulate_prepared(subject, grid, np.random.default_rng(0), residual_mm=0.0)
    moved = simulate_prepared(subject, grid, np.random.default_rng(0), residual_mm=3.0)
    cortex = tissue.labels() > 1000
    assert (still.labels > 1000)[cortex].mean() > 0.99
    assert (moved.labels > 1000)[cortex].mean() < 0.95


def test_fast_enough_for_training(subject, network_grid):
    """0.4 CPU-s measured; 1.5 is what on-the-fly training can bear."""
    simulate_prepared(subject, network_grid, np.random.default_rng(0))  # the template's turn
    start = time.process_time()
    simulate_prepared(subject, network_grid, np.random.default_rng(1))
    assert time.process_time() - start < 1.5
