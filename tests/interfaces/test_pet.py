import re
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from toys import centres_mm, oblique

from relad_bids.errors import DataError
from relad_bids.interfaces.pet import AveragePET, RegisterPET

SHAPE = (14, 17, 12)
AFFINE = oblique((4.0, 3.5, 5.0), degrees=12.0, origin=(-20.0, -25.0, -22.0))


@pytest.fixture
def series(make_nifti):
    data = np.random.default_rng(2).uniform(10, 90, (*SHAPE, 3)).astype(np.float32)
    return data, make_nifti("dyn.nii.gz", data, AFFINE)


def test_frames_are_averaged_where_they_lie(run_step, series):
    data, path = series
    made = nb.load(run_step(AveragePET(in_file=path, weights=[0.5, 0.0, 1.5])).out_file)
    np.testing.assert_allclose(
        made.get_fdata(), 0.5 * data[..., 0] + 1.5 * data[..., 2], rtol=1e-6
    )
    np.testing.assert_allclose(made.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("extra", [(), (1,), (1, 1)])
def test_a_single_frame_may_have_any_number_of_axes(run_step, make_nifti, extra):
    data = np.random.default_rng(2).uniform(10, 90, SHAPE).astype(np.float32)
    path = make_nifti("one.nii.gz", data.reshape(*SHAPE, *extra), AFFINE)
    made = nb.load(run_step(AveragePET(in_file=path, weights=[37.0])).out_file)
    assert made.shape == SHAPE
    np.testing.assert_allclose(made.get_fdata(), 37 * data, rtol=1e-6)


def test_a_broken_frame_is_named_with_its_file(make_nifti, tmp_path):
    data = np.ones((*SHAPE, 2), np.float32)
    data[1, 2, 3, 1] = np.nan
    step = AveragePET(in_file=make_nifti("dyn.nii.gz", data, AFFINE), weights=[0.5, 0.5])
    with pytest.raises(DataError, match="frame 2 of 2 has 1 voxels") as caught:
        step.run(cwd=str(tmp_path))
    assert any("dyn.nii.gz" in note for note in caught.value.__notes__)


def test_headers_are_taken_as_they_are_where_that_is_asked_for(run_step, make_nifti):
    """The identity, and the information shared: less where the PET lies elsewhere."""
    ball = np.linalg.norm(centres_mm(SHAPE, AFFINE) - 0.0, axis=0) < 22
    t1w = make_nifti("t1w.nii.gz", (100.0 * ball + 5).astype(np.float32), AFFINE)
    mask = make_nifti("mask.nii.gz", ball.astype(np.uint8), AFFINE)
    costs = []
    for shift in (0, 3):
        pet = make_nifti(f"pet{shift}.nii.gz", np.roll(80.0 * ball + 9, shift, 0), AFFINE)
        step = RegisterPET(pet=pet, t1w=t1w, mask=mask, method="identity")
        found = run_step(step, f"lie{shift}")
        (numbers,) = re.findall(r"^Parameters: (.*)$", Path(found.xfm).read_text(), re.MULTILINE)
        identity = [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
        np.testing.assert_allclose([float(x) for x in numbers.split()], identity)
        assert found.facts["init"] == "header"
        costs.append(found.facts["cost"])
    assert costs[0] <= costs[1]
