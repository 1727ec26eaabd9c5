"""Rows of a scan that missed its window."""

import numpy as np
from toys import AFFINE

from relad_bids.core.columns import COLUMNS
from relad_bids.files import read_table
from relad_bids.interfaces.missed import TellMissed

WINDOW = {"window_start_min": 80.0, "window_end_min": 100.0, "window_coverage": 0.1,
          "window_status": "mismatch"}  # fmt: skip


def test_regions_have_volumes_and_no_value(run_step, make_nifti):
    """40 voxels of the left hippocampus and 20 of the right; nothing else is there."""
    labels = np.zeros((12, 10, 8), np.int16)
    labels[:4, :5, :2], labels[6:8, :5, :2] = 17, 53
    out = run_step(
        TellMissed(
            dseg=make_nifti("dseg.nii.gz", labels, np.array(AFFINE)),
            numbers=[17, 53, 1006],
            ref_region="cerebellum-inferior-gm",
            context={"tracer": "flortaucipir", "source": "real", **WINDOW},
            flags=["injection_unstated", "window_mismatch"],
        )
    )
    table = read_table(out.table)
    assert list(table) == list(COLUMNS)
    left = table.query("family == 'label' and voi == 'Left-Hippocampus'").iloc[0]
    volume = abs(np.linalg.det(np.array(AFFINE)[:3, :3]))
    assert left["n_voxels"] == 40
    assert np.isclose(left["volume_mm3"], 40 * volume, rtol=1e-5)
    assert left["ref_region"] == "cerebellum-inferior-gm"
    said = ["mean", "median", "sd", "p05", "p95", "suvr_mean", "suvr_median", "suvr_sd",
            "suv_mean", "ref_mean", "fov_fraction", "centiloid"]  # fmt: skip
    assert table[said].isna().all(axis=None)
    assert table["qc_flags"].str.startswith("injection_unstated;window_mismatch").all()
    assert set(table["window_status"]) == {"mismatch"}
    assert set(table["window_coverage"]) == {0.1}
