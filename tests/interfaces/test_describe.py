import numpy as np
import pytest
from toys import oblique

from relad_bids.core.coregistration import Coregistration
from relad_bids.core.qc import QC_COLUMNS
from relad_bids.files import read_table
from relad_bids.interfaces.describe import CollectQC, DescribeParcellation, FlagMRI

VOXEL_MM3 = 1.0 * 1.5 * 2.0


@pytest.fixture
def described(run_step, make_nifti):
    labels = np.zeros((6, 9, 7), np.int32)
    labels[:2], labels[3, :4] = 17, 53
    step = DescribeParcellation(
        dseg=make_nifti("dseg.nii.gz", labels, oblique()), numbers=[17, 53, 1006, 99999]
    )
    out = run_step(step)
    return read_table(out.names), read_table(out.morph)


def test_label_table_has_the_columns_of_bids(described):
    names, _ = described
    assert list(names) == ["index", "name"]
    assert names["index"].tolist() == [17, 53, 1006]
    assert names["name"].tolist()[:2] == ["Left-Hippocampus", "Right-Hippocampus"]


def test_volumes_are_counts_times_the_voxel(described):
    """A label that the person has no voxel of keeps its row, with 0."""
    _, morph = described
    assert morph["n_voxels"].tolist() == [2 * 9 * 7, 4 * 7, 0]
    expected = morph["n_voxels"].to_numpy() * VOXEL_MM3
    np.testing.assert_allclose(morph["volume-mm3"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("known_flags", "mri_flags", "cell"),
    [
        ([], [], "ok"),
        (["flair_missing"], ["mask_volume"], "flair_missing;mask_volume"),
    ],
)
def test_qc_row(run_step, known_flags, mri_flags, cell):
    out = run_step(
        CollectQC(
            known={"participant_id": "sub-01", "session_id": None},
            brain={
                "volume_ml": 1234.5678,
                "method": "template-head",
                "flags": ["told by FlagMRI"],
                "symmetry": 0.95,
                "overlap": 0.9,
                "cut": 0.0,
                "kept": 0.93,
            },
            flags=known_flags,
            mri_flags=mri_flags,
        )
    )
    row = read_table(out.table)
    assert list(row) == list(QC_COLUMNS)
    assert row.loc[0, ["status", "flags"]].tolist() == ["ok", cell]
    assert row.loc[0, "brain_volume_ml"] == 1234.57
    shown = row.loc[0, ["mask_symmetry", "mask_overlap", "mask_cut", "mask_kept"]]
    assert shown.tolist() == [0.95, 0.9, 0.0, 0.93]
    assert row.loc[0, ["flair_cost", "flair_init"]].isna().all()
    assert out.flags == [*known_flags, *mri_flags]


def test_qc_row_with_flair(run_step):
    out = run_step(
        CollectQC(
            known={},
            brain={"volume_ml": 1200.0, "method": "already-stripped", "flags": []},
            flair={"cost": -0.25, "init": "header"},
            flags=[],
        )
    )
    row = read_table(out.table)
    assert row.loc[0, ["flair_cost", "flair_init"]].tolist() == [-0.25, "header"]


def test_qc_row_with_measured_pet(run_step):
    """A value for each scan, in their order; the flags of all of them once."""
    scores = [Coregistration(1.2, m, 0.9, 3.25).facts() for m in (0.05, -0.01, -0.02)]
    motions = [{"max_shift_mm": mm, "max_rotation_deg": 0.5} for mm in (0.0, 3.1, 0.2)]
    out = run_step(
        CollectQC(
            known={},
            brain={"volume_ml": 1200.0, "method": "template-head", "flags": []},
            flags=["flair_missing"],
            label_flags=["labels_suspect"],
            pet_scores=scores,
            pet_motions=motions,
        )
    )
    row = read_table(out.table).iloc[0]
    assert row["pet_nmi_margin"] == "0.05;-0.01;-0.02"
    assert row["pet_motion_mm"] == "0;3.1;0.2"
    assert out.flags == ["flair_missing", "labels_suspect", "coreg_suspect", "motion_high"]
    assert row["flags"] == ";".join(out.flags)


def test_qc_row_with_quality_figures(run_step):
    """Values stand in their columns."""
    out = run_step(
        CollectQC(
            known={},
            brain={"volume_ml": 1200.0, "method": "template-head", "flags": []},
            flags=[],
            t1w_figures={"cerebellum_in_fov": 0.5, "t1w_efc": None},
            flair_figures={"flair_voxel_mm": 2.0},
        )
    )
    row = read_table(out.table).iloc[0]
    assert row["cerebellum_in_fov"] == 0.5
    assert row["flair_voxel_mm"] == 2
    assert row["t1w_efc"] is None or np.isnan(row["t1w_efc"])


def test_what_is_odd_about_mri_is_flagged_once_and_the_flair_apart(run_step):
    """Measured PET rests on the T1w alone, a synthetic one on both."""
    brain = {"volume_ml": 3000.0, "method": "template-head", "flags": ["mask_volume"]}
    t1w = {"cerebellum_in_fov": 0.5, "gm_dice": 0.1, "wm_dice": 0.1, "t1w_efc": None}
    out = run_step(FlagMRI(brain=brain, t1w_figures=t1w))
    assert out.t1w_flags == ["mask_volume", "tissue_mismatch", "cerebellum_cut"]
    assert out.flags == out.t1w_flags
    out = run_step(
        FlagMRI(
            brain=brain, t1w_figures=t1w, flair={"cost": -0.01}, flair_figures={"flair_nmi": 1.2}
        )
    )
    assert out.t1w_flags == ["mask_volume", "tissue_mismatch", "cerebellum_cut"]
    assert out.flags == [*out.t1w_flags, "flair_misplaced"]
