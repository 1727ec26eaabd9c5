from dataclasses import replace

import numpy as np
import pytest

from relad_bids.phantom.pet import REFERENCE_LABELS, blur, paint
from relad_bids.phantom.regions import TRACERS, WMH
from relad_bids.phantom.truth import label_volumes, truth_table, voi_definitions


@pytest.fixture(scope="module", params=TRACERS)
def tracer(request):
    return request.param


@pytest.fixture(scope="module")
def table(tissue, subject, tracer):
    return truth_table(tissue, subject, tracer, fwhm_mm=6.0).set_index(["family", "voi"])


def _painted_alone(tissue, subject, tracer, labels):
    """Sum of the painted map when only ``labels`` take anything up, and their volume.

    Goes through :func:`paint`, so it shares no line with the table's arithmetic.
    """
    every = subject.uptake[tracer]
    own = {label: value if label in labels else 0.0 for label, value in every.items()}
    ones = {label: 1.0 if label in labels else 0.0 for label in every}

    def total(values):
        uptake = {**subject.uptake, tracer: values}
        return paint(tissue, replace(subject, uptake=uptake), tracer).sum(dtype=float)

    return total(own), total(ones)


@pytest.mark.parametrize(
    ("family", "voi", "labels"),
    [
        ("tau", "metatemporal", (18, 54, 1006, 1007, 1009, 1015, 2006, 2007, 2009, 2015)),
        ("tau", "braak1", (1006, 2006)),
        ("tspo", "striatum", (11, 12, 26, 50, 51, 58)),
        ("label", "Left-Hippocampus", (17,)),
        ("ref", "cerebellum-whole", (7, 8, 46, 47)),
    ],
)
def test_truth_is_what_was_painted(table, tissue, subject, tracer, family, voi, labels):
    amount, volume = _painted_alone(tissue, subject, tracer, labels)
    ref_amount, ref_volume = _painted_alone(tissue, subject, tracer, REFERENCE_LABELS[tracer])
    expected = (amount / volume) / (ref_amount / ref_volume)
    # 1e-6 is what float32 painting leaves
    assert table.loc[(family, voi), "suvr_true"] == pytest.approx(expected, rel=2e-6)
    voxels_mm3 = volume * tissue.grid.voxel_volume_mm3
    assert table.loc[(family, voi), "volume_mm3"] == pytest.approx(voxels_mm3, rel=1e-5)


def test_reference_region_averages_to_one(table, tracer):
    name = {"flortaucipir": "cerebellum-gm", "pib": "cerebellum-whole", "pbr28": "cerebellum-gm"}
    row = table.loc[("ref", name[tracer])]
    assert row["suvr_true"] == pytest.approx(1.0, abs=1e-9)
    assert row["suvr_psf"] == pytest.approx(1.0, abs=1e-9)


def test_blurred_truth_is_read_off_the_blurred_map(table, tissue, subject, tracer):
    blurred = blur(paint(tissue, subject, tracer), tissue.grid, fwhm_mm=6.0).astype(float)
    labels = tissue.labels()
    reference = blurred[np.isin(labels, REFERENCE_LABELS[tracer])].mean()
    expected = blurred[np.isin(labels, (1006, 2006))].mean() / reference
    assert table.loc[("tau", "braak1"), "suvr_psf"] == pytest.approx(expected, rel=1e-6)


def test_composite_is_the_unweighted_mean_of_its_parts(table):
    parts = [f"amyloid-{lobe}" for lobe in ("frontal", "cingulate", "parietal", "temporal")]
    for column in ("suvr_true", "suvr_psf"):
        mean = np.mean([table.loc[("amyloid", part), column] for part in parts])
        composite = table.loc[("amyloid", "amyloid-composite"), column]
        assert composite == pytest.approx(mean, abs=1e-12)


def test_every_single_label_has_a_row(table, tissue):
    present = np.flatnonzero(label_volumes(tissue))
    assert len(table.loc["label"]) == len(present)
    assert set(np.unique(tissue.labels())) - {0} <= set(present)


def test_volumes_add_up_to_the_brain(tissue):
    brain = tissue.mask.sum() * tissue.grid.voxel_volume_mm3
    assert label_volumes(tissue).sum() == pytest.approx(brain, rel=1e-5)
    assert label_volumes(tissue)[WMH] > 0


def test_absent_region_is_missing_not_zero(tissue, subject):
    """On coarse voxels a small label can prevail nowhere: no blurred value, but a true one."""
    none = replace(tissue, wmh=np.zeros_like(tissue.wmh), gm=np.zeros_like(tissue.gm),
                   wm=tissue.wm + tissue.gm)  # fmt: skip
    table = truth_table(none, subject, "pib", fwhm_mm=6.0).set_index("voi")
    assert np.isnan(table.loc["braak1", "suvr_true"])
    assert table.loc["braak1", "volume_mm3"] == 0


def test_vois_that_need_a_mask_are_left_out():
    names = set(voi_definitions(np.array([8, 47]))["voi"])
    assert {"Left-Cerebellum-Cortex", "metatemporal", "amyloid-composite"} <= names
    assert names.isdisjoint({"centiloid-ctx", "wm-eroded", "composite", "pons", "meninges-ring"})
