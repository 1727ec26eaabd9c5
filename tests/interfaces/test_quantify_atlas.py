"""A table of one more atlas: its rows, and what it takes over from the PET's own table."""

import numpy as np
import pandas as pd
import pytest
from toys import oblique

from relad_bids.core.columns import COLUMNS
from relad_bids.core.resolution import point_spread
from relad_bids.core.rows import primary_rows
from relad_bids.files import read_table, write_table
from relad_bids.interfaces.correct import CorrectPartialVolume
from relad_bids.interfaces.quantify import MeasureSpread, QuantifyPET
from relad_bids.interfaces.quantify_atlas import MeasureAtlasSpread, QuantifyAtlas

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
            "pvc": pvc, "ref_region": ref, "ref_method": "labels", "ref_mean": mean,
            "ref_volume_mm3": 900.0, "ref_cov": 0.1, "qc_flags": flags,
        } for pvc, ref, mean, flags in (
            ("GTM", "pons", 7.0, "x"),
            ("none", "pons", 4.0, "motion_high;voi_small"),
            ("none", "pons", 4.0, "motion_high"),
            ("none", "global-brain", 5.0, "motion_high;second_reference;ref_fov"),
            ("none", "of-masks", 9.0, "motion_high"),
        )])  # fmt: skip
        write_table(tmp_path / "main.tsv", main)
        own = make_nifti("own.nii.gz", np.full(SHAPE, 8, np.int16), AFFINE)
        step = QuantifyAtlas(
            activity=make_nifti("activity.nii.gz", activity, AFFINE),
            atlas=make_nifti("atlas.nii.gz", labels, AFFINE),
            dseg=own,
            inferior=own,
            table=str(tmp_path / "main.tsv"),
            regions=REGIONS,
            ref_region="pons",
            min_coverage=min_coverage,
            context={"tracer": "pib", "atlas": "toy", "voi_source": "atlas-warped", "pvc": "none"},
            **more,
        )
        return read_table(tmp_path / run_step(step, "atlas").table)

    return run


def first(table):
    return primary_rows(table).set_index("voi")


def test_rows_are_the_means_over_the_denominator_of_the_pets_own_table(quantified):
    whole = quantified(suv_factor=0.5)
    assert list(whole) == [*COLUMNS]
    table = first(whole)
    assert table["hemi"].to_dict() == dict(
        zip((name for _, name in REGIONS), ("L", "R", "B", "B"), strict=True)
    )
    assert table.loc["7Networks_LH_Vis_1", "suvr_mean"] == 1.5
    assert table.loc["7Networks_LH_Vis_1", "suv_mean"] == 3.0
    assert table.loc["Vermis", "suvr_mean"] == 0.5
    assert set(table["ref_mean"]) == {4.0}
    assert set(table["ref_region"]) == {"pons"}


def test_a_second_reference_is_a_row_more_here_too(quantified):
    """A tracer without a region free of its target has both ratios in every table."""
    table = quantified()
    assert len(table) == 2 * len(REGIONS)
    second = table[table["ref_region"] == "global-brain"].set_index("voi")
    assert second.loc["7Networks_LH_Vis_1", "suvr_mean"] == pytest.approx(6 / 5)
    flags = second["qc_flags"].str.split(";")
    assert all({"second_reference", "motion_high", "ref_fov"} <= set(row) for row in flags)
    assert flags.map(lambda row: row.count("second_reference")).eq(1).all()


def test_spread_and_intervals_stand_beside_the_value_they_are_of(quantified, tmp_path):
    keys = [("atlas", name, hemi) for (_, name), hemi in zip(REGIONS, "LRBB", strict=True)]
    spread = pd.DataFrame(keys, columns=["family", "voi", "hemi"])
    write_table(tmp_path / "spread.tsv", spread.assign(suvr_sd_samples=[0.1, 0.2, 0.3, np.nan]))
    told = {"factors": {"Vermis": 2.0}, "times": "spread"}
    whole = quantified(spread=str(tmp_path / "spread.tsv"), intervals=told)
    table = first(whole)
    assert table["suvr_sd_samples"].tolist()[:3] == [0.1, 0.2, 0.3]
    vermis = table.loc["Vermis", ["suvr_pi90_low", "suvr_pi90_high"]].astype(float)
    np.testing.assert_allclose(vermis, [0.5 - 0.6, 0.5 + 0.6], rtol=1e-6)
    assert table["suvr_pi90_low"].notna().sum() == 1, "no factor was measured of the others"
    second = whole[whole["ref_region"] == "global-brain"]
    assert second["suvr_sd_samples"].isna().all(), "it was measured over the first reference"


@pytest.mark.parametrize(("needed", "known"), [(0.2, True), (0.5, False)])
def test_coverage_is_asked_of_every_region(quantified, needed, known):
    row = first(quantified(min_coverage=needed)).loc["Right_VI"]
    assert row["fov_fraction"] == 0.25
    assert np.isfinite(row["suvr_mean"]) == known
    assert "voi_fov" in row["qc_flags"]


def test_flags_of_the_image_are_taken_over_and_those_of_its_regions_not(quantified):
    flags = first(quantified())["qc_flags"].str.split(";")
    assert all("motion_high" in row and "x" not in row for row in flags)
    assert "voi_small" not in flags["Vermis"]
    assert {"voi_small", "labels_missing"} <= set(flags["nowhere"])


BOX, VOXEL_MM = (34, 30, 32), (2.5, 2.6, 2.4)
BOX_AFFINE = oblique(VOXEL_MM, degrees=10.0, origin=(-40.0, -38.0, -36.0))
UPTAKE = {8: 1.0, 1: 2.0, 2: 1.4, 10: 1.7}


@pytest.fixture
def head(make_nifti):
    """Cerebellum 8, thalamus 10 and a cortex 1024 in which the atlas has two halves, 1 and 2."""
    labels = np.zeros(BOX, np.int16)
    labels[6:28, 5:25, 6:16] = 8
    labels[6:28, 5:12, 16:26] = 10
    labels[6:28, 12:25, 16:26] = 1024
    atlas = np.zeros(BOX, np.int16)
    atlas[6:17, 12:25, 16:26], atlas[17:28, 12:25, 16:26] = 1, 2
    brain = np.zeros(BOX, np.uint8)
    brain[5:29, 4:26, 5:27] = 1
    uptake = np.where(brain, 0.4, 0.0)
    for image, numbers in ((labels, (8, 10)), (atlas, (1, 2))):
        for number in numbers:
            uptake[image == number] = UPTAKE[number]
    images = {
        "dseg": labels, "inferior": (labels == 8).astype(np.uint8), "brain": brain,
        "csf": np.ones(BOX, np.float32), "gm": np.zeros(BOX, np.float32),
        "wm": np.zeros(BOX, np.float32), "atlas": atlas,
        "activity": 5000 * point_spread(6.0, VOXEL_MM).blur(uptake),
    }  # fmt: skip
    return {name: make_nifti(f"{name}.nii.gz", data, BOX_AFFINE) for name, data in images.items()}


def settings(head, *names):
    return {"min_coverage": 0.5, "ref_region": "cerebellum-gm"} | {n: head[n] for n in names}


def test_corrected_rows_are_those_of_the_regions_of_the_atlas(run_step, head, tmp_path):
    """Two halves of one label: its own correction would give both the mean of the two."""
    plain = QuantifyPET(
        **settings(head, "activity", "dseg", "inferior"), activity_mni=head["activity"],
        numbers=[8, 10, 1024], context={"tracer": "pib", "pvc": "none"}, flags=[],
    )  # fmt: skip
    main = run_step(plain, "main").table
    images = {n: v for n, v in head.items() if n in
              ("activity", "dseg", "inferior", "brain", "csf", "gm", "wm", "atlas")}  # fmt: skip
    told = run_step(
        CorrectPartialVolume(
            **images, ref_region="cerebellum-gm", method="gtm", fwhm_mm=6.0, brain_only=False
        ),
        "correct",
    )
    step = QuantifyAtlas(
        **settings(head, "activity", "dseg", "inferior", "atlas"), table=main,
        regions=[(1, "LH_a"), (2, "RH_b")], context={"tracer": "pib", "pvc": "none"},
        corrected=told.out_file, unstable=told.unstable, pvc={"pvc": "GTM", "pvc_fwhm_mm": 6.0},
    )  # fmt: skip
    table = read_table(run_step(step, "atlas").table)
    mine = table[table["pvc"] == "GTM"].set_index("voi")
    assert mine["suvr_mean"].to_dict() == pytest.approx({"LH_a": 2.0, "RH_b": 1.4}, rel=1e-3)
    assert (abs(first(table)["suvr_mean"] / [2.0, 1.4] - 1) > 0.02).all(), "there was work to do"
    assert mine[["suvr_sd", "p95", "ref_cov"]].isna().all(axis=None)
    assert set(mine["qc_flags"]) == {"ok"}


def test_the_spread_of_an_atlas_is_that_of_the_packaged_labels_where_they_are_alike(
    run_step, make_nifti, head
):
    chance = np.random.default_rng(7)
    samples = [
        make_nifti(f"s{n}.nii.gz", chance.uniform(1, 3, BOX).astype(np.float32), BOX_AFFINE)
        for n in range(3)
    ]
    still = make_nifti("t1w.nii.gz", np.ones(BOX, np.float32), BOX_AFFINE)
    both = {"samples": samples, "t1w": still, "mni_to_t1w": identity(make_nifti)}
    own = run_step(
        MeasureSpread(**settings(head, "dseg", "inferior"), **both, numbers=[10, 1024]), "own"
    )
    more = MeasureAtlasSpread(
        **settings(head, "dseg", "inferior"), **both, atlas=head["dseg"],
        regions=[(10, "Left-Thalamus"), (1024, "ctx-lh-precentral")],
    )  # fmt: skip
    found = read_table(run_step(more, "atlas").table).set_index("voi")["suvr_sd_samples"]
    known = read_table(own.table).query("family == 'label'").set_index("voi")["suvr_sd_samples"]
    assert (found > 0).all()
    assert found.to_dict() == pytest.approx(known[found.index].to_dict(), rel=1e-6)


def identity(make_nifti):
    path = make_nifti("unused.nii.gz", np.zeros((2, 2, 2), np.float32), np.eye(4))
    path = path.replace("unused.nii.gz", "still.mat")
    from relad_bids.mri.linear import write_affine

    write_affine(np.eye(4), path)
    return path
