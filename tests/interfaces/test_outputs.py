import json

import pytest
from nipype.pipeline.engine import Node

from relad_bids.interfaces.outputs import SaveDerivatives

PRODUCTS = ("t1w_preproc", "t1w_norm", "t1w_to_mni_xfm", "kinpar")


@pytest.fixture
def source(tmp_path):
    def make(name, text):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return make


@pytest.fixture
def sink(tmp_path):
    def make(**inputs):
        return SaveDerivatives(
            products=PRODUCTS, root=str(tmp_path / "out"), label="sub-01_ses-a",
            space="MNI", resolution="2", **inputs,
        )  # fmt: skip

    return make


def tree(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_products_get_their_names_and_sidecars(run_step, sink, source, tmp_path):
    step = sink(
        sidecars={"t1w_preproc": {"Sources": ["bids:raw:x"]}, "t1w_norm": {"a": 1, "lower": 0}},
        extra={"kinpar": {"trc": "11CPIB"}},
    )
    step.inputs.t1w_preproc = source("n4.nii.gz", "image")
    step.inputs.t1w_norm = source("norm.nii.gz", "norm")
    step.inputs.t1w_norm_facts = {"lower": 3.5, "upper": 90.0}
    step.inputs.kinpar = source("voi.tsv", "table")
    written = run_step(step).out_files
    pet = "sub-01/ses-a/pet/sub-01_ses-a_trc-11CPIB_atlas-DesikanKilliany_model-SUVR_desc-synth"
    anat = "sub-01/ses-a/anat/sub-01_ses-a"
    assert tree(tmp_path / "out") == [
        f"{anat}_desc-preproc_T1w.json",
        f"{anat}_desc-preproc_T1w.nii.gz",
        f"{anat}_space-MNI_res-2_desc-norm_T1w.json",
        f"{anat}_space-MNI_res-2_desc-norm_T1w.nii.gz",
        f"{pet}_kinpar.tsv",
    ]
    assert written.keys() == {"t1w_preproc", "t1w_norm", "kinpar"}
    assert (tmp_path / "out" / f"{pet}_kinpar.tsv").read_text() == "table"
    norm = tmp_path / "out" / f"{anat}_space-MNI_res-2_desc-norm_T1w.json"
    assert json.loads(norm.read_text()) == {"a": 1, "lower": 3.5, "upper": 90.0}


def test_no_source_path_is_written(run_step, sink, source, tmp_path):
    step = sink(sidecars={"t1w_preproc": {"Sources": ["bids:raw:x"]}})
    step.inputs.t1w_preproc = source("n4.nii.gz", "image")
    run_step(step)
    (sidecar,) = (tmp_path / "out").rglob("*.json")
    assert str(tmp_path) not in sidecar.read_text()


def test_a_rerun_replaces_what_someone_took_away(sink, source, tmp_path):
    """The working folder is kept between runs; a derivative that is gone must come back."""
    for text in ("first", "second"):
        step = sink()
        step.inputs.t1w_preproc = source("n4.nii.gz", text)
        Node(step, name="sink", base_dir=tmp_path / "nodes").run()
        (made,) = (tmp_path / "out").rglob("*_T1w.nii.gz")
        assert made.read_text() == text
        made.unlink()
    Node(step, name="sink", base_dir=tmp_path / "nodes").run()
    assert made.read_text() == "second"


def test_a_failing_copy_leaves_no_half_file(sink, source, tmp_path):
    step = sink()
    step.inputs.t1w_preproc = str(tmp_path / "gone.nii.gz")
    with pytest.raises(FileNotFoundError, match=r"gone\.nii\.gz"):
        step.run(cwd=str(tmp_path))
    assert tree(tmp_path / "out") == []
