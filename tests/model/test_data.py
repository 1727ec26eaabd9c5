import numpy as np
import torch

from relad_bids.model.data import Cohort, collate, loader


def test_batch_stacks_participants(cohort):
    samples = [cohort[0], cohort[1], cohort[3]]
    batch = collate(samples)
    assert batch.mri.shape == (3, 2, 9, 12, 11)
    assert batch.pet.shape == (3, 2, 9, 12, 11)
    assert batch.mask.shape == (3, 1, 9, 12, 11)
    assert batch.available.tolist() == [[True, False], [True, True], [True, False]]
    np.testing.assert_array_equal(batch.pet[1], samples[1].pet)


def test_cohort_is_walked_by_its_indices(cohort):
    """The index is handed on, not the position: a resumed walk must meet the same people."""
    later = Cohort(cohort.make, range(5, 9))
    assert len(later) == 4
    np.testing.assert_array_equal(later[2].mri, cohort[7].mri)


def test_order_is_the_same_with_and_without_workers(cohort):
    short = Cohort(cohort.make, range(3, 8))
    alone = list(loader(short, batch_size=2, workers=0))
    helped = list(loader(short, batch_size=2, workers=1))
    assert [len(b.mri) for b in alone] == [2, 2, 1]
    assert all(torch.equal(a.mri, b.mri) for a, b in zip(alone, helped, strict=True))
