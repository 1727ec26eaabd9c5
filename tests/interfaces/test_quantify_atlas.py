"""A table of one more atlas: its rows, and what it takes over from the PET's own table."""

import numpy as np
import pandas as pd
import pytest
from toys import oblique

from relad_bids.core.columns import COLUMNS
from relad_bids.files import read_table, write_table
from relad_bids.interfaces.quantify_atlas import QuantifyAtlas

SHAPE, AFFINE = (12, 14, 16), oblique()
REGIONS = [(3, "7Networks_LH_Vis_1"), (4, "Right_VI"), (8, "Vermis"), (9, "nowhere")]


@pytest.fixture
def quantified(run_step, make_nifti, tmp_path):
    def run(*, min_coverage=0.5, **more):
        labels = np.zeros(SHAPE, np.int16)
        labels[:4], labels[4:8], labels[8:] = 3, 4, 8
        activity = np.where(labels == 3, 6.0, 2.0).astype(np.float32)
        activity[4:7] = np.nan  # three quarters of region 4 were never seen
        main = pd.DataFrame([dict.fromkeys(COLUMNS, np.nan) | {
            "pvc": pvc, "ref_region": "pons", "ref_method": "labels", "ref_mean": mean,
            "ref_volume_mm3": 900.0, "ref_cov": 0.1, "qc_flags": flags,
        } for pvc, mean, flags in (
            ("GTM", 7.0, "x"), ("none", 4.0, "motion_high;voi_small"), ("none", 4.0, "motion_high")
        )])  # fmt: skip
        write_table(tmp_path / "main.tsv", main)
        step = QuantifyAtlas(
            activity=make_nifti("activity.nii.gz", activity, AFFINE),
            dseg=make_nifti("dseg.nii.gz", labels, AFFINE),
            table=str(tmp_path / "main.tsv"),
            regions=REGIONS,
            min_coverage=min_coverage,
            context={"tracer": "pib", "atlas": "toy", "voi_source": "atlas-warped"},
            **more,
        )
        return read_table(tmp_path / run_step(step, "atlas").table).set_index("voi")

    return run


def test_rows_are_the_means_over_the_denominator_of_the_pets_own_table(quantified):
    table = quantified(suv_factor=0.5)
    assert [*table.reset_index()[[*COLUMNS]]] == [*COLUMNS]
    assert table["hemi"].to_dict() == dict(
        zip((name for _, name in REGIONS), ("L", "R", "B", "B"), strict=True)
    )
    assert table.loc["7Networks_LH_Vis_1", "suvr_mean"] == 1.5
    assert table.loc["7Networks_LH_Vis_1", "suv_mean"] == 3.0
    assert table.loc["Vermis", "suvr_mean"] == 0.5
    assert set(table["ref_mean"]) == {4.0}
    assert set(table["ref_region"]) == {"pons"}


@pytest.mark.parametrize(("needed", "known"), [(0.2, True), (0.5, False)])
def test_coverage_is_asked_of_every_region(quantified, needed, known):
    row = quantified(min_coverage=needed).loc["Right_VI"]
    assert row["fov_fraction"] == 0.25
    assert np.isfinite(row["suvr_mean"]) == known
    assert "voi_fov" in row["qc_flags"]


def test_flags_of_the_image_are_taken_over_and_those_of_its_regions_not(quantified):
    flags = quantified()["qc_flags"].str.split(";")
    assert all("motion_high" in row and "x" not in row for row in flags)
    assert "voi_small" not in flags["Vermis"]
    assert {"voi_small", "labels_missing"} <= set(flags["nowhere"])
