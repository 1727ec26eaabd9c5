from dataclasses import replace

import numpy as np
import pytest

from relad_bids.phantom.anatomy import N_LABELS, shrink_cortex, subject_tissue, warp_tissue
from relad_bids.phantom.fields import index_points
from relad_bids.phantom.regions import CSF_LABELS, DEEP_GM, WM_LABELS, WMH, label_areas
from relad_bids.phantom.template import template_head


def _total(tissue):
    return tissue.gm + tissue.wm + tissue.csf


def _young(subject):
    return replace(subject, atrophy={}, ventricle_mm=0.0, wmh_ml=0.5)


def test_shares_sum_to_one_inside_and_zero_outside(tissue):
    np.testing.assert_allclose(_total(tissue)[tissue.mask], 1.0, atol=1e-5)
    assert not _total(tissue)[~tissue.mask].any()


def test_shares_are_shares(tissue):
    for share in (tissue.gm, tissue.wm, tissue.csf, tissue.wmh):
        assert share.min() >= 0
        assert share.max() <= 1 + 1e-5
    assert (tissue.wmh <= tissue.wm + 1e-6).all()


def test_every_voxel_has_a_label_of_each_tissue(tissue):
    grey = {label for label in label_areas() if label > 1000} | {*DEEP_GM, 8, 47, 31, 63}
    assert set(np.unique(tissue.gm_label)) <= grey
    assert set(np.unique(tissue.wm_label)) <= set(WM_LABELS)
    assert set(np.unique(tissue.csf_label)) <= set(CSF_LABELS)


def test_atrophy_takes_the_asked_share_of_each_region(subject, grid):
    """Cortical labels reach theirs within 1 %; nothing else is touched."""
    head = template_head(grid)
    lost = {1006: 0.25, 1028: 0.10, 2009: 0.20, 17: 0.15}
    label = head.gm_label[head.mask]
    before = np.bincount(label, head.gm, minlength=N_LABELS)
    after = np.bincount(
        label,
        shrink_cortex(head, replace(subject, atrophy=lost)),
        minlength=N_LABELS,
    )
    for index in np.flatnonzero(before):
        expected = lost.get(int(index), 0.0)
        assert 1 - after[index] / before[index] == pytest.approx(expected, abs=0.01)


def test_atrophy_starts_at_the_surface(subject, grid):
    head = template_head(grid)
    thin = shrink_cortex(head, replace(subject, atrophy={1028: 0.2}))
    inside = (head.gm_label[head.mask] == 1028) & (head.gm > 0.2)
    kept = thin[inside] / head.gm[inside]
    outer = head.exposure[inside] > np.median(head.exposure[inside])
    assert kept[outer].mean() < kept[~outer].mean() - 0.05


def test_ventricles_grow(subject, grid):
    young = _young(subject)
    small = subject_tissue(young, grid)
    large = subject_tissue(replace(young, ventricle_mm=4.0), grid)
    np.testing.assert_allclose(_total(large), _total(small), atol=1e-5)
    lateral = np.isin(small.csf_label, (4, 43))
    assert large.csf[lateral].sum() > 1.5 * small.csf[lateral].sum()


@pytest.mark.parametrize("wmh_ml", [2.0, 10.0, 30.0])
def test_lesions_reach_their_volume(subject, network_grid, wmh_ml):
    """The ramp at the border costs or adds up to a seventh."""
    tissue = subject_tissue(replace(subject, wmh_ml=wmh_ml), network_grid)
    volume_ml = tissue.wmh.sum() * network_grid.voxel_volume_mm3 / 1000
    assert volume_ml == pytest.approx(wmh_ml, rel=0.15)


def test_lesions_keep_to_the_ventricles(subject, network_grid):
    tissue = subject_tissue(replace(subject, wmh_ml=8.0), network_grid)
    head = template_head(network_grid)
    lesion = tissue.wmh[head.mask] > 0.5
    white = tissue.wm[head.mask] > 0.5
    distance = head.ventricle_mm
    assert np.median(distance[lesion]) < 0.5 * np.median(distance[white])
    assert (tissue.labels() == WMH).any()


def test_warp_by_nothing_changes_nothing(tissue):
    same = warp_tissue(tissue, index_points(tissue.grid, np.eye(4)), tissue.grid)
    np.testing.assert_allclose(same.gm, tissue.gm, atol=1e-5)
    np.testing.assert_array_equal(same.labels(), tissue.labels())
    np.testing.assert_array_equal(same.mask, tissue.mask)


def test_shares_still_sum_to_one_after_a_shift(tissue):
    index = index_points(tissue.grid, np.eye(4)) + 0.37
    moved = warp_tissue(tissue, index, tissue.grid)
    np.testing.assert_allclose(_total(moved)[moved.mask], 1.0, atol=1e-5)
    assert 0 not in moved.labels()[moved.mask]


def test_template_volumes_are_those_of_a_brain(network_grid):
    """The template's head is large: 1.89 L inside; half of it grey, two fifths white."""
    head = template_head(network_grid)
    litres = network_grid.voxel_volume_mm3 * 1e-6
    assert head.mask.sum() * litres == pytest.approx(1.89, abs=0.02)
    assert head.gm.sum() * litres == pytest.approx(0.95, abs=0.08)
    assert head.wm.sum() * litres == pytest.approx(0.73, abs=0.08)


def test_left_labels_lie_on_the_left(tissue):
    x = index_points(tissue.grid, tissue.grid.affine)[0]
    labels = tissue.labels()
    assert x[(labels > 1000) & (labels < 2000)].mean() < -20
    assert x[labels > 2000].mean() > 20
