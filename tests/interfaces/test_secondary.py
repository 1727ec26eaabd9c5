"""Correction and masks as steps; smoothing of frames; further rows of a table."""

import nibabel as nb
import numpy as np
import pytest
from toys import oblique

from relad_bids.core.columns import COLUMNS
from relad_bids.core.resolution import point_spread, smooth_to
from relad_bids.core.rows import primary_rows
from relad_bids.files import read_table
from relad_bids.interfaces.correct import CorrectPartialVolume
from relad_bids.interfaces.masks import MeasureMasks
from relad_bids.interfaces.pet import ResampleFrames
from relad_bids.interfaces.quantify import QuantifyPET
from relad_bids.masks import CENTILOID
from relad_bids.mri.linear import write_affine

SHAPE, VOXEL_MM = (34, 30, 32), (2.5, 2.6, 2.4)
AFFINE = oblique(VOXEL_MM, degrees=10.0, origin=(-40.0, -38.0, -36.0))


@pytest.fixture
def head(make_nifti):
    """A box of brain: cerebellum 8, thalamus 10, cortex 1024 and what is left around them."""
    labels = np.zeros(SHAPE, np.int16)
    labels[6:28, 5:25, 6:16] = 8
    labels[6:28, 5:14, 16:26] = 10
    labels[6:28, 14:25, 16:26] = 1024
    brain = np.zeros(SHAPE, np.uint8)
    brain[5:29, 4:26, 5:27] = 1
    below = (labels == 8) & (np.arange(SHAPE[2]) < 12)
    uptake = np.select([below, labels == 8, labels == 10, labels == 1024, brain > 0],
                       [1.0, 1.3, 2.0, 1.6, 0.4], 0.0)  # fmt: skip
    blurred = point_spread(6.0, VOXEL_MM).blur(uptake)
    images = {
        "dseg": labels, "inferior": below.astype(np.uint8), "brain": brain,
        "csf": np.ones(SHAPE, np.float32), "gm": np.zeros(SHAPE, np.float32),
        "wm": np.zeros(SHAPE, np.float32), "activity": 5000 * blurred,
    }  # fmt: skip
    return {name: make_nifti(f"{name}.nii.gz", data, AFFINE) for name, data in images.items()}


@pytest.fixture
def correct(run_step, head):
    def run(name="correct", **settings):
        given = {"ref_region": "cerebellum-inferior-gm", "method": "gtm", "fwhm_mm": 6.0,
                 "brain_only": False, **head, **settings}  # fmt: skip
        return run_step(CorrectPartialVolume(**given), name)

    return run


@pytest.fixture
def quantify(run_step, head):
    def run(name="quantify", **settings):
        given = {
            "activity": head["activity"], "dseg": head["dseg"], "inferior": head["inferior"],
            "activity_mni": head["activity"], "numbers": [8, 10, 1024], **settings,
        }  # fmt: skip
        step = QuantifyPET(
            ref_region="cerebellum-inferior-gm", min_coverage=0.5, flags=[],
            context={"tracer": "pib", "pvc": "none", "statement": "plain"}, **given,
        )  # fmt: skip
        return read_table(run_step(step, name).table)

    return run


def test_corrected_rows_stand_below_and_are_right(correct, quantify):
    """Uptake 2.0 and 1.6 over 1.0 of the part of the cerebellum that is the reference."""
    out = correct()
    told = {"pvc": "GTM", "pvc_fwhm_mm": 6.0, "statement": "corrected"}
    table = quantify(corrected=out.out_file, unstable=out.unstable, pvc=told)
    plain = quantify("plain")
    assert list(table) == list(COLUMNS)
    assert len(table) == 2 * len(plain)
    assert primary_rows(table).astype(str).equals(plain.astype(str))
    mine = table[table["pvc"] == "GTM"].set_index("voi")
    known = {"Left-Thalamus": 2.0, "ctx-lh-precentral": 1.6}
    before = plain.set_index("voi")["suvr_mean"]
    for voi, suvr in known.items():
        assert mine.loc[voi, "suvr_mean"] == pytest.approx(suvr, rel=1e-3)
        assert abs(before[voi] / suvr - 1) > 0.01  # there was work to do
    assert set(mine["statement"]) == {"corrected"}
    assert mine[["suvr_median", "suvr_sd", "p95", "ref_cov"]].isna().all(axis=None)
    facts = out.facts["PartialVolumeCorrection"]
    assert 1 < facts.pop("ConditionNumber") < 100
    assert facts == {"Method": "GTM", "FullWidthHalfMaximum": 6.0}
    assert not mine["qc_flags"].str.contains("pvc_unstable").any()


def test_corrected_rows_that_are_not_to_be_trusted_say_so(correct, quantify, head, make_nifti):
    """A negative thalamus, and a label of a few voxels that a PSF of 6 mm hides."""
    labels = np.asarray(nb.load(head["dseg"]).dataobj).copy()
    labels[20:22, 8:10, 20:22] = 26  # 0.12 mL in the thalamus; a PSF of 6 mm has 0.22
    image = nb.load(head["activity"]).get_fdata(dtype=np.float32)
    image[labels == 10] = -3.0
    given = {"dseg": make_nifti("small.nii.gz", labels, AFFINE),
             "activity": make_nifti("negative.nii.gz", image, AFFINE)}  # fmt: skip
    out = correct(**given)
    told = {"pvc": "GTM", "pvc_fwhm_mm": 6.0, "statement": "corrected"}
    table = quantify(
        **given, numbers=[8, 10, 26, 1024], corrected=out.out_file, unstable=out.unstable, pvc=told
    )
    mine = table[table["pvc"] == "GTM"].set_index("voi")
    doubted = mine["qc_flags"].str.contains("pvc_unstable")
    assert mine.loc["Left-Thalamus", "suvr_mean"] < 0
    assert doubted[["Left-Thalamus", "Left-Accumbens-area"]].all()
    assert not doubted[["Left-Cerebellum-Cortex", "ctx-lh-precentral"]].any()
    assert not primary_rows(table)["qc_flags"].str.contains("pvc_unstable").any()


def test_a_reference_without_uptake_costs_the_corrected_rows_alone(correct, head, make_nifti):
    image = nb.load(head["activity"]).get_fdata(dtype=np.float32)
    image[np.asarray(nb.load(head["inferior"]).dataobj) > 0] = 0
    out = correct(activity=make_nifti("no_reference.nii.gz", image, AFFINE))
    told = out.facts["PartialVolumeCorrection"]
    assert told["Method"] == "none"
    assert "the reference region is" in told["Reason"]


def test_what_cannot_be_corrected_costs_nothing_else(correct):
    out = correct(fwhm_mm=1.0)
    told = out.facts["PartialVolumeCorrection"]
    assert told["Method"] == "none"
    assert "at least a voxel" in told["Reason"]
    assert "out_file" not in {name for name, value in out.get().items() if isinstance(value, str)}


def test_outside_the_brain_a_synthetic_image_says_nothing(correct, head, make_nifti):
    """A network writes 0 there; taken as seen, the cortex would lose what it spilt."""
    image = nb.load(head["activity"]).get_fdata(dtype=np.float32)
    brain = nb.load(head["brain"]).get_fdata() > 0
    cut = make_nifti("cut.nii.gz", np.where(brain, image, 0).astype(np.float32), AFFINE)
    labels = np.asarray(nb.load(head["dseg"]).dataobj)
    made = nb.load(correct(activity=cut, brain_only=True).out_file).get_fdata()
    assert np.isfinite(made[labels > 0]).all()
    assert np.isnan(made[~brain]).all()


def test_a_second_reference_is_a_row_more(quantify, head):
    table = quantify(second_refs=["cerebellum-gm"])
    first, second = (table[table["ref_region"] == name].set_index(["family", "voi", "hemi"])
                     for name in ("cerebellum-inferior-gm", "cerebellum-gm"))  # fmt: skip
    image = nb.load(head["activity"]).get_fdata()
    labels = np.asarray(nb.load(head["dseg"]).dataobj)
    ratio = image[labels == 10].mean() / image[labels == 8].mean()
    key = ("label", "Left-Thalamus", "L")
    assert second.loc[key, "suvr_mean"] == pytest.approx(ratio, rel=1e-5)
    assert first.loc[key, "mean"] == second.loc[key, "mean"]
    assert second["qc_flags"].str.contains("second_reference").all()
    assert second["ref_method"].unique().tolist() == ["labels"]


def test_what_is_odd_about_the_mri_stands_in_every_row(quantify, run_step, head, masks):
    """A cerebellum that is cut off is no reference region, whichever row one reads."""
    table = quantify(second_refs=["cerebellum-gm"], mri_flags=["cerebellum_cut"])
    assert table["qc_flags"].str.contains("cerebellum_cut").all()
    rows = measure(run_step, head, masks, mri_flags=["cerebellum_cut"])
    assert rows["qc_flags"].str.startswith("window_assumed;cerebellum_cut").all()


@pytest.fixture
def masks(make_nifti):
    made = {}
    for number, name in enumerate((*CENTILOID.targets, *CENTILOID.references)):
        mask = np.zeros(SHAPE, np.int16)
        mask[5 * number : 5 * number + 7] = 1
        made[name] = make_nifti(f"mask{number}.nii.gz", mask, AFFINE)
    return made


def measure(run_step, head, masks, *, mri_flags=(), **context):
    step = MeasureMasks(
        activity=head["activity"], masks=masks, min_coverage=0.5, flags=["window_assumed"],
        mri_flags=list(mri_flags),
        context={"tracer": "pib", "pvc": "none", "voi_space": "T1w", **context},
    )  # fmt: skip
    return read_table(run_step(step, "masks").table)


def test_masks_give_rows_and_a_value_on_the_scale(run_step, head, masks):
    table = measure(run_step, head, masks)
    image = nb.load(head["activity"]).get_fdata()
    assert list(table) == list(COLUMNS)
    assert table["ref_region"].tolist() == list(CENTILOID.references)
    for number, suvr in enumerate(table["suvr_mean"], start=1):
        expected = image[:7].mean() / image[5 * number : 5 * number + 7].mean()
        assert suvr == pytest.approx(expected, rel=1e-5)
    first = table.iloc[0]
    assert first["centiloid"] == pytest.approx(93.7207 * first["suvr_mean"] - 94.5642, rel=1e-4)
    assert first["centiloid_pipeline"] == "gaain-standard;uncalibrated-pipeline"
    assert table["centiloid"].iloc[1:].isna().all()
    assert set(table["voi_space"]) == {"MNI152NLin6Asym"}
    assert set(table["voi_source"]) == {"mni"}
    assert table["qc_flags"].str.startswith("window_assumed").all()


def test_rows_of_masks_stand_below_those_of_labels(run_step, head, masks, quantify, tmp_path):
    rows = measure(run_step, head, masks)
    path = tmp_path / "nodes" / "masks" / "masks.tsv"
    table = quantify(template_rows=str(path))
    assert table.tail(len(rows))["voi"].tolist() == ["centiloid-ctx"] * 4
    assert table["centiloid"].notna().sum() == 1
    assert (primary_rows(table)["family"] == "centiloid").sum() == 1


@pytest.fixture
def frames(make_nifti):
    data = np.random.default_rng(2).uniform(10, 90, (*SHAPE, 2)).astype(np.float32)
    return data, make_nifti("dyn.nii.gz", data, AFFINE)


def test_frames_are_smoothed_along_their_own_axes_before_they_are_averaged(
    run_step, frames, make_nifti, tmp_path
):
    """Law: smoothing is linear, so it may come before the mean; and once is not twice."""
    data, path = frames
    weights = [0.25, 0.75]
    still = [str(tmp_path / "still.mat")] * 2
    write_affine(np.eye(4), tmp_path / "still.mat")
    smooth = {"native_fwhm_mm": [4.0, 5.0, 6.0], "target_fwhm_mm": 8.0}
    step = ResampleFrames(
        in_file=path, weights=weights, xfms=still, transforms=[], smooth=smooth,
        reference=make_nifti("reference.nii.gz", data[..., 0], AFFINE),
    )  # fmt: skip
    made = nb.load(run_step(step).out_file).get_fdata()
    expected = smooth_to(0.25 * data[..., 0] + 0.75 * data[..., 1], voxel_mm=VOXEL_MM, **smooth)
    np.testing.assert_allclose(made, expected, rtol=1e-3)  # the grid passes through ITK
