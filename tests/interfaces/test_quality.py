from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from toys import oblique

from relad_bids.core.qc import QC_COLUMNS
from relad_bids.errors import ReladError
from relad_bids.interfaces.quality import MeasureFlair, MeasureT1w

SHAPE = (40, 46, 42)
T1W = oblique((4.5, 4.2, 4.4), degrees=5.0, origin=(-90.0, -112.0, -80.0))


@pytest.fixture
def files(make_nifti):
    from relad_bids.interfaces.mri import import_ants

    import_ants()
    from relad_bids.mri.linear import write_affine

    rng = np.random.default_rng(3)
    middle = (np.indices(SHAPE).T - np.array(SHAPE) / 2).T
    distance = np.sqrt((middle**2).sum(axis=0))
    mask = (distance < 15).astype(np.float32)
    wm = (distance < 10).astype(np.float32)
    t1w = (mask * (60 + 30 * wm) + np.abs(rng.normal(0, 3, SHAPE))).astype(np.float32)
    made = {
        name: make_nifti(f"{name}.nii.gz", data.astype(np.float32), T1W)
        for name, data in {
            "t1w": t1w, "scanned": 1.1 * t1w, "mask": mask, "wm": wm, "gm": mask - wm,
        }.items()
    }  # fmt: skip
    made["xfm"] = str(write_affine(np.eye(4), Path(made["t1w"]).with_name("identity.mat")))
    return made


def t1w_step(files, **more):
    parts = {name: files[name] for name in ("t1w", "mask", "gm", "wm")}
    return MeasureT1w(source=files["t1w"], forward=files["xfm"], **parts, **more)


def test_figures_are_columns_of_the_table(run_step, files):
    found = run_step(t1w_step(files, scanned=files["scanned"], affine=files["xfm"])).figures
    assert set(found) <= set(QC_COLUMNS)
    assert found["t1w_voxel_mm"] == pytest.approx(4.5, rel=1e-5)
    assert found["t1w_inu_range"] == pytest.approx(0, abs=1e-5)
    assert found["t1w_sides_contradicted"] == 0
    assert all(value is None or type(value) is float for value in found.values())
    less = run_step(t1w_step(files), "prepared-elsewhere").figures
    assert set(less) == set(found)
    unknown = {name for name in found if less[name] is None and found[name] is not None}
    assert unknown == {"t1w_snr_air", "t1w_efc", "t1w_fber", "t1w_inu_range", "t1w_left_right"}


def test_a_header_that_contradicts_itself(run_step, files, tmp_path):
    """The source is the file of the dataset: what was checked has both orientations alike."""
    image = nb.load(files["t1w"])
    image.set_qform(T1W @ np.diag([-1.0, 1.0, 1.0, 1.0]), code=1)
    image.header["qform_code"] = 0
    image.to_filename(tmp_path / "source.nii.gz")
    step = t1w_step(files)
    step.inputs.source = str(tmp_path / "source.nii.gz")
    assert run_step(step).figures["t1w_sides_contradicted"] == 1


def test_figures_of_a_flair(run_step, files):
    parts = {name: files[name] for name in ("t1w", "mask", "gm", "wm", "xfm")}
    images = {"source": files["t1w"], "flair": files["t1w"], "flair_t1w": files["t1w"]}
    found = run_step(MeasureFlair(**images, **parts, scanned=files["scanned"])).figures
    assert set(found) <= set(QC_COLUMNS)
    assert found["flair_nmi"] == pytest.approx(2, rel=1e-6)  # the T1w itself
    assert found["flair_brain_in_fov"] == 1
    assert found["flair_sides_contradicted"] == 0


def test_an_error_names_the_files(run_step, files, make_nifti):
    empty = make_nifti("empty.nii.gz", np.zeros(SHAPE, np.float32), T1W)
    step = t1w_step({**files, "t1w": empty})
    with pytest.raises(ReladError) as caught:
        step.run(cwd=str(Path(files["xfm"]).parent))
    assert any("empty.nii.gz" in note for note in caught.value.__notes__)
