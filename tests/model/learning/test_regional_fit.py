import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from relad_bids.errors import DataError
from relad_bids.model.data import Batch, Sample, collate
from relad_bids.model.learning.floor import CORE_SHARE
from relad_bids.model.learning.losses import relative_error
from relad_bids.model.learning.regional_fit import PENALTIES, fit_regional
from relad_bids.model.networks.regional import (
    MRI_CELL,
    PET_CELL,
    RegionalRegression,
    cell_means,
    inside,
)

SHAPE = (16, 20, 18)


def make(index, *, slope=0.5, noise=0.02, with_flair=True):
    """PET of tracer 0 follows the regional brightness of T1w, that of tracer 1 of FLAIR.

    Brightness is one number a participant and half of the brain. The two sequences share 80 %
    of its variance, so each says something where the other is missing.
    """
    rng = np.random.default_rng([5, index])
    mask = np.zeros(SHAPE, dtype=bool)
    mask[1:15, 1 : 18 + index % 2, 1:17] = True
    shared, own = rng.normal(0, 0.1, 2), rng.normal(0, 0.05, 2)
    levels = np.stack([shared + own, shared - own])  # (S, half)
    half = (np.arange(SHAPE[0]) >= 8).astype(int)[:, None, None]
    field = np.broadcast_to(levels[:, half], (2, *SHAPE))
    mri = np.where(mask, field + rng.normal(0, 0.1, (2, *SHAPE)), -1)
    pet = slope * field - 0.2 + rng.normal(0, noise, (2, *SHAPE))
    if not with_flair:
        mri[1] = -1
    return Sample(
        mri.astype(np.float32), pet.astype(np.float32), np.array([True, index % 3 != 0]), mask
    )


def batches(indices, **changes):
    samples = [make(index, **changes) for index in indices]
    return [collate(samples[i : i + 4]) for i in range(0, len(samples), 4)]


def merged(parts):
    return Batch(
        *(torch.cat([getattr(b, f.name) for b in parts]) for f in dataclasses.fields(Batch))
    )


@pytest.fixture
def regression():
    return RegionalRegression(n_sequences=2, n_tracers=2, rank=8, shape=SHAPE)


def test_what_regions_say_is_found(regression):
    """In new participants; what is left is the noise of 64 voxels and of the ridge."""
    spread = fit_regional(regression, batches(range(40)), missing_flair=0.0)
    others = merged(batches(range(100, 120)))
    cells_only = dataclasses.replace(spread, voxel=torch.full((2,), 1e9))
    assert 2 * relative_error(regression(others.mri), others, cells_only).item() < 0.1


def test_the_training_mean_has_error_one(regression):
    """By definition of the spread; sums of float32."""
    train = batches(range(12))
    spread = fit_regional(regression, train, missing_flair=0.0)
    everyone = merged(train)
    error = relative_error(regression.prior.expand_as(everyone.pet), everyone, spread)
    assert error.item() == pytest.approx(1.0, rel=1e-4)


def test_the_mean_is_of_those_who_have_the_tracer(regression):
    fit_regional(regression, batches(range(16)), missing_flair=0.0)
    samples = [make(i) for i in range(16)]
    inner = samples[0].mask
    for tracer in (0, 1):
        having = [s.pet[tracer] for s in samples if s.available[tracer]]
        np.testing.assert_allclose(
            regression.prior[tracer][inner], np.mean(having, axis=0)[inner], rtol=1e-5, atol=1e-6
        )
    assert torch.all(regression.prior[:, 0] == -1)  # in nobody's brain: the contract's zero


def test_the_core_lies_in_nearly_every_brain(regression):
    """One slice is brain in every second participant only."""
    fit_regional(regression, batches(range(16)), missing_flair=0.0)
    assert CORE_SHARE == 0.97
    np.testing.assert_array_equal(regression.core, make(0).mask & make(1).mask)


def test_the_same_as_a_plain_ridge(regression):
    """Full rank, no dropout: scikit-learn on the standardised cells, at one of the penalties."""
    train = batches(range(30))
    fit_regional(regression, train, missing_flair=0.0)
    everyone, others = merged(train), merged(batches(range(200, 206)))
    x, new = (regression.features(part.mri).flatten(1) for part in (everyone, others))
    weight = regression.core[None, None]
    y = cell_means(everyone.pet - regression.prior, weight, PET_CELL)[0][:, 0]
    y = y[..., inside(regression.core, PET_CELL)]
    found = cell_means(regression(others.mri) - regression.prior, weight, PET_CELL)[0]
    scores = torch.einsum("bsijk,qsijk->bq", regression.features(others.mri), regression.loadings)
    ours = torch.einsum("bq,qrijk->brijk", scores, regression.patterns)[:, 0]
    ours = ours[..., inside(regression.core, PET_CELL)]
    assert found.abs().max() > 0.01
    differences = [
        np.abs(Ridge(alpha=a, fit_intercept=False).fit(x, y).predict(new) - ours.numpy()).max()
        for a in PENALTIES
    ]
    # What eight patterns leave out is noise of the fit, far below the effect of 0.05.
    assert min(differences) < 2e-3


def test_nothing_to_find_leaves_the_mean(regression):
    """PET without any relation to MRI: the answer in others stays near the training mean."""
    spread = fit_regional(regression, batches(range(40), slope=0.0, noise=0.2), missing_flair=0.2)
    others = merged(batches(range(100, 140), slope=0.0, noise=0.2))
    errors = [
        relative_error(answer, others, spread).item()
        for answer in (regression(others.mri), regression.prior.expand_as(others.pet))
    ]
    assert errors[0] < 1.02 * errors[1]


def test_what_a_participant_lacks_does_not_count(regression):
    """Any value may stand where there is no scan."""
    train = batches(range(16))
    fit_regional(regression, train, missing_flair=0.2)
    expected = {name: value.clone() for name, value in regression.state_dict().items()}
    for batch in train:
        batch.pet[~batch.available] = 50.0
    fit_regional(regression, train, missing_flair=0.2)
    torch.testing.assert_close(regression.state_dict(), expected, rtol=1e-3, atol=1e-4)


def test_rows_without_flair_serve_those_without_flair(regression):
    """T1w knows some of what FLAIR shows: told so in the fit, the regression uses it."""
    others = merged(batches(range(100, 130), with_flair=False))
    only_second = dataclasses.replace(others, available=others.available & torch.tensor([0, 1]))
    errors = []
    for missing in (0.0, 0.5):
        spread = fit_regional(regression, batches(range(60)), missing_flair=missing)
        errors.append(relative_error(regression(others.mri), only_second, spread).item())
    assert errors[1] < errors[0]


def test_participants_without_flair_do_not_shift_the_standard(regression):
    """Background is no brightness: centre and scale come from those who have the sequence."""
    fit_regional(regression, batches(range(20)), missing_flair=0.0)
    centre = regression.centre.clone()
    mixed = batches(range(20)) + batches(range(20, 24), with_flair=False)
    fit_regional(regression, mixed, missing_flair=0.0)
    torch.testing.assert_close(regression.centre[1], centre[1], atol=1e-6, rtol=1e-6)
    assert torch.isfinite(regression.features(merged(mixed).mri)).all()


def test_a_second_fit_forgets_the_first(regression):
    fit_regional(regression, batches(range(60, 80)), missing_flair=0.2)
    fit_regional(regression, batches(range(20)), missing_flair=0.2)
    fresh = RegionalRegression(n_sequences=2, n_tracers=2, rank=8, shape=SHAPE)
    fit_regional(fresh, batches(range(20)), missing_flair=0.2)
    assert all(
        torch.equal(value, fresh.state_dict()[name])
        for name, value in regression.state_dict().items()
    )


def test_more_patterns_than_participants(regression):
    """Five participants span five patterns; the others stay 0."""
    fit_regional(regression, batches([1, 2, 4, 5, 7]), missing_flair=0.0)
    used = regression.loadings.flatten(1).norm(dim=1) > 1e-8
    assert used.tolist()[5:] == [False] * 3
    assert torch.isfinite(regression.loadings).all()


def test_one_person_lies_in_one_fold(regression, monkeypatch):
    """Both rows of a person, with and without FLAIR, are fitted or held out together."""
    from relad_bids.model.learning import regional_fit

    seen = []

    class Watched(regional_fit.GroupKFold):
        def split(self, x, y=None, groups=None):
            for train, test in super().split(x, y, groups):
                seen.append(set(groups[train]) & set(groups[test]))
                yield train, test

    monkeypatch.setattr(regional_fit, "GroupKFold", Watched)
    fit_regional(regression, batches(range(12)), missing_flair=0.3)
    assert seen
    assert not any(seen)


def test_masks_that_do_not_meet_are_refused(regression):
    train = batches(range(8))
    train[0].mask[:] = False
    with pytest.raises(DataError, match="no voxel lies in the brain masks of 97% of the 8"):
        fit_regional(regression, train, missing_flair=0.0)


@pytest.mark.parametrize(("n", "refused"), [(4, True), (5, False)])
def test_a_tracer_needs_as_many_scans_as_folds(regression, n, refused):
    train = batches([1, 2, 4, 5, 7][:n])
    if refused:
        with pytest.raises(DataError, match=r"tracer number 0 has 4 scans .* needs 5"):
            fit_regional(regression, train, missing_flair=0.0)
    else:
        fit_regional(regression, train, missing_flair=0.0)


def test_a_cohort_of_one_kind_has_no_spread_and_stays_finite(regression):
    same = [collate([make(1)] * 6)]
    spread = fit_regional(regression, same, missing_flair=0.2)
    assert torch.all(spread.voxel > 0)
    assert torch.isfinite(regression(same[0].mri)).all()
    assert MRI_CELL == 8
