import nibabel as nb
import numpy as np
import pandas as pd
import pytest
from toys import AFFINE, SHAPE, oblique, tiny_card, tiny_config, tiny_measured, tiny_unit

from relad_bids.core.columns import complete
from relad_bids.core.coregistration import Coregistration
from relad_bids.core.qc import qc_row
from relad_bids.files import write_table
from relad_bids.interfaces.report import WriteReport
from relad_bids.records import report_facts, session_flags

T1W_SHAPE = (30, 26, 28)
T1W = oblique((6.5, 6.0, 7.0), degrees=12.0, origin=(-70.0, -105.0, -75.0))
TRACER = "pib"


@pytest.fixture
def images(make_nifti):
    rng = np.random.default_rng(17)
    mask = np.zeros(T1W_SHAPE, np.uint8)
    mask[6:24, 5:21, 6:22] = 1
    labels = mask * rng.choice(np.array([8, 47, 1007, 2007], np.int32), T1W_SHAPE)
    brain = (mask * rng.uniform(50, 100, T1W_SHAPE)).astype(np.float32)
    return {
        "t1w": make_nifti("t1w.nii.gz", brain, T1W),
        "mask": make_nifti("mask.nii.gz", mask, T1W),
        "dseg": make_nifti("dseg.nii.gz", labels.astype(np.int32), T1W),
        "t1w_mni": make_nifti(
            "t1w_mni.nii.gz", rng.uniform(0, 90, SHAPE).astype(np.float32), np.array(AFFINE)
        ),
        "suvr_maps": [make_nifti("suvr.nii.gz", np.where(mask, 1.3, np.nan).astype("f4"), T1W)],
        "ref_masks": [make_nifti("ref.nii.gz", np.isin(labels, (8, 47)).astype(np.uint8), T1W)],
    }


@pytest.fixture
def table(tmp_path):
    rows = pd.DataFrame(
        {
            "family": ["amyloid", "ref"], "voi": ["amyloid-composite", "cerebellum-whole"],
            "hemi": "B", "labels": ["1007,2007", "8,47"], "n_voxels": [900, 800], "mean": [1.3, 1],
            "volume_mm3": 9e4, "fov_fraction": 1.0, "suvr_mean": [1.3, 1.0], "flags": [[], []],
        }
    )  # fmt: skip
    context = {
        "tracer": TRACER, "ref_region": "cerebellum-whole", "ref_method": "labels",
        "ref_mean": 1.0, "ref_volume_mm3": 9e4, "ref_cov": 0.1,
    }  # fmt: skip
    write_table(tmp_path / "voi.tsv", complete(rows, context, flags=["single_sample"]))
    return str(tmp_path / "voi.tsv")


@pytest.fixture
def qc(tmp_path):
    write_table(tmp_path / "qc.tsv", qc_row({"status": "ok", "cerebellum_in_fov": 0.43}))
    return str(tmp_path / "qc.tsv")


@pytest.mark.parametrize("flair", [True, False])
def test_one_page_that_says_what_was_used(run_step, images, table, qc, tmp_path, flair):
    config = tiny_config(tmp_path)
    unit = tiny_unit(config, flair=flair, tracers=(TRACER,))
    given = {"flair": images["t1w"], "flair_t1w": images["t1w"]} if flair else {}
    step = WriteReport(
        out_html=str(tmp_path / "out" / f"{unit.label}.html"),
        facts=report_facts(unit, tiny_card(sha256="ab" * 32), config),
        brain_facts={"volume_ml": 1234.4, "method": "template-head", "flags": []},
        tables=[table],
        flags=session_flags(unit),
        qc=qc,
        **images,
        **given,
    )
    page = (tmp_path / "out" / "sub-01_ses-a.html").relative_to(tmp_path)
    assert run_step(step).out_html == str(tmp_path / page)
    text = (tmp_path / page).read_text()
    expected = ("not a measurement", "A toy, for tests.", "1234 mL", "tiny-1+abababab", TRACER)
    for words in (*expected, "0.43", "a part of the cerebellum lies outside"):
        assert words in text
    assert ("sub-01_ses-a_FLAIR.nii.gz" in text) is flair
    assert str(tmp_path) not in text
    assert nb.load(images["t1w"]).shape == T1W_SHAPE


def test_the_page_of_measured_pet_alone(run_step, images, table, qc, tmp_path, make_nifti):
    """No word of a network; the score, the picture on the T1w and the motion of the frames."""
    config = tiny_config(tmp_path)
    pet = tiny_measured(config, tracer=TRACER)
    unit = tiny_unit(config, flair=False, tracers=(), measured=[pet])
    score = Coregistration(1.234, -0.01, 0.9, 2.0).facts()
    trace = {
        "frames": [1, 2], "shift_mm": [0.1, 4.0], "rotation_deg": [0.2, 1.0],
        **dict.fromkeys(("before", "after", "worst_before", "worst_after"), images["t1w"]),
    }  # fmt: skip
    given = {
        "brain_facts": {"volume_ml": 1234.4, "method": "template-head", "flags": []},
        "tables": [table], "flags": session_flags(unit), "qc": qc, **images,
    }  # fmt: skip
    facts = report_facts(unit, tiny_card(sha256="ab" * 32), config)
    for scores, traces in (([score], [trace]), ([score], [{}])):
        step = WriteReport(
            out_html=str(tmp_path / "page.html"),
            facts=facts,
            scores=scores,
            traces=traces,
            **given,
        )
        run_step(step, f"page{len(traces[0])}")
        text = (tmp_path / "page.html").read_text()
        for words in ("Measured PET", "1.234", "at best be 1.244", "look closely", "2.0 mm apart"):
            assert words in text
        for words in ("tiny-1", "A toy, for tests.", "Synthetic"):
            assert words not in text
        assert ("Motion between frames" in text) is bool(traces[0])
